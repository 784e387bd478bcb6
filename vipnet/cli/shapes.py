"""What commands print as JSON, as types, where a method of the library does not say it. `answers` reads them.

The functions are called when somebody asks: they load what the type is made of.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

from vipnet.plan import PlanDocument

__all__ = [
    "Document",
    "Picture",
    "Planned",
    "Removed",
    "Script",
    "Text",
    "applied",
    "demonstrated",
    "drawn",
    "exported",
    "imported",
    "installed",
    "planned",
    "scripted",
    "seen",
    "traced",
]


class Planned(PlanDocument):
    """A plan, and what the operation that it stands for would warn of."""

    warnings: list[str]


class Text(TypedDict):
    """A text that a method of the library returns."""

    config: str


class Picture(TypedDict):
    """The model, drawn."""

    format: str
    picture: str


class Document(TypedDict):
    """An export that is not JSON."""

    format: str
    document: str


class Script(TypedDict):
    """What a shell reads."""

    shell: str
    script: str


class Removed(TypedDict):
    """The folders of the demos that were taken down."""

    removed: list[str]


class Measured(TypedDict):
    """Where the records of benchmarks are, and their report."""

    records: str
    report: str


def measured() -> Any:
    """Of benchmarks."""
    return Measured


def planned() -> Any:
    """Of a plan."""
    return Planned


def drawn() -> Any:
    """Of a picture."""
    return Picture


def scripted() -> Any:
    """Of a script."""
    return Script


def exported() -> Any:
    """Of the document of a model, and of one that is not JSON."""
    from dataclasses import fields, make_dataclass

    from vipnet.rows import address_fields, table_name
    from vipnet.topology import KINDS

    tables: list[tuple[str, Any]] = [("vipnet", int)]
    for kind in KINDS:
        columns = [(item.name, str if item.name in address_fields(kind) else item.type) for item in fields(kind)]
        row = make_dataclass(kind.__name__, columns, namespace={"__module__": kind.__module__})
        tables.append((table_name(kind), Sequence[row]))  # type: ignore[valid-type]
    return make_dataclass("Exported", tables) | Document


def imported() -> Any:
    """Of an import."""
    from vipnet.views import ImportView

    return ImportView


def applied() -> Any:
    """Of an `apply`."""
    from vipnet.reports import ApplyReport

    return ApplyReport


def traced() -> Any:
    """Of a trace."""
    from vipnet.views import TraceView

    return TraceView


def seen() -> Any:
    """Of a watch, line by line."""
    from vipnet.events import WatchEvent

    return WatchEvent


def installed() -> Any:
    """Of the backends."""
    from vipnet.registry import BackendInfo

    return Sequence[BackendInfo]


def demonstrated() -> Any:
    """Of a demo, and of its end."""
    from vipnet.lab.demo import DemoReport

    return DemoReport | Removed
