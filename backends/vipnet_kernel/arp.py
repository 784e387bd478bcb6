"""Raw ARP frames."""

from __future__ import annotations

import fcntl
import socket
import struct
from collections.abc import Collection

from vipnet.addresses import format_ip4
from vipnet.errors import DataplaneError
from vipnet_kernel.namespaces import entered, number

__all__ = ["Announcer"]

_ARP = 0x0806
_EVERYBODY = b"\xff" * 6
_GET_MAC, _GET_FLAGS = 0x8927, 0x8913
_RUNNING = 0x40
_MOST_SOCKETS = 64


class Announcer:
    """Sends gratuitous ARP from interfaces of any namespace.

    Closing a packet socket waits for the whole kernel (10-20 ms), so a few are kept; one keeps its namespace alive,
    so `forget` a namespace before deleting it.
    """

    __slots__ = ("_sockets",)

    def __init__(self) -> None:
        self._sockets: dict[str, tuple[int, socket.socket]] = {}

    def announce(self, namespace: str, device: str, ips: Collection[int]) -> None:
        """Send one gratuitous ARP (request form) for each address, with the interface's own MAC; they pass no ARP chain.

        Raises DataplaneError when the interface is not there or down.
        """
        try:
            _emit(self._socket(namespace), device, ips)
        except OSError as error:
            some = ", ".join(format_ip4(ip) for ip in list(ips)[:3])
            raise DataplaneError(f"{some} cannot be announced on {device} of {namespace}: {error.strerror}") from error

    def is_connected(self, namespace: str, device: str) -> bool:
        """Whether an interface is up and its other end too, netdevice(7). Raises DataplaneError without the namespace."""
        try:
            answer = fcntl.ioctl(self._socket(namespace), _GET_FLAGS, struct.pack("16sh22x", device.encode(), 0))
        except OSError:
            return False
        flags: int = struct.unpack_from("16sH", answer)[1]
        return flags & _RUNNING != 0

    def forget(self, namespace: str) -> None:
        """Let go of a namespace."""
        _, raw = self._sockets.pop(namespace, (0, None))
        if raw is not None:
            raw.close()

    def close(self) -> None:
        """Let go of all."""
        for namespace in list(self._sockets):
            self.forget(namespace)

    def _socket(self, namespace: str) -> socket.socket:
        there = number(namespace)
        known, raw = self._sockets.get(namespace, (0, None))
        if raw is None or known != there:  # another one of the same name
            self.forget(namespace)
            if len(self._sockets) >= _MOST_SOCKETS:
                self.forget(next(iter(self._sockets)))
            with entered(namespace):
                raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            self._sockets[namespace] = there, raw
        return raw


def _emit(raw: socket.socket, device: str, ips: Collection[int]) -> None:
    mac = fcntl.ioctl(raw, _GET_MAC, struct.pack("16s24x", device.encode()))[18:24]
    for ip in ips:
        raw.sendto(_request(mac, ip.to_bytes(4, "big")), (device, _ARP))


def _request(mac: bytes, ip: bytes) -> bytes:
    header = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)
    return _EVERYBODY + mac + _ARP.to_bytes(2, "big") + header + mac + ip + bytes(6) + ip + bytes(18)
