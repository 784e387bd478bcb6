"""Every command does what its example says, and prints the JSON fields that it declares."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from answers import misfits
from shell import Answer, Shell, at_home

from vipnet.cli.answers import Field, Shape, outline, shapes
from vipnet.cli.declare import Verb
from vipnet.cli.verbs import SECTIONS

VERBS = {verb.name: verb for section in SECTIONS for verb in section.verbs}
ELSEWHERE = {"bench", "demo", "watch"}
"""Two take their time, one never ends: tests/benchmarks, tests/lab/test_demo.py, tests/test_watch.py ask the same of them."""

STORY = """
    vpc-create
    network-create
    network-create app 192.168.8.0/24 --vpc prod
    network-create pub 203.0.113.0/24 --server-type eip
    vpc-list
    vpc-show
    network-list
    network-show
    network-update
    network-reserve-ip
    network-why-not
    network-addresses
    network-release-reserved-ip

    host-create
    host-list
    instancegroup-create
    server-create
    server-create node2 --net web:192.168.7.248
    server-show
    server-attach-network
    server-detach-network
    server-leave-groups
    server-join-groups
    instancegroup-unbind-guests nginx --guest node1
    instancegroup-bind-guests
    instancegroup-unbind-guests

    instancegroup-attachnetwork
    keepalived-config
    instancegroup-create-eip
    groupnetwork-list
    groupguest-list
    server-list
    instancegroup-list
    instancegroup-show
    instancegroup-update
    instancegroup-disable
    instancegroup-enable
    instancegroup-freeze
    instancegroup-unfreeze
    instancegroup-dissociate-eip
    eip-create
    eip-show
    eip-list
    eip-change-bandwidth
    instancegroup-associate-eip

    topology-show
    export
    export > model.json
    plan
    apply
    trace
    status
    backends
    completion

    instancegroup-dissociate-eip nginx
    eip-delete
    instancegroup-detachnetwork
    server-delete
    instancegroup-delete
    server-delete node2
    host-delete
    network-delete
    network-delete app
    network-delete pub
    vpc-delete
    import
"""
"""The name of a command alone is its example."""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Answer]]:
    """What each example answered, one after the other on one store."""
    with at_home(tmp_path_factory.mktemp("story")) as shell:
        yield dict(_told(shell))


def _told(shell: Shell) -> Iterator[tuple[str, Answer]]:
    for line in filter(None, map(str.strip, STORY.splitlines())):
        command, _, file = line.partition(" > ")
        example = VERBS[line].example if line in VERBS else command
        answer = shell("-o", "json", *shlex.split(example))
        if file:
            Path(file).write_text(answer.out, encoding="utf-8")
        if line in VERBS:
            yield line, answer
        else:
            assert answer.code == 0, answer.err


@pytest.mark.parametrize("name", [name for name in VERBS if name not in ELSEWHERE])
def test_an_example_is_no_lie(told: Mapping[str, Answer], name: str) -> None:
    assert (told[name].code, told[name].err) == (0, "")
    assert misfits(told[name].json, shapes(VERBS[name])) == []


@pytest.mark.parametrize("verb", VERBS.values(), ids=lambda verb: verb.name)
def test_the_help_says_what_is_printed(vipnet: Shell, verb: Verb) -> None:
    assert f"Prints with -o json: {outline(verb)}" in " ".join(vipnet(verb.name, "--help").out.split())


def test_a_misfit_is_seen() -> None:
    shape = Shape((Field("id", "string"), Field("size", "integer or null"), Field("of", "array of strings")), several=False)
    assert misfits({"id": "a", "size": None, "of": ["b"]}, [shape]) == []
    wrongs: list[Any] = [
        {"id": "a", "size": None},
        {"id": "a", "size": None, "of": [], "more": 1},
        {"id": "a", "size": True, "of": []},
        {"id": None, "size": 1, "of": []},
        {"id": "a", "size": 1, "of": [2]},
        [],
    ]
    assert all(misfits(wrong, [shape]) for wrong in wrongs)
    assert misfits([], [Shape(shape.fields, several=True)]) != []
