"""From a row that anybody may have written to an object: every key known, every value of the type of its field."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import fields
from difflib import get_close_matches
from ipaddress import IPv4Address, IPv6Address
from typing import Any, cast, get_args

from vipnet import model
from vipnet.errors import InputParameterError
from vipnet.model import Address, Thing
from vipnet.rows import address_fields, decoded_by_name
from vipnet.topology import KINDS

__all__ = ["KEYS", "read_row", "shortly"]

KEYS: Mapping[type[Thing], tuple[str, ...]] = {
    kind: ("network_id", "version", "ip") if kind is Address else ("id",) for kind in KINDS
}
"""The fields that tell the objects of a kind apart."""

_SHORTLY = reprlib.Repr()
_SHORTLY.maxstring = _SHORTLY.maxother = _SHORTLY.maxlong = 60
_SHORTLY.maxdict = _SHORTLY.maxlist = 3
_SHORTLY.maxlevel = 2

_MOST = 2**63 - 1


def shortly(value: object) -> str:
    """A value as it was given, cut to what fits a sentence."""
    return "null" if value is None else _SHORTLY.repr(value)


def read_row(kind: type[Thing], row: object, *, where: str) -> Thing:
    """Make an object of a row. Raises InputParameterError that begins with `where`."""
    names = [item.name for item in fields(kind)]
    if not isinstance(row, Mapping):
        raise InputParameterError(f"{where} is {shortly(row)}; it must be an object with the keys {', '.join(names)}")
    given = cast("Mapping[object, object]", row)
    for key in given:
        if key not in names:
            raise InputParameterError(f"{where}: key {shortly(key)} is not known; {_near(key, names)}")
    for name in names:
        if name not in given:
            raise InputParameterError(f"{where}: key {name!r} is missing; a row has {', '.join(names)}")
    values = {name: _value(kind, name, given, where) for name in names}
    return decoded_by_name(kind, values)


def _near(key: object, names: list[str]) -> str:
    near = get_close_matches(str(key)[:60], names, n=1)
    return f"did you mean {near[0]!r}?" if near else f"a row has {', '.join(names)}"


def _value(kind: type[Thing], name: str, row: Mapping[object, object], where: str) -> Any:
    value, words = row[name], _ANNOTATIONS[kind][name]
    if value is None and "None" in words:
        return None
    version = address_fields(kind).get(name)
    if version is not None:
        wanted = _not_address(value, version or row["version"])
    else:
        wanted = _not_scalar(value, words.partition(" ")[0])
    if wanted:
        null = " or null" if "None" in words else ""
        raise InputParameterError(f"{where}: {name} is {shortly(value)}; it must be {wanted}{null}")
    return float(cast(float, value)) if words.startswith("float") else value


_ANNOTATIONS: Mapping[type[Thing], Mapping[str, str]] = {
    kind: {item.name: str(item.type) for item in fields(kind)} for kind in KINDS
}


def _not_scalar(value: object, word: str) -> str:
    """What the value should have been; empty if it is that."""
    check = _SCALARS.get(word)
    if check is not None:
        return check(value)
    known = get_args(getattr(model, word))
    return "" if isinstance(value, str) and value in known else f"one of {', '.join(known)}"


def _not_number(value: object) -> str:
    return "" if type(value) is int and abs(value) <= _MOST else "a whole number"


def _not_seconds(value: object) -> str:
    if type(value) is int and abs(value) <= _MOST:
        return ""
    return "" if isinstance(value, float) and math.isfinite(value) else "a number of seconds"


_SCALARS: Mapping[str, Callable[[object], str]] = {
    "str": lambda value: "" if isinstance(value, str) else "text",
    "bool": lambda value: "" if isinstance(value, bool) else "true or false",
    "int": _not_number,
    "float": _not_seconds,
}


def _not_address(value: object, version: object) -> str:
    text = value if isinstance(value, str) else ""
    try:
        # A scope (`%eth0`) would be lost in the number that an address is.
        _ = IPv6Address("" if "%" in text else text) if version == 6 else IPv4Address(text)
    except ValueError:
        return "an IPv6 address like 2001:db8::5" if version == 6 else "an IPv4 address like 192.168.7.246"
    return ""
