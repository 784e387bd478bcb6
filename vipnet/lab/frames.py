"""Frames that a thief sends: gratuitous ARP for an address that is not his, IP packets from it. RFC 826, RFC 5227."""

from __future__ import annotations

import socket
import struct
import time

from vipnet.lab.node import LabNode

__all__ = ["Listener", "announce", "gratuitous", "send_from"]

_BROADCAST = b"\xff" * 6


def announce(node: LabNode, ip: str) -> None:
    """Send gratuitous ARP for `ip` from the node's own MAC, as request and as reply, three times each."""

    def send() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
            raw.bind(("eth0", 0))
            for frame in gratuitous(node, ip) * 3:
                raw.send(frame)

    node.call(send)


def gratuitous(node: LabNode, ip: str) -> list[bytes]:
    """Gratuitous ARP for `ip` from the node's own MAC: a request and a reply."""
    mac, address = bytes.fromhex(node.mac.replace(":", "")), socket.inet_aton(ip)
    return [
        b"".join(
            [_BROADCAST, mac, struct.pack("!HHHBBH", 0x0806, 1, 0x0800, 6, 4, operation), mac, address, target, address]
        )
        for operation, target in ((1, bytes(6)), (2, _BROADCAST))
    ]


def send_from(node: LabNode, source: str, to: str, port: int, text: bytes) -> None:
    """Send a UDP packet with any source address."""
    udp = struct.pack("!HHHH", port, port, 8 + len(text), 0) + text  # 0: no checksum
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, socket.IPPROTO_UDP, 0)

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
            raw.sendto(head + socket.inet_aton(source) + socket.inet_aton(to) + udp, (to, 0))

    node.call(send)


class Listener:
    """A UDP socket in a node; `received` collects what arrives within a while."""

    def __init__(self, node: LabNode, port: int) -> None:
        self._port = port
        self._socket = node.call(self._open)

    def received(self, *, wait: float) -> list[tuple[str, bytes]]:
        """Close after `wait` seconds and return the senders and texts of what arrived."""
        found: list[tuple[str, bytes]] = []
        deadline = time.monotonic() + wait
        with self._socket:
            while (left := deadline - time.monotonic()) > 0:
                self._socket.settimeout(left)
                try:
                    text, sender = self._socket.recvfrom(2048)
                except TimeoutError:
                    break
                found.append((str(sender[0]), text))
        return found

    def _open(self) -> socket.socket:
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        opened.bind(("", self._port))
        return opened
