"""Raw ARP frames."""

from __future__ import annotations

import fcntl
import socket
import struct
from collections.abc import Collection
from contextlib import suppress

from vipnet.addresses import format_ip4
from vipnet.errors import DataplaneError
from vipnet_kernel.namespaces import entered, number

__all__ = ["Announcer"]

_ARP = 0x0806
_EVERYBODY = b"\xff" * 6
_GET_FLAGS = 0x8913
_RUNNING = 0x40


class Announcer:
    """Sends gratuitous ARP from the interfaces of one namespace, for whatever MAC. For any thread.

    It has one packet socket: to close one waits for the whole kernel (10-20 ms).
    """

    __slots__ = ("_namespace", "_opened")

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._opened: tuple[int, socket.socket] | None = None

    def announce(self, device: str, mac: bytes, ips: Collection[int]) -> None:
        """Send one gratuitous ARP (request form) for each address; they pass no ARP chain.

        From a bridge they go to all its ports. Raises DataplaneError when the interface is not there or down.
        """
        try:
            _emit(self._socket(), device, mac, ips)
        except OSError as error:
            some = ", ".join(format_ip4(ip) for ip in list(ips)[:3])
            raise DataplaneError(f"{some} cannot be announced on {device}: {error.strerror}") from error

    def is_connected(self, device: str) -> bool:
        """Whether an interface is up and its other end too, of a bridge any port, netdevice(7)."""
        with suppress(OSError):
            answer = fcntl.ioctl(self._socket(), _GET_FLAGS, struct.pack("16sh22x", device.encode(), 0))
            flags: int = struct.unpack_from("16sH", answer)[1]
            return flags & _RUNNING != 0
        return False

    def close(self) -> None:
        """Let go of the namespace."""
        if self._opened is not None:
            self._opened[1].close()
            self._opened = None

    def _socket(self) -> socket.socket:
        there = number(self._namespace)
        if self._opened is None or self._opened[0] != there:  # another one of the same name
            self.close()
            with entered(self._namespace):
                self._opened = there, socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        return self._opened[1]


def _emit(raw: socket.socket, device: str, mac: bytes, ips: Collection[int]) -> None:
    for ip in ips:
        raw.sendto(_request(mac, ip.to_bytes(4, "big")), (device, _ARP))


def _request(mac: bytes, ip: bytes) -> bytes:
    header = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)
    return _EVERYBODY + mac + _ARP.to_bytes(2, "big") + header + mac + ip + bytes(6) + ip + bytes(18)
