"""Pictures: what is in them, word for word where that is short; that they stay in bounds and no name leaves its place."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plane import DictBackend
from small import empty, fill

import vipnet
from vipnet.cli import main
from vipnet.controller import Controller
from vipnet.operations.draft import World
from vipnet.picture import FORMATS
from vipnet.picture.fitting import columns
from vipnet.store import MemoryStore

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def cloud() -> Controller:
    cloud = empty()
    fill(cloud)
    cloud.servers.create("bare")
    return cloud


class TestText:
    def test_of_everything(self, cloud: Controller) -> None:
        assert cloud.picture() == (
            "vpc v  10.0.0.0/8  access eip-distgw\n"
            "├─ network m  10.2.0.0/24  gateway 10.2.0.1\n"
            "└─ network n  10.1.0.0/24  gateway 10.1.0.1\n"
            "   ├─ group g\n"
            "   │  ├─ vip 10.1.0.100  vrid 1  holder unknown\n"
            "   │  │  └─ eip 203.0.113.2  eip-for-grp-g  5 Mbit/s  by network pub\n"
            "   │  ├─ member a  10.1.0.9\n"
            "   │  └─ member b  10.1.0.10\n"
            "   ├─ group k  no members\n"
            "   │  └─ vip 10.1.0.101  vrid 2  holder unknown\n"
            "   ├─ server a  10.1.0.9  on host h\n"
            "   └─ server b  10.1.0.10  on host h\n"
            "vpc default  classic\n"
            "└─ network pub  203.0.113.0/24  for EIPs\n"
            "   ├─ eip 203.0.113.2  eip-for-grp-g  5 Mbit/s  → 10.1.0.100 of group g\n"
            "   └─ eip 203.0.113.3  e  1 Mbit/s  mapped to nothing\n"
            "in no network, or in several\n"
            "└─ server bare  no address\n"
        )

    def test_of_nothing(self) -> None:
        assert empty().picture() == "nothing here yet\n"

    def test_a_long_line_goes_on_below(self) -> None:
        cloud = empty()
        cloud.vpcs.create("x" * 128, "10.0.0.0/8")
        cloud.networks.create("漢" * 60, "10.1.0.0/24", vpc="x" * 128)
        assert cloud.picture() == (
            "vpc " + "x" * 92 + "\n"
            "│   " + "x" * 36 + "  10.0.0.0/8  access eip-distgw\n"
            "└─ network " + "漢" * 42 + "\n"
            "       " + "漢" * 18 + "  10.1.0.0/24  gateway 10.1.0.1\n"
        )  # fmt: skip

    def test_of_many_servers_takes_no_time(self) -> None:
        cloud = empty()
        cloud.vpcs.create("v", "10.0.0.0/8")
        cloud.networks.create("n", "10.0.0.0/16", vpc="v")
        with cloud.transaction() as tx:
            for number in range(10_000):
                tx.servers.create(f"s{number:05}", nets=["n"])
        for format, lines in (("text", 10_002), ("mermaid", 17), ("svg", 90)):
            began = time.perf_counter()
            picture = cloud.picture(format)
            assert time.perf_counter() - began < 2
            assert picture.count("\n") <= lines
        assert "… 9983 more servers" in cloud.picture("svg")
        assert "… 9989 more servers" in cloud.picture("mermaid")


class TestMermaid:
    def test_of_everything(self, cloud: Controller) -> None:
        assert cloud.picture("mermaid") == (
            "flowchart LR\n"
            '  subgraph vpc0["vpc v<br/>10.0.0.0/8<br/>access eip-distgw"]\n'
            '    subgraph net1["network m<br/>10.2.0.0/24<br/>gateway 10.2.0.1"]\n'
            "    end\n"
            '    subgraph net2["network n<br/>10.1.0.0/24<br/>gateway 10.1.0.1"]\n'
            '      group3{{"group g"}}\n'
            '      vip4(["vip 10.1.0.100<br/>vrid 1<br/>holder unknown"])\n'
            '      srv5["server a<br/>10.1.0.9"]\n'
            '      srv6["server b<br/>10.1.0.10"]\n'
            '      group7{{"group k"}}\n'
            '      vip8(["vip 10.1.0.101<br/>vrid 2<br/>holder unknown"])\n'
            "    end\n"
            "  end\n"
            '  subgraph vpc9["vpc default<br/>classic"]\n'
            '    subgraph net10["network pub<br/>203.0.113.0/24<br/>for EIPs"]\n'
            '      eip11[["eip 203.0.113.2<br/>eip-for-grp-g<br/>5 Mbit/s"]]\n'
            '      eip12[["eip 203.0.113.3<br/>e<br/>1 Mbit/s"]]\n'
            "    end\n"
            "  end\n"
            '  subgraph vpc13["in no network, or in several"]\n'
            '      srv14["server bare<br/>no address"]\n'
            "  end\n"
            "  vip4 --> group3\n"
            "  group3 --- srv5\n"
            "  group3 --- srv6\n"
            "  vip8 --> group7\n"
            "  eip11 ==> vip4\n"
        ).replace("10.1.0.9\"", "10.1.0.9<br/>on host h\"").replace("10.1.0.10\"", "10.1.0.10<br/>on host h\"")  # fmt: skip

    def test_links_end_at_what_is_drawn(self, cloud: Controller) -> None:
        with cloud.transaction() as tx:
            for number in range(30):
                tx.groups.create(f"many{number}")
                tx.groups.attach_network(f"many{number}", network_id="n")
                tx.groups.create_eip(f"many{number}", bandwidth=1)
                tx.servers.create(f"m{number}", nets=["n"], groups=["g"])
        lines = cloud.picture("mermaid").splitlines()
        drawn = {match[1] for line in lines if (match := re.match(r"\s+(?:subgraph )?([a-z]+\d+)[\[{(]", line))}
        linked = {word for line in lines if re.search(" (---|-->|==>) ", line) for word in line.split()[::2]}
        assert linked <= drawn
        assert any(line.startswith("  more") for line in lines)


class TestSvg:
    def test_is_in_bounds_and_folded(self, cloud: Controller) -> None:
        with cloud.transaction() as tx:
            for number in range(40):
                tx.servers.create(f"m{number:02}", nets=["n"], groups=["g"])
                tx.servers.create(f"o{number:02}", nets=["n"])
        root = ET.fromstring(cloud.picture("svg"))
        width, height = (int(root.attrib[name]) for name in ("width", "height"))
        assert width == 1000
        for rect in root.iter(f"{SVG}rect"):
            x, y = (int(rect.attrib.get(name, 0)) for name in ("x", "y"))
            assert x + int(rect.attrib["width"]) <= width
            assert y + int(rect.attrib["height"]) <= height
        words = [text.text for text in root.iter(f"{SVG}text")]
        assert {"… 35 more members", "… 23 more servers", "VIP 10.1.0.100", "EIP 203.0.113.2", "by pub"} <= {*words}
        assert "prefers-color-scheme" in str(next(root.iter(f"{SVG}style")).text)

    def test_words_that_are_cut_are_whole_in_the_tooltip(self) -> None:
        cloud = empty()
        cloud.vpcs.create("x" * 128, "10.0.0.0/8")
        root = ET.fromstring(cloud.picture("svg"))
        assert f"vpc {'x' * 128}" in [title.text for title in root.iter(f"{SVG}title")]


_NAMES = st.from_regex(r"[^\W_][\w.\-]{0,127}", fullmatch=True).filter(lambda name: name != "default")  # the built-in VPC


@given(names=st.lists(_NAMES, min_size=6, max_size=6, unique=True))
@settings(max_examples=50, deadline=None)
def test_any_names_stay_in_their_place(names: list[str]) -> None:
    cloud = Controller(config=empty().config, store=MemoryStore(), backend=DictBackend(), world=World(clock=lambda: 0.0))
    vpc, network, public, server, group, host = names
    cloud.vpcs.create(vpc, "10.0.0.0/8")
    cloud.networks.create(network, "10.1.0.0/24", vpc=vpc)
    cloud.networks.create(public, "203.0.113.0/24", server_type="eip")
    cloud.hosts.create(host)
    cloud.groups.create(group)
    cloud.servers.create(server, nets=[network], groups=[group], host=host)
    cloud.groups.attach_network(group)
    cloud.groups.create_eip(group, bandwidth=1)
    assert max(map(columns, cloud.picture("text").splitlines())) <= 100
    assert ET.fromstring(cloud.picture("svg")).tag == f"{SVG}svg"
    quotes = [line.count('"') for line in cloud.picture("mermaid").splitlines()]
    assert set(quotes) <= {0, 2}


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(vipnet.InputParameterError) as caught:
        empty().picture("png")
    assert caught.value.details == "format 'png' is unknown; use one of text, mermaid, svg"


@pytest.mark.parametrize("format", FORMATS)
def test_on_the_command_line(
    format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    run: Callable[..., int] = lambda *words: main(list(words))  # noqa: E731
    assert run("vpc-create", "größe", "10.0.0.0/8") == 0
    capsys.readouterr()
    assert run("topology-show", "--format", format) == 0
    picture = capsys.readouterr().out
    assert "größe" in picture
    assert run("-o", "json", "topology-show", "--format", format) == 0
    assert json.loads(capsys.readouterr().out) == {"format": format, "picture": picture}
