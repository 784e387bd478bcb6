"""The configuration file: every key, its default and what it accepts.

A wrong file is an InputParameterError that names the file, the key, the value and what would be accepted. TOML cannot
hold `backend = "nftables"` and a table `[backend.nftables]` together, so the options of a backend are `[backends.NAME]`;
the header `[backend.NAME]` is read as that.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any, TypeGuard, get_args

from vipnet.addresses import parse_ip4
from vipnet.errors import InputParameterError
from vipnet.intents import Uplink
from vipnet.model import DEVICE_NAME, AllocDir, check_name

__all__ = ["ClassicConfig", "Config", "UplinkConfig", "config_from", "load_config", "store_path"]

_BACKEND_HEADER = re.compile(r"^[ \t]*\[backend\.", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class UplinkConfig:
    """A way out: `device` is handed to vipnet, `address` ("203.0.113.2/24") and `gateway` are its own on that segment.

    `networks` names the EIP networks behind it, besides the one of its own name.
    """

    name: str
    device: str
    address: str | None = None
    gateway: str | None = None
    networks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_device("uplinks", self.name, self.device)
        for network in self.networks:
            check_name("network", network)
        self._check_gateway()

    @property
    def interface(self) -> tuple[int, int] | None:
        """The address as (ip, prefix length)."""
        if self.address is None:
            return None
        parsed = _parse_interface(self.address, what=f"address of uplink {self.name}")
        return int(parsed.ip), parsed.network.prefixlen

    @property
    def gateway_ip(self) -> int | None:
        """The gateway as a number."""
        return None if self.gateway is None else parse_ip4(self.gateway, what=f"gateway of uplink {self.name}")

    def _check_gateway(self) -> None:
        gateway, interface = self.gateway_ip, self.interface
        if gateway is None or interface is None:
            return
        ip, length = interface
        if gateway == ip or (gateway ^ ip) >> (32 - length):
            raise InputParameterError(
                f"gateway of uplink {self.name} is {self.gateway}; it must be another address of the segment {self.address}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassicConfig:
    """The physical leg of the classic network `name`."""

    name: str
    device: str

    def __post_init__(self) -> None:
        _check_device("classic", self.name, self.device)


@dataclass(frozen=True, kw_only=True)  # no slots: what follows from it is computed once and kept
class Config:
    """A whole configuration; `uplinks` and `classic` by name, `backends` the options of each backend, unchecked.

    `host` names the one whose ports are programmed, "" means all. `alloc_timeout_seconds` is the rest of released guest
    addresses.
    """

    store: str = "sqlite:///"
    backend: str = "simulator"
    host: str = ""
    max_vips_per_group: int = 1
    alloc_dir: AllocDir = "stepdown"
    alloc_timeout_seconds: int = 30
    uplinks: Mapping[str, UplinkConfig] = field(default_factory=dict[str, UplinkConfig])
    classic: Mapping[str, ClassicConfig] = field(default_factory=dict[str, ClassicConfig])
    backends: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])

    def __post_init__(self) -> None:
        _check_one_uplink_each([(uplink.device, name) for name, uplink in self.uplinks.items()], "device")
        _check_one_uplink_each(
            [(network, name) for name, uplink in self.uplinks.items() for network in {name, *uplink.networks}], "network"
        )

    @cached_property
    def ways(self) -> tuple[Uplink, ...]:
        """The configured uplinks in the order of their names."""
        return tuple(
            Uplink(name=name, index=index, device=uplink.device, address=uplink.interface, gateway=uplink.gateway_ip)
            for index, (name, uplink) in enumerate(sorted(self.uplinks.items()))
        )

    @cached_property
    def way_of(self) -> Mapping[str, Uplink]:
        """The uplink of an EIP network by the network's name: the one of its name, or the one that names it."""
        return {name: way for way in self.ways for name in (way.name, *self.uplinks[way.name].networks)}


def load_config(path: Path) -> Config:
    """Read a configuration file. Raises InputParameterError."""
    import tomllib

    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputParameterError(f"configuration file {str(path)!r} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputParameterError(f"configuration file {str(path)!r} is not UTF-8 text") from error
    except ValueError as error:
        raise InputParameterError(f"configuration file {str(path)!r} cannot be read: no file can have this name") from error
    try:
        return config_from(tomllib.loads(_BACKEND_HEADER.sub("[backends.", text)), source=str(path))
    except tomllib.TOMLDecodeError as error:
        raise InputParameterError(f"{path} is not valid TOML: {error}") from error


def config_from(mapping: Mapping[str, Any], *, source: str) -> Config:
    """Check a configuration that was read from `source`. Raises InputParameterError that names it."""
    try:
        values = _checked(mapping, _TOP, "")
        values["uplinks"] = {name: _uplink(name, table) for name, table in values.get("uplinks", {}).items()}
        values["classic"] = {name: _classic(name, table) for name, table in values.get("classic", {}).items()}
        return Config(**values)
    except InputParameterError as error:
        raise InputParameterError(f"{source}: {error.details}") from error


def store_path(url: str) -> Path | None:
    """Return the file of a SQLite store, None for a store that is no file. Raises InputParameterError for another URL.

    `sqlite:///` alone is `vipnet/vipnet.db` in $XDG_STATE_HOME (default ~/.local/state); nothing is created.
    """
    if url == "memory:" or re.match(r"postgresql(\+\w+)?://", url):
        return None
    if not url.startswith("sqlite:///"):
        raise InputParameterError(f"store {url!r} is not known; use memory:, sqlite:///PATH or postgresql+psycopg://...")
    path = url.removeprefix("sqlite:///")
    if path == ":memory:":
        raise InputParameterError(f"store {url!r} names no file; use memory: for a store that lives as long as its process")
    if path and not Path(path).name:
        raise InputParameterError(f"store {url!r} names a folder; name a file in it")
    return Path(path) if path else _state_home() / "vipnet" / "vipnet.db"


def _state_home() -> Path:
    # The XDG specification wants relative values ignored.
    given = Path(os.environ.get("XDG_STATE_HOME", ""))
    return given if given.is_absolute() else Path.home() / ".local" / "state"


def _check_device(table: str, name: str, device: str) -> None:
    check_name("network" if table == "classic" else "uplink", name)
    if DEVICE_NAME.fullmatch(device) is None or device in (".", ".."):
        raise InputParameterError(
            f"device of {table}.{name} is {device!r}; it must be an interface name of 1-15 letters, digits, '_', '.' and '-'"
        )


def _parse_interface(text: str, *, what: str) -> IPv4Interface:
    ip, slash, length = text.partition("/")
    if not slash or re.fullmatch(r"[1-9]|[12]\d|3[0-2]", length) is None:
        raise InputParameterError(f"{what} is {text!r}; write address and prefix length, like 203.0.113.2/24")
    parse_ip4(ip, what=what)
    parsed = IPv4Interface(text)
    if parsed.network.prefixlen < 31 and parsed.ip in (parsed.network[0], parsed.network[-1]):
        raise InputParameterError(f"{what} is {text!r}, which is no host's; write an address inside {parsed.network}")
    return parsed


def _check_one_uplink_each(pairs: list[tuple[str, str]], what: str) -> None:
    owners: dict[str, str] = {}
    for thing, uplink in sorted(pairs):
        if owners.setdefault(thing, uplink) != uplink:
            raise InputParameterError(f"{what} {thing!r} is named by uplinks {owners[thing]} and {uplink}; it can have one")


def _uplink(name: str, table: Mapping[str, Any]) -> UplinkConfig:
    values = _checked(table, _UPLINK, f"uplinks.{name}.")
    values["networks"] = tuple(values.get("networks", ()))
    return UplinkConfig(name=name, **values)


def _classic(name: str, table: Mapping[str, Any]) -> ClassicConfig:
    return ClassicConfig(name=name, **_checked(table, _CLASSIC, f"classic.{name}."))


def _is_mapping(value: object) -> TypeGuard[Mapping[object, object]]:
    return isinstance(value, Mapping)


def _is_list(value: object) -> TypeGuard[list[object] | tuple[object, ...]]:
    return isinstance(value, list | tuple)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_texts(value: object) -> bool:
    return _is_list(value) and all(isinstance(item, str) for item in value)


def _is_tables(value: object) -> bool:
    return _is_mapping(value) and all(isinstance(key, str) and _is_mapping(item) for key, item in value.items())


def _is_number_from(least: int) -> Callable[[object], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= least


@dataclass(frozen=True, slots=True)
class _Key:
    test: Callable[[object], bool]
    accepted: str
    required: bool = False


_TEXT = _Key(_is_text, "a text")
_DEVICE_KEY = _Key(_is_text, "an interface name", required=True)
_UPLINK: Mapping[str, _Key] = {
    "device": _DEVICE_KEY,
    "address": _Key(_is_text, 'a text like "203.0.113.2/24"'),
    "gateway": _Key(_is_text, 'a text like "203.0.113.1"'),
    "networks": _Key(_is_texts, "a list of names of networks"),
}
_CLASSIC: Mapping[str, _Key] = {"device": _DEVICE_KEY}
_TOP: Mapping[str, _Key] = {
    "store": _TEXT,
    "backend": _Key(_is_text, "the name of a backend"),
    "host": _Key(_is_text, 'the name of a host, or "" for all'),
    "max_vips_per_group": _Key(_is_number_from(1), "a whole number from 1 up"),
    "alloc_dir": _Key(lambda value: value in get_args(AllocDir), "one of " + ", ".join(get_args(AllocDir))),
    "alloc_timeout_seconds": _Key(_is_number_from(0), "a whole number of seconds from 0 up"),
    "uplinks": _Key(_is_tables, "tables [uplinks.NAME]"),
    "classic": _Key(_is_tables, "tables [classic.NAME]"),
    "backends": _Key(_is_tables, "tables [backends.NAME]"),
}


def _checked(table: Mapping[str, Any], keys: Mapping[str, _Key], prefix: str) -> dict[str, Any]:
    for name, value in table.items():
        if name not in keys:
            raise InputParameterError(_unknown(name, keys, prefix))
        if not keys[name].test(value):
            raise InputParameterError(f"key {prefix}{name} is {value!r}; it must be {keys[name].accepted}")
    for name, key in keys.items():
        if key.required and name not in table:
            raise InputParameterError(f"key {prefix}{name} is missing; it must be {key.accepted}")
    return dict(table)


def _unknown(name: str, keys: Mapping[str, _Key], prefix: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(str(name), keys, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "known here: " + ", ".join(keys)
    return f"key {prefix + str(name)!r} is not known; {hint}"
