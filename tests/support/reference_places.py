"""The reference model's VPCs, hosts and networks."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from reference_rows import DIRECTIONS, Problems, Row, Rows, ip4, ip6, is_whole, net4, net6

from vipnet.errors import (
    ConflictError,
    ForbiddenError,
    InputParameterError,
    InvalidStatusError,
    MissingParameterError,
    NotEmptyError,
)

__all__ = ["Places"]

MODES = ("eip", "distgw", "eip-distgw", "none")
UNITS = {"I": 60, "H": 3600, "D": 86400, "W": 604800, "M": 30 * 86400, "Y": 365 * 86400}


class Places(Rows):
    """A verb takes what the other side answered (None: it refused) and the verb's arguments; it returns all that is wrong."""

    def vpcs_create(
        self, shown: Any, name: str, cidr: str, *, cidr6: str | None = None, external_access_mode: str | None = None
    ) -> Problems:
        problems: Problems = set()
        self.name(self.vpcs, name, problems)
        net4(cidr, problems)
        net6(cidr6, problems)
        if external_access_mode not in (None, *MODES):
            problems.add(InputParameterError)
        if shown is not None and not problems:
            mode = external_access_mode or "eip-distgw"
            self.vpcs.append({"id": shown.id, "name": name, "cidr": cidr, "cidr6": cidr6, "mode": mode})
        return problems

    def vpcs_delete(self, _shown: Any, ref: str) -> Problems:
        problems: Problems = set()
        vpc = self.find(self.vpcs, ref, problems)
        if vpc is not None and vpc["id"] == "default":
            return {ForbiddenError}
        if vpc is not None and any(network["vpc"] == vpc["id"] for network in self.networks):
            problems.add(NotEmptyError)
        if vpc is not None and not problems:
            self.vpcs.remove(vpc)
        return problems

    def hosts_create(self, shown: Any, name: str, *, zone: str | None = None) -> Problems:
        problems: Problems = set()
        self.name(self.hosts, name, problems)
        if shown is not None and not problems:
            self.hosts.append({"id": shown.id, "name": name, "zone": zone or "default"})
        return problems

    def hosts_delete(self, _shown: Any, ref: str) -> Problems:
        problems: Problems = set()
        host = self.find(self.hosts, ref, problems)
        if host is not None and any(server["host"] == host["id"] for server in self.servers):
            problems.add(NotEmptyError)
        if host is not None and not problems:
            self.hosts.remove(host)
        return problems

    # ------------------------------------------------------------------------------------------------- networks

    def networks_create(
        self,
        shown: Any,
        name: str,
        prefix: str,
        *,
        vpc: str | None = None,
        start_ip: str | None = None,
        end_ip: str | None = None,
        gateway: str | None = None,
        prefix6: str | None = None,
        alloc_policy: str | None = None,
        server_type: str | None = None,
        bgp_type: str | None = None,
        zone: str | None = None,
        project: str = "default",
        shared: bool = False,
        alloc_timeout_seconds: int | None = None,
    ) -> Problems:
        problems: Problems = set()
        self.name(self.networks, name, problems, project=project)
        owner = self.find(self.vpcs, vpc or "default", problems)
        kind = server_type or "guest"
        if alloc_policy not in (None, *DIRECTIONS) or kind not in ("guest", "eip"):
            problems.add(InputParameterError)
        four, six = net4(prefix, problems), net6(prefix6, problems)
        is_whole(alloc_timeout_seconds, 0, 365 * 86400, problems)
        if owner is None or four is None:
            return problems
        if kind == "eip" and owner["id"] != "default":
            problems.add(InputParameterError)
        self._check_prefix(owner, four, problems)
        self._check_prefix6(owner, six, problems)
        start, end = self._range(owner, kind, four, start_ip, end_ip, problems)
        via = self._gateway(owner, four, gateway, problems)
        if shown is None or problems:
            return problems
        network: Row = {"id": shown.id, "name": name, "vpc": owner["id"], "prefix": prefix, "start": start, "end": end}
        network |= {"gateway": via, "prefix6": None if six is None else str(six), "policy": alloc_policy or "none"}
        network |= {"start6": None if six is None else int(six[2]), "end6": None if six is None else int(six[-1]) - 2}
        network |= {"kind": kind, "bgp": bgp_type or "", "zone": zone or "default", "project": project, "shared": shared}
        self.networks.append({**network, "rest": alloc_timeout_seconds or 0})
        self._reserve_gateway(self.networks[-1])
        return problems

    def _check_prefix(self, vpc: Row, prefix: ipaddress.IPv4Network, problems: Problems) -> None:
        if not 12 <= prefix.prefixlen <= 30 or not prefix.subnet_of(ipaddress.IPv4Network(vpc["cidr"])):
            problems.add(InputParameterError)
        if any(ipaddress.IPv4Network(row["prefix"]).overlaps(prefix) for row in self.networks if row["vpc"] == vpc["id"]):
            problems.add(ConflictError)

    def _check_prefix6(self, vpc: Row, prefix: ipaddress.IPv6Network | None, problems: Problems) -> None:
        if prefix is None:
            return
        if not 48 <= prefix.prefixlen <= 126 or prefix.num_addresses < 5:  # of four addresses none is left to give
            problems.add(InputParameterError)
        outside = vpc["cidr6"] is None or not prefix.subnet_of(ipaddress.IPv6Network(vpc["cidr6"]))
        if vpc["id"] != "default" and outside:
            problems.add(InputParameterError)
        present = [row["prefix6"] for row in self.networks if row["vpc"] == vpc["id"] and row["prefix6"] is not None]
        if any(ipaddress.IPv6Network(text).overlaps(prefix) for text in present):
            problems.add(ConflictError)

    def _range(
        self, vpc: Row, kind: str, prefix: ipaddress.IPv4Network, start: str | None, end: str | None, problems: Problems
    ) -> tuple[int, int]:
        low, high = int(prefix[0]), int(prefix[-1])
        first, last = (low, high) if vpc["id"] == "default" else (low + 2, high - 2)
        usual = (low + 2, high - 1) if kind == "eip" else (first, last)
        one = usual[0] if start is None else ip4(start, problems)
        two = usual[1] if end is None else ip4(end, problems)
        if one is not None and two is not None and not first <= one <= two <= last:
            problems.add(InputParameterError)
        return one or 0, two or 0

    def _gateway(self, vpc: Row, prefix: ipaddress.IPv4Network, text: str | None, problems: Problems) -> int | None:
        if text is None:
            return None if vpc["id"] == "default" else int(prefix[1])
        ip = ip4(text, problems)
        if ip is not None and not int(prefix[0]) < ip < int(prefix[-1]):
            problems.add(InputParameterError)
        return ip

    def _reserve_gateway(self, network: Row) -> None:
        if network["gateway"] in self.span(network, 4):
            self.hold(network, 4, network["gateway"], "reserved", "reserved", notes="gateway")

    def networks_update(
        self,
        shown: Any,
        ref: str,
        *,
        start_ip: str | None = None,
        end_ip: str | None = None,
        alloc_policy: str | None = None,
        gateway: str | None = None,
    ) -> Problems:
        problems: Problems = set()
        if alloc_policy not in (None, *DIRECTIONS):
            problems.add(InputParameterError)
        network = self.find(self.networks, ref, problems)
        if network is None:
            return problems
        changed = dict(network)
        vpc, prefix = self.at(self.vpcs, network["vpc"]), ipaddress.IPv4Network(network["prefix"])
        if start_ip is not None or end_ip is not None:
            texts = [str(ipaddress.IPv4Address(network[side])) for side in ("start", "end")]
            changed["start"], changed["end"] = self._range(
                vpc, network["kind"], prefix, start_ip or texts[0], end_ip or texts[1], problems
            )
        if gateway is not None:
            changed["gateway"] = self._gateway(vpc, prefix, gateway, problems)
        changed["policy"] = alloc_policy or network["policy"]
        if not problems:
            self._check_update(network, changed, gateway is not None, problems)
        if shown is not None and not problems:
            self._update(network, changed, moved=gateway is not None)
        return problems

    def _check_update(self, old: Row, new: Row, moved: bool, problems: Problems) -> None:
        rows = [row for row in self.addresses if row["network"] == old["id"] and row["version"] == 4]
        rows = [row for row in rows if row["state"] != "resting" and row is not self._gateway_row(old)]
        if any(row["ip"] not in self.span(new, 4) for row in rows):
            problems.add(InputParameterError)
        if moved and any(row["ip"] == new["gateway"] and row["state"] == "used" for row in rows):
            problems.add(ConflictError)

    def _gateway_row(self, network: Row) -> Row | None:
        row = None if network["gateway"] is None else self.row(network, 4, network["gateway"])
        return row if row is not None and row["notes"] == "gateway" else None

    def _update(self, network: Row, changed: Row, *, moved: bool) -> None:
        entered = network["gateway"] not in self.span(network, 4)
        if self._gateway_row(network) and (moved or changed["gateway"] not in self.span(changed, 4)):
            self.drop(network, 4, network["gateway"])
        network.update(changed)
        gone = [row for row in self.addresses if row["network"] == network["id"] and row["version"] == 4]
        for row in gone:
            if row["ip"] not in self.span(network, 4):
                self.addresses.remove(row)
        if moved or entered:
            self._reserve_gateway(network)

    def networks_delete(self, _shown: Any, ref: str) -> Problems:
        problems: Problems = set()
        network = self.find(self.networks, ref, problems)
        if network is None:
            return problems
        inside = [row for row in self.addresses if row["network"] == network["id"]]
        if any(row["state"] == "used" for row in inside):
            return {NotEmptyError}
        self.networks.remove(network)
        self.addresses = [row for row in self.addresses if row not in inside]
        return problems

    # ------------------------------------------------------------------------------------------------- reservations

    def networks_reserve_ip(self, shown: Any, ref: str, notes: str, ips: list[str], *, duration: str | None = None) -> Problems:
        problems: Problems = set()
        network = self.find(self.networks, ref, problems)
        if len(notes) > 256 or not notes.isprintable():
            problems.add(InputParameterError)
        if not ips:
            problems.add(MissingParameterError)
        match = re.fullmatch("([1-9][0-9]{0,5})([IHDWMY])", "1I" if duration is None else duration, re.IGNORECASE)
        if match is None:
            problems.add(InputParameterError)
        if network is None:
            return problems
        found = [self._of(network, text, problems) for text in ips]
        if any(row is not None and row["state"] == "used" for _, _, row in found):
            problems.add(ConflictError)
        if shown is not None and not problems:
            seconds = 0 if match is None else int(match[1]) * UNITS[match[2].upper()]
            until = None if duration is None else self.now + seconds
            for version, ip, _ in found:
                self.hold(network, version, ip, "reserved", "reserved", notes=notes, until=until)
        return problems

    def _of(self, network: Row, text: str, problems: Problems) -> tuple[int, int | None, Row | None]:
        version = 6 if ":" in text else 4
        ip = ip6(text, problems) if version == 6 else ip4(text, problems)
        if ip not in self.span(network, version):
            problems.add(InputParameterError)
            return version, None, None
        return version, ip, self.row(network, version, ip or 0)

    def networks_release_reserved_ip(self, _shown: Any, ref: str, text: str) -> Problems:
        problems: Problems = set()
        network = self.find(self.networks, ref, problems)
        if network is None:
            return problems
        _, _, row = self._of(network, text, problems)
        if row is None or row["state"] != "reserved":
            problems.add(InvalidStatusError)
        elif not problems:
            self.addresses.remove(row)
        return problems
