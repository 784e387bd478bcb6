"""The Controller against a model of rows and scanning: the same answers and the same state, after any sequence of verbs."""

from __future__ import annotations

import random
import sys
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any, cast

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from plane import DictBackend
from reference import Reference
from reference_script import PREPARED, Step, script
from reference_views import seen, told

import vipnet
from vipnet.config import Config
from vipnet.controller import Controller
from vipnet.operations.draft import World
from vipnet.store import MemoryStore

_LENGTH = 250


class Pair:
    """A Controller and the reference model, taken through the same script."""

    def __init__(self) -> None:
        chance = random.Random(1)
        self.model = Reference()
        self.model.advance(1_000_000_000)
        self.counts: Counter[tuple[str, str]] = Counter()
        world = World(
            clock=lambda: self.model.now, random=chance.randrange, new_id=lambda: str(uuid.UUID(int=chance.getrandbits(128)))
        )
        self.cloud = Controller(config=Config(), store=MemoryStore(), backend=DictBackend(), world=world)

    def take(self, step: Step) -> None:
        """Take both through a step. Raises AssertionError where they differ."""
        self.model.advance(step.wait)
        args = [self._resolved(arg) for arg in step.args]
        options = {name: self._resolved(value) for name, value in step.options.items()}
        before, answer, refused = self.cloud.topology, None, None
        try:
            answer = attrgetter(step.verb)(self.cloud)(*args, **options)
        except vipnet.RefusedError as error:
            refused = error
            assert self.cloud.topology is before
        self.model.offered = list(self.cloud.eips.list())
        wrong = self.model.verb(step.verb)(answer, *args, **options)
        names = sorted(kind.__name__ for kind in wrong)
        assert type(refused) in wrong if refused else not wrong, f"vipnet: {refused!r}, the rules: {names}"
        self.counts[step.verb, type(refused).__name__ if refused else ""] += 1
        self._compare()

    def _compare(self) -> None:
        ours, theirs = seen(self.cloud), told(self.model)
        for name in ours.keys() | theirs.keys():
            one, two = ours.get(name, []), theirs.get(name, [])
            extra, missing = [row for row in one if row not in two], [row for row in two if row not in one]
            assert one == two, f"{name}: vipnet has {extra}, the rules say {missing} (or another order)"

    def _resolved(self, value: Any) -> Any:
        """Replace `#name` by the id of what has that name, in a list too."""
        if isinstance(value, list):
            return [self._resolved(item) for item in cast(list[str], value)]
        if not isinstance(value, str) or not value.startswith("#"):
            return value
        name, rest = value[1:], ""
        for mark in ":,":
            name, sep, tail = name.partition(mark)
            rest = sep + tail + rest
        model = self.model
        rows = [*model.vpcs, *model.networks, *model.hosts, *model.servers, *model.groups, *model.eips]
        return next((row["id"] for row in rows if row["name"] == name), name) + rest


def _failure(steps: Iterable[Step]) -> str | None:
    """What goes wrong in a script, with the place; None: nothing."""
    pair = Pair()
    for step in steps:
        try:
            pair.take(step)
        except Exception as error:  # noqa: BLE001 -- an exception of vipnet's is what is looked for
            return f"{type(error).__name__}: {error}"
    return None


def _cut(steps: Sequence[Step]) -> list[Step]:
    """The script without what it does not need to fail."""
    kept, size = list(steps), len(steps) // 2
    while size:
        for start in range(0, len(kept), size):
            fewer = kept[:start] + kept[start + size :]
            if _failure(fewer) is not None:
                kept = fewer
                break
        else:
            size //= 2
    return kept


def _explained(seed: int, steps: Sequence[Step]) -> str:
    short = _cut(steps)
    return "\n".join([f"seed {seed}:", *map(str, short), str(_failure(short))])


def _run(seed: int, counts: Counter[tuple[str, str]]) -> None:
    pair, steps = Pair(), script(seed, _LENGTH)
    for place, step in enumerate(steps):
        try:
            pair.take(step)
        except Exception:  # noqa: BLE001 -- whatever it is, the script is what helps
            pytest.fail(_explained(seed, steps[: place + 1]), pytrace=False)
    counts.update(pair.counts)


def _run_many(examples: int) -> Counter[tuple[str, str]]:
    """Run the same eight scripts as always, which reach every outcome, and others."""
    counts: Counter[tuple[str, str]] = Counter()
    for seed in range(8):
        _run(seed, counts)

    @given(seed=st.integers(0, 2**32))
    @settings(max_examples=examples, deadline=None, phases=[Phase.generate], database=None)
    def run(seed: int) -> None:
        _run(seed, counts)

    run()
    return counts


def _report(counts: Counter[tuple[str, str]]) -> str:
    lines: list[str] = []
    for verb in sorted({verb for verb, _ in counts}):
        outcomes = {outcome or "done": count for (name, outcome), count in counts.items() if name == verb}
        lines.append(f"{verb:32}" + ", ".join(f"{outcome} {count}" for outcome, count in sorted(outcomes.items())))
    return "\n".join([*lines, f"{sum(counts.values())} verbs"])


def _check_coverage(counts: Counter[tuple[str, str]], least: int) -> None:
    sys.stdout.write(_report(counts) + "\n")
    done = {verb: count for (verb, outcome), count in counts.items() if not outcome}
    assert not [verb for verb in {verb for verb, _ in counts} if done.get(verb, 0) < least]
    outcomes: Counter[str] = Counter()
    for (_, outcome), count in counts.items():
        outcomes[outcome] += count
    kinds = [kind.__name__ for kind in vipnet.RefusedError.__subclasses__()]
    assert not [kind for kind in kinds if outcomes[kind] < least]


_TOLD: dict[str, tuple[Step, ...]] = {
    "a group named twice is one membership": (
        Step("hosts.create", ("h1",)),
        Step("groups.create", ("g",)),
        Step("servers.create", ("a",), {"host": "h1", "groups": ["g", "g"]}),
    ),
    "an expired reservation is free for an EIP": (
        *PREPARED,
        Step("networks.reserve_ip", ("bgp", "kept", ["203.0.113.18"]), {"duration": "1I"}),
        Step("groups.attach_network", ("g1",), {"network_id": "web"}),
        Step("groups.create_eip", ("g1",), {"bandwidth": 1, "bgp_type": "BGP"}),
        Step("groups.create_eip", ("g1",), {"bandwidth": 1, "bgp_type": "BGP"}, 61),
    ),
    "an IPv6 address is no VIP of the same number": (
        *PREPARED,
        Step("groups.attach_network", ("g1",), {"network_id": "web", "ip_addr": "10.1.0.4"}),
        Step("groups.detach_network", ("g1",), {"ip_addr": "::10.1.0.4"}),
    ),
    "two NICs have two devices": (
        *PREPARED,
        Step("servers.create", ("a",), {"nets": ["web", "tiny"], "devices": ["tap0", "tap0"]}),
    ),
    "a prefix is written with its length": (Step("vpcs.create", ("v", "10.0.0.0/255.0.0.0")),),
    "IPv6 prefixes of a VPC do not overlap": (
        *PREPARED,
        Step("networks.create", ("b", "10.9.0.0/28"), {"vpc": "v1", "prefix6": "fd00:3::/125"}),
    ),
    "a /126 holds no range": (*PREPARED, Step("networks.create", ("b", "10.9.0.0/28"), {"vpc": "v1", "prefix6": "fd00:9::/126"})),
    "an IPv6 prefix has no scope": (
        *PREPARED,
        Step("networks.create", ("b", "10.9.0.0/28"), {"vpc": "v1", "prefix6": "fd00:9::%x;y/64"}),
    ),
    "half a range of an EIP network leaves the other half as usual": (
        Step("networks.create", ("p", "203.0.113.0/28"), {"server_type": "eip", "end_ip": "203.0.113.5"}),
        Step("networks.create", ("q", "203.0.113.16/28"), {"server_type": "eip", "start_ip": "203.0.113.20"}),
    ),
    "a gateway that was given away stops no other change": (
        Step("networks.create", ("o", "192.168.0.0/29"), {"gateway": "192.168.0.2"}),
        Step("networks.release_reserved_ip", ("o", "192.168.0.2")),
        Step("servers.create", ("a",), {"nets": ["o:192.168.0.2"]}),
        Step("networks.update", ("o",), {"alloc_policy": "stepup"}),
        Step("networks.update", ("o",), {"gateway": "192.168.0.2"}),
    ),
}


@pytest.mark.parametrize("case", _TOLD)
def test_told_scripts_have_the_outcome_that_the_rules_say(case: str) -> None:
    assert _failure(_TOLD[case]) is None


def test_any_script_has_the_outcome_that_the_rules_say() -> None:
    _check_coverage(_run_many(8), 1)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_many_scripts_have_the_outcome_that_the_rules_say() -> None:
    _check_coverage(_run_many(50_000 // (_LENGTH + len(PREPARED))), 20)
