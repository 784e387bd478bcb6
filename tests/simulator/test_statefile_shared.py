"""The file of entries while others have it open, and when who writes it dies: the old state or the new, never half."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from vipnet.backend import BackendContext
from vipnet.errors import DataplaneError
from vipnet.intents import EipMapping
from vipnet.plan import TargetPlan
from vipnet_simulator import Installed, SimulatorBackend, statefile

WRITER = """
import sys
from pathlib import Path
from vipnet_simulator import statefile
path, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
for number in range(count):
    statefile.change(path, [(f"{name}{number}".encode(), b"x", "t")], [f"{name}{number - 1}".encode()] if number % 2 else [])
"""

SWITCHER = """
import sys
from pathlib import Path
from vipnet_simulator import statefile
path = Path(sys.argv[1])
print("ready", flush=True)
while True:
    for old, new in (("a", "b"), ("b", "a")):
        put = [(f"{new}{number}".encode(), b"x" * 400, "t") for number in range(2000)]
        statefile.change(path, put, [f"{old}{number}".encode() for number in range(2000)])
"""

DIES_IN_THE_MIDDLE = """
import os, signal, sys
from pathlib import Path
from vipnet_simulator import statefile

def gone():
    for number in range(20_000):  # more than the cache holds: by the end much of it is in the file
        yield f"a{number:05}".encode()
    os.kill(os.getpid(), signal.SIGKILL)

statefile.change(Path(sys.argv[1]), [], gone())
"""

HAS_NO_ROOM = """
import resource, sys
from pathlib import Path
from vipnet.errors import DataplaneError
from vipnet_simulator import statefile
path = Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 100_000,) * 2)
try:
    statefile.change(path, [(f"b{number}".encode(), b"x" * 400, "t") for number in range(20_000)], [b"a00000"])
except DataplaneError as error:
    print(error)
"""


def _rows(path: Path) -> list[bytes]:
    return statefile.load(path, lambda key, _: key)[1]


def _run(script: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", script, *map(str, arguments)], stdout=subprocess.PIPE, text=True)


@contextmanager
def _killed(process: subprocess.Popen[str]) -> Generator[subprocess.Popen[str], None, None]:
    with process:
        try:
            yield process
        finally:
            process.kill()


def _filled(path: Path, count: int) -> list[bytes]:
    statefile.change(path, [(f"a{number:05}".encode(), b"x" * 400, "t") for number in range(count)], [])
    return _rows(path)


def _entry() -> Installed:
    return Installed(EipMapping(eip_id="e", vpc_id="v", network_id="n", eip=1, vip=2, bandwidth=None, uplink=None))


def _apply(path: Path) -> None:
    SimulatorBackend(BackendContext(state=path)).apply(TargetPlan("vpc:v", create=(_entry(),)))


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    file, count = tmp_path / "state", 20
    with ExitStack() as stack:
        writers = [stack.enter_context(_killed(_run(WRITER, file, name, count))) for name in "abc"]
        assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert _rows(file) == sorted(f"{name}{number}".encode() for name in "abc" for number in range(1, count, 2))


def test_killed_in_the_middle_of_a_change_it_is_the_old_state(tmp_path: Path) -> None:
    file = tmp_path / "state"
    rows, backend = _filled(file, 20_000), SimulatorBackend(BackendContext(state=file))
    backend.read()
    stamp, content = backend.stamp(), file.read_bytes()
    with _killed(_run(DIES_IN_THE_MIDDLE, file)) as process:
        assert process.wait() == -signal.SIGKILL
    assert file.read_bytes() != content
    assert backend.changed()
    assert not SimulatorBackend(BackendContext(state=file)).adopt(stamp)
    assert _rows(file) == rows
    assert [other.name for other in tmp_path.iterdir()] == [file.name]


def test_a_journal_that_is_left_makes_the_state_unknown(tmp_path: Path) -> None:
    file = tmp_path / "state"
    _filled(file, 1)
    backend = SimulatorBackend(BackendContext(state=file))
    backend.read()
    (tmp_path / "state-journal").touch()  # as of one who was killed before the file itself was touched
    assert backend.changed()
    assert not SimulatorBackend(BackendContext(state=file)).adopt(backend.stamp())


@pytest.mark.parametrize("rounds", [6, pytest.param(60, marks=pytest.mark.long)])
def test_killed_at_any_time_it_is_the_old_state_or_the_new(tmp_path: Path, rounds: int) -> None:
    file, chance = tmp_path / "state", random.Random(3)
    states = [sorted(f"{name}{number}".encode() for number in range(2000)) for name in "ab"]
    for _ in range(rounds):
        with _killed(_run(SWITCHER, file)) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(chance.uniform(0, 0.3))
        assert _rows(file) in ([], *states)


def test_a_write_that_fails_leaves_the_old_state(tmp_path: Path) -> None:
    file = tmp_path / "state"
    rows = _filled(file, 10)
    with _killed(_run(HAS_NO_ROOM, file)) as process:
        said = process.communicate()[0]
    assert str(file) in said
    assert _rows(file) == rows
    _apply(file)
    assert len(_rows(file)) == 11


def test_a_lock_is_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "state"
    _filled(file, 1)
    with closing(sqlite3.connect(file, isolation_level=None)) as sql:
        sql.execute("BEGIN EXCLUSIVE")
        sql.execute("INSERT INTO entries (key, line) VALUES ('theirs', 'x')")
        thread = threading.Thread(target=_apply, args=(file,))
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
        sql.execute("COMMIT")
    thread.join()
    assert _rows(file) == sorted([b"a00000", b"theirs", _entry().key.encode()])


def test_a_lock_that_stays_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "state"
    rows = _filled(file, 1)
    monkeypatch.setattr(statefile, "_PATIENCE", 0.05)
    with closing(sqlite3.connect(file, isolation_level=None)) as sql:
        sql.execute("BEGIN IMMEDIATE")
        assert _rows(file) == rows
        with pytest.raises(DataplaneError, match=r"another process has held it for 0\.05 s; end it, or wait"):
            _apply(file)
        sql.execute("ROLLBACK")
        sql.execute("BEGIN EXCLUSIVE")
        with pytest.raises(DataplaneError, match="another process has held it"):
            _rows(file)
    assert _rows(file) == rows


def test_a_file_put_in_wal_mode_is_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "state"
    _filled(file, 1)
    monkeypatch.setattr(statefile, "_PATIENCE", 0.05)
    with closing(sqlite3.connect(file, isolation_level=None)) as sql:
        sql.execute("PRAGMA journal_mode = WAL")
        sql.execute("INSERT INTO entries (key, line) VALUES ('theirs', 'x')")
        with pytest.raises(DataplaneError, match="another process has held it"):
            _rows(file)
    assert _rows(file) == [b"a00000", b"theirs"]
    with closing(sqlite3.connect(file)) as sql:
        assert sql.execute("PRAGMA journal_mode").fetchone() == ("delete",)


class _Overtaken(sqlite3.Connection):
    """Somebody else writes right behind each commit."""

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        done = super().execute(statement, *values)
        if statement == "COMMIT":
            place = super().execute("PRAGMA database_list").fetchone()[2]
            with closing(sqlite3.Connection(place, isolation_level=None)) as other:
                other.execute("INSERT INTO entries (key, line) VALUES ('theirs', 'x')")
        return done


def test_a_write_right_behind_a_change_does_not_pass_for_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "state"
    _filled(file, 1)
    backend = SimulatorBackend(BackendContext(state=file))
    backend.read()
    monkeypatch.setattr("sqlite3.connect", partial(sqlite3.connect, factory=_Overtaken))
    backend.apply(TargetPlan("vpc:v", create=(_entry(),)))
    monkeypatch.undo()
    assert backend.changed()
    assert not backend.stamp()
    assert backend.read().keys() == {"a00000", "theirs", _entry().key}
