"""The lab itself: what is apart, what is joined, and that nothing remains."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vipnet.errors import DataplaneError, InputParameterError
from vipnet.lab import Lab, LabServer
from vipnet.lab.machine import look
from vipnet.lab.netns import names
from vipnet.lab.node import wait_for
from vipnet.process import start_time

Pair = tuple[LabServer, LabServer]

pytestmark = pytest.mark.root


def test_servers_on_a_bridge_reach_each_other(pair: Pair) -> None:
    a, b = pair
    assert a.ping("192.168.7.248", count=3)
    assert b.ping("192.168.7.247")
    assert not a.ping("192.168.7.249", timeout=0.1)
    assert a.addresses() == ["192.168.7.247/22"]


def test_each_server_sees_only_its_own_processes(pair: Pair) -> None:
    a, b = pair
    a.start_nginx("page of a\n")
    b.start_nginx("page of b\n")
    for server in pair:
        assert len(server.run("ps", "-C", "nginx", "--no-header").stdout.splitlines()) == 2
        assert server.run("hostname").stdout.strip() == server.name
    a.stop_nginx()
    assert a.run("ps", "-C", "nginx", "--no-header", check=False).stdout == ""
    assert a.http_get("192.168.7.248") == "page of b\n"
    assert b.http_get("192.168.7.247") is None


def test_a_server_writes_nothing_to_the_machine(pair: Pair) -> None:
    a, b = pair
    before = [sorted(Path(path).rglob("*")) for path in ("/etc/nginx", "/var/log", "/var/lib/nginx", "/var/www")]
    a.start_nginx("page\n")
    a.run("touch", "/run/mine", "/var/log/mine")
    assert before == [sorted(Path(path).rglob("*")) for path in ("/etc/nginx", "/var/log", "/var/lib/nginx", "/var/www")]
    assert not Path("/run/mine").exists()
    assert (a.folder / "run/mine").exists()
    assert b.run("ls", "/run").stdout == ""


def test_killing_the_leader_takes_the_server_along(pair: Pair) -> None:
    a, b = pair
    a.start_nginx("page\n")
    sleeper = a.spawn("sleep", "1000")
    assert start_time(sleeper) is not None
    os.kill(a.pid, signal.SIGKILL)
    wait_for(lambda: start_time(a.pid) is None and start_time(sleeper) is None, "the server to go")
    assert b.http_get("192.168.7.247", timeout=0.1) is None


def test_orphans_are_reaped(pair: Pair) -> None:
    a, _ = pair
    a.run("sh", "-c", "sleep 0.01 & sleep 0.01 & exit 0")
    time.sleep(0.1)
    assert "defunct" not in a.run("ps", "-ef").stdout


def test_call_runs_in_the_nodes_network_namespace(pair: Pair) -> None:
    a, b = pair
    def connect() -> socket.socket:
        return socket.create_connection(("192.168.7.247", 7), 1)

    with a.call(lambda: socket.create_server(("192.168.7.247", 7))) as server, b.call(connect) as connection:
        accepted, peer = server.accept()
        with accepted:
            assert peer == connection.getsockname()
            assert peer[0] == "192.168.7.248"
    with pytest.raises(ZeroDivisionError):
        a.call(lambda: 1 // 0)


def test_a_program_that_hangs_is_ended(pair: Pair) -> None:
    a, _ = pair
    began = time.monotonic()
    with pytest.raises(DataplaneError, match=r"gave no answer within 0\.1 s"):
        a.run("sleep", "1000", timeout=0.1)
    assert time.monotonic() - began < 5


def test_programs_that_fail_say_why(pair: Pair) -> None:
    a, _ = pair
    with pytest.raises(DataplaneError, match="exited 2, saying: ls: cannot access"):
        a.run("ls", "/nowhere")
    with pytest.raises(DataplaneError, match="ended at once"):
        a.spawn("/nowhere")
    assert a.run("false", check=False).returncode == 1


def test_clients_beyond_the_uplink_share_a_segment() -> None:
    with Lab(prefix="tlab") as lab:
        first = lab.add_outside()
        second = lab.add_outside(name="second", address="203.0.113.9/24", routes=["198.51.100.0/24 via 203.0.113.1"])
        assert first.ping("203.0.113.9", count=3)
        assert "198.51.100.0/24 via 203.0.113.1" in second.run("ip", "route").stdout
        assert first.mac != second.mac


def test_ipv6_only_where_it_is_asked_for() -> None:
    with Lab(prefix="tlab") as lab:
        plain = lab.add_server("plain", device="p0", mac="02:00:00:00:00:0a", address="10.0.0.1/24", gateway=None)
        mac, ip6 = "02:00:00:00:00:0b", "fd00::2/64"
        dual = lab.add_server("dual", device="p1", mac=mac, address="10.0.0.2/24", gateway=None, address6=ip6)
        assert "inet6" not in plain.run("ip", "addr").stdout
        assert dual.addresses() == ["10.0.0.2/24", "fd00::2/64"]


def test_two_labs_never_meet() -> None:
    with Lab(prefix="tlab") as one, Lab(prefix="tlab") as other:
        for lab in (one, other):
            lab.add_server("a", device="porta", mac="02:00:00:00:00:0a", address="10.0.0.1/24", gateway=None)
        assert one.host != other.host


def add(lab: Lab, name: str = "a", *, device: str = "porta", address: str = "10.0.0.1/24") -> LabServer:
    return lab.add_server(name, device=device, mac="02:00:00:00:00:0a", address=address, gateway="10.0.0.254")


def test_nothing_remains() -> None:
    before = look(["tlab-rest"])
    with Lab(prefix="tlab-rest") as lab:
        server = add(lab)
        server.start_nginx("page\n")
        lab.add_outside()
        root = lab.root
        assert look(["tlab-rest"]) != before
    assert look(["tlab-rest"]) == before
    assert not root.exists()
    assert start_time(server.pid) is None


def test_nothing_remains_of_a_program_that_was_frozen() -> None:
    before = look(["tlab-cold"])
    with Lab(prefix="tlab-cold") as lab:
        server = add(lab)
        sleeper = server.spawn("sleep", "1000")
        os.kill(sleeper, signal.SIGSTOP)
        wait_for(lambda: Path(f"/proc/{sleeper}/stat").read_text().rpartition(") ")[2][0] == "T", "it to freeze")
        wait_for(lambda: _parent_state(sleeper) == "T", "who started it to freeze, too")
    assert look(["tlab-cold"]) == before


def _parent_state(pid: int) -> str:
    parent = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1]
    return Path(f"/proc/{parent}/stat").read_text().rpartition(") ")[2][0]


def test_nothing_remains_of_a_server_that_could_not_be_made() -> None:
    before = look(["tlab-fail"])
    with pytest.raises(DataplaneError, match="nonsense"), Lab(prefix="tlab-fail") as lab:
        add(lab, address="nonsense")
    with pytest.raises(InputParameterError, match=r"\.\./a"), Lab(prefix="tlab-fail") as lab:
        add(lab, "../a")
    with Lab(prefix="tlab-fail") as lab:
        add(lab)
        with pytest.raises(DataplaneError, match="already"):
            add(lab, device="portb")
        with pytest.raises(DataplaneError, match="exited"):
            add(lab, "b")
    assert look(["tlab-fail"]) == before


def test_servers_die_with_the_process_that_made_the_lab(tmp_path: Path) -> None:
    program = """
import os, signal, sys
from pathlib import Path
from vipnet.lab import Lab
lab = Lab(prefix="tlab", root=Path(sys.argv[1]))
server = lab.add_server("a", device="porta", mac="02:00:00:00:00:0a", address="10.0.0.1/24", gateway=None)
print(server.pid, lab.host, server.netns, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False)
    pid, *spaces = done.stdout.split()
    try:
        wait_for(lambda: start_time(int(pid)) is None, "the server to go")
    finally:
        for space in spaces:
            subprocess.run(["ip", "netns", "del", space], check=True)
    assert not set(spaces) & set(names())
