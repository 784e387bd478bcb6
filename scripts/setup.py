"""Make a fresh checkout ready: Debian packages that are missing, a virtual environment with what an extra needs.

Standard library alone, Python 3.11: `setup.py packages`, `setup.py venv EXTRA`, `setup.py peers`. What is ready already costs
nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "vipnet-ready.json"
INCLUDED = {"dev": ["all", "testing"]}
"""Which extras an extra brings along."""

NEUTRON = ROOT / "build" / "neutron"
"""Where Neutron is, with which vipnet is measured beside: it wants a hundred packages, none of which vipnet needs."""

PROGRAMS = {
    "ip": "iproute2",
    "nft": "nftables",
    "iptables-nft": "iptables",
    "keepalived": "keepalived",
    "nginx": "nginx-light",
    "conntrack": "conntrack",
    "ps": "procps",
    "ovs-vswitchd": "openvswitch-switch",
}
"""Programs that the demo and the tests start, and the Debian package of each."""

TEST_PROGRAMS = {"chromium": "chromium", "gcc": "gcc"}
"""Programs that the tests alone start, and what python-iptables, which they use, is compiled with."""

INCLUDES = sysconfig.get_path("include")
HEADERS = {"/usr/include/stdio.h": "libc6-dev"} | (
    {f"{INCLUDES}/Python.h": "python3-dev"} if INCLUDES.startswith("/usr/include/") else {}
)
"""What else that takes; another Python than Debian's has to bring its own."""

UNITS = {
    "nginx-light": "nginx.service",
    "keepalived": "keepalived.service",
    "openvswitch-switch": "openvswitch-switch.service",
}
"""Services that a package would start, at once and at every boot."""

POLICY = Path("/usr/sbin/policy-rc.d")
POLICY_TEXT = "#!/bin/sh\n# vipnet's setup: no service may start while it installs packages\nexit 101\n"
APT_GET = "/usr/bin/apt-get"
APT = (APT_GET, "-y", "-q", "-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0")


def main(arguments: Sequence[str]) -> int:
    """Do what the command line says; the exit status."""
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    try:
        match arguments:
            case ["packages"]:
                return packages(PROGRAMS)
            case ["packages", "test"]:
                return packages(PROGRAMS | TEST_PROGRAMS, HEADERS)
            case ["venv", extra]:
                return venv(extra)
            case ["peers"]:
                return peers()
            case _:
                return _refuse("usage: setup.py packages [test] | setup.py venv EXTRA | setup.py peers")
    except KeyboardInterrupt:
        return _refuse("setup interrupted")
    except subprocess.CalledProcessError as error:
        return _refuse(f"setup: {' '.join(map(str, error.cmd[:3]))} … exited {error.returncode}")


def packages(programs: Mapping[str, str], files: Mapping[str, str] | None = None) -> int:
    """Install the Debian packages that are missing; on a terminal after asking, else straight away."""
    needed = missing_packages(programs, files)
    if not needed:
        return 0
    if not Path(APT_GET).exists():
        return _refuse(f"vipnet needs what these Debian packages hold; install them in your system's way: {' '.join(needed)}")
    if os.geteuid() != 0:
        return _refuse(f"vipnet needs the Debian packages {' '.join(needed)}; install them with: sudo make packages")
    if not _agreed(needed):
        return _refuse(f"not installed: {' '.join(needed)}")
    install(needed)
    still = missing_packages(programs, files)
    return _refuse(f"apt-get installed these, but their programs are not there: {' '.join(still)}") if still else 0


def missing_packages(programs: Mapping[str, str], files: Mapping[str, str] | None = None) -> list[str]:
    """Return the Debian packages whose program, or whose file, is not there."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    needed = [package for program, package in programs.items() if shutil.which(program, path=path) is None]
    needed += [package for file, package in (files or {}).items() if not Path(file).exists()]
    # Debian's own Python brings no pip for new environments unless asked to
    return needed if importlib.util.find_spec("ensurepip") or _works() else [*needed, "python3-venv"]


def install(needed: Sequence[str], *options: str) -> None:
    """Install Debian packages so that no service of theirs starts, neither now nor at the next boot."""
    _say(f"installing {' '.join(needed)} (no service will start)")
    with ExitStack() as stack:
        stack.enter_context(locked(Path(APT_GET)))  # two checkouts at once: one after the other
        stack.enter_context(no_service_starts())
        _patiently([*APT, "update"], check=False)  # offline, or a list in use: install decides
        _patiently([*APT, "install", "--no-install-recommends", *options, *needed])
        units = [UNITS[package] for package in needed if package in UNITS]
        if units and shutil.which("systemctl"):
            _patiently(["systemctl", "disable", "--quiet", *units], check=False)


@contextmanager
def no_service_starts(policy: Path = POLICY) -> Generator[None, None, None]:
    """Forbid package scripts to start services (Debian's policy-rc.d), and put back what was there before.

    One that forbids starting already stays as it is. Ours left behind by a kill counts as none.
    """
    if policy.exists() and policy.read_text(errors="replace") != POLICY_TEXT and _forbids(policy):
        yield
        return
    aside = policy.with_name(policy.name + ".vipnet-aside")
    if policy.exists() and policy.read_text(errors="replace") != POLICY_TEXT:
        policy.rename(aside)
    try:
        policy.write_text(POLICY_TEXT)
        policy.chmod(0o755)
        yield
    finally:
        policy.unlink(missing_ok=True)
        if aside.exists():
            aside.rename(policy)


def venv(extra: str) -> int:
    """Make the virtual environment, or make it anew, unless it holds this checkout with this extra already."""
    with locked(ROOT / "pyproject.toml"):
        if extra in _ready():
            return 0
        if not _works():
            _say(f"making {VENV}")
            _patiently([sys.executable, "-m", "venv", "--clear", str(VENV)])
        _pip(VENV, f"{ROOT}[{extra}]", "-e")
        ready = sorted({extra, *INCLUDED.get(extra, []), *_ready()})
        STAMP.write_text(json.dumps({**_identity(), "extras": " ".join(ready)}))
    return 0


def peers() -> int:
    """Install what benchmarks measure beside vipnet and is not in an extra of every checkout, as far as that can be done here.

    python-iptables is compiled, which takes gcc and Python's headers: without them it is left out. Neutron has an environment of
    its own.
    """
    with locked(ROOT / "pyproject.toml"):
        if not _runs(VENV, "import iptc"):
            try:
                _pip(VENV, f"{ROOT}[bench-iptables]", "-e")
            except subprocess.CalledProcessError:
                _say("python-iptables was not built (it needs gcc and python3-dev): benchmarks will say that it is missing")
        if not _runs(NEUTRON, "import neutron.agent.linux.iptables_manager"):
            _say(f"making {NEUTRON} (a minute)")
            _patiently([sys.executable, "-m", "venv", "--clear", str(NEUTRON)])
            _pip(NEUTRON, "neutron")
    return 0


def _pip(environment: Path, wanted: str, *options: str) -> None:
    python = str(environment / "bin" / "python")
    _patiently([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *options, wanted])


def _runs(environment: Path, code: str) -> bool:
    """Whether an environment's Python is there and carries out some code."""
    python = environment / "bin" / "python"
    command = [python, "-W", "ignore", "-c", code]
    return python.exists() and subprocess.run(command, capture_output=True, check=False).returncode == 0  # noqa: S603


def _ready() -> list[str]:
    """Return the extras that the environment holds for pyproject.toml as it is now."""
    try:
        stamp: dict[str, str] = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return []
    extras = stamp.pop("extras", "")
    return extras.split() if stamp == _identity() and _works() else []


def _identity() -> dict[str, str]:
    return {"root": str(ROOT), "pyproject": hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()}


def _works() -> bool:
    """Whether the environment's Python starts, is new enough and has pip."""
    return _runs(VENV, "import sys, pip; sys.exit(sys.version_info < (3, 11) or sys.prefix == sys.base_prefix)")


@contextmanager
def locked(path: Path) -> Generator[None, None, None]:
    """Hold a lock on a file that is there anyway, for the duration."""
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _forbids(policy: Path) -> bool:
    return subprocess.run([policy, "nginx", "start"], capture_output=True, check=False).returncode == 101  # noqa: S603


def _agreed(needed: Sequence[str]) -> bool:
    if os.environ.get("YES") == "1" or not sys.stdin.isatty():
        return True
    _say(f"vipnet needs these Debian packages: {' '.join(needed)}")
    return input("Install them now? No service will start. [Y/n] ").strip().lower() in ("", "y", "yes")


def _patiently(command: Sequence[str], *, check: bool = True) -> None:
    """Run a program to its own end also when we are interrupted: package scripts must not outlive the policy file."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    interrupted = False
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment) as program:  # noqa: S603
        while program.returncode is None:
            try:
                program.wait()
            except KeyboardInterrupt:  # a terminal has told the program too
                interrupted = True
    if interrupted:
        raise KeyboardInterrupt
    if check and program.returncode != 0:
        raise subprocess.CalledProcessError(program.returncode, command)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _refuse(reason: str) -> int:
    sys.stderr.write(reason + "\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
