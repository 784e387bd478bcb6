"""A picture of what a lab or a demo may leave on the machine, to be compared before and after."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vipnet.lab import netns
from vipnet.process import run

__all__ = ["Machine", "look"]


@dataclass(frozen=True, slots=True)
class Machine:
    """Named namespaces, command lines of processes, links and nft ruleset of the machine's own namespace, files."""

    namespaces: tuple[str, ...]
    processes: tuple[str, ...]
    links: tuple[str, ...]
    ruleset: str
    files: tuple[str, ...]


def look(marks: Sequence[str], *folders: Path) -> Machine:
    """Take a picture; of namespaces and processes only those with one of `marks` in them: others work here too."""
    return Machine(
        namespaces=tuple(name for name in netns.names() if any(mark in name for mark in marks)),
        processes=tuple(sorted(command for command in _commands() if any(mark in command for mark in marks))),
        links=tuple(sorted(path.name for path in Path("/sys/class/net").iterdir())),
        ruleset=run(["nft", "list", "ruleset"]).stdout,
        files=tuple(sorted(str(path) for folder in folders for path in folder.rglob("*"))),
    )


def _commands() -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
