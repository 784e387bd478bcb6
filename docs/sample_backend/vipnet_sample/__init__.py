"""A vipnet backend for a data plane of text files, which `vipnet_sample.plane` forwards packets by."""

from vipnet_sample.driver import SampleBackend

__all__ = ["SampleBackend"]
