"""Whether a JSON value is what a command declares to print."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vipnet.cli.answers import Field, Shape

__all__ = ["misfits"]

_TYPES: dict[str, type] = {"string": str, "integer": int, "boolean": bool, "number": float, "array": list, "object": dict}


def misfits(value: Any, shapes: Sequence[Shape]) -> list[str]:
    """What keeps a value from having one of these shapes; nothing, if it has."""
    found = [list(_of_shape(value, shape, "")) for shape in shapes]
    return min(found, key=len)


def _of_shape(value: Any, shape: Shape, path: str) -> list[str]:
    if isinstance(value, list) != shape.several:
        return [f"{path or 'the value'} is {type(value).__name__}"]
    if not shape.several:
        return _of_object(value, shape, path)
    if not value and not path:
        return ["an empty array shows no field"]
    return [text for item in value for text in _of_object(item, shape, path)]


def _of_object(value: Any, shape: Shape, path: str) -> list[str]:
    names = [field.name for field in shape.fields]
    if list(value) != names:
        return [f"{path or 'the object'} has {list(value)}, declared are {names}"]
    return [text for field in shape.fields for text in _of_field(value[field.name], field, f"{path}.{field.name}")]


def _of_field(value: Any, field: Field, path: str) -> list[str]:
    if not any(_is(value, kind) for kind in field.kind.split(" or ")):
        return [f"{path} is {value!r}, declared is {field.kind}"]
    return [] if field.inside is None or value is None else _of_shape(value, field.inside, path)


def _is(value: Any, kind: str) -> bool:
    if kind == "null":
        return value is None
    name, _, words = kind.partition(": ")
    name, _, inside = name.partition(" of ")
    if type(value) is not _TYPES[name] or (words and value not in words.split(", ")):
        return False
    return not inside or all(_is(item, inside.removesuffix("s")) for item in _held(value))


def _held(value: Any) -> Any:
    return value.values() if isinstance(value, dict) else value  # pyright: ignore[reportUnknownVariableType]
