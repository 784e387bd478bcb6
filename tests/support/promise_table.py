"""The table promises x systems at the end of a run: a plugin, for it is printed where tests of several processes meet."""

from __future__ import annotations

from collections import defaultdict

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table promises x systems."""
    table: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            promise, system = _cell(report.nodeid)
            if promise and (report.when == "call" or outcome != "passed"):
                table[promise][system].append(outcome)
    if table:
        _print_table(terminalreporter, table)


def _cell(nodeid: str) -> tuple[str, str]:
    name, _, rest = nodeid.rpartition("::")[2].partition("[")
    parts = name.split("_")
    is_promise = "contract/test_packets" in nodeid and len(parts) > 1 and parts[1][1:].isdigit()
    return (parts[1].upper(), rest.rstrip("]")) if is_promise else ("", "")


def _print_table(terminal: pytest.TerminalReporter, table: dict[str, dict[str, list[str]]]) -> None:
    systems = sorted({system for row in table.values() for system in row}, key=lambda name: (name != "simulator", name))
    terminal.section("packet promises")
    terminal.write_line("     " + "".join(f"{system:>12}" for system in systems))
    for promise in sorted(table, key=lambda name: int(name[1:])):
        terminal.write_line(f"{promise:<5}" + "".join(f"{_word(table[promise][system]):>12}" for system in systems))


def _word(outcomes: list[str]) -> str:
    if not outcomes:
        return "-"
    bad = sum(outcome in ("failed", "error") for outcome in outcomes)
    return f"{bad}/{len(outcomes)} RED" if bad else "skipped" if "skipped" in outcomes else f"kept ({len(outcomes)})"
