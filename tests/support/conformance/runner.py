"""Run a case in process: every command on a store of its own, with the simulator, looked at from outside only."""

from __future__ import annotations

import io
import json
import re
import shlex
import traceback
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conformance.cases import CODES, Case, Step
from conformance.matching import differences, is_list, is_object, show

__all__ = ["Bench", "run_case"]

_LISTS = (
    "vpc-list",
    "network-list",
    "host-list",
    "server-list",
    "instancegroup-list",
    "groupguest-list",
    "groupnetwork-list",
    "eip-list",
)

Main = Callable[[list[str]], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    command: tuple[str, ...]
    code: int
    out: str
    err: str
    value: Any = None
    error: Any = None
    problems: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        return f"exit {self.code}, said: {(self.out if self.code == 0 else self.err).strip()[:2000]}"


@dataclass(slots=True)
class Bench:
    """A fresh store in `folder`, and the values that the case has saved."""

    main: Main
    folder: Path
    saved: dict[str, Any] = field(default_factory=dict[str, Any])

    def expand(self, value: Any) -> Any:
        """Put saved values for `${name}`, deep inside."""
        if isinstance(value, str):
            return re.sub(r"\$\{(\w+)\}", lambda match: str(self.saved[match[1]]), value)
        if is_list(value):
            return [self.expand(item) for item in value]
        if is_object(value):
            return {key: self.expand(item) for key, item in value.items()}
        return value

    def run(self, *command: str) -> _Answer:
        """Run one command and check what is asked of every answer."""
        store = f"sqlite:///{self.folder / 'store.db'}"
        argv = ["--store", store, "--backend", "simulator", "-o", "json", *(self.expand(word) for word in command)]
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            try:
                code = self.main(argv)
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                code = -1
                err.write("an exception escaped main():\n" + "".join(traceback.format_exception(error)))
        return _answer(command, code, out.getvalue(), err.getvalue())

    def everything(self) -> dict[str, Any]:
        """What the list commands show, in an order of its own."""
        seen = {name: self._listed(name) for name in _LISTS}
        for row in seen["network-list"]:
            seen[f"network-addresses {row['name']}"] = self._listed("network-addresses", row["id"])
        return seen

    def _listed(self, *command: str) -> list[Any]:
        answer = self.run(*command)
        assert not answer.problems, answer.problems
        assert is_list(answer.value), answer.summary
        return sorted(answer.value, key=lambda item: json.dumps(item, sort_keys=True))


def run_case(bench: Bench, case: Case) -> list[str]:
    """Run a case to its end or its first problem; return what is wrong."""
    for step in (*case.setup, *case.steps):
        problems = _run_step(bench, step)
        if problems:
            return problems
    return []


def _run_step(bench: Bench, step: Step) -> list[str]:
    then = bench.expand(step.then)
    is_watched = step.may_be_refused if step.unchanged is None else step.unchanged
    before = bench.everything() if is_watched else {}
    answer = bench.run(*step.command)
    problems = list(answer.problems) or _verdict(then, answer)
    if is_watched and (step.unchanged or answer.code in (1, 2)):
        problems += _changes(before, bench.everything())
    problems += _save(bench, step.save, answer.value)
    return [f"$ {shlex.join(answer.command)}", *problems, answer.summary] if problems else []


def _save(bench: Bench, wanted: Mapping[str, str], value: Any) -> list[str]:
    for name, path in wanted.items():
        try:
            found = value
            for part in str(path).split("."):
                found = found[int(part)] if is_list(found) else found[part]
        except (KeyError, IndexError, TypeError, ValueError):
            return [f"save: the answer has no {path}"]
        bench.saved[name] = found
    return []


def _verdict(then: Mapping[str, Any], answer: _Answer) -> list[str]:
    if "any" in then:
        tries = [_verdict(item, answer) for item in then["any"]]
        return [] if not all(tries) else [f"(any) {line}" for lines in tries for line in lines]
    if differences(then["exit"], answer.code):
        return [f"exit: expected {show(then['exit'])}, got {answer.code}"]
    wrong = differences(then["error"], answer.error, "error") if "error" in then else []
    return wrong + (differences(then["json"], answer.value) if "json" in then else [])


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    return [
        f"unchanged: {key} was {show(before.get(key))}, is {show(after.get(key))}"
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key)
    ]


def _answer(command: tuple[str, ...], code: int, out: str, err: str) -> _Answer:
    value = error = None
    problems: tuple[str, ...] = ()
    if code == 0:
        value, problems = _parsed(out, "stdout")
    elif code in (1, 3):
        document, problems = _parsed(err, "stderr")
        error = document.get("error") if is_object(document) else None
        problems = problems or _error_problems(code, error)
    elif code != 2 or not err.strip():
        problems = (f"exit status {code}, or silence, is not expected",)
    return _Answer(command=command, code=code, out=out, err=err, value=value, error=error, problems=problems)


def _parsed(text: str, stream: str) -> tuple[Any, tuple[str, ...]]:
    try:
        return json.loads(text), ()
    except ValueError as error:
        return None, (f"{stream} is not one JSON value ({error}): {text[:400]!r}",)


def _error_problems(code: int, error: Any) -> tuple[str, ...]:
    if not is_object(error) or not isinstance(error.get("details"), str) or not error["details"]:
        return (f"no JSON error with details: {show(error)}",)
    if code == 1 and CODES.get(str(error.get("class"))) != error.get("code"):
        return (f"class and code do not belong together: {show(error)}",)
    return ()
