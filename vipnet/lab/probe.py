"""Small clients: ICMP echo and HTTP over a new connection. They run in the network namespace of the calling thread."""

from __future__ import annotations

import os
import socket
import struct
import time

__all__ = ["http_get", "ping"]


def ping(ip: str, *, count: int, timeout: float) -> bool:
    """Whether at least one of `count` echo requests is answered within `timeout` seconds each (RFC 792, RFC 4443)."""
    version6 = ":" in ip
    family, protocol = (socket.AF_INET6, socket.IPPROTO_ICMPV6) if version6 else (socket.AF_INET, socket.IPPROTO_ICMP)
    mark = os.urandom(8)
    with socket.socket(family, socket.SOCK_RAW, protocol) as raw:
        for sequence in range(count):
            try:
                raw.sendto(_echo_request(version6, sequence, mark), (ip, 0))
            except OSError:  # unreachable from here; the next may do better
                time.sleep(min(timeout, 0.05))
                continue
            if _answered(raw, ip, mark, time.monotonic() + timeout):
                return True
    return False


def http_get(ip: str, *, port: int, timeout: float) -> str | None:
    """Return the body of `GET /` over a new connection, None unless it came whole, with status 200, within `timeout` s."""
    deadline = time.monotonic() + timeout
    received = b""
    try:
        with socket.create_connection((ip, port), timeout) as connection:
            connection.sendall(f"GET / HTTP/1.0\r\nHost: {ip}\r\n\r\n".encode())
            while chunk := _receive(connection, deadline):
                received += chunk
    except OSError:
        return None
    head, _, body = received.partition(b"\r\n\r\n")
    return body.decode(errors="replace") if b" 200 " in head.partition(b"\r\n")[0] else None


def _receive(connection: socket.socket, deadline: float) -> bytes:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    connection.settimeout(left)
    return connection.recv(65536)


def _echo_request(version6: bool, sequence: int, mark: bytes) -> bytes:
    head = struct.pack("!BBHHH", 128 if version6 else 8, 0, 0, os.getpid() & 0xFFFF, sequence)
    if version6:
        return head + mark  # the kernel fills in this checksum
    return head[:2] + struct.pack("!H", _checksum(head + mark)) + head[4:] + mark


def _checksum(data: bytes) -> int:
    total = sum(int.from_bytes(data[i : i + 2]) for i in range(0, len(data), 2))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def _answered(raw: socket.socket, ip: str, mark: bytes, deadline: float) -> bool:
    version6 = raw.family == socket.AF_INET6
    while (left := deadline - time.monotonic()) > 0:
        raw.settimeout(left)
        try:
            packet, sender = raw.recvfrom(2048)
        except TimeoutError:
            return False
        message = packet if version6 else packet[(packet[0] & 15) * 4 :]
        if message[0] == (129 if version6 else 0) and message.endswith(mark) and sender[0] == ip:
            return True
    return False
