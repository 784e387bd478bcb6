"""The nftables backend: Linux bridges with port security, and a router namespace with 1:1 NAT for each VPC."""

from vipnet_nftables.driver import NftablesBackend

__all__ = ["NftablesBackend"]
