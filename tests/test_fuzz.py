"""Hostile words on the command line: no exception, no traceback, an exit status that means what it says."""

from __future__ import annotations

import hashlib
import io
import json
import random
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hostile import COMMANDS, GOALS, PREPARED, Words

from vipnet.cli import main
from vipnet.errors import DataplaneError, RefusedError

_LISTS = [name for name, verb in COMMANDS.items() if name.endswith("-list") and not verb.arguments]
_CLASSES = {kind.__name__ for kind in (*RefusedError.__subclasses__(), DataplaneError)}
_RESET_AFTER = 150
_LISTS_AFTER = 60


@dataclass(frozen=True, slots=True)
class Answer:
    code: int
    out: str
    err: str


class Shell:
    """The command line over a store of its own, and what is in that store."""

    def __init__(self, folder: Path, encoding: str = "utf-8") -> None:
        self.folder = folder
        self.encoding = encoding
        self.path = folder / "vipnet.db"
        self.prepared: dict[Path, bytes] = {}

    def furnish(self) -> None:
        """Lay files about: models to import, a store whose data plane cannot be reached."""
        self.reset()
        (self.folder / "broken.db.simulator.state").mkdir()
        for format in ("json", "yaml"):
            (self.folder / f"model.{format}").write_text(self("export", "--format", format).out)
        model = (self.folder / "model.json").read_text()
        (self.folder / "broken.json").write_text(model[: len(model) // 2])

    def reset(self) -> None:
        """Begin with a fresh store and some objects."""
        for path in self.folder.glob("vipnet.db*"):
            path.unlink()
        for line in PREPARED[: 0 if self.prepared else None]:
            answer = self(*line.split())
            assert answer.code == 0, (line, answer)
        for path, content in self.prepared.items():
            path.write_bytes(content)
        self.prepared = {path: path.read_bytes() for path in self.folder.glob("vipnet.db*")}

    def __call__(self, *words: str) -> Answer:
        out, err = self._stream("strict"), self._stream("backslashreplace")
        with redirect_stdout(out), redirect_stderr(err):
            code = main(["--store", f"sqlite:///{self.path}", *words])
        return Answer(code, _text(out), _text(err))

    def _stream(self, errors: str) -> io.TextIOWrapper:
        return io.TextIOWrapper(io.BytesIO(), encoding=self.encoding, errors=errors, write_through=True, newline="")

    def lists(self) -> list[Answer]:
        """What the list commands print."""
        return [self("-o", "json", name) for name in _LISTS]

    def fingerprint(self) -> str:
        """A hash of what the store and the simulator's file hold."""
        found = hashlib.sha256()
        for path in (self.path, *sorted(self.folder.glob("vipnet.db.*.state"))):
            with closing(sqlite3.connect(path)) as held:
                for text in held.iterdump():
                    found.update(text.encode())
        return found.hexdigest()


def _text(stream: io.TextIOWrapper) -> str:
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode(stream.encoding)


def _changes(words: Sequence[str]) -> bool:
    """Whether a command line that succeeds may change anything."""
    verb = next((COMMANDS[word] for word in words if word in COMMANDS), None)
    return "--dry-run" not in words and verb is not None and (verb.changes or verb.name == "apply")


def _check(words: Sequence[str], answer: Answer, *, is_json: bool) -> None:
    codes = {0, 1, 2, 3, 4} if "plan" in words else {0, 1, 2, 3}
    assert answer.code in codes
    assert "Traceback" not in answer.out + answer.err
    spoken = [character for character in answer.out + answer.err if not character.isprintable() and character != "\n"]
    assert not spoken, f"control characters reach the terminal: {spoken}"
    if answer.code == 2:
        assert answer.err.startswith("Usage:")
    if is_json and answer.code == 0:
        json.loads(answer.out)
    elif is_json and answer.code in (1, 3):
        assert {"class", "code", "details"} <= json.loads(answer.err)["error"].keys()
        assert not answer.out
    elif answer.code in (1, 3):
        assert answer.err.count("\n") == 1


@dataclass(frozen=True, slots=True)
class Tally:
    """How often each command ended with each status, and each class of error was named in JSON."""

    seed: int
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter[tuple[str, int]])
    classes: Counter[str] = field(default_factory=Counter[str])
    begin: float = field(default_factory=time.monotonic)

    def note(self, words: Sequence[str], answer: Answer, *, is_json: bool) -> None:
        """Count one answer."""
        self.statuses[next((word for word in words if word in COMMANDS), ""), answer.code] += 1
        if is_json and answer.code in (1, 3):
            self.classes[json.loads(answer.err)["error"]["class"]] += 1

    def report(self) -> None:
        """Print it."""
        calls, seconds = self.statuses.total(), time.monotonic() - self.begin
        by_code = {code: sum(n for (_, found), n in self.statuses.items() if found == code) for code in range(5)}
        sys.stdout.write(f"seed {self.seed}: {calls} calls, {calls / seconds:.0f} a second; by status {by_code}\n")
        sys.stdout.write("".join(f"{name:32}{count}\n" for name, count in self.classes.most_common()))
        for name in sorted({name for name, _ in self.statuses}):
            codes = {code: count for (verb, code), count in sorted(self.statuses.items()) if verb == name}
            sys.stdout.write(f"{name:32}{', '.join(f'{code}: {count}' for code, count in codes.items())}\n")


def _fuzz(folder: Path, seed: int, calls: int) -> Tally:
    chance = random.Random(seed)
    shell, words_of, tally = Shell(folder), Words(chance), Tally(seed)
    shell.furnish()
    mark = ""
    for number in range(calls):
        if number % _RESET_AFTER == 0:
            shell.encoding = chance.choice(("utf-8", "utf-8", "ascii"))
            shell.reset()
            mark = shell.fingerprint()
        told = number < len(GOALS)
        words, is_json = GOALS[number].split() if told else words_of.line(), told or chance.random() < 0.7
        words = ["-o", "json", *words] if is_json else words
        lists = shell.lists() if number % _LISTS_AFTER == 0 else None
        try:
            answer = shell(*words)
            _check(words, answer, is_json=is_json)
            after = shell.fingerprint()
            assert after == mark or (answer.code in (0, 3) and _changes(words)), "something has changed"
            assert lists is None or answer.code in (0, 3) or shell.lists() == lists
        except (Exception, SystemExit) as error:
            raise AssertionError(f"seed {seed}, call {number}: {[word[:200] for word in words]}: {error!r}") from error
        mark = after
        tally.note(words, answer, is_json=is_json)
    tally.report()
    return tally


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("CONFIG", "STORE", "BACKEND", "OUTPUT", "DRY_RUN"):
        monkeypatch.delenv(f"VIPNET_{name}", raising=False)
    return tmp_path


_TOLD = (
    ("eip-change-bandwidth", "e1", "9" * 5000),
    ("network-create", "x", "10.9.0.0/28", "--vpc", "v1", "--prefix6", "fd00:9::/126"),
    ("network-create", "x", "10.9.0.0/28", "--vpc", "v1", "--prefix6", "fd00:9::%x;y/64"),
    ("vpc-list", "--\x1b[31m"),
    ("import", "w\udd49"),
    ("--config", "a\x00b", "vpc-list"),
    *(("--store", f"sqlite:///{name}", "vpc-list") for name in ("a\x00b", "\ud800", ".")),
    ("--store", "postgresql://u@h:port/db", "vpc-list"),
)


@pytest.mark.parametrize("words", _TOLD, ids=lambda words: ascii(words)[:60])
def test_told_words_are_refused(folder: Path, words: Sequence[str]) -> None:
    shell = Shell(folder)
    shell.reset()
    mark, answer = shell.fingerprint(), shell(*words)
    _check(words, answer, is_json=False)
    assert (answer.code in (1, 2), shell.fingerprint()) == (True, mark)


def test_a_store_is_the_file_that_is_named(folder: Path) -> None:
    assert Shell(folder)("--store", f"sqlite:///{folder}/odd?mode=ro#x", "host-create", "h").code == 0
    assert (folder / "odd?mode=ro#x").stat().st_size


@pytest.mark.timeout(600)  # half a minute on a quiet machine
def test_hostile_words_are_refused_or_meant(folder: Path) -> None:
    tally = _fuzz(folder, 1, 1500)  # a fixed sample; the long run draws its own
    assert {name for name, _ in tally.statuses} >= COMMANDS.keys()
    assert tally.classes.keys() == _CLASSES


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_many_hostile_words_are_refused_or_meant(folder: Path) -> None:
    tally = _fuzz(folder, random.SystemRandom().randrange(2**32), 100_000)
    assert {name for name, code in tally.statuses if code == 0} >= COMMANDS.keys()
    assert tally.classes.keys() == _CLASSES
