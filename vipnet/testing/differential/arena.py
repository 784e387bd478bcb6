"""The lab of a differential run, and the backend at work in it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from types import TracebackType
from typing import Any

from vipnet.controller import Controller
from vipnet.errors import VipnetError
from vipnet.lab import Lab, LabNode
from vipnet.process import run
from vipnet.testing.differential.case import BEYOND, OUTSIDE, Ask, Case, Setting
from vipnet.testing.differential.disagreement import DisagreementError
from vipnet.testing.differential.pair import Pair, worlds
from vipnet.testing.differential.setting import (
    BEYOND_IP,
    DEVICES,
    LEG_DEVICE,
    MACS,
    UPLINK_DEVICE,
    WORLD,
    configured,
)
from vipnet.testing.differential.tally import Tally
from vipnet.testing.differential.wire import Wire
from vipnet.testing.network import clear

__all__ = ["Arena", "Meddle"]

Meddle = Callable[[Pair], None]


class Arena:
    """A lab with ports for servers, a client beyond the uplink and one beyond a leg. A context manager; needs root.

    `backend` is the name of the backend under test, `options` its own, by default those of the lab.
    """

    def __init__(self, backend: str, *, prefix: str = "differential", options: Mapping[str, Any] | None = None) -> None:
        self.backend = backend
        self.tally = Tally()
        self._prefix, self._options = prefix, options
        self._given: Mapping[str, Any] = {}
        self._stack = ExitStack()
        self._cases = 0

    def __enter__(self) -> Arena:
        with ExitStack() as stack:
            lab = stack.enter_context(Lab(prefix=self._prefix))
            self._host = lab.host
            self._given = self._options or lab.options(self.backend)
            self._wire = Wire(_machines(lab))
            stack.callback(self._wire.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    @contextmanager
    def case(self, setting: Setting, *, patient: bool = True) -> Generator[Pair, None, None]:
        """An empty cloud; at the end all of it is removed, and nothing must be left. Raises DisagreementError.

        Unless `patient`, what does not arrive is not waited for.
        """
        self._cases += 1
        clock, *each = worlds(f"{secrets.token_hex(8)} {self._cases}")
        before = self._links()
        with self._open(setting, "simulator", {}, each[0]) as oracle, self._open(
            setting, self.backend, self._given, each[1]
        ) as tested:
            pair = Pair(oracle, tested, self._wire, self.tally, clock, patient=patient)
            try:
                yield pair
                pair.clear()
            except BaseException:
                with suppress(VipnetError, AssertionError):  # what went wrong first is what counts
                    clear(tested.backend)
                raise
        left = self._links() - before
        if left:
            raise DisagreementError("rest", f"interfaces left in the host's namespace: {', '.join(sorted(left))}")

    def outcome(self, case: Case, meddle: Meddle | None = None, *, patient: bool = True) -> tuple[Case, DisagreementError | None]:
        """Run a case; return its steps so far, without those that were refused, and the disagreement that ended it.

        `meddle` is called before packets are sent: a fault that is put in by hand.
        """
        done = Case(case.setting, ())
        try:
            with self.case(case.setting, patient=patient) as pair:
                try:
                    for step in case.steps:
                        if meddle is not None and isinstance(step, Ask):
                            meddle(pair)
                        pair.run(step)
                finally:
                    kept = (step for number, step in enumerate(pair.steps) if number not in pair.refused)
                    done = case.with_steps(kept)
        except DisagreementError as error:
            return done, error
        self.tally.cases += 1
        return done, None

    @contextmanager
    def _open(self, setting: Setting, backend: str, options: Mapping[str, Any], world: Any) -> Generator[Controller, None, None]:
        with Controller.open(configured(setting, backend, options), world=world) as cloud:
            yield cloud

    def _links(self) -> set[str]:
        return {row["ifname"] for row in json.loads(run(["ip", "-n", self._host, "-j", "link"]).stdout)}


def _machines(lab: Lab) -> Iterator[tuple[str, LabNode]]:
    yield OUTSIDE, lab.add_outside(device=UPLINK_DEVICE, address=f"{WORLD}/24", name="outside")
    yield BEYOND, lab.add_outside(device=LEG_DEVICE, address=f"{BEYOND_IP}/24", name="beyond")
    for device in DEVICES:
        yield device, lab.add_server(device, device=device, mac=MACS[device], address="192.0.2.1/32", gateway=None)
