"""The setup script: no service starts while it installs, and what was there before comes back."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("setup_script", ROOT / "scripts/setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


setup = load()


def asked(policy: Path) -> int:
    return subprocess.run([policy, "nginx", "start"], check=False).returncode


def write(policy: Path, text: str) -> None:
    policy.write_text(text)
    policy.chmod(0o755)


def test_services_are_forbidden_and_allowed_again(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    with setup.no_service_starts(policy):
        assert asked(policy) == 101
    assert list(tmp_path.iterdir()) == []


def test_a_policy_that_allows_steps_aside_and_comes_back(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    write(policy, "#!/bin/sh\nexit 0\n")
    before = policy.stat().st_ino
    with setup.no_service_starts(policy):
        assert asked(policy) == 101
    assert policy.read_text() == "#!/bin/sh\nexit 0\n"
    assert policy.stat().st_ino == before
    assert list(tmp_path.iterdir()) == [policy]


def test_a_policy_that_forbids_stays(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    write(policy, "#!/bin/sh\n# somebody's\nexit 101\n")
    before = (policy.stat().st_ino, policy.stat().st_mtime_ns)
    with setup.no_service_starts(policy):
        assert (policy.stat().st_ino, policy.stat().st_mtime_ns) == before
    assert (policy.stat().st_ino, policy.stat().st_mtime_ns) == before
    assert list(tmp_path.iterdir()) == [policy]


def test_ours_left_behind_by_a_kill_goes(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    aside = tmp_path / "policy-rc.d.vipnet-aside"
    write(policy, setup.POLICY_TEXT)
    write(aside, "#!/bin/sh\nexit 0\n")
    with setup.no_service_starts(policy):
        assert asked(policy) == 101
    assert list(tmp_path.iterdir()) == [policy]
    assert asked(policy) == 0


def test_an_interrupt_puts_everything_back(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    program = f"""
import importlib.util, signal, sys, pathlib
spec = importlib.util.spec_from_file_location("setup_script", {str(ROOT / "scripts/setup.py")!r})
setup = importlib.util.module_from_spec(spec)
spec.loader.exec_module(setup)
signal.signal(signal.SIGTERM, setup._interrupt)
with setup.no_service_starts(pathlib.Path({str(policy)!r})):
    setup._patiently(["sleep", "1"])
"""
    with subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL) as running:
        while not policy.exists():
            time.sleep(0.01)
        time.sleep(0.1)
        running.terminate()
        time.sleep(0.2)
        assert policy.exists()  # what it started still runs
        assert running.wait() != 0
    assert list(tmp_path.iterdir()) == []


def test_names_the_packages_of_missing_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "PROGRAMS", {"no-such-program": "no-such-package", "sh": "dash"})
    assert setup.missing_packages(setup.PROGRAMS) == ["no-such-package"]


def test_without_root_it_says_which_command_to_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert setup.packages({"no-such-nft": "nftables", "no-such-keepalived": "keepalived"}) == 1
    said = "vipnet needs the Debian packages nftables keepalived; install them with: sudo make packages\n"
    assert capsys.readouterr().err == said


def test_a_stamp_is_of_one_checkout_and_one_pyproject(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    commands: list[list[str]] = []
    monkeypatch.setattr(setup, "ROOT", tmp_path)
    monkeypatch.setattr(setup, "STAMP", tmp_path / "stamp")
    monkeypatch.setattr(setup, "_works", lambda: True)
    monkeypatch.setattr(setup, "_patiently", commands.append)
    assert [setup.venv("dev"), setup.venv("dev"), setup.venv("all")] == [0, 0, 0]
    assert len(commands) == 1
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    setup.venv("all")
    setup.venv("dev")
    assert [command[-1] for command in commands] == [f"{tmp_path}[dev]", f"{tmp_path}[all]", f"{tmp_path}[dev]"]


def test_a_peer_that_does_not_build_is_left_out_and_the_others_come(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    commands: list[list[str]] = []

    def never(_environment: Path, _code: str) -> bool:
        return False

    def always(_environment: Path, _code: str) -> bool:
        return True

    def run(command: list[str]) -> None:
        commands.append(command)
        if command[-1].endswith("[bench-iptables]"):
            raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(setup, "ROOT", tmp_path)
    monkeypatch.setattr(setup, "NEUTRON", tmp_path / "neutron")
    monkeypatch.setattr(setup, "_runs", never)
    monkeypatch.setattr(setup, "_patiently", run)
    assert setup.main(["peers"]) == 0
    assert [command[-1] for command in commands] == [f"{tmp_path}[bench-iptables]", str(tmp_path / "neutron"), "neutron"]
    assert "python-iptables was not built" in capsys.readouterr().out
    monkeypatch.setattr(setup, "_runs", always)
    assert setup.main(["peers"]) == 0
    assert len(commands) == 3


@pytest.mark.root
@pytest.mark.long
@pytest.mark.timeout(600)
def test_real_packages_start_no_service() -> None:
    """Debian's nginx and keepalived, with nothing but our policy between them and the service manager."""
    policy, aside = setup.POLICY, setup.POLICY.with_name("policy-rc.d.test-aside")
    existed = policy.exists()
    if existed:
        policy.rename(aside)
    try:
        before = running("nginx") | running("keepalived")
        setup.install(["nginx-light", "keepalived"], "--reinstall")
        assert running("nginx") | running("keepalived") == before
        assert not policy.exists()
        assert setup.missing_packages(setup.PROGRAMS) == []
    finally:
        if existed:
            aside.rename(policy)


def running(program: str) -> set[int]:
    found = subprocess.run(["pgrep", "-x", program], capture_output=True, text=True, check=False).stdout
    return {int(pid) for pid in found.split()}
