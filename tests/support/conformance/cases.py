"""Read the case files, described in README.md beside this file."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from conformance.matching import is_list, is_object

__all__ = ["CODES", "Case", "Step", "load", "words"]

CODES = {
    "InputParameterError": 400,
    "MissingParameterError": 400,
    "InvalidStatusError": 400,
    "InsufficientResourceError": 400,
    "BadRequestError": 400,
    "ForbiddenError": 403,
    "ResourceNotFoundError": 404,
    "NotFoundError": 404,
    "NotSupportedError": 406,
    "UnsupportOperationError": 406,
    "NotEmptyError": 406,
    "ConflictError": 409,
}
_CASE_KEYS = {"id", "title", "fixture", "given", "when", "then", "unchanged"}
_STEP_KEYS = {"run", "then", "unchanged", "save"}
_THEN_KEYS = {"exit", "error", "json", "any"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A command and what must come of it. `unchanged` None: only when it is refused."""

    command: tuple[str, ...]
    then: dict[str, Any]
    unchanged: bool | None
    save: dict[str, str]

    @property
    def verb(self) -> str:
        """The command's name, behind global options."""
        return next(word for word in self.command if not word.startswith("-"))

    @property
    def may_be_refused(self) -> bool:
        """Whether exit 1 or 2 is among what is expected."""
        return any(answer["exit"] not in (0, 3) for answer in self.then.get("any", [self.then]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One case: commands that must succeed, then the steps that are looked at."""

    id: str
    file: str
    title: str
    setup: tuple[Step, ...]
    steps: tuple[Step, ...]


def load(folder: Path) -> list[Case]:
    """Read every case of a folder; a wrong file is a ValueError."""
    cases = [case for path in sorted(folder.glob("*.yaml")) for case in _cases_of(path)]
    ids = [case.id for case in cases]
    _check(len(ids) == len(set(ids)), f"an id is taken twice: {ids}")
    return cases


def words(command: str | list[Any]) -> tuple[str, ...]:
    """Split a command like a shell does."""
    return tuple(shlex.split(command)) if isinstance(command, str) else tuple(str(word) for word in command)


def _check(fine: bool, problem: str) -> None:
    if not fine:
        raise ValueError(problem)


def _cases_of(path: Path) -> list[Case]:
    document: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    _check(set(document) <= {"fixture", "cases"}, f"{path.name}: a case file has the keys fixture and cases")
    return [_case(raw, document.get("fixture", []), path.name) for raw in document["cases"]]


def _case(raw: dict[str, Any], fixture: list[Any], file: str) -> Case:
    _check(set(raw) <= _CASE_KEYS, f"{file}: unknown key in {raw}")
    given = ([] if raw.get("fixture") is False else list(fixture)) + list(raw.get("given", []))
    when = raw["when"]
    if not is_list(when):
        when = [{"run": when, **{key: raw[key] for key in ("then", "unchanged") if key in raw}}]
    return Case(
        id=str(raw["id"]),
        file=file,
        title=str(raw["title"]),
        setup=tuple(_step(item) for item in given),
        steps=tuple(_step(item) for item in when),
    )


def _step(raw: Any) -> Step:
    if not is_object(raw):
        raw = {"run": raw}
    elif "run" not in raw:
        _check(len(raw) == 1, f"cannot read step {raw}")
        ((command, then),) = raw.items()
        raw = {"run": command, "then": then}
    _check(set(raw) <= _STEP_KEYS, f"cannot read step {raw}")
    return Step(command=words(raw["run"]), then=_then(raw.get("then")), unchanged=raw.get("unchanged"), save=raw.get("save", {}))


def _then(then: Any) -> dict[str, Any]:
    if then is None or then == "ok":
        return {"exit": 0}
    if isinstance(then, int):
        return {"exit": then}
    if isinstance(then, str):
        return {"exit": 1, "error": _error(then)}
    _check(is_object(then) and set(then) <= _THEN_KEYS, f"cannot read then: {then}")
    if "any" in then:
        return {"any": [_then(item) for item in then["any"]]}
    if "error" in then:
        return {"exit": 1, **then, "error": _error(then["error"])}
    return {"exit": 0, **then}


def _error(error: Any) -> dict[str, Any]:
    if is_object(error):
        return error
    name, _, code = str(error).partition(" ")
    _check(CODES.get(name) == int(code), f"no such error: {error}")
    return {"class": name, "code": int(code)}
