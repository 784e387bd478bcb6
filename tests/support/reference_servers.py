"""The reference model's servers and their NICs; what membership asks of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from reference_places import Places
from reference_rows import Problems, Row, ip4, ip6

from vipnet.errors import (
    BadRequestError,
    ConflictError,
    ForbiddenError,
    InputParameterError,
    InvalidStatusError,
    MissingParameterError,
    NotSupportedError,
)

__all__ = ["Servers"]


class Servers(Places):
    """See Places for how a verb is called."""

    def check_visible(self, network: Row, project: str, problems: Problems) -> None:
        if network["project"] != project and not network["shared"]:
            problems.add(ForbiddenError)

    def servers_create(
        self,
        shown: Any,
        name: str,
        *,
        nets: Sequence[str] = (),
        host: str | None = None,
        groups: Sequence[str] = (),
        project: str = "default",
        macs: Sequence[str] = (),
        devices: Sequence[str] = (),
    ) -> Problems:
        problems: Problems = set()
        self.name(self.servers, name, problems, project=project)
        machine = None if host is None else self.find(self.hosts, host, problems)
        server: Row = {"name": name, "project": project, "host": None if machine is None else machine["id"], "nics": []}
        if len(macs) > len(nets) or len(devices) > len(nets):
            problems.add(InputParameterError)
        if len(set(devices)) < len(devices):
            problems.add(ConflictError)
        answers = [None] * len(nets) if shown is None else shown.nics
        for place, net in enumerate(nets):
            mac = macs[place] if place < len(macs) else None
            device = devices[place] if place < len(devices) else None
            self._wish(server, net, mac, device, answers[place], problems)
        found = [self.find(self.groups, ref, problems, InputParameterError) for ref in groups]
        for group in [group for group in found if group is not None]:
            self.check_member(group, server, problems)
            self._check_placement(group, server, problems)
        if shown is not None and not problems:
            server["id"] = shown.id
            self.servers.append(server)
            self._give_addresses(server, server["nics"])
            self.join([group for group in found if group is not None], server)
        return problems

    def _wish(self, server: Row, net: str, mac: str | None, device: str | None, answer: Any, problems: Problems) -> None:
        """Add a NIC to a server's row, its addresses chosen but not held yet."""
        match = re.fullmatch("([^:,]*)(?::([^,]+))?(?:,(.+))?", net)
        if match is None:
            problems.add(InputParameterError)
            return
        network = self.find(self.networks, match[1], problems)
        wanted, wanted6 = ip4(match[2], problems), ip6(match[3], problems)
        if network is None:
            return
        self._check_nic(server, network, mac, device, problems)
        four = None if answer is None else answer.ip_addr
        six = None if answer is None else answer.ip6_addr
        nic: Row = {"network": network["id"], "ip": self.pick(network, 4, wanted, problems, shown=four), "ip6": None}
        if network["prefix6"] is not None or wanted6 is not None:
            nic["ip6"] = self.pick(network, 6, wanted6, problems, shown=six)
        nic["mac"] = mac or (None if answer is None else answer.mac)
        nic["device"] = device or (None if answer is None else answer.device)
        server["nics"].append(nic)

    def _check_nic(self, server: Row, network: Row, mac: str | None, device: str | None, problems: Problems) -> None:
        self.check_visible(network, server["project"], problems)
        if network["kind"] != "guest":
            problems.add(InputParameterError)
        if any(nic["network"] == network["id"] for nic in server["nics"]):
            problems.add(ConflictError)
        nics = [(other, nic) for other in self.servers for nic in other["nics"]]
        if mac is not None and any(nic["mac"] == mac and nic["network"] == network["id"] for _, nic in nics):
            problems.add(ConflictError)
        if device is not None and not re.fullmatch("[A-Za-z0-9_.-]{1,15}", device):
            problems.add(InputParameterError)
        if device is not None and any(nic["device"] == device and other["host"] == server["host"] for other, nic in nics):
            problems.add(ConflictError)

    def _give_addresses(self, server: Row, nics: Sequence[Row]) -> None:
        for nic in nics:
            network = self.at(self.networks, nic["network"])
            for version, ip in ((4, nic["ip"]), (6, nic["ip6"])):
                self.hold(network, version, ip, "used", "servers", server["id"])

    def servers_delete(self, _shown: Any, ref: str) -> Problems:
        problems: Problems = set()
        server = self.find(self.servers, ref, problems)
        if server is None:
            return problems
        for nic in server["nics"]:
            self.rest(self.at(self.networks, nic["network"]), ((4, nic["ip"]), (6, nic["ip6"])))
        for group in self.groups:
            group["members"] = [id for id in group["members"] if id != server["id"]]
        self.servers.remove(server)
        return problems

    def servers_attach_network(
        self, shown: Any, ref: str, net: str, *, mac: str | None = None, device: str | None = None
    ) -> Problems:
        problems: Problems = set()
        server = self.find(self.servers, ref, problems)
        if server is None:
            return problems
        self._check_no_vip(server, problems)
        changed = {**server, "nics": list(server["nics"])}
        self._wish(changed, net, mac, device, None if shown is None else shown.nics[-1], problems)
        if shown is not None and not problems:
            server["nics"] = changed["nics"]
            self._give_addresses(server, server["nics"][-1:])
        return problems

    def servers_detach_network(self, _shown: Any, ref: str, net: str) -> Problems:
        problems: Problems = set()
        server, network = self.find(self.servers, ref, problems), self.find(self.networks, net, problems)
        if server is not None:
            self._check_no_vip(server, problems)
        if server is None or network is None:
            return problems
        nic = next((nic for nic in server["nics"] if nic["network"] == network["id"]), None)
        if nic is None:
            return problems | {ConflictError, InvalidStatusError}  # the rules name no class
        if not problems:
            server["nics"].remove(nic)
            self.rest(network, ((4, nic["ip"]), (6, nic["ip6"])))
        return problems

    def _check_no_vip(self, server: Row, problems: Problems) -> None:
        if any(server["id"] in group["members"] and group["vips"] for group in self.groups):
            problems.add(ConflictError)

    # ------------------------------------------------------------------------------------------------- membership

    def check_open(self, group: Row, server: Row, problems: Problems) -> None:
        """What every change of membership asks."""
        if group["frozen"]:
            problems.add(BadRequestError)
        if not group["enabled"] or group["project"] != server["project"]:
            problems.add(ForbiddenError)

    def check_member(self, group: Row, server: Row, problems: Problems) -> None:
        """What every way into a group asks; a member that it has stays."""
        self.check_open(group, server, problems)
        if server.get("id") in group["members"]:
            return
        for vip in group["vips"]:
            if len(server["nics"]) != 1:
                problems.add(NotSupportedError)
            elif server["nics"][0]["network"] != vip["network"]:
                problems.add(ConflictError)

    def _check_placement(self, group: Row, server: Row, problems: Problems) -> None:
        hosts = [self.at(self.servers, id)["host"] for id in group["members"]]
        forced = group["enabled"] and group["force"] and server["host"] is not None
        if forced and hosts.count(server["host"]) >= group["granularity"]:
            problems.add(ConflictError)

    def join(self, groups: Sequence[Row], server: Row) -> None:
        """Add a member to groups that it is not in."""
        for group in groups:
            if server["id"] not in group["members"]:
                group["members"].append(server["id"])

    def servers_join_groups(self, shown: Any, ref: str, refs: Sequence[str]) -> Problems:
        problems: Problems = set() if refs else {MissingParameterError}
        server = self.find(self.servers, ref, problems)
        found = [self.find(self.groups, one, problems, InputParameterError) for one in refs]
        for group in [] if server is None else [group for group in found if group is not None]:
            self.check_member(group, server or {}, problems)
        if shown is not None and server is not None and not problems:
            self.join([group for group in found if group is not None], server)
        return problems

    def servers_leave_groups(self, shown: Any, ref: str, refs: Sequence[str]) -> Problems:
        problems: Problems = set() if refs else {MissingParameterError}
        server = self.find(self.servers, ref, problems)
        found = [self.find(self.groups, one, problems, InputParameterError) for one in refs]
        for group in [] if server is None else [group for group in found if group is not None]:
            self.check_open(group, server or {}, problems)
        if shown is not None and server is not None and not problems:
            for group in [group for group in found if group is not None]:
                group["members"] = [id for id in group["members"] if id != server["id"]]
        return problems
