"""The specification's worked example, live: real nginx and keepalived on a real data plane, in namespaces of its own."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from vipnet.errors import DataplaneError, NotSupportedError, VipnetError
from vipnet.lab import Lab
from vipnet.lab.acts import Act, Check, Failed, Failover, Stage, closing_acts, opening_acts
from vipnet.lab.machine import look
from vipnet.lab.record import Run, clear_all
from vipnet.lab.scene import GROUP, SLAVE, VIP, Scene, build
from vipnet.lab.timeline import Watcher
from vipnet.process import missing
from vipnet.registry import load_backend

__all__ = ["Check", "DemoReport", "run_demo", "take_down"]

_PACKAGES = {"ip": "iproute2", "nft": "nftables", "keepalived": "keepalived", "nginx": "nginx-light", "ps": "procps"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoReport:
    """What the demo saw. `failover_ms`: what the client missed when keepalived was stopped cleanly; None: not measured."""

    backend: str
    checks: tuple[Check, ...]
    failover_ms: int | None
    namespaces: Mapping[str, str]

    @property
    def ok(self) -> bool:
        """Whether every check held."""
        return all(check.ok for check in self.checks)


def run_demo(*, backend: str = "nftables", keep: bool = False, say: Callable[[str], None]) -> DemoReport:
    """Build the worked example, put each of its claims to the proof, and remove everything.

    With `keep` it is left standing, EIP and all, until `take_down`. `say` is given lines of text as things happen.
    A claim that does not hold is a check with `ok` false. Raises DataplaneError when the demo cannot run here, and
    whatever interrupts it, after everything has been removed.
    """
    _require(backend)
    run = Run.start()
    with _stoppable(), _lab(run, backend) as lab:
        report = _play(run, lab, backend, keep=keep, say=say)
        if keep:
            run.record("kept", "")
            lab.keep()
            return report
    return _with_check(report, _nothing_left(report, run), say)


def take_down() -> list[str]:
    """Remove every demo that was kept or killed, never one that still runs; return the folders of those removed.

    Raises DataplaneError when something of them could not be removed.
    """
    runs = [run for run in Run.all() if not run.is_running()]
    if runs and os.geteuid() != 0:
        raise DataplaneError("a demo can be taken down by root only, who made it")
    errors = clear_all(runs)
    if errors:
        raise DataplaneError("; ".join(error.details for error in errors))
    return [str(run.folder) for run in runs]


def _require(backend: str) -> None:
    """Raise unless the demo can run here."""
    if backend == "simulator":
        raise NotSupportedError("the simulator moves no packets; give the demo a backend that does, such as nftables")
    kind = load_backend(backend)
    if os.geteuid() != 0:
        raise DataplaneError("the demo makes network namespaces and programs the kernel: run it as root")
    absent = missing(_PACKAGES)
    if absent:
        packages = " ".join(sorted(_PACKAGES[name] for name in absent))
        raise DataplaneError(f"the demo needs {', '.join(absent)}: install the Debian packages {packages}")
    usability = kind.usability()
    if not usability.usable:
        raise DataplaneError(f"backend {backend} cannot be used here: {usability.reason}")


def _play(run: Run, lab: Lab, backend: str, *, keep: bool, say: Callable[[str], None]) -> DemoReport:
    scene = build(run, lab, backend, say)
    with scene.cloud:
        scene.eip = scene.cloud.groups.create_eip(GROUP, charge_type="traffic").vip_eip or ""
        say(f"EIP {scene.eip} in front of {VIP}; the client asks http://{scene.eip}/ every 20 ms (M: master, s: slave, .: none)")
        namespaces = scene.namespaces
        for name in namespaces.values():
            run.record("namespace", name)
        failover = Failover()
        checks = _perform(scene, failover, keep=keep)
    if keep:
        _say_how_to_look(scene, namespaces)
    failover_ms = None if failover.seconds is None else round(failover.seconds * 1000)
    return DemoReport(backend=backend, checks=tuple(checks), failover_ms=failover_ms, namespaces=namespaces)


def _perform(scene: Scene, failover: Failover, *, keep: bool) -> list[Check]:
    with Watcher(scene.client, scene.eip) as watcher:
        stage = Stage(scene, watcher, failover)
        checks = [_checked(name, act, stage) for name, act in opening_acts().items()]
    return checks if keep else checks + [_checked(name, act, stage) for name, act in closing_acts().items()]


def _checked(name: str, act: Act, stage: Stage) -> Check:
    try:
        check = Check(name, True, act(stage))
    except (Failed, VipnetError) as error:
        check = Check(name, False, str(error))
    stage.scene.say(_line(check))
    return check


def _nothing_left(report: DemoReport, run: Run) -> Check:
    left = look([run.folder.name, *report.namespaces.values()], run.folder)
    found = [*left.namespaces, *left.processes, *left.files]
    return Check("nothing is left", not found, ", ".join(found) or "no namespace, process or file of the demo")


def _with_check(report: DemoReport, check: Check, say: Callable[[str], None]) -> DemoReport:
    say(_line(check))
    return DemoReport(
        backend=report.backend, checks=(*report.checks, check), failover_ms=report.failover_ms, namespaces=report.namespaces
    )


def _line(check: Check) -> str:
    return f"{'ok  ' if check.ok else 'FAIL'} {check.name}: {check.detail}"


def _say_how_to_look(scene: Scene, namespaces: Mapping[str, str]) -> None:
    scene.say(
        f"The demo stays. Look around:\n"
        f"  ip netns exec {namespaces['client']} curl http://{scene.eip}/\n"
        f"  ip netns exec {namespaces[SLAVE]} ip addr show dev eth0\n"
        f"  ip netns exec {namespaces['host']} nft list ruleset\n"
        f"  vipnet --config {scene.run.folder / 'vipnet.toml'} status\n"
        "and take it down with: vipnet demo --down"
    )


@contextmanager
def _lab(run: Run, backend: str) -> Generator[Lab, None, None]:
    """A lab of which nothing remains, nor of what vipnet programmed in it, unless the run was kept."""
    lab: Lab | None = None
    try:
        lab = Lab(prefix="demo", root=run.folder / "servers", record=run.record)
        if lab.outlives(backend):
            run.record("host", lab.host)
            run.record("backend", backend)
        yield lab
    finally:
        if not run.named("kept"):
            with _undisturbed():
                _remove(run, lab)


def _remove(run: Run, lab: Lab | None) -> None:
    try:
        run.clear()
    finally:
        if lab is not None:
            lab.close()  # its processes have been killed; now they are waited for


@contextmanager
def _stoppable() -> Generator[None, None, None]:
    """Let TERM end the demo as Ctrl-C does, with cleaning up; only a main thread may."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminated)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _undisturbed() -> Generator[None, None, None]:
    """Keep a second Ctrl-C from cutting the cleaning short."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _terminated(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + signal.SIGTERM)
