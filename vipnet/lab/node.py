"""Nodes of the lab: each a network, PID, mount and UTS namespace of its own, with `eth0` inside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from vipnet.errors import DataplaneError
from vipnet.lab import netns, probe
from vipnet.lab.leader import Leader
from vipnet.process import run, spawn

__all__ = ["LabClient", "LabNode", "LabServer", "wait_for"]

T = TypeVar("T")


class LabNode:
    """A machine of the lab.

    `netns` names its network namespace; `pid` is process 1 of its other namespaces, as the machine sees it; `folder` on
    the machine is the root of what its own /etc, /run and /var cover.
    """

    def __init__(self, *, name: str, netns: str, folder: Path, mac: str, leader: Leader) -> None:
        self.name = name
        self.netns = netns
        self.folder = folder
        self.mac = mac
        self.pid = leader.pid
        self.leader = leader
        self._spawned: list[subprocess.Popen[bytes]] = []

    def run(self, *argv: str, timeout: float = 10.0, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program in the node to its end. Raises DataplaneError as `vipnet.process.run` does."""
        return run([*self._enter(), *argv], timeout=timeout, check=check)

    def spawn(self, *argv: str, log: Path | None = None) -> int:
        """Start a program in the node and return its pid as the machine sees it; what it prints goes to the file `log`."""
        with (log or Path("/dev/null")).open("ab") as output:
            outer = spawn([*self._enter(), *argv], log=output.fileno())
        self._spawned.append(outer)
        return wait_for(lambda: _child(outer), f"{argv[0]} to start in {self.name}")

    def addresses(self) -> list[str]:
        """Addresses of `eth0` with their prefix lengths, the NIC's own first; no link-local ones."""
        shown = json.loads(run(["ip", "-n", self.netns, "-j", "addr", "show", "dev", "eth0"]).stdout)
        return [f"{row['local']}/{row['prefixlen']}" for row in shown[0]["addr_info"] if row["scope"] == "global"]

    def ping(self, ip: str, count: int = 1, timeout: float = 1.0) -> bool:
        """Whether at least one of `count` ICMP echo requests is answered within `timeout` seconds each."""
        return self.call(lambda: probe.ping(ip, count=count, timeout=timeout))

    def http_get(self, url_ip: str, port: int = 80, timeout: float = 0.5) -> str | None:
        """Return the page at `url_ip` over a new connection; None unless it came whole, with status 200, in time."""
        return self.call(lambda: probe.http_get(url_ip, port=port, timeout=timeout))

    def call(self, function: Callable[[], T]) -> T:
        """Return what `function` returns in a thread of its own that is in the node's network namespace alone."""
        return netns.call_in(self.netns, function)

    def pids(self, program: str) -> list[int]:
        """Pids, as the machine sees them, of the node's processes that run `program` (their comm, proc(5))."""
        mine = _pid_namespace(self.pid)
        found = sorted(int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
        return [pid for pid in found if mine is not None and _pid_namespace(pid) == mine and _comm(pid) == program]

    def wait(self) -> None:
        """Wait, after `leader.kill()`, until everything in the node has gone."""
        for outer in self._spawned:  # it stopped when what it runs was frozen, and then takes no notice of its end
            outer.send_signal(signal.SIGCONT)
        self.leader.wait()
        for outer in self._spawned:
            outer.wait()

    def keep(self) -> None:
        """Let the node outlive this process."""
        self.leader.keep()
        for outer in self._spawned:
            outer.returncode = 0  # nobody's child to wait for any more

    def stop(self, program: str, sig: int, *, first: int | None = None) -> None:
        """Send a signal to all processes of `program` in the node, or only to `first` of them, and wait until all have gone."""
        targets = self.pids(program)
        for pid in [first] if first in targets else targets:
            with suppress(ProcessLookupError):
                os.kill(pid, sig)
        wait_for(lambda: not set(targets) & set(self.pids(program)), f"{program} to stop in {self.name}")

    def _enter(self) -> list[str]:
        return ["nsenter", "--target", str(self.pid), "--net", "--pid", "--mount", "--uts", "--"]


class LabClient(LabNode):
    """A machine beyond the uplink."""


class LabServer(LabNode):
    """A server of the cloud: may run nginx and keepalived, the real programs, configured below its own /etc."""

    _keepalived: int | None = None

    def start_nginx(self, page: str) -> None:
        """Start nginx on port 80 with `page` as its only page. Raises DataplaneError when it does not start."""
        self.write("etc/nginx/nginx.conf", _NGINX)
        self.write("var/www/html/index.html", page)
        self.write("var/log/nginx/error.log", "")  # nginx opens its built-in path before it reads the configuration
        self.run("nginx")

    def stop_nginx(self, sig: int = signal.SIGTERM) -> None:
        """Send `sig` to nginx, workers included, and wait until all of them have gone."""
        self.stop("nginx", sig)

    def start_keepalived(self, config: str) -> None:
        """Start keepalived with `config` and the specification's check script as /etc/keepalived/check_nginx.sh."""
        self.write("etc/keepalived/keepalived.conf", config)
        self.write("etc/keepalived/check_nginx.sh", _CHECK).chmod(0o755)
        log = self.folder / "var/log/keepalived.log"
        self._keepalived = self.spawn("keepalived", "--dont-fork", "--log-console", "--log-detail", "--vrrp", log=log)
        # the daemon, then its VRRP process
        wait_for(lambda: len(self.pids("keepalived")) >= 2, f"keepalived to start in {self.name}; see {log}")

    def stop_keepalived(self, sig: int = signal.SIGTERM) -> None:
        """Send `sig` to keepalived and wait until it has gone. TERM is a clean stop; KILL leaves the VIP where it is.

        TERM goes to the daemon alone, as its service unit does: it stops its VRRP process in good order.
        """
        if sig == signal.SIGKILL:  # the VRRP process must not see the daemon die before it: it would tidy up
            for pid in {*self.pids("keepalived")} - {self._keepalived}:
                os.kill(pid, signal.SIGSTOP)
        self.stop("keepalived", sig, first=self._keepalived if sig == signal.SIGTERM else None)

    def holds(self, vip: str) -> bool:
        """Whether `eth0` has the address `vip`."""
        return any(address.partition("/")[0] == vip for address in self.addresses())

    def write(self, path: str, text: str) -> Path:
        """Write a file of the server, `path` relative to its root, and return where it lies on the machine."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file


def wait_for(question: Callable[[], T | None], what: str, *, timeout: float = 5.0) -> T:
    """Ask until the answer is truthy and return it. Raises DataplaneError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (answer := question()):
        if time.monotonic() > deadline:
            raise DataplaneError(f"waited {timeout:g} s in vain for {what}")
        time.sleep(0.005)
    return answer


def _child(outer: subprocess.Popen[bytes]) -> int | None:
    children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()
    if children and _comm(int(children[0])) not in (None, "nsenter"):
        return int(children[0])
    if outer.poll() is not None:
        raise DataplaneError(f"{outer.args!r} ended at once, with status {outer.returncode}")
    return None


def _comm(pid: int) -> str | None:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None


def _pid_namespace(pid: int) -> str | None:
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except (FileNotFoundError, ProcessLookupError, PermissionError):  # also not root enough for some
        return None


_NGINX = """\
user root;
worker_processes 1;
pid /run/nginx.pid;
error_log /var/log/nginx/error.log;
events { worker_connections 512; }
http {
    access_log off;
    default_type text/plain;
    server { listen 80; root /var/www/html; }
}
"""

# The specification's script, but for `systemctl restart nginx`: these servers have no systemd.
_CHECK = """\
#!/bin/bash
A=`ps -C nginx --no-header |wc -l`
if [ $A -eq 0 ];then
    nginx
    if [ `ps -C nginx --no-header |wc -l` -eq 0 ];then
        exit 1
    else
        exit 0
    fi
else
    exit 0
fi
"""
