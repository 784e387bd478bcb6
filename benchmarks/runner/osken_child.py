"""An application of os-ken that programs EIPs: it speaks OpenFlow 1.3 with the switch that connects to it.

    python osken_child.py PORT

It prints a line when the switch is there. Then each line of standard input is a JSON object: `eips`, a list of EIP, VIP and
cookie as numbers, `metadata`, and `tables` by name. It makes and sends their flows, waits for the answer to a barrier, and prints
the seconds that took, and what the switch refused.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from importlib import import_module
from ipaddress import IPv4Address
from typing import Any, Final

_OPENFLOW_1_3: Final = 4
_CONNECTED, _PATIENCE = 30, 300
"""Seconds."""
_PRIORITY: Final = 100
_IP, _ARP = 0x0800, 0x0806
_COMMIT, _TO_SOURCE, _TO_TARGET = 1, 1, 2
_UPLINK: Final = 1
_CONTROLLER: Final = 0x7669
_TRANSLATES, _FROM_OUTSIDE = (2, 2), (2, 10)
"""Values and masks of register 7."""


class Flows:
    """The flows of EIPs, as a datapath's parser makes them."""

    def __init__(self, datapath: Any, tables: Mapping[str, int], metadata: int) -> None:
        self._datapath, self._tables, self._metadata = datapath, tables, metadata
        self._parser, self._proto = datapath.ofproto_parser, datapath.ofproto
        self._bits = import_module("os_ken.ofproto.nicira_ext").ofs_nbits

    def of(self, eip: int, vip: int, cookie: int) -> Iterator[Any]:
        """The six flow mods of one EIP."""
        at, to, vpc = str(IPv4Address(eip)), str(IPv4Address(vip)), self._set(metadata=self._metadata)
        named: dict[str, Any] = {"eth_type": _IP, "metadata": self._metadata}
        answer = [vpc, self._call("vpc"), self._call("uplink_answer")]
        into = [self._set(reg7=0), vpc, self._set(reg9=eip), self._call("vpc"), self._call("subnet"), self._hop()]
        out = [self._set(reg8=_UPLINK), self._nat("count_out", _TO_SOURCE, at)]
        counted = [self._inside(), self._router_mac(), self._call("public")]
        yield self._flow("uplink_arp", cookie, answer, eth_type=_ARP, reg8=_UPLINK, arp_tpa=at, arp_op=1)
        yield self._flow("public", cookie, [*into, self._nat("arrived", _TO_TARGET, to)], eth_type=_IP, ipv4_dst=at)
        yield self._flow("hairpin", cookie, [self._nat("hairpin_source", _TO_TARGET, to)], reg7=_TRANSLATES, ipv4_dst=at, **named)
        yield self._flow("leave", cookie, out, reg7=_TRANSLATES, ipv4_src=to, **named)
        yield self._flow("count_out", cookie, counted, ipv4_src=at, **named)
        yield self._flow("arrived", cookie, [self._call("route")], reg7=_FROM_OUTSIDE, reg9=eip, **named)

    def _flow(self, table: str, cookie: int, actions: list[Any], **fields: Any) -> Any:
        instruction = self._parser.OFPInstructionActions(self._proto.OFPIT_APPLY_ACTIONS, actions)
        return self._parser.OFPFlowMod(
            self._datapath,
            cookie=cookie,
            table_id=self._tables[table],
            priority=_PRIORITY,
            match=self._parser.OFPMatch(**fields),
            instructions=[instruction],
        )

    def _set(self, **field: int) -> Any:
        return self._parser.OFPActionSetField(**field)

    def _call(self, table: str) -> Any:
        return self._parser.NXActionResubmitTable(table_id=self._tables[table])

    def _hop(self) -> Any:
        return self._parser.NXActionDecTtlCntIds(cnt_ids=[_CONTROLLER])

    def _inside(self) -> Any:
        return self._parser.NXActionRegLoad(ofs_nbits=self._bits(0, 0), dst="reg7", value=1)

    def _router_mac(self) -> Any:
        return self._parser.NXActionRegMove(src_field="xreg5", dst_field="eth_src_nxm", n_bits=48)

    def _nat(self, table: str, flags: int, address: str) -> Any:
        nat = self._parser.NXActionNAT(flags=flags, range_ipv4_min=address)
        zone = {"zone_src": "reg6", "zone_ofs_nbits": self._bits(0, 15)}
        return self._parser.NXActionCT(flags=_COMMIT, recirc_table=self._tables[table], alg=0, actions=[nat], **zone)


class Switch:
    """What the application knows of the switch."""

    def __init__(self) -> None:
        self.datapath: Any = None
        self.there, self.done = threading.Event(), threading.Event()
        self.refused: list[str] = []

    def program(self, eips: list[list[int]], tables: Mapping[str, int], metadata: int) -> dict[str, Any]:
        """Send the flows of EIPs, and wait for the answer to a barrier."""
        self.done.clear()
        begun, flows = time.perf_counter(), Flows(self.datapath, tables, metadata)
        for one in eips:
            for mod in flows.of(*one):
                self.datapath.send_msg(mod)
        self.datapath.send_barrier()
        answered = self.done.wait(_PATIENCE)
        return {"took": time.perf_counter() - begun, "refused": self.refused if answered else ["no answer"]}


def start(switch: Switch) -> None:
    """Have os-ken listen, with an application that tells the switch's state."""
    manager = import_module("os_ken.base.app_manager").AppManager.get_instance()
    manager.load_apps(["os_ken.controller.ofp_handler"])
    manager.instantiate_apps(**manager.create_contexts())
    manager.instantiate(_application(switch)).start()


def _application(switch: Switch) -> type[Any]:
    base: Any = import_module("os_ken.base.app_manager").OSKenApp
    events: Any = import_module("os_ken.controller.ofp_event")
    handler: Any = import_module("os_ken.controller.handler")

    class Application(base):  # type: ignore[misc]
        OFP_VERSIONS = [_OPENFLOW_1_3]  # noqa: RUF012

        @handler.set_ev_cls(events.EventOFPStateChange, handler.MAIN_DISPATCHER)  # type: ignore[untyped-decorator]
        def came(self, event: Any) -> None:
            switch.datapath = event.datapath
            switch.there.set()

        @handler.set_ev_cls(events.EventOFPBarrierReply, handler.MAIN_DISPATCHER)  # type: ignore[untyped-decorator]
        def answered(self, _event: Any) -> None:
            switch.done.set()

        @handler.set_ev_cls(events.EventOFPErrorMsg, handler.MAIN_DISPATCHER)  # type: ignore[untyped-decorator]
        def refused(self, event: Any) -> None:
            switch.refused.append(f"type {event.msg.type}, code {event.msg.code}")

    return Application


def main() -> None:
    """Do what standard input says."""
    options = ["--ofp-listen-host", "127.0.0.1", "--ofp-tcp-listen-port", sys.argv[1]]
    import_module("os_ken.base.app_manager")  # declares them, by importing the controller
    import_module("os_ken.cfg").CONF(options, project="os_ken")
    switch = Switch()
    start(switch)
    if switch.there.wait(_CONNECTED):
        print(json.dumps({"ready": True}), flush=True)
        for line in sys.stdin:
            print(json.dumps(switch.program(**json.loads(line))), flush=True)
    os._exit(0 if switch.datapath else 1)  # threads of os-ken never end


if __name__ == "__main__":
    main()
