"""The switch's own database (ovs-vswitchd.conf.db(5)): our bridge and the ports on it, by transactions of OVSDB (RFC 7047).

What is ours carries `vipnet-owner` in its external_ids; a port besides `vipnet-user-ID` for each object that needs it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from vipnet.errors import DataplaneError
from vipnet_ovs.entries import Plug
from vipnet_ovs.jsonrpc import call

__all__ = ["Database", "Reading"]

_OWNER: Final = "vipnet-owner"
_USER: Final = "vipnet-user-"
_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "Open_vSwitch": ("bridges", "next_cfg", "cur_cfg", "ovs_version"),
    "Bridge": ("name", "ports", "external_ids", "other_config", "fail_mode", "datapath_type"),
    "Port": ("name", "interfaces", "external_ids"),
    "Interface": ("name", "type", "ofport", "ofport_request", "admin_state"),
}
_MOST_PORTS: Final = 65279
"""The highest number of a port that is no port of OpenFlow 1.0's reserved ones."""


class Reading(NamedTuple):
    """What of ours is in the database; `numbers` are the OpenFlow ports of devices, `down` are devices that are set down."""

    plugs: tuple[Plug, ...]
    numbers: Mapping[str, int]
    down: frozenset[str]
    bridge: bool


class Database:
    """The database at a socket, `remote` as ovsdb-server(1) writes it. Not for two threads at once.

    `existing`: the bridge is somebody else's, who lets us have our tables and ports on it. Every method raises DataplaneError
    when the database cannot be reached or, in time, the switch does not take what changed: then the outcome is not known.
    """

    def __init__(self, remote: str, bridge: str, *, datapath: str, existing: bool, timeout: float = 30.0) -> None:
        self._remote, self._bridge, self._datapath, self._existing = remote, bridge, datapath, existing
        self._timeout = timeout
        self._idl: Any = None
        self._last: tuple[int, Reading] | None = None

    def read(self) -> Reading:
        """What is there now, as far as it has arrived. Raises DataplaneError for a bridge of this name that is not ours."""
        self._refresh()
        if self._last is None or self._last[0] != self._idl.change_seqno:
            self._last = self._idl.change_seqno, self._read()
        return self._last[1]

    def _read(self) -> Reading:
        row = self._bridge_row()
        if row is None:
            return Reading((), {}, frozenset(), bridge=False)
        ports = [port for port in row.ports if _OWNER in port.external_ids]
        plugs = tuple(sorted(Plug(port.name, user) for port in ports for user in _users(port)))
        numbers = {port.name: number for port in ports if (number := _number(port.interfaces[0])) is not None}
        down = frozenset(port.name for port in ports if port.interfaces[0].admin_state == ["down"])
        return Reading(plugs, numbers, down, bridge=True)

    def make_bridge(self) -> None:
        """Make the bridge, if it is not there, and wait for the switch."""
        self._refresh()
        if self._bridge_row() is None:
            self._commit(self._make_bridge)

    def drop_bridge(self) -> None:
        """Take the bridge away, if it is ours and has no port, and wait for the switch."""
        self._refresh()
        row = self._bridge_row()
        if row is not None and _OWNER in row.external_ids and len(row.ports) <= 1:
            self._commit(lambda _: self._root().delvalue("bridges", self._bridge_row()))

    def change(self, create: Iterable[Plug], delete: Iterable[Plug]) -> None:
        """Add and take away ports in one transaction, the bridge with the first, and wait for the switch."""
        self._refresh()
        come, gone = list(create), list(delete)

        def changes(transaction: Any) -> None:
            row = self._bridge_row()
            if row is not None:
                self._change_ports(transaction, row, come, gone)
            elif come:
                self._change_ports(transaction, self._make_bridge(transaction), come, gone, is_new=True)

        self._commit(changes)

    def seqno(self) -> int:
        """A number that moves when anything we look at changed, as far as it has arrived."""
        self._refresh()
        number: int = self._idl.change_seqno
        return number

    def version(self) -> str:
        """The switch's version."""
        self._refresh()
        known = self._root().ovs_version
        return str(known[0]) if known else ""

    def close(self) -> None:
        """Close the connection."""
        if self._idl is not None:
            self._idl.close()
            self._idl = self._last = None

    def _refresh(self) -> None:
        if self._idl is None:
            self._idl = self._opened()
        self._idl.run()
        if not self._idl.has_ever_connected() or not self._idl._session.is_connected():  # noqa: SLF001 -- it has no other way to ask
            self._until(lambda: self._idl.has_ever_connected() and self._idl._session.is_connected(), "answer")  # noqa: SLF001

    def _opened(self) -> Any:
        from ovs.db.idl import Idl, SchemaHelper

        helper: Any = SchemaHelper(schema_json=_schema(self._remote, self._timeout))
        for table, columns in _COLUMNS.items():
            helper.register_columns(table, [*columns])
        return Idl(self._remote, helper, probe_interval=0)

    def _until(self, done: Callable[[], bool], what: str) -> None:
        from ovs.poller import Poller

        deadline = time.monotonic() + self._timeout
        while True:
            self._idl.run()
            if done():
                return
            left = deadline - time.monotonic()
            if left <= 0:
                raise DataplaneError(f"the switch's database {self._remote} did not {what} within {self._timeout:g} s")
            poller: Any = Poller()
            self._idl.wait(poller)
            poller.timer_wait(max(1, int(left * 1000)))
            poller.block()

    def _commit(self, changes: Callable[[Any], None]) -> None:
        from ovs.db.idl import Transaction

        while True:
            transaction: Any = Transaction(self._idl)
            root = self._root()
            try:
                changes(transaction)
                root.increment("next_cfg")
            except BaseException:
                transaction.abort()
                raise
            status = transaction.commit()
            if status == Transaction.INCOMPLETE:
                self._until(lambda: transaction.commit() != Transaction.INCOMPLETE, "take a change")  # noqa: B023 -- called at once
                status = transaction.commit()
            if status in (Transaction.SUCCESS, Transaction.UNCHANGED):
                break
            if status != Transaction.TRY_AGAIN:
                raise DataplaneError(f"the switch's database refused a change: {transaction.get_error()}")
            self._refresh()
        wanted: int = transaction.get_increment_new_value() if status == Transaction.SUCCESS else 0
        self._until(lambda: int(self._root().cur_cfg) >= wanted, "have the switch carry a change out")

    def _change_ports(
        self, transaction: Any, row: Any, create: Iterable[Plug], delete: Iterable[Plug], *, is_new: bool = False
    ) -> None:
        there = {} if is_new else {port.name: port for port in row.ports}
        users = {name: set(_users(port)) for name, port in there.items() if _OWNER in port.external_ids}
        before = {name: set(kept) for name, kept in users.items()}
        _change(users, create, delete)
        taken = {number for port in there.values() for number in _numbers(port.interfaces[0])}
        free = (number for number in range(1, _MOST_PORTS + 1) if number not in taken)
        for device, wanted in users.items():
            port = there.get(device)
            if port is None and wanted:
                self._add_port(transaction, row, device, next(free), wanted)
            elif port is not None and not wanted:
                row.delvalue("ports", port)
            elif port is not None and wanted != before.get(device):
                self._mark(row, port, wanted)

    def _mark(self, row: Any, port: Any, users: set[str]) -> None:
        """Say whose a port is; on a bridge of ours, of one that has lost its mark, or that somebody has put there, too."""
        interface = port.interfaces[0]
        if _OWNER not in port.external_ids and _OWNER not in row.external_ids:
            raise DataplaneError(f"port {port.name} is on bridge {self._bridge} already, and is not ours")
        if _number(interface) is None and interface.ofport:
            interface.ofport_request = interface.ofport
        port.external_ids = _marks(users)

    def _add_port(self, transaction: Any, row: Any, device: str, number: int, users: Iterable[str]) -> None:
        tables = self._idl.tables
        interface = transaction.insert(tables["Interface"])
        interface.name, interface.ofport_request = device, [number]
        port = transaction.insert(tables["Port"])
        port.name, port.interfaces, port.external_ids = device, [interface], _marks(users)
        row.addvalue("ports", port)

    def _root(self) -> Any:
        rows = list(self._idl.tables["Open_vSwitch"].rows.values())
        if not rows:
            raise DataplaneError(f"the switch's database {self._remote} is empty: it was never initialised (ovs-vsctl init)")
        return rows[0]

    def _bridge_row(self) -> Any:
        for row in self._idl.tables["Bridge"].rows.values():
            if row.name == self._bridge:
                if _OWNER not in row.external_ids and not self._existing:
                    raise DataplaneError(
                        f"there is a bridge {self._bridge} that is not ours; give the backend's option bridge another name, "
                        "or say existing = true to have our ports and flows on it"
                    )
                return row
        return None

    def _make_bridge(self, transaction: Any) -> Any:
        tables = self._idl.tables
        if self._existing:
            raise DataplaneError(f"there is no bridge {self._bridge}, and the option existing says that it is somebody else's")
        interface = transaction.insert(tables["Interface"])
        interface.name, interface.type = self._bridge, "internal"
        port = transaction.insert(tables["Port"])
        port.name, port.interfaces = self._bridge, [interface]
        row = transaction.insert(tables["Bridge"])
        row.name, row.datapath_type, row.fail_mode = self._bridge, self._datapath, "secure"
        row.external_ids, row.other_config = {_OWNER: "vipnet"}, {"disable-in-band": "true"}
        row.addvalue("ports", port)
        self._root().addvalue("bridges", row)
        return row


def _users(port: Any) -> Iterator[str]:
    return (key.removeprefix(_USER) for key in port.external_ids if key.startswith(_USER))


def _number(interface: Any) -> int | None:
    asked = interface.ofport_request
    return int(asked[0]) if asked else None


def _numbers(interface: Any) -> set[int]:
    return {int(number) for number in (*interface.ofport_request, *interface.ofport)}


def _change(users: dict[str, set[str]], create: Iterable[Plug], delete: Iterable[Plug]) -> None:
    for plug in delete:
        users.get(plug.device, set()).discard(plug.user)
    for plug in create:
        users.setdefault(plug.device, set()).add(plug.user)


def _marks(users: Iterable[str]) -> dict[str, str]:
    return {_OWNER: "vipnet", **{_USER + user: "1" for user in users}}


def _schema(remote: str, timeout: float) -> Any:
    """The schema as the server has it (RFC 7047 4.1.2)."""
    return call(Path(remote.removeprefix("unix:")), "get_schema", ["Open_vSwitch"], timeout=timeout)
