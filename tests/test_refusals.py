"""What the machine lacks, word for word, with the real thing missing; nothing changes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from vipnet.cli import main

AS_NOBODY = """
import contextlib, io, os, sys, vipnet.lab.demo
from vipnet.cli import main
with contextlib.redirect_stdout(io.StringIO()):  # loads what may lie where only root may read
    main(["--store", "memory:", "backends"]), main(["--store", "memory:", "--backend", "nftables", "plan"])
os.setgroups([]), os.setgid(65534), os.setuid(65534)
sys.exit(main(sys.argv[1:]))
"""


def vipnet(*words: str, nobody: bool = False, path: str | None = None) -> tuple[int, Mapping[str, Any]]:
    """Run the command line in a process of its own; return its exit status and what `error` says."""
    environment = {**os.environ, "VIPNET_OUTPUT": "json"} | ({} if path is None else {"PATH": path})
    start = ["-c", AS_NOBODY] if nobody else ["-m", "vipnet"]
    argv = [sys.executable, *start, "--store", "memory:", *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)
    return done.returncode, json.loads(done.stderr)["error"] if done.stderr else {}


@pytest.mark.root
def test_no_root() -> None:
    status, error = vipnet("--backend", "nftables", "host-create", "h1", nobody=True)
    assert status == 3
    assert error == {
        "class": "DataplaneError",
        "code": 500,
        "details": "backend nftables cannot be used here: the nftables backend changes the kernel's network: run it as root",
        "pending": False,
    }


@pytest.mark.root
def test_the_demo_without_root() -> None:
    status, error = vipnet("demo", nobody=True)
    assert (status, error["pending"]) == (3, False)
    assert error["details"] == "the demo makes network namespaces and programs the kernel: run it as root"


@pytest.mark.root
def test_nft_is_missing(tmp_path: Path) -> None:
    status, error = vipnet("--backend", "nftables", "host-create", "h1", path=str(tmp_path))
    assert (status, error["pending"]) == (3, False)
    assert error["details"] == "backend nftables cannot be used here: not installed: nft (Debian package nftables)"


@pytest.mark.root
def test_an_eip_network_without_uplink(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    host = f"refusals-{os.getpid()}"
    (tmp_path / "vipnet.toml").write_text(
        f'backend = "nftables"\nstore = "sqlite:///{tmp_path}/s.db"\n[backend.nftables]\nnamespace = "{host}"\n'
    )
    base = ["--config", str(tmp_path / "vipnet.toml"), "-o", "json"]
    subprocess.run(["ip", "netns", "add", host], check=True)
    try:
        for command in (
            "vpc-create prod 192.168.0.0/16",
            "network-create web 192.168.4.0/22 --vpc prod",
            "network-create pub 203.0.113.0/24 --server-type eip --start-ip 203.0.113.100",
            "instancegroup-create nginx",
            "instancegroup-attachnetwork nginx --network-id web",
        ):
            assert main([*base, *command.split()]) == 0
        capsys.readouterr()
        assert main([*base, "instancegroup-create-eip", "nginx", "--bandwidth", "5"]) == 3
        assert json.loads(capsys.readouterr().err)["error"] == {
            "class": "DataplaneError",
            "code": 500,
            "details": "eip eip-for-grp-nginx needs an uplink, and network pub of 203.0.113.100 has none; "
            "add [uplinks.pub] with its device to the configuration",
            "pending": False,
        }
        assert main([*base, "eip-list"]) == 0
        assert json.loads(capsys.readouterr().out) == []
        assert main([*base, "plan", "--check"]) == 0
    finally:
        for command in ("instancegroup-delete nginx", "network-delete web", "vpc-delete prod"):
            main([*base, *command.split()])
        subprocess.run(["ip", "netns", "del", host], check=True)


@pytest.mark.root
def test_drift_is_planned_and_repaired_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    host = f"drift-{os.getpid()}"
    base = ["--store", f"sqlite:///{tmp_path}/s.db", "--backend", "nftables", "-o", "json"]
    (tmp_path / "vipnet.toml").write_text(f'[backend.nftables]\nnamespace = "{host}"\n')
    base += ["--config", str(tmp_path / "vipnet.toml")]

    def ask(command: str) -> Any:
        assert main([*base, *command.split()]) == 0
        return json.loads(capsys.readouterr().out)

    subprocess.run(["ip", "netns", "add", host], check=True)
    try:
        ask("vpc-create prod 192.168.0.0/16")
        ask("network-create web 192.168.4.0/22 --vpc prod")
        ask("server-create a --net web:192.168.4.9 --device tap0 --mac 02:00:00:00:00:09")
        assert ask("apply")["changed"] == 0
        element = '{ "tap0" . 02:00:00:00:00:09 . 192.168.4.9 }'
        nft = ["ip", "netns", "exec", host, "nft", "delete", "element", "bridge", "vipnet", "vn_ip", element]
        subprocess.run(nft, check=True)
        (target,) = ask("plan")["targets"]
        assert [entry["text"] for entry in target["create"]] == [
            'add element bridge vipnet vn_ip { "tap0" . 02:00:00:00:00:09 . 192.168.4.9 }'
        ]
        assert main([*base, "plan", "--check"]) == 4
        capsys.readouterr()
        assert ask("apply")["created"] == 1
        assert ask("plan")["empty"]
    finally:
        for command in ("server-delete a", "network-delete web", "vpc-delete prod"):
            main([*base, *command.split()])
        subprocess.run(["ip", "netns", "del", host], check=True)
