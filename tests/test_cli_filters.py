"""The filters of the lists: each shows what it says and nothing else, and one that names nothing is refused."""

from __future__ import annotations

import pytest
from shell import Shell

from vipnet.cli.verbs import SECTIONS

FILTERS = {
    ("server-list", "--ip-addr"): ("192.168.4.9", "a"),
    ("instancegroup-list", "--server"): ("a", "one"),
    ("groupguest-list", "--group"): ("one", "a"),
    ("groupguest-list", "--server"): ("b", "b"),
    ("groupnetwork-list", "--group"): ("two", "app"),
    ("groupnetwork-list", "--network"): ("web", "web"),
}
"""For each filter a value, and who is left: a server, a group, or the network of a VIP."""

SHOWS = {"server-list": "name", "instancegroup-list": "name", "groupguest-list": "server", "groupnetwork-list": "network"}


@pytest.fixture
def two_of_each(vipnet: Shell) -> Shell:
    for line in (
        "vpc-create prod 192.168.0.0/16",
        "network-create web 192.168.4.0/24 --vpc prod",
        "network-create app 192.168.5.0/24 --vpc prod",
        "instancegroup-create one",
        "instancegroup-create two",
        "server-create a --net web:192.168.4.9 --group one",
        "server-create b --net app:192.168.5.9 --group two",
        "instancegroup-attachnetwork one --ip-addr 192.168.4.20",
        "instancegroup-attachnetwork two --ip-addr 192.168.5.20",
    ):
        answer = vipnet(*line.split())
        assert answer.code == 0, answer.err
    return vipnet


def test_these_are_all() -> None:
    verbs = [verb for section in SECTIONS for verb in section.verbs if verb.name.endswith("-list")]
    assert {(verb.name, option.flag) for verb in verbs for option in verb.options} == {*FILTERS}


def test_what_is_left(two_of_each: Shell) -> None:
    for (command, flag), (value, left) in FILTERS.items():
        shown = [row[SHOWS[command]] for row in two_of_each.json(command, flag, value)]
        assert (command, flag, shown) == (command, flag, [left])
        assert len(two_of_each.json(command)) == 2


def test_both_at_once(two_of_each: Shell) -> None:
    assert len(two_of_each.json("groupguest-list", "--group", "one", "--server", "a")) == 1
    assert two_of_each.json("groupguest-list", "--group", "one", "--server", "b") == []
    assert len(two_of_each.json("groupnetwork-list", "--group", "one", "--network", "web")) == 1
    assert two_of_each.json("groupnetwork-list", "--group", "one", "--network", "app") == []


def test_by_a_virtual_ip_its_members_answer(two_of_each: Shell) -> None:
    assert [row["name"] for row in two_of_each.json("server-list", "--ip-addr", "192.168.5.20")] == ["b"]
    assert two_of_each.json("server-list", "--ip-addr", "192.168.5.21") == []


@pytest.mark.parametrize(("command", "flag"), FILTERS)
def test_a_value_that_names_nothing_is_refused(two_of_each: Shell, command: str, flag: str) -> None:
    answer = two_of_each("-o", "json", command, flag, "nosuch")
    assert (answer.code, answer.out) == (1, "")
    assert answer.error["class"] == ("InputParameterError" if flag == "--ip-addr" else "ResourceNotFoundError")
    assert "'nosuch'" in answer.error["details"]
