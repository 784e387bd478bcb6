"""P12 and P13: limits and counters of EIPs, by packets that are counted where they are sent and where they arrive."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Final

import pytest

from vipnet.lab import LabNode
from vipnet.testing.controlled import ControlledNetwork
from vipnet.testing.probe import OUTSIDE
from vipnet.testing.promises import EIP, EIP_BLUE, EIP_GREEN, SPARE, VIP, WORLD, D, settle
from vipnet.testing.real import RealProbe
from vipnet.testing.scene import Scene, standard_scene
from vipnet.testing.traffic import PACKET, Flow, Load, Wire, WireCount
from vipnet.views import Counters

__all__ = ["MeteringPromises"]

SECONDS: Final = 11.0
STEADY: Final = 2.0
"""From this second on the bucket of a limit, which is full at the beginning, is empty."""

LATEST: Final = 0.5
"""Seconds of lateness of the sender that no bucket notices: it holds what passes in one."""

FREE: Final = 100_000
"""As good as no limit, 10^6 bit/s."""

_FREE_RATE: Final = 500
"""Datagrams a second of what has no limit, or fewer: a limit that was not its own would have no room for them."""

TRIES: Final = 3
"""Runs, of which one must be one that the machine could offer; a miss is no miss before it was missed in all that are left."""

_QUIET: Final = 0.3
"""Seconds in which what was to come would have come: more than a TCP sender waits before it repeats itself."""

BULK: Final = 1 << 20
PORT: Final = 7120
SENDERS: Final = (("a", VIP), ("e", SPARE), ("x", VIP))
"""Who may have the EIP of red, and by which VIP."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Limits in 10^6 bit/s: of red, and of blue before and after it is changed."""

    red: int
    blue: int
    then: int


class MeteringPromises:
    """P12 and P13, of a system of real packets (its probe is a `RealProbe`)."""

    needs: ClassVar[frozenset[str]] = frozenset({"time"})

    @pytest.mark.timeout(300)
    @pytest.mark.parametrize(
        "rates",
        [
            Rates(2, 1, 2),
            pytest.param(Rates(5, 4, 2), marks=pytest.mark.long),
            pytest.param(Rates(1, 8, 5), marks=pytest.mark.long),
            pytest.param(Rates(8, 1, 4), marks=pytest.mark.long),
        ],
    )
    def test_p12_bandwidth_is_what_passes(self, controlled: ControlledNetwork, rates: Rates) -> None:
        """Each way, of some EIPs at once, one of them with a limit that changes; others and what stays inside have none."""
        with metered(controlled) as site:
            limited = _Limited(site, rates)
            for _ in range(TRIES - 1):
                if limited.is_offered() and limited.is_kept():
                    break
                limited = _Limited(site, rates)
            limited.check()

    def test_p13_what_is_counted_is_what_the_wire_carried(self, controlled: ControlledNetwork) -> None:
        with metered(controlled) as site:
            wire, counted = _everything(site)
            for _ in range(TRIES - 1):
                if not wire.lost:
                    break
                wire, counted = _everything(site)
            inside, outside = (wire.seen[name] for name in ("a", OUTSIDE))
            assert not wire.lost
            assert min(counted.rx.packets, counted.tx.packets) > 2 * BULK // 1500
            assert counted.rx == inside[WORLD, VIP]
            assert counted.tx == outside[EIP, WORLD]
            # what was sent faster than it is taken in never came to the uplink: TCP sent it again
            assert (outside[WORLD, EIP].packets, inside[VIP, WORLD].packets) >= (counted.rx.packets, counted.tx.packets)

    def test_p13_fragments_are_counted_to_five_percent(self, controlled: ControlledNetwork) -> None:
        with metered(controlled) as site, Wire(site.node(OUTSIDE)) as wire, site.counting(EIP) as counted:
            for size in (2000, 4000, 30000):
                assert site.probe.udp(OUTSIDE, EIP, size=size)
                assert site.probe.udp("a", WORLD, src=VIP, size=size)
            site.wait_until_quiet(EIP)
        # by the source alone: fragments share their bytes with the tap, and a router of this machine may have put in the VIP
        sent = {source: sum(_all_from(source, wire.seen[OUTSIDE]), WireCount(0, 0)) for source in (WORLD, EIP)}
        for way, crossed in ((counted.rx, sent[WORLD]), (counted.tx, sent[EIP])):
            assert crossed.packets == 2 * (2 + 3 + 21)
            assert abs(way.bytes - crossed.bytes) < 0.05 * crossed.bytes

    def test_p13_what_stays_in_the_vpc_is_not_counted(self, controlled: ControlledNetwork) -> None:
        with metered(controlled) as site, site.counting(EIP) as counted:
            for sender in ("a", "b", "c", "d"):
                assert site.probe.tcp(sender, EIP)
                assert site.probe.udp(sender, EIP)
                assert site.probe.ping(sender, EIP)
            assert site.probe.udp("c", VIP)
            assert site.probe.tcp("c", D)
            assert site.probe.tcp("d", WORLD)  # as the uplink
            site.wait_until_quiet(EIP)
        assert counted.rx == counted.tx == WireCount(0, 0)

    def test_p13_between_vpcs_both_are_counted(self, controlled: ControlledNetwork) -> None:
        with metered(controlled) as site:
            with site.counting(EIP) as red, site.counting(EIP_GREEN) as green, Wire(site.node("a")) as wire:
                for _ in range(3):
                    assert site.probe.tcp("p", EIP, src=VIP)
                    assert site.probe.ping("p", EIP, src=VIP)
                site.wait_until_quiet(EIP)
            seen = wire.seen["a"]
            assert red.rx == green.tx == seen[EIP_GREEN, VIP]
            assert red.tx == green.rx == seen[VIP, EIP_GREEN]
            assert red.rx.packets > 6

    @pytest.mark.timeout(300)
    def test_p13_counters_follow_their_eip_wherever_it_goes(self, controlled: ControlledNetwork) -> None:
        """Sent all the time, to the EIP and from all that may have it: what arrived is what was counted."""
        scene = standard_scene()
        bare = scene.without_eip(EIP_BLUE)
        nowhere = bare.without_eip(EIP)
        with metered(controlled) as site:
            controlled.become(bare)
            moved = _Moved(controlled, site, bare, nowhere)
            for _ in range(TRIES - 1):
                if moved.is_exact():
                    break
                moved = _Moved(controlled, site, bare, nowhere)  # the machine itself may have lost one
            moved.check()


class _Moved:
    """An EIP that was moved, limited and taken away under traffic; and what was counted of that, and arrived."""

    def __init__(self, controlled: ControlledNetwork, site: Site, bare: Scene, nowhere: Scene) -> None:
        outside = site.node(OUTSIDE)
        inwards = Flow("in", outside, EIP, [site.node(name) for name, _ in SENDERS], 500)
        outwards = [Flow(name, site.node(name), WORLD, [outside], 250, source=vip) for name, vip in SENDERS]
        acts: list[Callable[[], object]] = [
            lambda: site.limit(EIP, FREE - 1),
            lambda: controlled.become(bare.with_members("red", "a", "b", "c")),
            lambda: controlled.become(nowhere),
            lambda: controlled.become(bare),
            lambda: controlled.become(bare.with_eip(EIP, "spare")),
            lambda: controlled.cloud.apply(audit=True),
            lambda: controlled.become(bare.with_eip(EIP, "blue")),
            lambda: controlled.become(nowhere),
            lambda: controlled.become(bare.with_eip(EIP, "blue")),
            lambda: controlled.become(bare),
        ]
        with site.counting(EIP) as self.counted, Load([inwards, *outwards]) as load:
            load.offer(0.3 * len(acts) + 0.6, [(0.3 * (number + 1), act) for number, act in enumerate(acts)])
        self.arrived = {name: sum(datagram.at == name for datagram in inwards.arrived) for name, _ in SENDERS}
        self.left = {flow.name: sum(one.source == EIP for one in flow.arrived) for flow in outwards}

    def is_exact(self) -> bool:
        """Whether what was counted is what arrived."""
        return (self.counted.rx, self.counted.tx) == (_arrivals(self.arrived), _arrivals(self.left))

    def check(self) -> None:
        """Fail where it is not."""
        assert all((*self.arrived.values(), *self.left.values())), f"{self.arrived} {self.left}"
        assert self.counted.rx == _arrivals(self.arrived), f"{self.arrived}"
        assert self.counted.tx == _arrivals(self.left), f"{self.left}"
        assert not self.counted.lost


def _arrivals(counted: Mapping[str, int]) -> WireCount:
    return WireCount(sum(counted.values()), PACKET * sum(counted.values()))


class Counted:
    """By how much the counters of an EIP have grown."""

    rx = tx = WireCount(0, 0)
    lost = False


class Site:
    """The network with its real machines."""

    def __init__(self, network: ControlledNetwork, probe: RealProbe) -> None:
        self.network = network
        self.probe = probe

    def node(self, name: str) -> LabNode:
        return self.probe.node(name)

    def limit(self, eip: str, mbps: int) -> None:
        self.network.cloud.eips.change_bandwidth(self._id(eip), mbps)

    def counters(self, eip: str) -> Counters:
        found = self.network.cloud.eips.show(self._id(eip)).counters
        assert found is not None, f"nothing counts {eip}"
        return found

    @contextmanager
    def counting(self, eip: str) -> Generator[Counted, None, None]:
        """See by how much counters grow in a `with` block, at whose end they are read."""
        counted, before = Counted(), self.counters(eip)
        yield counted
        after = self.counters(eip)
        counted.rx = WireCount(after.rx_packets - before.rx_packets, after.rx_bytes - before.rx_bytes)
        counted.tx = WireCount(after.tx_packets - before.tx_packets, after.tx_bytes - before.tx_bytes)
        counted.lost = after.lost and not before.lost  # what others lost on purpose before stays said

    def wait_until_quiet(self, eip: str) -> None:
        """Wait for what ends a connection: it crosses the wire after both ends have been closed."""
        before, now = None, self.counters(eip)
        while before != now:
            time.sleep(_QUIET)
            before, now = now, self.counters(eip)

    def _id(self, eip: str) -> str:
        return next(one.id for one in self.network.cloud.eips.list() if one.ip_addr == eip)


@contextmanager
def metered(network: ControlledNetwork) -> Generator[Site, None, None]:
    """The standard scene, in which no EIP has a limit that anybody would notice; again so at the end."""
    probe = network.probe
    assert isinstance(probe, RealProbe), "these questions are asked of real machines"
    settle(network)
    site = Site(network, probe)
    try:
        yield site
    finally:
        settle(network)
        for eip in (EIP, EIP_BLUE):
            site.limit(eip, FREE)


class _Limited:
    """One run over limited EIPs: red's stays, blue's is changed, green's is free, and so is what stays in red's VPC."""

    def __init__(self, site: Site, rates: Rates) -> None:
        self.site, self.rates = site, rates
        a, c, d, x, p, outside = (site.node(name) for name in ("a", "c", "d", "x", "p", OUTSIDE))
        red, blue = (2 * _packets(most) for most in (rates.red, max(rates.blue, rates.then)))
        free = min(red, _FREE_RATE)
        self.red = [Flow("red in", outside, EIP, [a], red), Flow("red out", a, WORLD, [outside], red, source=VIP)]
        self.blue = [Flow("blue in", outside, EIP_BLUE, [x], blue), Flow("blue out", x, WORLD, [outside], blue, source=VIP)]
        self.free = [
            Flow("green in", outside, EIP_GREEN, [p], free),
            Flow("green out", p, WORLD, [outside], free, source=VIP),
            Flow("red hairpin", c, EIP, [a], free),
            Flow("red inside", c, D, [d], free),
        ]
        self.changed = 0.0
        self._run()

    def _run(self) -> None:
        """Offer everything for as long as the promise takes, and change blue's limit in the middle."""
        site, rates = self.site, self.rates
        site.limit(EIP, rates.red)
        site.limit(EIP_BLUE, rates.blue)
        connections = [site.probe.connect(OUTSIDE, eip) for eip in (EIP, EIP_BLUE)]
        with Load([*self.red, *self.blue, *self.free]) as load, site.counting(EIP) as red, site.counting(EIP_BLUE) as blue:
            began = time.monotonic()

            def change() -> None:
                site.limit(EIP_BLUE, rates.then)
                self.changed = time.monotonic() - began

            self.ran = load.offer(SECONDS, [(SECONDS / 2, change)])
        self.late, self.counted = load.late, [(self.red, red), (self.blue, blue)]
        time.sleep(1.0)  # the buckets have room again
        self.alive = [connection.alive() for connection in connections]

    def is_offered(self) -> bool:
        """Whether the machine sent twice the limits, steadily, and lost nothing by itself."""
        whole = all(flow.offered(0, SECONDS) > 0.99 * flow.rate * SECONDS for flow in (*self.red, *self.blue, *self.free))
        return whole and self.late < LATEST and self.changed < SECONDS - STEADY - 1 and all(map(_is_whole, self.free))

    def is_kept(self) -> bool:
        """Whether each limit let pass what it is to, within a tenth."""
        return all(0.9 <= share <= 1.1 for share in self.shares().values())

    def shares(self) -> dict[str, float]:
        """Of each limit, what passed in the seconds in which it was in force and its bucket empty."""
        measured = [(flow, STEADY, SECONDS, self.rates.red) for flow in self.red]
        measured += [(flow, STEADY, SECONDS / 2, self.rates.blue) for flow in self.blue]
        measured += [(flow, self.changed + STEADY, SECONDS, self.rates.then) for flow in self.blue]
        return {f"{flow.name} at {most}": flow.mbps(begin, end) / most for flow, begin, end, most in measured}

    def check(self) -> None:
        """What is promised, of a run that the machine could offer."""
        assert self.is_offered(), f"this machine cannot offer that: late by {self.late:.2f} s, {self._free()}"
        sys.stdout.write(f"{ {name: f'{share:.1%}' for name, share in self.shares().items()} }\n")
        assert self.is_kept(), self.shares()
        assert all(self.alive), "a changed limit touched a connection"
        for (inwards, outwards), counted in self.counted:
            assert counted.rx == WireCount(len(inwards.arrived), PACKET * len(inwards.arrived))
            assert counted.tx == WireCount(len(outwards.arrived), PACKET * len(outwards.arrived))

    def _free(self) -> dict[str, str]:
        return {flow.name: f"{len(flow.arrived)} of {len(flow.sent)}" for flow in self.free}


def _everything(site: Site) -> tuple[Wire, Counted]:
    """All kinds of packets, both ways, as they cross the wire and as they are counted."""
    with Wire(site.node("a"), site.node(OUTSIDE)) as wire, site.counting(EIP) as counted:
        _bulk(site.node(OUTSIDE), EIP, site.node("a"))
        _bulk(site.node("a"), WORLD, site.node(OUTSIDE), source=VIP)
        for _ in range(5):
            assert site.probe.ping(OUTSIDE, EIP)
            assert site.probe.udp(OUTSIDE, EIP, size=1000)
            assert site.probe.udp("a", WORLD, src=VIP, size=10)
            assert site.probe.ping("a", WORLD, src=VIP)
        site.wait_until_quiet(EIP)
    return wire, counted


def _is_whole(flow: Flow) -> bool:
    return len(flow.arrived) == len(flow.sent)


def _all_from(source: str, seen: Mapping[tuple[str, str], WireCount]) -> Iterable[WireCount]:
    return (count for (src, _), count in seen.items() if src == source)


def _packets(mbps: int) -> float:
    return mbps * 1e6 / 8 / PACKET


def _bulk(sender: LabNode, address: str, receiver: LabNode, *, source: str = "") -> None:
    """Send much over one connection, each way."""
    with receiver.call(partial(socket.create_server, ("", PORT))) as listener:
        answering = threading.Thread(target=_answer_bulk, args=(listener,))
        answering.start()
        with sender.call(partial(socket.create_connection, (address, PORT), 5.0, (source, 0))) as stream:
            stream.sendall(bytes(BULK))
            stream.shutdown(socket.SHUT_WR)
            assert sum(map(len, _chunks(stream))) == BULK
        answering.join()


def _answer_bulk(listener: socket.socket) -> None:
    stream, _ = listener.accept()
    with stream:
        assert sum(map(len, _chunks(stream))) == BULK
        stream.sendall(bytes(BULK))


def _chunks(stream: socket.socket) -> Iterable[bytes]:
    while chunk := stream.recv(1 << 16):
        yield chunk
