"""The JSON fields that a command prints, read from the type of its answer: nothing is written twice.

For `--help`, the command reference and the tests; a command that does its work never comes here.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NewType, Union, get_args, get_origin, get_type_hints, is_typeddict

from vipnet.cli.declare import Verb
from vipnet.cli.shapes import Text

__all__ = ["Field", "Shape", "outline", "shapes"]

_SCALARS = {str: "string", int: "integer", bool: "boolean", float: "number", types.NoneType: "null"}


@dataclass(frozen=True, slots=True)
class Shape:
    """An object with these fields, or an array of such objects."""

    fields: tuple[Field, ...]
    several: bool

    def __str__(self) -> str:
        inside = "{" + ", ".join(str(field) for field in self.fields) + "}"
        return f"[{inside}]" if self.several else inside


@dataclass(frozen=True, slots=True)
class Field:
    """A field; `kind` in the words of JSON, `inside` the objects that it holds."""

    name: str
    kind: str
    inside: Shape | None = None

    def __str__(self) -> str:
        return self.name if self.inside is None else f"{self.name}: {self.inside}"


def shapes(verb: Verb) -> tuple[Shape, ...]:
    """Return what a command prints; several where an option decides."""
    answer = _returned(verb.call) if isinstance(verb.call, str) else verb.prints() if verb.prints else Text
    return tuple(_shape(Text if kind is str else kind) for kind in _members(answer))


def outline(verb: Verb) -> str:
    """Return the same in one line, like `{id, nics: [{network, mac}]}`."""
    return ", or ".join(str(shape) for shape in shapes(verb))


def _returned(call: str) -> Any:
    """The return type of a method of the Controller."""
    from vipnet.controller import Controller

    *nouns, method = call.split(".")
    home: Any = Controller
    for noun in nouns:
        home = get_type_hints(home)[noun]
    return get_type_hints(getattr(home, method))["return"]


def _members(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _shape(kind: Any) -> Shape:
    if (item := _item(kind)) is not None:
        return Shape(_fields(item), several=True)
    return Shape(_fields(kind), several=False)


def _fields(kind: Any) -> tuple[Field, ...]:
    hints = get_type_hints(kind)
    names = hints if is_typeddict(kind) else [field.name for field in dataclasses.fields(kind)]
    return tuple(_field(name, hints[name]) for name in names)


def _field(name: str, kind: Any) -> Field:
    inside = next((member for member in _members(kind) if _is_object(_item(member) or member)), None)
    return Field(name, _words(kind), None if inside is None else _shape(inside))


def _words(kind: Any) -> str:
    if isinstance(kind, NewType):
        return _words(kind.__supertype__)
    if len(members := _members(kind)) > 1:
        return " or ".join(_words(member) for member in members)
    if get_origin(kind) is Literal:
        return "string: " + ", ".join(get_args(kind))
    if (item := _item(kind)) is not None:
        return "array of objects" if _is_object(item) else f"array of {_words(item)}s"
    if _is_mapping(kind):
        return f"object of {_words(get_args(kind)[1])}s"
    return "object" if _is_object(kind) else _SCALARS[kind]


def _item(kind: Any) -> Any:
    """What a sequence holds; None of anything else."""
    is_sequence = isinstance(origin := get_origin(kind), type) and issubclass(origin, Sequence)
    return get_args(kind)[0] if is_sequence else None


def _is_mapping(kind: Any) -> bool:
    origin = get_origin(kind)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _is_object(kind: Any) -> bool:
    return dataclasses.is_dataclass(kind) or is_typeddict(kind)
