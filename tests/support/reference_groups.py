"""The reference model's groups: members and VIPs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reference_rows import DIRECTIONS, Problems, Row, ip4, ip6, is_whole
from reference_servers import Servers

from vipnet.errors import (
    ConflictError,
    ForbiddenError,
    InputParameterError,
    InvalidStatusError,
    MissingParameterError,
    NotEmptyError,
    UnsupportOperationError,
)

__all__ = ["Groups"]


class Groups(Servers):
    """See Places for how a verb is called."""

    def groups_create(
        self,
        shown: Any,
        name: str,
        *,
        zone_id: str | None = None,
        granularity: int | None = None,
        force_dispersion: str | None = None,
        project: str = "default",
        vrid: int | None = None,
    ) -> Problems:
        problems: Problems = set()
        self.name(self.groups, name, problems, project=project)
        self._check_options(granularity, force_dispersion, vrid, problems)
        if shown is not None and not problems:
            group: Row = {"id": shown.id, "name": name, "project": project, "zone": zone_id or "default", "enabled": True}
            group |= {"frozen": False, "granularity": granularity or 1, "force": force_dispersion != "no", "vrid": vrid}
            self.groups.append({**group, "members": [], "vips": []})
        return problems

    def _check_options(self, granularity: int | None, force: str | None, vrid: int | None, problems: Problems) -> None:
        is_whole(granularity, 1, 1_000_000, problems)
        is_whole(vrid, 1, 255, problems)
        if force not in (None, "yes", "no"):
            problems.add(InputParameterError)

    def groups_update(
        self,
        shown: Any,
        ref: str,
        *,
        name: str | None = None,
        granularity: int | None = None,
        force_dispersion: str | None = None,
        vrid: int | None = None,
    ) -> Problems:
        problems: Problems = set()
        group = self.live_group(ref, problems)
        if group is None:
            return problems
        if name is not None:
            self.name(self.groups, name, problems, project=group["project"], but=group)
        self._check_options(granularity, force_dispersion, vrid, problems)
        for vip in group["vips"]:
            self._check_vrid(vip["network"], vrid, group, problems)
        if shown is not None and not problems:
            group["name"] = name or group["name"]
            group["granularity"] = granularity or group["granularity"]
            group["force"] = group["force"] if force_dispersion is None else force_dispersion == "yes"
            for row in (group, *group["vips"]):
                row["vrid"] = vrid or row["vrid"]
        return problems

    def _check_vrid(self, network: str, vrid: int | None, group: Row, problems: Problems) -> None:
        if vrid is not None and vrid in self._vrids(network, group):
            problems.add(ConflictError)

    def _vrids(self, network: str, but: Row) -> list[int]:
        vips = [vip for group in self.groups if group is not but for vip in group["vips"]]
        return [vip["vrid"] for vip in vips if vip["network"] == network]

    def groups_delete(self, _shown: Any, ref: str) -> Problems:
        problems: Problems = set()
        group = self.live_group(ref, problems)
        if group is None:
            return problems
        if self.eip_of(group) is not None:
            problems.add(NotEmptyError)
        elif group["members"]:
            problems.add(UnsupportOperationError)
        else:
            self._remove_vips(group)
            self.groups.remove(group)
        return problems

    def _remove_vips(self, group: Row) -> None:
        self.addresses = [row for row in self.addresses if row["owner"] != group["id"]]
        group["vips"] = []

    def eip_of(self, group: Row) -> Row | None:
        """The EIP of a group."""
        return next((eip for eip in self.eips if eip["group"] == group["id"]), None)

    def groups_enable(self, _shown: Any, ref: str) -> Problems:
        return self._set(ref, "enabled", True)

    def groups_disable(self, _shown: Any, ref: str) -> Problems:
        return self._set(ref, "enabled", False)

    def groups_freeze(self, _shown: Any, ref: str) -> Problems:
        return self._set(ref, "frozen", True)

    def _set(self, ref: str, field: str, value: bool) -> Problems:
        problems: Problems = set()
        group = self.live_group(ref, problems)
        if group is not None:
            group[field] = value
        return problems

    def groups_unfreeze(self, _shown: Any, ref: str) -> Problems:
        problems: Problems = set()
        group = self.find(self.groups, ref, problems)
        if group is not None:
            group["frozen"] = False
        return problems

    # ------------------------------------------------------------------------------------------------- members

    def groups_bind_guests(self, shown: Any, ref: str, guests: Sequence[str]) -> Problems:
        group, servers, problems = self._membership(ref, guests)
        for server in servers:
            self.check_member(group, server, problems)
        for server in [] if shown is None or problems else servers:
            self.join([group], server)
        return problems

    def groups_unbind_guests(self, shown: Any, ref: str, guests: Sequence[str]) -> Problems:
        group, servers, problems = self._membership(ref, guests)
        for server in servers:
            self.check_open(group, server, problems)
        gone = [] if shown is None or problems else [server["id"] for server in servers]
        if gone:
            group["members"] = [id for id in group["members"] if id not in gone]
        return problems

    def _membership(self, ref: str, guests: Sequence[str]) -> tuple[Row, list[Row], Problems]:
        problems: Problems = set()
        group = self.live_group(ref, problems)
        if group is None:
            return {}, [], problems
        if not group["enabled"]:
            return group, [], {ForbiddenError}
        if not guests:
            return group, [], {MissingParameterError}
        found = [self.find(self.servers, guest, problems, InputParameterError) for guest in guests]
        return group, [server for server in found if server is not None], problems

    # ------------------------------------------------------------------------------------------------- VIPs

    def groups_attach_network(
        self,
        shown: Any,
        ref: str,
        *,
        ip_addr: str | None = None,
        alloc_dir: str | None = None,
        reserved: bool = False,
        require_designated_ip: bool = False,
        network_id: str | None = None,
        ip6_addr: str | None = None,
        require_ipv6: bool = False,
        vrid: int | None = None,
    ) -> Problems:
        problems: Problems = set()
        group = self.live_group(ref, problems)
        if group is None:
            return problems
        network = self._vip_network(group, network_id, problems)
        if group["vips"]:
            problems.add(ConflictError)
        if alloc_dir not in (None, *DIRECTIONS):
            problems.add(InputParameterError)
        is_whole(vrid, 1, 255, problems)
        wanted = ip4(ip_addr, problems), ip6(ip6_addr, problems)
        if network is None:
            return problems
        options: dict[str, Any] = {"required": require_designated_ip, "reserved": reserved}
        options["direction"] = "stepup" if alloc_dir == "none" else alloc_dir
        texts = (None, None) if shown is None else (*shown.vips, None)
        vip: Row = {"network": network["id"], "ip6": None, "vrid": vrid or group["vrid"]}
        vip["ip"] = self.pick(network, 4, wanted[0], problems, shown=texts[0], **options)
        if require_ipv6 or ip6_addr is not None:
            vip["ip6"] = self.pick(network, 6, wanted[1], problems, shown=texts[1], **options)
        self._check_vrid(network["id"], vip["vrid"], group, problems)
        if shown is not None and not problems:
            taken = self._vrids(network["id"], group)
            vip["vrid"] = vip["vrid"] or next(vrid for vrid in range(1, 256) if vrid not in taken)
            group["vips"] = [vip]
            for version, ip in ((4, vip["ip"]), (6, vip["ip6"])):
                self.hold(network, version, ip, "used", "instancegroups", group["id"])
        return problems

    def _vip_network(self, group: Row, ref: str | None, problems: Problems) -> Row | None:
        given = None if ref is None else self.find(self.networks, ref, problems)
        nics = [self.at(self.servers, id)["nics"] for id in group["members"]]
        places = {nic["network"] for each in nics for nic in each} | {vip["network"] for vip in group["vips"]}
        if any(len(each) != 1 for each in nics) or len(places) > 1:
            problems.add(InvalidStatusError)
        if given is not None and places - {given["id"]}:
            problems.add(ConflictError)
        if ref is None and not places:
            problems.add(InputParameterError)
        network = self.at(self.networks, min(places)) if places else given
        if network is not None:
            self.check_visible(network, group["project"], problems)
            if network["kind"] != "guest":
                problems.add(InputParameterError)
        return network

    def groups_detach_network(self, _shown: Any, ref: str, *, ip_addr: str | None = None) -> Problems:
        problems: Problems = set()
        group = self.live_group(ref, problems)
        six = ip_addr is not None and ":" in ip_addr
        ip = ip6(ip_addr, problems) if six else ip4(ip_addr, problems)
        if group is None or problems:
            return problems
        if not any(ip_addr is None or vip["ip6" if six else "ip"] == ip for vip in group["vips"]):
            return problems
        if self.eip_of(group) is not None:
            return {InvalidStatusError}
        self._remove_vips(group)
        return problems
