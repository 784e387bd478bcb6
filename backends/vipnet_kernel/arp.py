"""Raw ARP frames."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable

from vipnet.addresses import format_ip4
from vipnet.errors import DataplaneError
from vipnet_kernel.namespaces import entered

__all__ = ["announce"]

_ARP = 0x0806
_EVERYBODY = b"\xff" * 6


def announce(namespace: str, device: str, ips: Iterable[int]) -> None:
    """Send one gratuitous ARP (request form) for each address from a device, with the device's own MAC.

    The frames pass no ARP chain. Raises DataplaneError when the device is not there or down.
    """
    try:
        with entered(namespace), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as raw:
            raw.bind((device, 0))
            mac: bytes = raw.getsockname()[4]
            for ip in ips:
                raw.send(_request(mac, ip.to_bytes(4, "big")))
    except OSError as error:
        some = ", ".join(format_ip4(ip) for ip in list(ips)[:3])
        raise DataplaneError(f"{some} cannot be announced on {device} of {namespace}: {error.strerror}") from error


def _request(mac: bytes, ip: bytes) -> bytes:
    header = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)
    return _EVERYBODY + mac + _ARP.to_bytes(2, "big") + header + mac + ip + bytes(6) + ip + bytes(18)
