"""The iptables backend: Linux bridges with ebtables port security, and a router namespace with 1:1 NAT for each VPC."""

from vipnet_iptables.driver import IptablesBackend

__all__ = ["IptablesBackend"]
