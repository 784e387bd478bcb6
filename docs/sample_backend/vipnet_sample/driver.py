"""The backend: all input and output."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import ClassVar

from vipnet.backend import Backend, BackendContext, Capability, check_options
from vipnet.errors import DataplaneError
from vipnet.intents import Intent
from vipnet.plan import TargetPlan
from vipnet_sample.compiler import TABLES, Line, compile_intents

__all__ = ["MARK", "SampleBackend"]

MARK = "vipnet"
"""The first word of our lines. Whatever else is in the files is somebody else's: neither read as ours nor touched."""


class SampleBackend(Backend[Line]):
    """Files of lines in the folder of the option `folder`, or beside vipnet's store.

    It knows no IPv6, no networks without a VPC and no limits: what needs one of these is refused while planning, for
    `capabilities` does not name it.
    """

    name: ClassVar[str] = "sample"
    capabilities: ClassVar[frozenset[Capability]] = frozenset({"ipv4", "eip", "distgw"})

    def __init__(self, context: BackendContext) -> None:
        check_options(self.name, context.options, {"folder": str})
        folder = context.options.get("folder") or context.state
        self._folder = None if folder is None else Path(folder)

    def compile(self, intents: Iterable[Intent]) -> dict[str, Line]:
        return compile_intents(intents)

    def read(self) -> dict[str, Line]:
        found = (self._ours(table) for table in TABLES)
        return {line.key: line for lines in found for line in lines}

    def apply(self, step: TargetPlan[Line]) -> Mapping[str, str]:
        """Write one file anew; it is replaced whole, or stays as it was."""
        lines = {line.key: line for line in self._ours(step.target)}
        for line in (*step.delete, *(old for old, _ in step.replace)):
            lines.pop(line.key, None)
        lines |= {line.key: line for line in (*step.create, *(new for _, new in step.replace))}
        mine = [" ".join((MARK, line.name, *line.words)) for line in lines.values()]
        self._write(step.target, [*self._theirs(step.target), *mine])
        return {}

    def _ours(self, table: str) -> list[Line]:
        rows = (line.split() for line in self._lines(table) if line.startswith(f"{MARK} "))
        return [Line(table, name, tuple(words)) for _, name, *words in rows]

    def _theirs(self, table: str) -> list[str]:
        return [line for line in self._lines(table) if not line.startswith(f"{MARK} ")]

    def _lines(self, table: str) -> list[str]:
        try:
            return self._file(table).read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise DataplaneError(f"table {table} cannot be read: {error.strerror}") from error

    def _write(self, table: str, lines: Iterable[str]) -> None:
        file = self._file(table)
        new = file.with_suffix(".new")
        try:
            file.parent.mkdir(exist_ok=True)
            new.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            new.replace(file)
        except OSError as error:
            raise DataplaneError(f"table {table} cannot be written: {error.strerror}") from error

    def _file(self, table: str) -> Path:
        if self._folder is None:
            raise DataplaneError("backend sample has no folder; give the option folder, or a store in a file")
        return self._folder / f"{table}.table"
