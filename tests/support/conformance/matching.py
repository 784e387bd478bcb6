"""Compare an answer with what a case expects: a subset match with matchers, described in README.md beside this file."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any, TypeGuard

__all__ = ["MISSING", "differences", "is_list", "is_object", "show"]


class _Missing:
    def __repr__(self) -> str:
        return "(absent)"


MISSING = _Missing()

_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "list": (list,),
    "object": (dict,),
    "null": (type(None),),
}


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether it is a JSON object."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Whether it is a JSON array."""
    return isinstance(value, list)


def show(value: Any) -> str:
    """A value as short text."""
    if value is MISSING:
        return "(absent)"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 400 else text[:400] + " …"


def differences(expected: Any, actual: Any, path: str = "json") -> list[str]:
    """The differences between an expectation and a value; empty when it matches."""
    if is_object(expected) and expected and all(key in _MATCHERS for key in expected):
        return [
            f"{path}: expected {name} {show(argument)}, got {show(actual)}"
            for name, argument in expected.items()
            if not _MATCHERS[name](argument, actual)
        ]
    if is_object(expected):
        return _object(expected, actual, path)
    if is_list(expected):
        return _list(expected, actual, path)
    if actual is MISSING or type(expected) is not type(actual) or expected != actual:
        return [f"{path}: expected {show(expected)}, got {show(actual)}"]
    return []


def _object(expected: dict[str, Any], actual: Any, path: str) -> list[str]:
    if not is_object(actual):
        return [f"{path}: expected an object with {show(expected)}, got {show(actual)}"]
    return [line for key, wanted in expected.items() for line in differences(wanted, actual.get(key, MISSING), f"{path}.{key}")]


def _list(expected: list[Any], actual: Any, path: str) -> list[str]:
    if not is_list(actual) or len(expected) != len(actual):
        return [f"{path}: expected {show(expected)}, got {show(actual)}"]
    return [line for place, wanted in enumerate(expected) for line in differences(wanted, actual[place], f"{path}[{place}]")]


def _fits(expected: Any, actual: Any) -> bool:
    return not differences(expected, actual)


def _is_empty(value: Any) -> bool:
    return value is MISSING or value is None or value in ("", [], {})


def _number(value: Any) -> tuple[int, float]:
    if isinstance(value, bool) or value is None:
        raise ValueError(value)
    if isinstance(value, int | float):
        return 0, value
    address = ip_address(value)
    return address.version, int(address)


def _in_range(limits: Any, actual: Any) -> bool:
    try:
        low, high, value = _number(limits[0]), _number(limits[1]), _number(actual)
    except ValueError:
        return False
    return low[0] == value[0] == high[0] and low[1] <= value[1] <= high[1]


def _elements(value: Any) -> list[Any]:
    if is_list(value):
        return value
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return []


def _pair_up(expected: list[Any], actual: list[Any]) -> bool:
    if not expected:
        return not actual
    return any(
        _fits(expected[0], item) and _pair_up(expected[1:], actual[:place] + actual[place + 1 :])
        for place, item in enumerate(actual)
    )


def _listed(value: Any) -> list[Any]:
    return value if is_list(value) else [value]


def _has_type(value: Any, name: str) -> bool:
    if name == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, _TYPES[name])


def _equals(expected: Any, actual: Any) -> bool:
    return actual is not MISSING and json.dumps(expected, sort_keys=True) == json.dumps(actual, sort_keys=True)


_MATCHERS: Mapping[str, Callable[[Any, Any], bool]] = {
    "absent": lambda wanted, actual: (actual is MISSING) == wanted,
    "empty": lambda wanted, actual: _is_empty(actual) == wanted,
    "not": lambda wanted, actual: not _fits(wanted, actual),
    "one_of": lambda wanted, actual: any(_fits(item, actual) for item in wanted),
    "all_of": lambda wanted, actual: all(_fits(item, actual) for item in wanted),
    "equals": _equals,
    "regex": lambda wanted, actual: isinstance(actual, str) and re.search(wanted, actual) is not None,
    "in_range": _in_range,
    "len": lambda wanted, actual: (is_list(actual) or is_object(actual)) and _fits(wanted, len(actual)),
    "contains": lambda wanted, actual: any(_fits(wanted, item) for item in _elements(actual)),
    "contains_all": lambda wanted, actual: all(any(_fits(one, item) for item in _elements(actual)) for one in wanted),
    "items": lambda wanted, actual: is_list(actual) and len(actual) == len(wanted) and _pair_up(wanted, actual),
    "each": lambda wanted, actual: is_list(actual) and all(_fits(wanted, item) for item in actual),
    "type": lambda wanted, actual: any(_has_type(actual, name) for name in _listed(wanted)),
    "keys": lambda wanted, actual: is_object(actual) and all(key in actual for key in wanted),
}
