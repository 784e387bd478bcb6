"""What a command prints: one JSON value, or a table; errors and warnings on stderr.

The streams are looked up when they are written to, so that callers may redirect them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import select
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO, TypeGuard

from vipnet.cli.settings import OutputFormat
from vipnet.cli.shapes import Planned, Text
from vipnet.cli.terminal import has_colours, is_terminal, painted, painted_plan, width
from vipnet.errors import DataplaneError, RefusedError, VipnetError
from vipnet.plan import Plan

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from vipnet.views import TraceStepView, TraceView

__all__ = [
    "BUG",
    "DATAPLANE",
    "NOT_EMPTY",
    "REFUSED",
    "encodes",
    "has_reader",
    "line",
    "report",
    "report_bug",
    "report_usage",
    "show",
    "show_line",
    "show_plan",
    "show_text",
    "show_trace",
]

REFUSED = 1
DATAPLANE = 3
NOT_EMPTY = 4
BUG = 70  # EX_SOFTWARE of sysexits.h: 1 would promise that nothing changed, which nobody knows after a bug

_PIPE_WIDTH = 100_000  # lines are not folded for a program that reads them


def show(value: object, *, output: OutputFormat, columns: Sequence[str] = ()) -> None:
    """Print a view, a list of views or a text; in a table of several, only `columns`, if there are any."""
    if output == "json":
        _show_json(_plain(Text(config=value) if isinstance(value, str) else value))
    elif isinstance(value, str):
        _write(sys.stdout, value if value.endswith("\n") else value + "\n")
    else:
        _show_table(_plain(value), columns)


def show_plan(plan: Plan[Any], *, output: OutputFormat, warnings: Sequence[str] = ()) -> None:
    """Print a plan, and what the operation that it stands for would warn of."""
    if output == "json":
        document: Planned = {**plan.as_json(), "warnings": list(warnings)}
        _show_json(document)
        return
    _write(sys.stdout, painted_plan(f"{plan}\n", sys.stdout))
    _warn(warnings)


def show_trace(way: TraceView, *, output: OutputFormat) -> None:
    """Print the way of a packet: what becomes of it, and under each stage what that rests on."""
    if output == "json":
        _show_json(_plain(way))
        return
    end = f"to {way.to or 'nobody'}" if way.verdict == "delivered" else f"({way.reason})"
    colour = "green" if way.verdict == "delivered" else "red"
    _write(sys.stdout, f"{painted(way.verdict, colour, sys.stdout)} {end}, {way.src} > {way.dst}\n")
    rows = [row for step in way.steps for row in _trace_rows(step)]
    _print(console := _console(), _table(console, ("stage", "what"), rows))
    _warn(way.warnings)


def _trace_rows(step: TraceStepView) -> Iterator[tuple[str, str]]:
    yield step.stage, step.action
    for one in step.evidence:
        where = f" ({one.target})" if one.target else ""
        yield " ", f"  {one.state}: {one.entry}{where}{f': {one.detail}' if one.detail else ''}"


def show_text(text: str, value: object, *, output: OutputFormat) -> None:
    """Print a text as it is, or the JSON value that it is part of."""
    if output == "json":
        _show_json(value)
    else:
        _write(sys.stdout, text)


def encodes(text: str) -> bool:
    """Whether standard output can take every character of a text."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def line(text: str, *, output: OutputFormat) -> None:
    """Print a line of progress, out of the way of a JSON value."""
    stream = sys.stderr if output == "json" else sys.stdout
    _write(stream, f"{text}\n")


def show_line(text: str, value: object, *, output: OutputFormat) -> bool:
    """Print one of many, as a JSON value or a text in a line of its own; whether anybody still reads."""
    line = json.dumps(_plain(value)) if output == "json" else _one_line(text)
    return _write(sys.stdout, f"{line}\n")


def has_reader() -> bool:
    """Whether what is printed may still be read: a pipe may have lost its other end."""
    try:
        descriptor = sys.stdout.fileno()
    except OSError:  # it is kept in memory
        return True
    pipe = select.poll()
    pipe.register(descriptor, 0)
    return not pipe.poll(0)


def report(error: VipnetError, *, output: OutputFormat) -> int:
    """Print an error and return the exit status that belongs to it."""
    if output == "json":
        body: dict[str, Any] = {"class": type(error).__name__, "code": error.code, "details": error.details}
        if isinstance(error, DataplaneError):
            body["pending"] = error.pending
        _write(sys.stderr, json.dumps({"error": body}) + "\n")
    else:
        _write(sys.stderr, f"{painted('error:', 'red', sys.stderr)} {_one_line(error.details)}\n")
    return REFUSED if isinstance(error, RefusedError) else DATAPLANE


def report_usage(text: str) -> None:
    """Print what is wrong with a command line, and how it is meant."""
    _write(sys.stderr, "".join(f"{_one_line(part)}\n" for part in text.rstrip("\n").split("\n")))


def report_bug(error: BaseException, *, output: OutputFormat) -> int:
    """Print an exception that nobody expected, with where it came from, and return the exit status."""
    trace = "".join(traceback.format_exception(error))
    details = "this is a defect of vipnet; `vipnet status` tells what was done"
    if output == "json":
        body = {"class": type(error).__name__, "code": 500, "details": f"{error}; {details}", "traceback": trace}
        _write(sys.stderr, json.dumps({"error": body}) + "\n")
    else:
        _write(sys.stderr, f"{trace}{painted('error:', 'red', sys.stderr)} {details}\n")
    return BUG


def _one_line(text: str) -> str:
    # Words of a user must neither break the line nor speak to the terminal.
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def _plain(value: object) -> Any:
    # dataclasses.asdict copies every value deeply, which for ten thousand objects takes longer than to find them.
    if value is None or isinstance(value, (str, int)):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: _plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if _is_sequence(value):
        return [_plain(item) for item in value]
    return value


def _write(stream: TextIO, text: str) -> bool:
    # A reader that went away has seen enough; what was asked is done all the same.
    with contextlib.suppress(BrokenPipeError):
        try:
            stream.write(text)
        except UnicodeEncodeError:
            stream.write(text.encode(stream.encoding, "backslashreplace").decode(stream.encoding))
        stream.flush()
        return True
    return False


def _show_json(value: object) -> None:
    indent = 2 if is_terminal(sys.stdout) else None
    _write(sys.stdout, json.dumps(value, indent=indent) + "\n")


def _show_table(value: Any, columns: Sequence[str]) -> None:
    several = _is_sequence(value)
    rows: Sequence[Any] = value if several else [value]
    warnings = [text for row in rows for text in row.get("warnings", ())]
    console = _console()
    if several:
        fields = columns or [name for name in (rows[0] if rows else ()) if name not in ("id", "warnings")]
        _show_rows(console, fields, [[row.get(name) for name in fields] for row in rows])
    else:
        shown = [[name, item] for name, item in rows[0].items() if name != "warnings"]
        _print(console, _table(console, ("field", "value"), shown))
    _warn(warnings)


def _show_rows(console: Console, fields: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    table = _table(console, fields, rows)
    if console.measure(table, options=console.options.update(max_width=_PIPE_WIDTH)).maximum <= console.width:
        _print(console, table)
        return
    # On a terminal that is too narrow, addresses broken over lines help nobody: one table for each object.
    for row in rows:
        _print(console, _table(console, ("field", "value"), list(zip(fields, row, strict=True))))


def _warn(warnings: Sequence[str]) -> None:
    for text in warnings:
        _write(sys.stderr, f"{painted('warning:', 'yellow', sys.stderr)} {_one_line(text)}\n")


def _console() -> Console:
    from rich.console import Console

    seen = is_terminal(sys.stdout)
    return Console(
        file=sys.stdout,
        width=width(sys.stdout) if seen else _PIPE_WIDTH,
        height=25,  # for without one, rich takes the width of a dumb terminal for 80
        force_terminal=seen,
        color_system="auto" if has_colours(sys.stdout) else None,
        markup=False,
        highlight=False,
        emoji=False,
    )


def _print(console: Console, table: Table) -> None:
    with console.capture() as captured:
        console.print(table)
    _write(sys.stdout, "".join(f"{text.rstrip()}\n" for text in captured.get().splitlines()))


def _table(console: Console, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD if console.is_terminal else None, pad_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(item)) for item in row))
    return table


def _cell(value: object) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if _is_mapping(value):
        return "\n".join(f"{name}: {_cell(item)}" for name, item in value.items()) or "-"
    if _is_sequence(value):
        return ("\n" if any(_is_mapping(item) for item in value) else ", ").join(_item(item) for item in value) or "-"
    return str(value)


def _item(value: object) -> str:
    if _is_mapping(value):
        return " ".join(_cell(item) for item in value.values() if item not in (None, ""))
    return _cell(value)


def _is_mapping(value: object) -> TypeGuard[Mapping[str, object]]:
    return isinstance(value, Mapping)


def _is_sequence(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, list | tuple)
