"""One question by JSON-RPC over a unix socket: to the switch's database before its tables are known, and to the daemon itself."""

from __future__ import annotations

import json
import select
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from vipnet.errors import DataplaneError
from vipnet_ovs.wire.unix import connected

__all__ = ["call", "gather"]

_PAUSE: Final = 0.002


def call(
    path: Path, method: str, arguments: list[str], *, timeout: float, meanwhile: Callable[[], object] | None = None
) -> Any:
    """Return what a method answers; until then do something again and again. Raises DataplaneError when there is no answer."""
    request = json.dumps({"method": method, "params": arguments, "id": 0}).encode()
    try:
        with connected(path) as stream:
            stream.settimeout(timeout)
            stream.sendall(request)
            while meanwhile is not None and not select.select([stream], [], [], _PAUSE)[0]:
                meanwhile()
            answer = _answer(stream)
    except OSError as error:
        raise DataplaneError(f"{path} does not answer: {error.strerror or error}") from error
    if answer.get("error"):
        raise DataplaneError(f"{path} does not {method}: {answer['error']}")
    return answer["result"]


def _answer(stream: socket.socket) -> dict[str, Any]:
    decoder, said = json.JSONDecoder(), b""
    while octets := stream.recv(1 << 16):
        said += octets
        try:
            answer: dict[str, Any] = decoder.raw_decode(said.decode())[0]
        except ValueError:  # not all of it yet
            continue
        return answer
    raise OSError(None, "it closed the connection")


def gather(rundir: Path, poke: Callable[[], object]) -> None:
    """Have the switch look through its datapath: what that keeps of flows is as they are now, and what it counted is theirs.

    The switch does so by itself some milliseconds after flows have changed, else every half second; `poke` changes one. Raises
    DataplaneError.
    """
    control = max(rundir.glob("ovs-vswitchd*.ctl"), key=lambda path: path.stat().st_mtime, default=None)
    if control is None:
        raise DataplaneError(f"ovs-vswitchd has no control socket in {rundir}")
    call(control, "revalidator/wait", [], timeout=30, meanwhile=poke)
