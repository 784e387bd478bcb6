"""The pytest plugin of the contract: `pytest_plugins = ["vipnet.testing.plugin"]`.

Fixtures for classes that derive from `vipnet.testing.BackendContract`; the option `--require-backend NAME`; the marks `root`
and `long`; and the table promises x backends at the end of a run, also of one that pytest-xdist spread over processes.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final, cast

import pytest

_ASSERTING: Final = (
    "commits", "continuity", "contract", "icmp", "metering", "neighbours", "network", "owed", "promises", "promises6", "restarts",
    "watching",
)  # fmt: skip
pytest.register_assert_rewrite(*{f"vipnet.testing.{name}" for name in _ASSERTING} - sys.modules.keys())

if TYPE_CHECKING:
    from vipnet.backend import Backend
    from vipnet.testing.contract import SystemTests
    from vipnet.testing.controlled import ControlledNetwork
    from vipnet.testing.network import NetworkUnderTest
    from vipnet.testing.stage import Stage
    from vipnet.testing.system import System

__all__: list[str] = []

_CELL: Final = "vipnet promise"
_EXEMPT: Final = "vipnet exempt"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption(
        "--require-backend",
        action="append",
        default=[],
        metavar="NAME",
        help="fail, instead of skipping, where this backend cannot be run here, or one of its tests skips itself (repeatable)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marks."""
    config.addinivalue_line("markers", "root: needs root and real network namespaces")
    config.addinivalue_line("markers", "long: the whole of a list of which the ordinary run takes a seeded sample")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs root without it; fail, if a backend is required."""
    if item.get_closest_marker("root") is None or os.geteuid() == 0:
        return
    if _required(item.config):
        pytest.fail("this test needs root", pytrace=False)
    pytest.skip("needs root: it makes network namespaces")


# ------------------------------------------------------------------------------------------------- fixtures


@pytest.fixture(scope="class")
def compiler(request: pytest.FixtureRequest) -> Iterator[Backend[Any]]:
    """A backend of which only the pure part is used: it must work where the backend itself does not."""
    from vipnet.backend import BackendContext
    from vipnet.registry import load_backend

    backend = load_backend(_tests(request).system.name)(BackendContext())
    yield backend
    backend.close()


@pytest.fixture(scope="class")
def network(request: pytest.FixtureRequest) -> Iterator[NetworkUnderTest]:
    """The standard scene on the system of the class; what was installed is taken away at the end."""
    from vipnet.testing.scene import standard_scene
    from vipnet.testing.system import SystemNetwork

    if _tests(request).by_verbs:
        yield request.getfixturevalue("controlled")
        return
    with ExitStack() as stack:
        yield stack.enter_context(SystemNetwork(_system(request, stack), standard_scene()))


@pytest.fixture(scope="class")
def controlled(request: pytest.FixtureRequest) -> Iterator[ControlledNetwork]:
    """The standard scene on a system of its own, made and changed by the verbs of a Controller."""
    from vipnet.testing.controlled import ControlledNetwork
    from vipnet.testing.scene import standard_scene

    with ExitStack() as stack:
        yield stack.enter_context(ControlledNetwork(_system(request, stack), standard_scene()))


@pytest.fixture(scope="class")
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """The busy scene on a host of its own, for promises about time; made and changed by the verbs of a Controller."""
    from vipnet.testing.host import HostSystem
    from vipnet.testing.stage import Stage

    with ExitStack() as stack:
        system = _system(request, stack)
        if not isinstance(system, HostSystem):
            raise pytest.UsageError(f"{request.node.nodeid} must be about a HostSystem: its packets take their time")
        yield stack.enter_context(Stage(system))


def _tests(request: pytest.FixtureRequest) -> type[SystemTests]:
    tests = cast(Any, request.cls)  # pyright: ignore[reportUnknownMemberType]
    if tests is None or not hasattr(tests, "system"):
        raise pytest.UsageError(f"{request.node.nodeid} must be a class that says which `system` it is about")
    return cast("type[SystemTests]", tests)


def _required(config: pytest.Config) -> list[str]:
    return config.getoption("--require-backend") or []


def _system(request: pytest.FixtureRequest, stack: ExitStack) -> System:
    kind = _tests(request).system
    usability = kind.usability()
    if not usability.usable and kind.name in _required(request.config):
        pytest.fail(f"backend {kind.name} is required: {usability.reason}", pytrace=False)
    if not usability.usable:
        pytest.skip(f"backend {kind.name}: {usability.reason}")
    folders: pytest.TempPathFactory = request.getfixturevalue("tmp_path_factory")
    return stack.enter_context(kind(folders.mktemp(kind.name)))


# ------------------------------------------------------------------------------------------------- promises


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is exempt, and note of the rest which promise of which backend it is about."""
    exempt = [item for item in items if _cell(item)[0] in _exemptions(item) or not _is_able(item)]
    if exempt:
        config.hook.pytest_deselected(items=exempt)
        items[:] = [item for item in items if item not in exempt]
    for item in items:
        promise, backend = _cell(item)
        if promise:
            item.user_properties.append((_CELL, [promise, backend]))
        elif backend:
            item.user_properties.append((_EXEMPT, [backend, *_exemptions(item)]))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let a test of a required backend that skips itself fail."""
    report = yield
    backend = _cell(item)[1]
    if report.skipped and not hasattr(report, "wasxfail") and backend in _required(item.config):
        report.outcome = "failed"
        report.longrepr = f"backend {backend} is required, and this was skipped: {call.excinfo and call.excinfo.value}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table promises x backends."""
    table: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            if isinstance(report, pytest.TestReport):  # a module that cannot be collected has another
                _enter(table, report, outcome)
    if any(word != "exempt" for row in table.values() for cell in row.values() for word in cell):
        _print_table(terminalreporter, table)


def _cell(item: pytest.Item) -> tuple[str, str]:
    """The promise and the backend that a test is about, "" where it is about none."""
    from vipnet.testing.table import promise_of

    tests: Any = getattr(item, "cls", None)
    if tests is None or not hasattr(tests, "exempt") or not hasattr(tests, "system"):
        return "", ""
    return promise_of(getattr(item, "originalname", item.name)), tests.system.name


def _is_able(item: pytest.Item) -> bool:
    """Whether the system can do what a test needs; of one that cannot be loaded nobody knows, and its tests say so."""
    from vipnet.errors import VipnetError
    from vipnet.testing.table import needs

    if not _cell(item)[1]:
        return True
    tests: Any = getattr(item, "cls", None)
    try:
        abilities: frozenset[str] = tests.system.abilities()
    except VipnetError:
        return True
    return needs(tests, getattr(item, "originalname", item.name)) <= abilities


def _exemptions(item: pytest.Item) -> list[str]:
    return list(getattr(getattr(item, "cls", None), "exempt", ()))


def _enter(table: dict[str, dict[str, list[str]]], report: pytest.TestReport, outcome: str) -> None:
    for key, value in report.user_properties:
        cell: Any = value
        if key == _CELL and (report.when == "call" or outcome != "passed"):
            table[cell[0]][cell[1]].append(outcome)
        elif key == _EXEMPT:
            for promise in cell[1:]:
                table[promise][cell[0]] = ["exempt"]


def _print_table(terminal: pytest.TerminalReporter, table: dict[str, dict[str, list[str]]]) -> None:
    backends = sorted({backend for row in table.values() for backend in row}, key=lambda name: (name != "simulator", name))
    terminal.section("packet promises")
    terminal.write_line("     " + "".join(f"{backend:>12}" for backend in backends))
    for promise in sorted(table, key=lambda name: int(name[1:])):
        terminal.write_line(f"{promise:<5}" + "".join(f"{_word(table[promise][backend]):>12}" for backend in backends))


def _word(outcomes: list[str]) -> str:
    if not outcomes or outcomes == ["exempt"]:
        return outcomes[0] if outcomes else "-"
    bad = sum(outcome in ("failed", "error") for outcome in outcomes)
    return f"{bad}/{len(outcomes)} RED" if bad else "skipped" if "skipped" in outcomes else f"kept ({len(outcomes)})"
