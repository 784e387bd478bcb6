"""What it costs to program EIPs: all at once, and one more; and the memory of that. Beside vipnet: nft, and the bare kernel.

`floor`: the bytes that vipnet sent, sent again as they are into a namespace without them: no Python but one `send`.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Final

from figures import Report, beside, timed
from nft_scene import Scene, declared, grouped, in_words, nft, without_state
from raw_netfilter import linked, replay, unconditional

from vipnet_nftables.wire import batch as wire

__all__ = ["cold", "flatness", "memory", "more", "recorded"]

_CHILD: Final = Path(__file__).with_name("nft_child.py")
_ONE_MORE: Final = "vipnet: plan to acknowledgement"
_ROW: Final = 25
_PACES: Final = {"": 0.0, ", 5 ms after the last": 0.005}
_COMPARED: Final = 100_000
"""Up to so many EIPs what nft lists of ours and of its own is compared, element by element."""


@contextmanager
def recorded() -> Generator[list[bytes]]:
    """Have a list of the transactions that the backend sends in a `with` block; empty while it has nft send them."""
    sent, genuine = list[bytes](), wire.answered

    def answered(link: socket.socket, batch: bytes) -> list[wire.Fault]:
        sent.append(batch)
        return genuine(link, batch)

    wire.answered = answered
    try:
        yield sent
    finally:
        wire.answered = genuine


def cold(report: Report, eips: int, repeats: int) -> None:
    """From intents to committed, in an empty router; `nft -f` of a file with the same; the bare kernel with the same."""
    ours, theirs, floor, compiled = list[float](), list[float](), list[float](), list[float]()
    for repeat in range(repeats):
        report.calibrate()
        sent = _cold_ours(eips, ours, compiled)
        report.calibrate()
        _cold_nft(eips, theirs, compare=repeat == 0 and eips <= _COMPARED)
        if sent:
            report.calibrate()
            _cold_floor(sent, floor)
    report.samples("cold", eips, "vipnet: compile, compare, apply", ours, unit="ms")
    report.samples("cold", eips, "of that compile and compare", compiled, unit="ms")
    report.samples("cold", eips, "nft -f", theirs, unit="ms")
    report.value("cold", eips, "nft / vipnet", beside(theirs, ours), goal=">= 3")
    if not floor:
        report.note("cold", eips, "no floor: the backend sends nothing itself")
        return
    report.samples("cold", eips, "floor", floor, unit="ms")
    report.value("cold", eips, "vipnet / floor", beside(ours, floor), goal="<= 2")


def more(report: Report, eips: int, repeats: int) -> None:
    """One more EIP with so many there, each contestant in a router of its own that nobody else touches.

    They take turns by rows of changes, one right after the other; and once more with a pause before each, in which the machine
    goes to sleep and the announcements of the last one go out.
    """
    with ExitStack() as stack:
        ours, theirs, bare = (stack.enter_context(Scene()) for _ in range(3))
        for scene in (ours, theirs, bare):
            _fill(scene, eips)
        link = stack.enter_context(linked(bare.router))
        sent = _one_more(ours, eips, [], [])  # a new backend looks first at what is there
        rows: dict[tuple[str, str], list[float]] = defaultdict(list)
        numbers = iter(range(eips + 1, eips + 1 + 2 * repeats))
        for pace, pause in _PACES.items():
            for _ in range(max(1, repeats // _ROW)):
                row = list(islice(numbers, min(_ROW, repeats)))
                for number in row:
                    time.sleep(pause)
                    sent = _one_more(ours, number, rows[_ONE_MORE, pace], rows["vipnet: compile to acknowledgement", pace])
                    _take_away(ours, number)
                for _number in row if sent else ():
                    time.sleep(pause)
                    timed(rows["floor", pace], replay, link, *sent)
                    _take_away(bare, row[-1])
                if not pause:
                    for number in row:
                        _one_more_by_nft(theirs, number, rows["nft -f -", pace])
                report.calibrate()
    for (what, pace), times in rows.items():
        report.samples("more", eips, f"{what}{pace}", times, goal="p50 <= 150" if what == _ONE_MORE else "")
    mine = rows[_ONE_MORE, ""]
    report.value("more", eips, "nft / vipnet", beside(rows["nft -f -", ""], mine))
    if floor := rows.get(("floor", "")):
        report.value("more", eips, "vipnet / floor", beside(mine, floor), goal="<= 5")
    else:
        report.note("more", eips, "no floor: the backend sends nothing itself")


def flatness(report: Report, few: int, many: int) -> None:
    """What one more EIP costs among many, beside what it costs among few."""
    ratio = report.p50("more", many, _ONE_MORE) / report.p50("more", few, _ONE_MORE)
    report.value("more", many, f"p50 / p50 at {few}", ratio, goal="<= 1.5")


def memory(report: Report, eips: int, repeats: int) -> None:
    """Peak memory that compiling and sending add, and that of nft with the same, each in a process of its own."""
    measured = list[float]()
    for contestant in ("vipnet", "nft"):
        added = [_added(contestant, eips) for _ in range(min(repeats, 3))]
        report.value("memory", eips, contestant, median(added), unit="MB")
        measured.append(median(added))
    if measured[1] >= 1:  # below that nft needs no more than to begin
        report.value("memory", eips, "vipnet / nft", measured[0] / measured[1], goal="<= 0.33 at 1M")


def _added(contestant: str, eips: int) -> float:
    words = [sys.executable, str(_CHILD), "memory", contestant, str(eips)]
    return float(json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout)["added_mb"])


def _cold_ours(eips: int, times: list[float], compiled: list[float]) -> list[bytes]:
    with Scene() as scene:
        mappings = scene.mappings(0, eips)
        with recorded() as sent:
            begun = time.perf_counter()
            steps = scene.steps({}, scene.backend.compile(mappings))
            middle = time.perf_counter()
            scene.carry_out(steps)
            times.append(time.perf_counter() - begun)
        compiled.append(middle - begun)
        return [unconditional(one) for one in sent]


def _cold_nft(eips: int, times: list[float], *, compare: bool) -> None:
    with Scene() as scene, tempfile.NamedTemporaryFile("w", suffix=".nft") as file:
        entries = scene.backend.compile(scene.mappings(0, eips))
        file.write(declared(scene.router, eips) + grouped(in_words(entries.values())))
        file.flush()
        timed(times, nft, scene.router, "-f", file.name)
        if compare:
            _compare(scene.router, eips)


def _compare(router: str, eips: int) -> None:
    """Exit unless nft made what vipnet makes; the address that the router asks with is vipnet's own affair."""
    with Scene() as other:
        _fill(other, eips)
        ours, theirs = Counter(_listed(other.router)), Counter(_listed(router))
        if theirs - ours or any(not one.startswith('"up0" : ') for one in ours - theirs):
            sys.exit("what nft was told is not what vipnet programs")


def _listed(router: str) -> list[str]:
    """What nft lists, in no order: a hash has none."""
    words = nft(router, "-s", "list", "ruleset").replace("elements = {", ",").replace("}", ",").replace("\n", ",")
    return [stripped for word in words.split(",") if (stripped := word.strip())]


def _cold_floor(sent: Iterable[bytes], times: list[float]) -> None:
    with Scene() as scene, linked(scene.router) as link:
        timed(times, replay, link, *sent)


def _fill(scene: Scene, eips: int) -> None:
    scene.program(scene.backend.compile(scene.mappings(0, eips)))
    scene.reopen()


def _one_more(scene: Scene, number: int, times: list[float], whole: list[float]) -> list[bytes]:
    mappings = scene.mappings(number, number + 1)
    with recorded() as sent:
        begun = time.perf_counter()
        steps = scene.steps({}, scene.backend.compile(mappings))
        middle = time.perf_counter()
        scene.carry_out(steps)
        ended = time.perf_counter()
    times.append(ended - middle)
    whole.append(ended - begun)
    return [unconditional(one) for one in sent]


def _take_away(scene: Scene, number: int) -> None:
    scene.carry_out(scene.steps(scene.backend.compile(scene.mappings(number, number + 1)), {}))


def _one_more_by_nft(scene: Scene, number: int, times: list[float]) -> None:
    mappings = scene.mappings(number, number + 1)
    words = in_words(scene.backend.compile(mappings).values())
    timed(times, nft, scene.router, "-f", "-", text=grouped(words))
    nft(scene.router, "-f", "-", text=grouped(without_state(words), "delete"))
