"""A machine's own Open vSwitch, with the userspace datapath: both daemons, their database and sockets, in the lab's host."""

from __future__ import annotations

import ctypes
import fcntl
import shutil
import signal
import socket
import struct
from pathlib import Path
from typing import Final

from vipnet.errors import DataplaneError
from vipnet.lab.node import LabNode, wait_for

__all__ = ["SWITCH_PACKAGE", "LabSwitch", "send_whole_checksums"]

SWITCH_PACKAGE: Final = "openvswitch-switch"
"""The Debian package of the daemons."""

_SCHEMA: Final = "/usr/share/openvswitch/vswitch.ovsschema"
_SIOCETHTOOL: Final = 0x8946
_SET_TX_CHECKSUMS: Final = 0x17
"""linux/sockios.h, and ETHTOOL_STXCSUM of linux/ethtool.h."""


class LabSwitch(LabNode):
    """Process 1 of the switch's own PID and mount namespaces; its daemons are in the host's network namespace.

    Whoever is outside finds its sockets below `rundir`.
    """

    @property
    def rundir(self) -> Path:
        """Where the sockets are."""
        return self.folder / "run/ovs"

    @property
    def database(self) -> str:
        """The address of the database, as ovs-vsctl's --db takes it."""
        return f"unix:{self.rundir / 'db.sock'}"

    def start(self) -> None:
        """Make the database and start both daemons. Raises DataplaneError when one does not start."""
        if shutil.which("ovs-vswitchd", path="/usr/sbin:/usr/bin:/sbin:/bin") is None:
            raise DataplaneError(f"ovs-vswitchd is not installed: Debian package {SWITCH_PACKAGE}")
        self.rundir.mkdir(parents=True, exist_ok=True)
        self.run("ovsdb-tool", "create", "/run/ovs/conf.db", _SCHEMA)
        self.start_database()
        self.run("ovs-vsctl", "--db=unix:/run/ovs/db.sock", "--no-wait", "init")
        self.start_vswitchd()

    def start_database(self) -> None:
        """Start ovsdb-server, and wait until it answers."""
        (self.rundir / "db.sock").unlink(missing_ok=True)
        self._daemon("ovsdb-server", "/run/ovs/conf.db", "--remote=punix:/run/ovs/db.sock")
        wait_for((self.rundir / "db.sock").exists, "ovsdb-server to listen")

    def start_vswitchd(self) -> None:
        """Start ovs-vswitchd, and wait until it answers."""
        control = self.rundir / "ovs-vswitchd.ctl"
        control.unlink(missing_ok=True)
        self._daemon("ovs-vswitchd", "unix:/run/ovs/db.sock")
        wait_for(control.exists, "ovs-vswitchd to listen")

    def kill_vswitchd(self, sig: int = signal.SIGKILL) -> None:
        """End ovs-vswitchd, and with it all flows, groups, meters and connections."""
        self.stop("ovs-vswitchd", sig)

    def restart_database(self) -> None:
        """Stop ovsdb-server, and start it again."""
        self.stop("ovsdb-server", signal.SIGTERM)
        self.start_database()

    def _daemon(self, program: str, *arguments: str) -> None:
        named = (f"--pidfile=/run/ovs/{program}.pid", f"--unixctl=/run/ovs/{program}.ctl", f"--log-file=/run/ovs/{program}.log")
        self.spawn("env", "OVS_RUNDIR=/run/ovs", program, *arguments, *named, "-vconsole:off")


def send_whole_checksums(device: str) -> None:
    """Let the kernel fill in the checksums of what a device of the calling thread's namespace sends: userspace does not."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        value = ctypes.create_string_buffer(struct.pack("=II", _SET_TX_CHECKSUMS, 0))
        request = struct.pack("16sP16x", device.encode(), ctypes.addressof(value))
        fcntl.ioctl(any_socket, _SIOCETHTOOL, request)
