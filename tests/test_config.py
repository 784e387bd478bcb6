from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vipnet.addresses import parse_ip4
from vipnet.config import Config, UplinkConfig, config_from, load_config, store_path
from vipnet.errors import InputParameterError
from vipnet.intents import Uplink

_INTERFACE_NAME = "an interface name of 1-15 letters, digits, '_', '.' and '-'"
_WHOLE = """
store   = "memory:"
backend = "nftables"
host    = "h1"
max_vips_per_group = 2
alloc_dir = "random"
alloc_timeout_seconds = 0

[uplinks.pub]
device   = "eth1"
address  = "203.0.113.2/24"
gateway  = "203.0.113.1"
networks = ["public"]

[uplinks.bgp]
device = "eth3"

[classic.office]
device = "eth2"

[backends.nftables]
namespace = "routers"
"""


def _read(folder: Path, text: str) -> Config:
    path = folder / "vipnet.toml"
    path.write_text(text, encoding="utf-8")
    return load_config(path)


def _address(text: str) -> int:
    return parse_ip4(text, what="address")


def test_a_whole_file(tmp_path: Path) -> None:
    config = _read(tmp_path, _WHOLE)
    assert (config.store, config.backend, config.host) == ("memory:", "nftables", "h1")
    assert (config.max_vips_per_group, config.alloc_dir, config.alloc_timeout_seconds) == (2, "random", 0)
    assert config.classic["office"].device == "eth2"
    assert config.backends == {"nftables": {"namespace": "routers"}}
    assert config.uplinks["pub"] == UplinkConfig(
        name="pub", device="eth1", address="203.0.113.2/24", gateway="203.0.113.1", networks=("public",)
    )


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    assert _read(tmp_path, "") == Config()
    assert Config().alloc_timeout_seconds == 30


def test_options_of_a_backend_may_be_written_without_the_plural(tmp_path: Path) -> None:
    config = _read(tmp_path, '[backend.nftables]\nnamespace = "routers"\n')
    assert config.backends == {"nftables": {"namespace": "routers"}}
    assert config.backend == "simulator"


def test_uplinks_are_numbered_by_name(tmp_path: Path) -> None:
    config = _read(tmp_path, _WHOLE)
    bgp = Uplink(name="bgp", index=0, device="eth3", address=None, gateway=None)
    pub = Uplink(name="pub", index=1, device="eth1", address=(_address("203.0.113.2"), 24), gateway=_address("203.0.113.1"))
    assert config.ways == (bgp, pub)
    assert config.way_of["bgp"] == bgp
    assert config.way_of["pub"] == pub
    assert config.way_of["public"] == pub
    assert config.way_of.get("web") is None


@pytest.mark.parametrize(
    ("mapping", "details"),
    [
        ({"stor": "memory:"}, "test: key 'stor' is not known; did you mean 'store'?"),
        ({"uplinks": {"pub": {"adress": ""}}}, "test: key 'uplinks.pub.adress' is not known; did you mean 'address'?"),
        ({"classic": {"office": {"xyz": ""}}}, "test: key 'classic.office.xyz' is not known; known here: device"),
        ({"store": 5}, "test: key store is 5; it must be a text"),
        ({"max_vips_per_group": True}, "test: key max_vips_per_group is True; it must be a whole number from 1 up"),
        ({"max_vips_per_group": 0}, "test: key max_vips_per_group is 0; it must be a whole number from 1 up"),
        ({"alloc_dir": "up"}, "test: key alloc_dir is 'up'; it must be one of stepdown, stepup, random, none"),
        (
            {"alloc_timeout_seconds": -1},
            "test: key alloc_timeout_seconds is -1; it must be a whole number of seconds from 0 up",
        ),
        ({"uplinks": {"pub": "eth1"}}, "test: key uplinks is {'pub': 'eth1'}; it must be tables [uplinks.NAME]"),
        ({"uplinks": {"pub": {}}}, "test: key uplinks.pub.device is missing; it must be an interface name"),
        (
            {"uplinks": {"pub": {"device": "eth1; reboot"}}},
            f"test: device of uplinks.pub is 'eth1; reboot'; it must be {_INTERFACE_NAME}",
        ),
        (
            {"classic": {"office": {"device": ".."}}},
            f"test: device of classic.office is '..'; it must be {_INTERFACE_NAME}",
        ),
        (
            {"uplinks": {"pub": {"device": "eth1", "networks": "public"}}},
            "test: key uplinks.pub.networks is 'public'; it must be a list of names of networks",
        ),
        (
            {"uplinks": {"a": {"device": "eth1", "networks": ["pub"]}, "pub": {"device": "eth2"}}},
            "test: network 'pub' is named by uplinks a and pub; it can have one",
        ),
        (
            {"uplinks": {"a": {"device": "eth1"}, "b": {"device": "eth1"}}},
            "test: device 'eth1' is named by uplinks a and b; it can have one",
        ),
        (
            {"uplinks": {"pub": {"device": "eth1", "address": "203.0.113.2/24", "gateway": "198.51.100.1"}}},
            "test: gateway of uplink pub is 198.51.100.1; it must be another address of the segment 203.0.113.2/24",
        ),
        (
            {"uplinks": {"pub": {"device": "eth1", "address": "203.0.113.0/24"}}},
            "test: address of uplink pub is '203.0.113.0/24', which is no host's; write an address inside 203.0.113.0/24",
        ),
        (
            {"uplinks": {"pub": {"device": "eth1", "gateway": "203.0.113.01"}}},
            "test: gateway of uplink pub '203.0.113.01' is no IPv4 address; write it like 192.168.7.246",
        ),
    ],
)
def test_what_is_refused(mapping: dict[str, Any], details: str) -> None:
    with pytest.raises(InputParameterError) as refused:
        config_from(mapping, source="test")
    assert refused.value.details == details


@pytest.mark.parametrize(
    "address", ["203.0.113.2", "203.0.113.2/", "203.0.113.2/33", "203.0.113.2/024", "203.0.113.2/24\n", "x/24"]
)
def test_addresses_of_uplinks_that_are_none(address: str) -> None:
    with pytest.raises(InputParameterError, match="address of uplink pub"):
        UplinkConfig(name="pub", device="eth1", address=address)


@pytest.mark.parametrize("name", ["a b", "", "../etc", "a;b", "a\nb"])
def test_names_of_uplinks_and_networks_that_are_none(name: str) -> None:
    with pytest.raises(InputParameterError):
        UplinkConfig(name=name, device="eth1")
    with pytest.raises(InputParameterError):
        UplinkConfig(name="pub", device="eth1", networks=(name,))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputParameterError) as refused:
        load_config(tmp_path / "none.toml")
    assert (
        refused.value.details == f"configuration file {str(tmp_path / 'none.toml')!r} cannot be read: No such file or directory"
    )


def test_a_file_that_is_not_toml(tmp_path: Path) -> None:
    with pytest.raises(InputParameterError, match=r"vipnet\.toml is not valid TOML: "):
        _read(tmp_path, "store = ")


def test_the_options_of_a_backend_may_be_headed_either_way(tmp_path: Path) -> None:
    for header in ("backend.nftables", "backends.nftables"):
        config = _read(tmp_path, f'backend = "nftables"\n[{header}]\nnamespace = "routers"\n')
        assert (config.backend, config.backends) == ("nftables", {"nftables": {"namespace": "routers"}})


def test_where_a_store_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert store_path("sqlite:///") == tmp_path / "vipnet" / "vipnet.db"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert store_path("sqlite:///") == Path("/home/somebody/.local/state/vipnet/vipnet.db")
    assert store_path("sqlite:////var/lib/vipnet.db") == Path("/var/lib/vipnet.db")
    assert store_path("sqlite:///vipnet.db") == Path("vipnet.db")
    assert store_path("memory:") is None
    assert store_path("postgresql+psycopg://vipnet@db/vipnet") is None


@pytest.mark.parametrize("url", ["", "memory", "sqlite://", "mysql://db/vipnet", "/var/lib/vipnet.db"])
def test_stores_that_are_none(url: str) -> None:
    with pytest.raises(InputParameterError) as refused:
        store_path(url)
    assert refused.value.details == f"store {url!r} is not known; use memory:, sqlite:///PATH or postgresql+psycopg://..."
