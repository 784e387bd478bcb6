"""Demos on disk: what each made, written down before or as it is made, so that any later process can take it down.

A demo's folder is named after the process that runs it (pid, start time, a random part): who finds the folder knows
whether that process still lives, and there is no moment at which a folder belongs to nobody.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vipnet.errors import VipnetError
from vipnet.lab import netns
from vipnet.lab.node import wait_for
from vipnet.process import kill, start_time

__all__ = ["Run", "clear_all", "demos_root"]

_NAME = re.compile(r"(\d+)-(\d+)-[0-9a-f]{8}")


def demos_root() -> Path:
    """The folder of all demos of this user: `$XDG_CACHE_HOME/vipnet/demo`, by default below ~/.cache."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(cache) if cache.startswith("/") else Path.home() / ".cache") / "vipnet" / "demo"


class Run:
    """One demo: its folder, and the record in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = f"sqlite:///{folder / 'vipnet.db'}"
        self._file = folder / "record.jsonl"

    @classmethod
    def start(cls) -> Run:
        """Make the folder of a demo that this process runs."""
        pid = os.getpid()
        folder = demos_root() / f"{pid}-{start_time(pid)}-{secrets.token_hex(4)}"
        folder.mkdir(parents=True)
        return cls(folder)

    @classmethod
    def all(cls) -> list[Run]:
        """Every demo that left a folder, running or not."""
        root = demos_root()
        return [cls(path) for path in sorted(root.iterdir()) if _NAME.fullmatch(path.name)] if root.is_dir() else []

    def record(self, kind: str, value: str) -> None:
        """Write down that something is made: a "namespace", a "process", a "folder", the "host" and its "backend"; or "kept"."""
        row = {"kind": kind, "value": value} | ({"started": start_time(int(value))} if kind == "process" else {})
        with self._file.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def named(self, kind: str) -> list[str]:
        """What was recorded of a kind, in order."""
        return [row["value"] for row in self._rows() if row["kind"] == kind]

    def is_running(self) -> bool:
        """Whether the process that runs it lives and has not left it standing on purpose."""
        found = _NAME.fullmatch(self.folder.name)
        assert found is not None
        return start_time(int(found[1])) == int(found[2]) and not self.named("kept")

    def clear(self) -> None:
        """End its processes, remove what vipnet programmed, its namespaces and its folder. Idempotent.

        Raises the VipnetError of a data plane that could not be emptied, after all the rest has gone.
        """
        processes = [(int(row["value"]), row["started"]) for row in self._rows() if row["kind"] == "process"]
        killed = [pid for pid, started in processes if started and kill(pid, started)]
        try:
            wait_for(lambda: not any(map(start_time, killed)), "the lab's servers to end")
            self._empty_data_plane()
        finally:
            for name in self.named("namespace"):
                netns.delete(name)
            shutil.rmtree(self.folder, ignore_errors=True)
            _remove_empty(demos_root(), up=2)

    def _empty_data_plane(self) -> None:
        """Make a data plane without any object of this host namespace: all that carries vipnet's mark there goes.

        Nobody needs to know names for this, and it also finds what a demo made in its last moment.
        """
        from vipnet.controller import Controller

        hosts = [name for name in self.named("host") if name in netns.names()]
        for host, backend in zip(hosts, self.named("backend"), strict=False):
            with Controller.open(store="memory:", backend=backend, namespace=host) as cloud:
                cloud.apply(audit=True)

    def _rows(self) -> Iterator[dict[str, Any]]:
        try:
            lines = self._file.read_text().splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            try:
                yield json.loads(line)
            except ValueError:  # its process was killed in the middle of this line, before it made the thing
                continue


def _remove_empty(folder: Path, *, up: int) -> None:
    for path in [folder, *folder.parents][:up]:
        try:
            path.rmdir()
        except OSError:  # others are in it
            return


def clear_all(runs: list[Run]) -> list[VipnetError]:
    """Clear demos, each whatever becomes of the others; return the errors."""
    errors: list[VipnetError] = []
    for run in runs:
        try:
            run.clear()
        except VipnetError as error:
            errors.append(error)
    return errors
