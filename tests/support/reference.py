"""The rules of the model in their simplest form, rows and scanning, written for nothing but comparison.

A verb takes what the other side answered, None when it refused, and the verb's own arguments. It returns the classes of
all that is wrong with the request, of which the other side must have named one; if there are none it does what is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reference_groups import Groups
from reference_rows import Problems, Row, ip4, is_whole

from vipnet.errors import (
    ConflictError,
    ForbiddenError,
    InputParameterError,
    InvalidStatusError,
    MissingParameterError,
    NotFoundError,
    NotSupportedError,
)

__all__ = ["Reference"]


class Reference(Groups):
    """The whole model; here its EIPs."""

    def verb(self, name: str) -> Callable[..., Problems]:
        """The verb of a path like `groups.attach_network`."""
        found: Callable[..., Problems] = getattr(self, name.replace(".", "_"))
        return found

    def _check_charge(self, bandwidth: int | None, charge_type: str | None, problems: Problems) -> None:
        is_whole(bandwidth, 0, 1_000_000, problems)
        if charge_type not in (None, "bandwidth", "traffic"):
            problems.add(InputParameterError)
        elif charge_type != "traffic" and not bandwidth:
            problems.add(MissingParameterError)

    def _mappable(self, group: Row, ip_addr: str | None, problems: Problems) -> Row | None:
        wanted = ip4(ip_addr, problems)
        if not group["vips"]:
            problems.add(InvalidStatusError)
            return None
        vip: Row = group["vips"][0]
        network = self.at(self.networks, vip["network"])
        mode = self.at(self.vpcs, network["vpc"])["mode"]
        if network["vpc"] == "default":
            problems.add(InvalidStatusError)
        elif mode not in ("eip", "eip-distgw"):
            problems.add(NotSupportedError)
        if self.eip_of(group) is not None:
            problems.add(ConflictError)
        if ip_addr is not None and wanted != vip["ip"]:
            problems.add(InputParameterError)
        return network

    def groups_create_eip(
        self,
        shown: Any,
        ref: str,
        *,
        bandwidth: int | None = None,
        bgp_type: str | None = None,
        auto_dellocate: bool = False,
        ip_addr: str | None = None,
        eip_addr: str | None = None,
        charge_type: str | None = None,
    ) -> Problems:
        problems: Problems = set()
        group = self.live_group(ref, problems)
        if group is None:
            return problems
        inner = self._mappable(group, ip_addr, problems)
        self._check_charge(bandwidth, charge_type, problems)
        wanted = ip4(eip_addr, problems)
        if inner is None:
            return problems
        outer = self._eip_network(group["project"], inner["zone"], bgp_type or "", wanted, problems)
        answer = None if shown is None else shown.vip_eip
        ip = None if outer is None else self.pick(outer, 4, wanted, problems, direction="stepup", shown=answer)
        if shown is not None and outer is not None and not problems:
            fresh = next(eip for eip in self.offered if eip.id not in [row["id"] for row in self.eips])
            assert fresh.name.startswith(f"eip-for-grp-{group['name']}")
            eip = self._eip(fresh.id, fresh.name, group["project"], outer, ip, bandwidth, charge_type, auto_dellocate)
            eip["group"] = group["id"]
        return problems

    def _eip(
        self, id: str, name: str, project: str, network: Row, ip: int | None, mbps: int | None, charge: str | None, auto: bool
    ) -> Row:
        row: Row = {"id": id, "name": name, "project": project, "network": network["id"], "ip": ip, "group": None}
        row |= {"bandwidth": mbps or None, "bgp": network["bgp"], "charge": charge or "bandwidth", "auto": auto}
        self.eips.append(row)
        self.hold(network, 4, ip, "used", "elasticips", id)
        return row

    def _eip_network(self, project: str, zone: str, bgp: str, wanted: int | None, problems: Problems) -> Row | None:
        """The network that has the address wanted, else the own one with most to give."""
        usable = [row for row in self.networks if (row["kind"], row["zone"], row["bgp"]) == ("eip", zone, bgp)]
        usable = [row for row in usable if row["project"] == project or row["shared"]]
        if wanted is not None:
            usable = [row for row in usable if wanted in self.span(row, 4)]
            problems |= set() if usable else {InputParameterError, NotFoundError}
            return usable[0] if usable else None
        usable = [row for row in usable if self.free(row, 4)]
        problems |= set() if usable else {NotFoundError}
        return min(usable, key=lambda row: (row["project"] != project, -len(self.free(row, 4)), row["id"]), default=None)

    def groups_associate_eip(self, shown: Any, ref: str, *, eip_id: str | None = None, ip_addr: str | None = None) -> Problems:
        problems: Problems = set()
        group = self.live_group(ref, problems)
        if group is None:
            return problems
        inner = self._mappable(group, ip_addr, problems)
        if eip_id is None:
            return problems | {MissingParameterError}
        eip = self.find(self.eips, eip_id, problems)
        if eip is None or inner is None:
            return problems
        if eip["project"] != group["project"]:
            problems.add(ForbiddenError)
        if eip["group"] is not None:
            problems.add(ConflictError)
        if self.at(self.networks, eip["network"])["zone"] != inner["zone"]:
            problems.add(InputParameterError)
        if shown is not None and not problems:
            eip["group"] = group["id"]
        return problems

    def groups_dissociate_eip(self, _shown: Any, ref: str, *, auto_delete: bool = False) -> Problems:
        problems: Problems = set()
        group = self.live_group(ref, problems)
        eip = None if group is None else self.eip_of(group)
        if eip is None:
            return problems or {InvalidStatusError}
        eip["group"] = None
        if auto_delete or eip["auto"]:
            self._remove_eip(eip)
        return problems

    def _remove_eip(self, eip: Row) -> None:
        self.eips.remove(eip)
        self.addresses = [row for row in self.addresses if row["owner"] != eip["id"]]

    def eips_create(
        self,
        shown: Any,
        name: str,
        *,
        network: str | None = None,
        ip_addr: str | None = None,
        bandwidth: int | None = None,
        bgp_type: str | None = None,
        charge_type: str | None = None,
        auto_dellocate: bool = False,
    ) -> Problems:
        problems: Problems = set()
        self.name(self.eips, name, problems, project="default")
        self._check_charge(bandwidth, charge_type, problems)
        wanted = ip4(ip_addr, problems)
        if network is None:
            outer = self._eip_network("default", "default", bgp_type or "", wanted, problems)
        else:
            outer = self._named_eip_network(network, bgp_type, problems)
        answer = None if shown is None else shown.ip_addr
        ip = None if outer is None else self.pick(outer, 4, wanted, problems, direction="stepup", shown=answer)
        if shown is not None and outer is not None and not problems:
            self._eip(shown.id, name, "default", outer, ip, bandwidth, charge_type, auto_dellocate)
        return problems

    def _named_eip_network(self, ref: str, bgp: str | None, problems: Problems) -> Row | None:
        network = self.find(self.networks, ref, problems)
        if network is not None:
            self.check_visible(network, "default", problems)
            if network["kind"] != "eip" or bgp not in (None, network["bgp"]):
                problems.add(InputParameterError)
        return network

    def eips_delete(self, _shown: Any, ref: str) -> Problems:
        problems: Problems = set()
        eip = self.find(self.eips, ref, problems)
        if eip is not None and eip["group"] is not None:
            problems |= {InvalidStatusError, ConflictError}  # the rules name no class
        elif eip is not None:
            self._remove_eip(eip)
        return problems

    def eips_change_bandwidth(self, _shown: Any, ref: str, bandwidth: int) -> Problems:
        problems: Problems = set()
        eip = self.find(self.eips, ref, problems)
        is_whole(bandwidth, 1, 1_000_000, problems)
        if eip is not None and not problems:
            eip["bandwidth"] = bandwidth
        return problems
