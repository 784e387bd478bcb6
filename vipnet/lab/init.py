"""Process 1 of a lab node: gives it a file system view of its own, reaps orphans, and dies with the lab.

Run as a program, with the standard library alone, inside fresh mount, PID and UTS namespaces:
`init.py HOSTNAME FOLDER IPV6 PATH...`. Each PATH of the machine is covered by the folder of the same path below FOLDER.
It prints its own pid as the machine sees it when the node is ready. Standard input is the lab's pipe: end of file means
that the lab has gone, and process 1 going takes every process of the node along; the byte `k` means stay.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

_MS_BIND = 0x1000
_MNT_DETACH = 2


def _mount(source: str, target: str, kind: str, flags: int = 0) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(source.encode(), target.encode(), kind.encode(), flags, None) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), target)


def _cover(folder: Path, paths: list[str]) -> None:
    # Mounts of other namespaces below /run would be held by this node for as long as it lives.
    ctypes.CDLL(None).umount2(b"/run/netns", _MNT_DETACH)
    for path in paths:
        _mount(str(folder / path.lstrip("/")), path, "none", _MS_BIND)
    _mount("proc", "/proc", "proc")


def _disable_ipv6() -> None:
    for name in ("all", "default"):
        with suppress(FileNotFoundError):  # a kernel without IPv6
            Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")


def _reap(*_: object) -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _main(hostname: str, folder: str, ipv6: str, *paths: str) -> None:
    pid = Path("/proc/self").readlink()  # still the machine's /proc: the number that others know us by
    signal.signal(signal.SIGCHLD, _reap)
    socket.sethostname(hostname)
    _cover(Path(folder), list(paths))
    if ipv6 == "no":
        _disable_ipv6()
    os.write(1, f"{pid}\n".encode())
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    while os.read(0, 1) == b"k":
        os.dup2(null, 0)
        while True:
            signal.pause()


if __name__ == "__main__":
    _main(*sys.argv[1:])
