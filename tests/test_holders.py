"""Who holds a VIP, from what was heard and when; and when a repair has its turn."""

from __future__ import annotations

import pytest

from vipnet.holders import FLAPPING_CHANGES, FLAPPING_REST, GRACE, ODD, PATIENCE, ROUTINE, SILENT_ROUNDS, Finding, Holders
from vipnet.repairs import CONTESTED_PAUSE, CONTESTED_REPAIRS, CONTESTED_WINDOW, MOST_PAUSE, QUIET, Repairs

MEMBERS = ("a", "b")


class World:
    """Two members; `having` are those that answer. Time passes in steps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.having: set[str] = set()
        self.holders = Holders()
        self.asked = 0
        self.found: list[Finding] = []
        self.holders.enrol(["v"], self.now)

    def pass_time(self, seconds: float, *, adverts: str = "") -> list[tuple[str, str]]:
        """Let time pass, in which these members advertise every second; return what is found."""
        self.found = []
        until, advert = self.now + seconds, self.now
        while self.now < until:
            if adverts and self.now >= advert:
                advert += 1.0
                for member in adverts:
                    self.found += self.holders.advertised("v", member, 1.0, 254, self.now)
            for id in list(self.holders.ripe(self.now)):
                self._look(id)
            self.now += 0.05
        return [(finding.word, finding.detail) for finding in self.found]

    def _look(self, id: str) -> None:
        findings, asks = self.holders.look(id, MEMBERS, self.now)
        self.found += findings
        self.asked += asks
        if asks:
            for member in self.having:
                if self.holders.answered(id, member):
                    self._look(id)

    def announce(self, member: str) -> list[tuple[str, str]]:
        return [(finding.word, finding.detail) for finding in self.holders.announced("v", member, self.now)]


@pytest.fixture
def world() -> World:
    return World()


def test_who_holds_it_already_is_no_change(world: World) -> None:
    world.having = {"a"}
    assert world.pass_time(5) == []
    assert world.announce("a") == []
    assert world.announce("b") == [("holder-changed", "a -> b")]


def test_it_is_asked_now_and_then(world: World) -> None:
    world.having = {"a"}
    world.pass_time(10 * ROUTINE)
    assert 9 <= world.asked <= 11


def test_an_announcement_is_a_change_at_once(world: World) -> None:
    world.pass_time(1)
    assert world.announce("a") == [("holder-changed", "nobody -> a")]
    world.having = {"a"}
    assert world.pass_time(60) == []


def test_a_change_that_nobody_announced_is_found(world: World) -> None:
    world.having = {"a"}
    world.pass_time(1)
    world.having = {"b"}
    assert world.pass_time(ROUTINE + 2) == [("holder-changed", "a -> b")]


def test_both_for_a_moment_is_no_split(world: World) -> None:
    world.having = {"a"}
    world.pass_time(1)
    world.announce("b")
    world.having = {"a", "b"}
    assert world.pass_time(0.2) == []
    world.having = {"b"}
    assert world.pass_time(20) == []


def test_both_for_longer_is_a_split_and_said_once(world: World) -> None:
    world.having = {"a"}
    world.pass_time(1)
    world.announce("b")
    world.having = {"a", "b"}
    assert world.pass_time(1) == [("split-brain", "a and b have it at once")]
    assert world.pass_time(60) == []
    world.having = {"b"}
    assert world.pass_time(2 * ODD + 1) == [("split-brain-over", "b has it now")]


def test_a_member_that_missed_its_advertisements_leaves_no_doubt(world: World) -> None:
    world.having = {"a"}
    world.pass_time(3, adverts="a")
    world.pass_time(2.9)
    world.having = {"a", "b"}
    world.announce("b")
    assert world.pass_time(0.1) == [("split-brain", "a and b have it at once")]


def test_silence_of_advertisements(world: World) -> None:
    world.having = {"a"}
    assert world.pass_time(3, adverts="a") == []
    assert world.pass_time(2.5) == []
    ((word, detail),) = world.pass_time(1 + GRACE)
    assert word == "holder-silent"
    assert detail.startswith("no advertisement of a for ")
    assert world.pass_time(60) == []
    assert world.pass_time(1, adverts="a") == [("holder-back", "a is heard again")]


def test_silence_of_answers(world: World) -> None:
    world.having = {"a"}
    world.pass_time(1)
    world.having = set()
    assert world.pass_time(ROUTINE + SILENT_ROUNDS * (ODD + PATIENCE)) == [
        ("holder-silent", "a answers no ARP, nor does another member")
    ]
    world.having = {"a"}
    assert world.pass_time(5) == [("holder-back", "a is heard again")]


def test_who_gives_it_up_is_not_silent(world: World) -> None:
    world.having = {"a"}
    world.pass_time(3, adverts="a")
    assert list(world.holders.advertised("v", "a", 1.0, 0, world.now)) == []
    world.having = {"b"}
    assert world.announce("b") == [("holder-changed", "a -> b")]
    assert world.pass_time(30, adverts="b") == []


def test_flapping_is_said_once_and_ends(world: World) -> None:
    world.pass_time(1)
    words: list[str] = []
    for member in MEMBERS * 10:
        words += [word for word, _ in world.announce(member)]
        world.having = {member}
        words += [word for word, _ in world.pass_time(0.5)]
    assert words == ["holder-changed"] * FLAPPING_CHANGES + ["flapping"]
    assert world.pass_time(FLAPPING_REST + 1) == [("flapping-over", f"b has held it for {FLAPPING_REST:g} s")]
    assert world.announce("a") == [("holder-changed", "b -> a")]


def test_a_vip_that_is_gone_is_forgotten(world: World) -> None:
    world.holders.enrol([], world.now)
    assert world.pass_time(60) == []
    assert world.asked == 0
    assert world.holders.next() is None


def test_many_are_not_asked_all_at_once() -> None:
    holders = Holders()
    holders.enrol([str(number) for number in range(1000)], 0.0)
    assert 50 <= len(list(holders.ripe(0.2))) <= 200


# ---------------------------------------------------------------------------------------------------- repairs


def test_what_comes_in_a_burst_is_one_repair() -> None:
    repairs = Repairs()
    for at in range(10):
        repairs.cause("host", at / 1000).by[f"nft ({at})"] = None
    assert repairs.take(QUIET / 2) == {}
    assert len(repairs.take(QUIET)["host"].by) == 10
    assert repairs.take(1.0) == {}


def _repaired(repairs: Repairs, now: float, key: str = "e") -> tuple[float, list[str]]:
    repairs.cause("host", now)
    due = repairs.next()
    assert due is not None
    assert list(repairs.take(due)) == ["host"]
    return due, repairs.done(["host"], due, [key])


def test_what_is_undone_again_and_again_is_repaired_less_often() -> None:
    repairs, now, contested, waits = Repairs(), 0.0, list[str](), list[float]()
    for _ in range(CONTESTED_REPAIRS + 8):
        due, fresh = _repaired(repairs, now)
        contested += fresh
        waits.append(due - now)
        now = due
    assert contested == ["host"]
    assert waits[:CONTESTED_REPAIRS] == pytest.approx([QUIET] * CONTESTED_REPAIRS)
    assert waits[CONTESTED_REPAIRS:][:3] == pytest.approx([CONTESTED_PAUSE, 2 * CONTESTED_PAUSE, 4 * CONTESTED_PAUSE])
    assert max(waits) == pytest.approx(MOST_PAUSE)
    assert repairs.rested(now + 1) == []
    assert repairs.rested(now + CONTESTED_WINDOW + MOST_PAUSE + 1) == ["host"]
    assert _repaired(repairs, now + 1000)[0] == pytest.approx(now + 1000 + QUIET)


def test_a_clumsy_hand_is_no_contest() -> None:
    repairs = Repairs()
    assert [_repaired(repairs, float(at), f"e{at}")[1] for at in range(20)] == [[]] * 20


def test_a_place_that_was_as_it_should_be_was_not_repaired() -> None:
    repairs = Repairs()
    for at in range(20):
        repairs.cause("host", float(at))
        repairs.take(at + 0.5)
        assert repairs.done(["host"], at + 0.5, []) == []


def test_one_contested_place_keeps_no_other_waiting() -> None:
    repairs, now = Repairs(), 0.0
    for _ in range(CONTESTED_REPAIRS + 1):
        now, _ = _repaired(repairs, now)
    repairs.cause("host", now)
    repairs.cause("vn-1", now)
    assert list(repairs.take(now + QUIET)) == ["vn-1"]


def test_what_failed_is_tried_again_later_and_later() -> None:
    repairs, now, waits = Repairs(), 0.0, list[float]()
    repairs.cause("host", now).by["nft"] = None
    for _ in range(12):
        due = repairs.next()
        assert due is not None
        waits.append(due - now)
        now = due
        causes = repairs.take(now)
        assert list(causes["host"].by) == ["nft"]
        repairs.failed(causes, now)
    assert waits[1:] == sorted(waits[1:])
    assert max(waits) == MOST_PAUSE
