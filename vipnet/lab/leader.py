"""The process that a node's PID, mount and UTS namespaces hang on, seen from the lab."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from vipnet.errors import DataplaneError
from vipnet.process import kill, spawn, start_time

__all__ = ["Leader"]

# /run last: what the others need may lie below it
_COVERED = ("/etc/nginx", "/etc/keepalived", "/var/lib/nginx", "/var/log", "/var/www", "/run")


class Leader:
    """Process 1 of a node; when it dies, by whatever hand, all processes of the node die. It dies with this process."""

    def __init__(self, *, netns: str, name: str, folder: Path, ipv6: bool) -> None:
        covered = [path for path in _COVERED if Path(path).is_dir() and not Path(path).is_symlink()]
        for path in covered:
            (folder / path.lstrip("/")).mkdir(parents=True, exist_ok=True)
        self._outer = spawn(_argv(netns, name, folder, ipv6, covered), pipes=True)
        self.pid, self.started = 0, None
        try:
            self.pid = _reported(self._outer, name)
            self.started = start_time(self.pid)
        except BaseException:
            self.kill()
            self.wait()
            raise

    def keep(self) -> None:
        """Let the node outlive this process."""
        assert self._outer.stdin is not None
        self._outer.stdin.write(b"k")
        self._outer.stdin.close()
        self._outer.returncode = 0  # it is nobody's child to wait for any more

    def kill(self) -> None:
        """Kill the node's processes, without waiting for their end."""
        if self.started is None:  # not reported yet: the outer program's --kill-child takes process 1 along
            self._outer.kill()
        else:
            kill(self.pid, self.started)

    def wait(self) -> None:
        """Wait until the node's processes have gone."""
        self._outer.wait()
        for pipe in (self._outer.stdin, self._outer.stdout):
            assert pipe is not None
            pipe.close()


def _argv(netns: str, name: str, folder: Path, ipv6: bool, covered: Sequence[str]) -> list[str]:
    enter = ["ip", "netns", "exec", netns, "unshare", "--pid", "--mount", "--uts", "--fork", "--kill-child=KILL"]
    script = str(Path(__file__).with_name("init.py"))
    return [*enter, sys.executable, "-I", "-S", script, name, str(folder), "yes" if ipv6 else "no", *covered]


def _reported(outer: subprocess.Popen[bytes], name: str) -> int:
    assert outer.stdout is not None
    ready, _, _ = select.select([outer.stdout], [], [], 10)
    said = os.read(outer.stdout.fileno(), 100) if ready else b""
    if not said.strip().isdigit():
        raise DataplaneError(f"lab server {name} did not start; network, PID, mount and UTS namespaces are needed")
    return int(said)
