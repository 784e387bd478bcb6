"""Keys and values of sets: nft's words for them, and the kernel's bytes, in whole registers of four bytes each."""

from __future__ import annotations

import functools
import re
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from vipnet.addresses import format_ip4, format_ip6
from vipnet_nftables.ruleset import declaration, kinds

__all__ = ["Layout", "layouts", "packed", "unpacked"]

_SET: Final = re.compile(r"(set|map) (\w+) \{ type(?:of)? ([^;:]*?)(?: : (\w+))?;(?: (counter|limit)\b)?")
_TYPES: Final = {"iifname": "ifname", "ether saddr": "ether_addr", "meta mark": "mark"}
"""Of what a set's keys are made of, where it is declared by expressions."""
_SIZES: Final = {"ifname": 16, "ether_addr": 6, "ipv4_addr": 4, "ipv6_addr": 16, "mark": 4}


@dataclass(frozen=True, slots=True)
class Layout:
    """Of what a set's keys are made, and its values ("": it is no map)."""

    key: tuple[str, ...]
    value: str = ""


@functools.cache
def layouts() -> Mapping[tuple[str, str], Layout]:
    """The layouts of all declared sets, by family and name."""
    found: dict[tuple[str, str], Layout] = {}
    for kind in kinds():
        for table in declaration(kind).split("\ntable ")[1:]:
            family = table.split(maxsplit=1)[0]
            for one in _SET.finditer(table):
                _, name, key, value, _ = one.groups()
                parts = tuple(_TYPES.get(part.strip(), part.strip()) for part in key.split(" . "))
                found[family, name] = Layout(parts, value or "")
    return found


def packed(words: str, types: Sequence[str]) -> bytes:
    """The bytes of a key or value in nft's words; raises ValueError for words that are not of these types."""
    parts = words.split(" . ")
    if len(parts) != len(types):
        raise ValueError(f"{words!r} has {len(parts)} parts; {' . '.join(types)} has {len(types)}")
    return b"".join(map(_packed, parts, types))


def unpacked(data: bytes, types: Sequence[str]) -> str:
    """The words for bytes; raises ValueError for bytes that are too few or too many."""
    words: list[str] = []
    at = 0
    for kind in types:
        size = _size(kind)
        if at + size > len(data):
            raise ValueError(f"{len(data)} bytes are too few for {' . '.join(types)}")
        words.append(_unpacked(data[at : at + size], kind))
        at += (size + 3) & ~3
    if at != (len(data) + 3) & ~3:  # the last part is padded or not
        raise ValueError(f"{len(data)} bytes are too many for {' . '.join(types)}")
    return " . ".join(words)


def _size(kind: str) -> int:
    return int(kind.rpartition(",")[2]) // 8 if kind.startswith("@") else _SIZES[kind]


def _packed(part: str, kind: str) -> bytes:
    match kind:
        case "ifname":
            return part.strip('"').encode().ljust(16, b"\0")
        case "ether_addr":
            return bytes.fromhex(part.replace(":", "")).ljust(8, b"\0")
        case "mark":
            return int(part).to_bytes(4, sys.byteorder)
        case "ipv6_addr":
            return socket.inet_pton(socket.AF_INET6, part)
        case "ipv4_addr":
            return socket.inet_aton(part)
        case _:  # bits of the packet
            return int(part, 16).to_bytes(_size(kind), "big")


def _unpacked(data: bytes, kind: str) -> str:
    match kind:
        case "ifname":
            return f'"{data.rstrip(bytes(1)).decode(errors="replace")}"'
        case "ether_addr":
            return data.hex(":")
        case "mark":
            return str(int.from_bytes(data, sys.byteorder))
        case "ipv6_addr":
            return format_ip6(int.from_bytes(data, "big"))
        case "ipv4_addr":
            return format_ip4(int.from_bytes(data, "big"))
        case _:
            return hex(int.from_bytes(data, "big"))
