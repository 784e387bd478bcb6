"""The words in which commands are declared: `read` and `change` for the library's verbs, `action` for the others.

A usage line like `network-reserve-ip NETWORK NOTES IP...` gives the name and the positional arguments; an option hands
its value to the keyword of the same name, in the plural when it may be repeated. What was not given is not handed over,
so that defaults live in the library alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from keyword import iskeyword
from typing import Any, Literal

__all__ = ["Action", "Option", "Section", "Verb", "action", "change", "flag", "many", "number", "read", "required", "text"]

Action = Callable[..., int]
"""Called with Settings, the positional arguments and the options given; returns the exit status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option. `always`: handed over even when it was not given, as a library method's positional list is."""

    flag: str
    kind: Literal["text", "number", "flag", "many"]
    metavar: str
    help: str
    always: bool = False
    required: bool = False

    @property
    def keyword(self) -> str:
        """The library's name of it."""
        name = self.flag.removeprefix("--").replace("-", "_")
        return name + "s" if self.kind == "many" else f"{name}_" if iskeyword(name) else name


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """One command. `call` is a method of the Controller by its path, like `groups.create`, or a function of this package.

    `changes`: with --dry-run it is planned instead of done. `columns`: what a table of several objects shows. `prints`: the
    type of what is printed as JSON, if that is not what a method of the Controller returns. `notes`: lines for its own help.
    """

    name: str
    arguments: tuple[str, ...]
    call: str | Action
    help: str
    example: str
    options: tuple[Option, ...]
    columns: tuple[str, ...]
    changes: bool
    prints: Callable[[], Any] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """Verbs that `--help` shows together."""

    title: str
    verbs: tuple[Verb, ...]


def text(flag: str, metavar: str, help: str) -> Option:
    """An option whose text the library judges."""
    return Option(flag=flag, kind="text", metavar=metavar, help=help)


def required(flag: str, metavar: str, help: str) -> Option:
    """An option without which the command makes no sense."""
    return Option(flag=flag, kind="text", metavar=metavar, help=help, required=True)


def number(flag: str, metavar: str, help: str) -> Option:
    """An option with a whole number."""
    return Option(flag=flag, kind="number", metavar=metavar, help=help)


def flag(flag: str, help: str) -> Option:
    """An option without a value."""
    return Option(flag=flag, kind="flag", metavar="", help=help)


def many(flag: str, metavar: str, help: str, *, always: bool = False) -> Option:
    """An option that may be repeated."""
    return Option(flag=flag, kind="many", metavar=metavar, help=help + " (repeatable)", always=always)


def read(usage: str, call: str, help: str, example: str, *options: Option, columns: str = "") -> Verb:
    """A verb of the library that changes nothing."""
    return _verb(usage, call, help, example, options, columns, changes=False)


def change(usage: str, call: str, help: str, example: str, *options: Option, columns: str = "") -> Verb:
    """A verb of the library that changes the model."""
    return _verb(usage, call, help, example, options, columns, changes=True)


def action(
    usage: str,
    call: Action,
    prints: Callable[[], Any],
    help: str,
    example: str,
    *options: Option,
    notes: tuple[str, ...] = (),
) -> Verb:
    """A command that is more than one call of the library; it looks at `Settings.dry_run` itself."""
    return replace(_verb(usage, call, help, example, options, "", changes=False), prints=prints, notes=notes)


def _verb(
    usage: str, call: str | Action, help: str, example: str, options: tuple[Option, ...], columns: str, *, changes: bool
) -> Verb:
    name, *arguments = usage.split()
    return Verb(
        name=name,
        arguments=tuple(arguments),
        call=call,
        help=help,
        example=example,
        options=options,
        columns=tuple(columns.split()),
        changes=changes,
    )
