"""A process whose children make changes with a fault in their way; run as a program: CONFIG SALT.

It reads a `Trial` a line, as JSON, lets a child of its make that change in a Controller of its own, with that fault at that
point, and answers with a `Report`.
"""

from __future__ import annotations

import gc
import json
import os
import random
import sys
import threading
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from subprocess import PIPE, Popen
from typing import IO, Any, cast

from changes import change

from vipnet.controller import Controller
from vipnet.errors import DataplaneError, RefusedError
from vipnet.operations.draft import World
from vipnet.testing.injector import Injector, Kind

__all__ = ["NOW", "Report", "Trial", "ask", "serving", "world"]

NOW = 1_700_000_000.0
_FILES = "/proc/self/fd"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A change of `changes`, and a fault of it; with `goes_on` the same Controller then applies, if it lives.

    With an odd seed it reads the store by key, as commands do.
    """

    verb: str
    seed: int
    point: int | None = None
    kind: Kind = "fail"
    goes_on: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How it ended: `died`, `done`, `refused`, `taken back`, `pending`, `interrupted`, or `broken`; and in what words.

    `passed` are the seams met. `left`: files and threads that are open after all was closed, and were not before.
    """

    end: str
    words: str = ""
    passed: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


def world(salt: str, seed: int) -> World:
    """Ids and chance that are the same for the same seed, and a clock that stands still.

    The salt keeps two that run on one machine apart: native names follow from ids.
    """
    chance = random.Random(f"{salt} {seed}")

    def new_id() -> str:
        return str(uuid.UUID(int=chance.getrandbits(128), version=4))

    return World(clock=lambda: NOW, random=chance.randrange, new_id=new_id)


@contextmanager
def serving(config: Path, salt: str) -> Generator[Popen[str], None, None]:
    """Have such a process for the length of a `with` block."""
    with Popen([sys.executable, __file__, str(config), salt], stdin=PIPE, stdout=PIPE, text=True, bufsize=1) as process:
        yield process
        process.communicate()


def ask(process: Popen[str], trial: Trial) -> Report:
    """Have one trial made."""
    cast(IO[str], process.stdin).write(json.dumps(asdict(trial)) + "\n")
    return _report(cast(IO[str], process.stdout).readline())


def _report(said: str) -> Report:
    row: dict[str, Any] = json.loads(said)
    return Report(end=row["end"], words=row["words"], passed=tuple(row["passed"]), left=tuple(row["left"]))


def _tried(config: str, salt: str, trial: Trial) -> Report:
    before = _open()
    with Controller.open(config, world=world(salt, trial.seed), by_key=trial.seed % 2 == 1) as cloud:
        cloud.read()
        end, words, passed = _changed(cloud, trial)
        if trial.goes_on:
            cloud.apply()
    if (left := _open() - before) and gc.collect() >= 0:
        left = _open() - before
    return Report(end=end, words=words, passed=tuple(passed), left=tuple(sorted(left)))


def _changed(cloud: Controller, trial: Trial) -> tuple[str, str, list[str]]:
    from seams import SEAMS

    with Injector(SEAMS, point=trial.point, kind=trial.kind, relevant=_is_of_the_change) as injector:
        try:
            with cloud.transaction() as tx:
                change(tx, trial.verb, trial.seed)
            end, words = "done", ""
        except RefusedError as error:
            end, words = "refused", repr(error)
        except DataplaneError as error:
            end, words = "pending" if error.pending else "taken back", repr(error)
        except KeyboardInterrupt:
            end, words = "interrupted", ""
        except BaseException as error:  # noqa: BLE001 -- the test that asked says so
            end, words = "broken", repr(error)
    return end, words, injector.passed


def _is_of_the_change() -> bool:
    return threading.current_thread().name != "vipnet-announcements"


def _open() -> set[str]:
    """What files and threads this process has."""
    files = {f"{file} {target}" for file in os.listdir(_FILES) if (target := _target(file))}  # noqa: PTH208 -- a Path takes five times as long
    return files | {f"thread {thread.name}" for thread in threading.enumerate()}


def _target(file: str) -> str:
    try:
        target = os.readlink(f"{_FILES}/{file}")  # noqa: PTH115
    except FileNotFoundError:
        return ""  # it was that of the listing itself
    return "" if "/proc/" in target else target


def _in_a_child(config: str, salt: str, trial: Trial) -> Report:
    hear, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(hear)
        try:
            report = _tried(config, salt, trial)
        except BaseException as error:  # noqa: BLE001 -- the test that asked says so
            report = Report(end="broken", words=f"after the change: {error!r}")
        with os.fdopen(tell, "w") as answer:
            json.dump(asdict(report), answer)
        os._exit(0)
    os.close(tell)
    with os.fdopen(hear) as answer:
        said = answer.read()
    _, status = os.waitpid(child, 0)
    assert bool(said) != os.WIFSIGNALED(status), said
    return _report(said) if said else Report(end="died")


def _main(config: str, salt: str) -> None:
    _warm(config)
    for line in sys.stdin:
        report = _in_a_child(config, salt, Trial(**json.loads(line)))
        sys.stdout.write(json.dumps(asdict(report)) + "\n")
        sys.stdout.flush()


def _warm(config: str) -> None:
    """Do before all forks what each process does once: import, read the store, and learn how rules look when listed."""
    import asyncio

    import pyroute2
    import seams

    from vipnet_nftables.ruleset import kinds
    from vipnet_nftables.wire.objects import template

    del asyncio, pyroute2, seams
    for kind in kinds():
        template(kind)
    with Controller.open(config) as cloud:
        cloud.read()
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    _main(*sys.argv[1:])
