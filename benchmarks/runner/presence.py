"""What a contestant needs, whether it is there, and how to get it."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from runner.scenario import Contestant

__all__ = ["absence", "interpreter"]

_ROOT: Final = Path(__file__).resolve().parents[2]
_EXTRA: Final = "pip install 'vipnet[bench]'"
_PEERS: Final = "make bench-peers"
_WAYS: Final = {
    "nft": "apt-get install nftables",
    "iptables-legacy-restore": "apt-get install iptables",
    "iptables-nft-restore": "apt-get install iptables",
    "ebtables-nft": "apt-get install iptables",
    "ovs-vswitchd": "apt-get install openvswitch-switch",
    "ovs-ofctl": "apt-get install openvswitch-switch",
    "keepalived": "apt-get install keepalived",
    "nftables": _EXTRA,
    "os_ken": _EXTRA,
    "netaddr": _EXTRA,
    "ovs": _EXTRA,
    "pyroute2": _EXTRA,
    "iptc": _PEERS,
    "neutron": _PEERS,
}
"""How a program, a module or an environment is got."""


def interpreter(environment: str) -> Path:
    """The Python of a virtual environment that `make bench-peers` makes."""
    return _ROOT / "build" / environment / "bin" / "python"


def absence(contestant: Contestant, scale: int) -> str:
    """Why a contestant takes no part; "": it does."""
    if contestant.cannot:
        return f"cannot: {contestant.cannot}"
    if contestant.most is not None and scale > contestant.most:
        return f"does no more than {contestant.most}"
    missing = list(_missing(contestant))
    ways = dict.fromkeys(_WAYS[name] for name in missing if name in _WAYS)
    how = f" ({'; '.join(ways)})" if ways else ""
    return f"not installed: {', '.join(missing)}{how}" if missing else ""


def _missing(contestant: Contestant) -> Iterator[str]:
    yield from (name for name in contestant.programs if shutil.which(name) is None)
    yield from (name for name in contestant.modules if importlib.util.find_spec(name) is None)
    if contestant.environment and not interpreter(contestant.environment).exists():
        yield contestant.environment
