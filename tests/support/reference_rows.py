"""The ground of the reference model: rows in lists, found by scanning, and addresses counted one by one."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Any

from vipnet.errors import (
    BadRequestError,
    ConflictError,
    InputParameterError,
    InsufficientResourceError,
    RefusedError,
    ResourceNotFoundError,
)

__all__ = ["DIRECTIONS", "Problems", "Row", "Rows", "ip4", "ip6", "is_whole", "net4", "net6"]

Row = dict[str, Any]
Problems = set[type[RefusedError]]

DIRECTIONS = ("stepdown", "stepup", "random", "none")
REST = 30


def ip4(text: str | None, problems: Problems) -> int | None:
    """Four canonical decimal numbers, or a problem."""
    if text is None:
        return None
    parts = text.split(".")
    if len(parts) == 4 and all(re.fullmatch("0|[1-9][0-9]{0,2}", part) and int(part) < 256 for part in parts):
        return int(ipaddress.IPv4Address(text))
    problems.add(InputParameterError)
    return None


def ip6(text: str | None, problems: Problems) -> int | None:
    """IPv6 in any spelling, or a problem."""
    try:
        return None if text is None else int(ipaddress.IPv6Address(text))
    except ValueError:
        problems.add(InputParameterError)
        return None


def net4(text: str, problems: Problems) -> ipaddress.IPv4Network | None:
    """An IPv4 prefix as it is written canonically, or a problem."""
    try:
        found = ipaddress.IPv4Network(text)
    except ValueError:
        found = None
    if found is None or str(found) != text:
        problems.add(InputParameterError)
        return None
    return found


def net6(text: str | None, problems: Problems) -> ipaddress.IPv6Network | None:
    """An IPv6 prefix, or a problem."""
    try:
        found = None if text is None else ipaddress.IPv6Network(text)
    except ValueError:
        found = None
    if text is not None and (found is None or "%" in text):
        problems.add(InputParameterError)
        return None
    return found


def is_whole(value: int | None, least: int, most: int, problems: Problems) -> None:
    """Note a number that is out of bounds."""
    if value is not None and not least <= value <= most:
        problems.add(InputParameterError)


class Rows:
    """All objects, each a dict in a list; addresses that are not plainly free are rows too."""

    def __init__(self) -> None:
        self.now = 0.0
        self.vpcs: list[Row] = [{"id": "default", "name": "default", "cidr": "0.0.0.0/0", "cidr6": None, "mode": "none"}]
        self.networks: list[Row] = []
        self.hosts: list[Row] = []
        self.servers: list[Row] = []
        self.groups: list[Row] = []
        self.eips: list[Row] = []
        self.addresses: list[Row] = []
        self.offered: list[Any] = []
        """The EIPs of the other side, to learn ids and names that no answer holds."""

    def advance(self, seconds: float) -> None:
        """Let time pass; what has expired or rested enough is gone."""
        self.now += seconds
        self.addresses = [row for row in self.addresses if row["until"] is None or row["until"] > self.now]

    # ------------------------------------------------------------------------------------------------- finding

    def find(
        self, rows: list[Row], ref: str, problems: Problems, missing: type[RefusedError] = ResourceNotFoundError
    ) -> Row | None:
        """The row of an id, or of a name that only one has."""
        found = [row for row in rows if row["id"] == ref] or [row for row in rows if row["name"] == ref]
        if len(found) == 1:
            return found[0]
        problems.add(ConflictError if found else missing)
        return None

    def at(self, rows: list[Row], id: str) -> Row:
        """The row of an id that is there."""
        return next(row for row in rows if row["id"] == id)

    def live_group(self, ref: str, problems: Problems) -> Row | None:
        """A group for an action: a frozen one refuses."""
        group = self.find(self.groups, ref, problems)
        if group is not None and group["frozen"]:
            problems.add(BadRequestError)
            return None
        return group

    def name(self, rows: list[Row], name: str, problems: Problems, *, project: str | None = None, but: Row | None = None) -> None:
        """Note a name that is malformed, or taken in the project."""
        if not re.fullmatch(r"[^\W_][\w.-]{0,127}", name):
            problems.add(InputParameterError)
        if any(row["name"] == name and row.get("project") == project and row is not but for row in rows):
            problems.add(ConflictError)

    # ------------------------------------------------------------------------------------------------- addresses

    def row(self, network: Row, version: int, ip: int) -> Row | None:
        """Who has an address, or rests on it."""
        key = (network["id"], version, ip)
        return next((row for row in self.addresses if (row["network"], row["version"], row["ip"]) == key), None)

    def span(self, network: Row, version: int) -> range:
        """The addresses that a network gives out; none if it has not that family."""
        first, last = (network["start"], network["end"]) if version == 4 else (network["start6"], network["end6"])
        return range(0) if first is None else range(first, last + 1)

    def free(self, network: Row, version: int) -> list[int]:
        """What an automatic choice chooses from."""
        return [ip for ip in self.span(network, version) if self.row(network, version, ip) is None]

    def direction(self, network: Row, asked: str | None) -> str:
        """The network's own policy, else what was asked, else stepdown."""
        return network["policy"] if network["policy"] != "none" else asked or "stepdown"

    def pick(
        self,
        network: Row,
        version: int,
        wanted: int | None,
        problems: Problems,
        *,
        direction: str | None = "stepdown",
        required: bool = True,
        reserved: bool = False,
        shown: str | None = None,
    ) -> int | None:
        """The address that a request gets; `shown` is what the other side chose, which decides among random ones."""
        span = self.span(network, version)
        if not span or (wanted is not None and wanted not in span):
            problems.add(InputParameterError)
            return None
        held = None if wanted is None else self.row(network, version, wanted)
        if wanted is not None and (held is None or held["state"] == "resting" or (reserved and held["state"] == "reserved")):
            return wanted
        if wanted is not None and required:
            problems.add(ConflictError)
            return None
        return self._automatic(network, version, self.direction(network, direction), problems, shown)

    def _automatic(self, network: Row, version: int, direction: str, problems: Problems, shown: str | None) -> int | None:
        free = self.free(network, version)
        if not free:
            problems.add(InsufficientResourceError)
            return None
        if direction == "random":
            chosen = None if shown is None else int(ipaddress.ip_address(shown))
            return chosen if chosen in free else free[0]
        return max(free) if direction == "stepdown" else min(free)

    def hold(self, network: Row, version: int, ip: int | None, state: str, kind: str, owner: str = "", **more: Any) -> None:
        """Give an address to an owner; None: there is none to give."""
        if ip is None:
            return
        self.drop(network, version, ip)
        row = {"network": network["id"], "version": version, "ip": ip, "state": state, "kind": kind, "owner": owner}
        self.addresses.append({**row, "notes": "", "until": None, **more})

    def drop(self, network: Row, version: int, ip: int | None) -> None:
        """Forget who had an address."""
        key = (network["id"], version, ip)
        self.addresses = [row for row in self.addresses if (row["network"], row["version"], row["ip"]) != key]

    def rest(self, network: Row, pairs: Iterable[tuple[int, int | None]]) -> None:
        """Let the addresses of a NIC rest."""
        until = self.now + max(REST, network["rest"])
        for version, ip in pairs:
            self.hold(network, version, ip, "resting", "servers", until=until)
