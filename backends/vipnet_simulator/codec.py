"""An entry as one line of JSON and back. Decoding is strict: what was not written by `encode` is a DamagedLine.

A line is an object of `kind` and the fields of the intent; addresses are text, everything else is as it is.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias, cast, get_args

from vipnet.addresses import format_ip4, format_ip6
from vipnet.intents import (
    EipMapping,
    Intent,
    Member,
    PortSecurity,
    SubnetRouting,
    SubnetSwitching,
    Uplink,
    UplinkSwitching,
    VipBinding,
    VpcRouting,
)
from vipnet.model import AccessMode
from vipnet_simulator.entry import DamagedLine, Installed, SimulatorEntry

__all__ = ["decode", "encode", "key_of"]


@dataclass(frozen=True, slots=True)
class _Form:
    """How one field is written and read; reading raises ValueError for what was never written."""

    write: Callable[[Any], Any]
    read: Callable[[Any], Any]


_Fields: TypeAlias = Mapping[str, _Form]

_MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")


def _refuse(value: object, wanted: str) -> NoReturn:
    raise ValueError(f"{ascii(value)[:40]} is no {wanted}")


def _same(value: Any) -> Any:
    return value


def _read_word(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 255 or not value.isprintable():
        _refuse(value, "word")
    return value


def _read_mac(value: Any) -> str:
    if not isinstance(value, str) or _MAC.fullmatch(value) is None:
        _refuse(value, "MAC address")
    return value


def _read_mode(value: Any) -> AccessMode:
    if value not in get_args(AccessMode):
        _refuse(value, "access mode")
    mode: AccessMode = value
    return mode


def _read_flag(value: Any) -> bool:
    if not isinstance(value, bool):
        _refuse(value, "flag")
    return value


def _read_ip4(value: Any) -> int:
    try:
        return int.from_bytes(socket.inet_pton(socket.AF_INET, value))
    except (OSError, TypeError, ValueError):
        _refuse(value, "IPv4 address")


def _read_ip6(value: Any) -> int:
    try:
        return int.from_bytes(socket.inet_pton(socket.AF_INET6, value))
    except (OSError, TypeError, ValueError):
        _refuse(value, "IPv6 address")


def _read_list(value: Any) -> list[object]:
    if not isinstance(value, list):
        _refuse(value, "list")
    return cast("list[object]", value)


def _read_object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        _refuse(value, "object")
    return cast("dict[str, Any]", value)


def _number(least: int, most: int) -> _Form:
    def read(value: Any) -> int:
        if type(value) is not int or not least <= value <= most:
            _refuse(value, f"number from {least} to {most}")
        return value

    return _Form(_same, read)


def _maybe(form: _Form) -> _Form:
    return _Form(
        lambda value: None if value is None else form.write(value),
        lambda value: None if value is None else form.read(value),
    )


def _many(form: _Form) -> _Form:
    def read(value: Any) -> tuple[Any, ...]:
        return tuple(form.read(item) for item in _read_list(value))

    return _Form(lambda values: [form.write(value) for value in values], read)


def _pair(first: _Form, second: _Form) -> _Form:
    def read(value: Any) -> tuple[Any, Any]:
        one, other = _read_list(value)
        return first.read(one), second.read(other)

    return _Form(lambda pair: [first.write(pair[0]), second.write(pair[1])], read)


def _object(type_: Callable[..., Any], fields: _Fields) -> _Form:
    def write(value: Any) -> dict[str, Any]:
        return {name: form.write(getattr(value, name)) for name, form in fields.items()}

    def read(value: Any) -> Any:
        given = _read_object(value)
        if given.keys() != fields.keys():
            raise ValueError(f"fields {', '.join(sorted(given.keys() ^ fields.keys()))[:80]} are missing or unknown")
        return type_(**{name: form.read(given[name]) for name, form in fields.items()})

    return _Form(write, read)


_WORD = _Form(_same, _read_word)
_MAC_FORM = _Form(_same, _read_mac)
_FLAG = _Form(_same, _read_flag)
_IP4 = _Form(format_ip4, _read_ip4)
_IP6 = _Form(format_ip6, _read_ip6)
_LENGTH = _number(0, 32)
_ANY = _number(0, 1 << 53)

_UPLINK = _object(
    Uplink, {"name": _WORD, "index": _ANY, "device": _WORD, "address": _maybe(_pair(_IP4, _LENGTH)), "gateway": _maybe(_IP4)}
)
_MEMBER = _object(Member, {"nic_id": _WORD, "device": _WORD, "mac": _MAC_FORM})

_KINDS: Mapping[type[Intent], tuple[str, _Form]] = {
    SubnetSwitching: (
        "segment",
        _object(SubnetSwitching, {"network_id": _WORD, "vpc_id": _WORD, "leg": _maybe(_WORD), "vlan_id": _number(0, 4095)}),
    ),
    SubnetRouting: (
        "gateway",
        _object(
            SubnetRouting,
            {
                "network_id": _WORD,
                "vpc_id": _WORD,
                "gateway": _IP4,
                "length": _LENGTH,
                "gateway6": _maybe(_IP6),
                "length6": _maybe(_number(0, 128)),
                "mac": _MAC_FORM,
            },
        ),
    ),
    VpcRouting: (
        "router",
        _object(
            VpcRouting,
            {"vpc_id": _WORD, "tag": _ANY, "mode": _Form(_same, _read_mode), "mac": _MAC_FORM, "uplinks": _many(_UPLINK)},
        ),
    ),
    UplinkSwitching: ("uplink", _object(UplinkSwitching, {"uplink": _UPLINK, "masquerade": _FLAG})),
    PortSecurity: (
        "port",
        _object(
            PortSecurity,
            {
                "nic_id": _WORD,
                "network_id": _WORD,
                "vpc_id": _WORD,
                "device": _WORD,
                "mac": _MAC_FORM,
                "ip": _IP4,
                "ips": _many(_IP4),
                "ip6s": _many(_IP6),
                "vrrp_peers": _many(_WORD),
                "ip6": _maybe(_IP6),
            },
        ),
    ),
    VipBinding: (
        "vip",
        _object(
            VipBinding,
            {
                "vip_id": _WORD,
                "group_id": _WORD,
                "network_id": _WORD,
                "vpc_id": _WORD,
                "ip": _IP4,
                "ip6": _maybe(_IP6),
                "members": _many(_MEMBER),
            },
        ),
    ),
    EipMapping: (
        "eip",
        _object(
            EipMapping,
            {
                "eip_id": _WORD,
                "vpc_id": _WORD,
                "network_id": _WORD,
                "eip": _IP4,
                "vip": _IP4,
                "bandwidth": _maybe(_ANY),
                "uplink": _maybe(_UPLINK),
            },
        ),
    ),
}
_FORMS: Mapping[str, _Form] = dict(_KINDS.values())
_WRONG = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What a line that was never written can make the reader raise."""


_UNNAMED = "damaged:"


def encode(entry: SimulatorEntry) -> tuple[bytes, bytes]:
    """Write an entry as a key and a line of UTF-8; a DamagedLine as it was found."""
    if isinstance(entry, DamagedLine):
        return key_of(entry.key), entry.line
    kind, form = _KINDS[type(entry.intent)]
    return key_of(entry.key), json.dumps({"kind": kind, **form.write(entry.intent)}, separators=(",", ":")).encode()


def decode(key: bytes, line: bytes) -> SimulatorEntry:
    """Read a key and its line; never raises."""
    name = _name_of(key)
    try:
        given = _read_object(json.loads(line))
        intent: Intent = _FORMS[given.pop("kind")].read(given)
    except _WRONG as error:
        return _damaged(name, line, repr(error))
    return Installed(intent) if intent.id == name else _damaged(name, line, f"its fields say {intent.id}")


def key_of(name: str) -> bytes:
    """The key in the file of the entry that has this name."""
    return bytes.fromhex(name.removeprefix(_UNNAMED)) if name.startswith(_UNNAMED) else name.encode()


def _name_of(key: bytes) -> str:
    """A key as it can be shown: itself, or what `key_of` makes it of again."""
    try:
        name = _read_word(key.decode())
    except ValueError:
        return _UNNAMED + key.hex()
    return _UNNAMED + key.hex() if name.startswith(_UNNAMED) else name


def _damaged(name: str, line: bytes, reason: str) -> DamagedLine:
    shown = reason if reason.isprintable() else ascii(reason)
    return DamagedLine(name, line, shown[:160])
