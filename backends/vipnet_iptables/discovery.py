"""The one table of nf_tables that ports need beside ebtables, for IPv6: see `vipnet_kernel.discovery` for why.

What is in it follows from the host's entries; it is changed, and made anew, in one transaction of nft.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv6Address
from typing import Final

from vipnet.process import run
from vipnet_iptables.entries import Claim, HostEntry, Leg, Port
from vipnet_kernel.discovery import GUEST6, LEG6, LINK_LAYER_OPTIONS, SETS6
from vipnet_kernel.namespaces import entered, scratch

__all__ = ["Discovery", "elements"]

_TABLE: Final = "vipnet_iptables"

# Behind ebtables, which has dropped all that comes with another MAC or source.
_DECLARATION: Final = (
    f"table bridge {_TABLE} {{"
    r"""
	set vn_ports { type ifname; }
"""
    + SETS6
    + r"""	map vn_legs { type ifname : mark; }
	set vn_claims6 { type mark . ipv6_addr; }
	set vn_claimed { typeof meta mark . @th,64,128; }

	chain vn_prerouting {
		type filter hook prerouting priority -299; policy accept;
		iifname @vn_ports ether type ip6 goto vn_guest
		iifname @vn_legs ether type ip6 meta mark set iifname map @vn_legs goto vn_leg
	}
	chain vn_guest {
		ip6 saddr :: ip6 nexthdr icmpv6 icmpv6 type nd-neighbor-solicit \
			iifname . ether saddr . @th,64,128 @vn_targets goto vn_asks
		ip6 saddr :: drop
		jump vn_guest6
		drop
	}
	chain vn_asks {
		jump vn_dad
		drop
	}
"""
    + GUEST6
    + r"""	chain vn_leg {
		jump vn_leg6
		meta mark set 0
	}
"""
    + LEG6
    + "}\n"
).replace("iifname @vn_legs ether type ip6 meta mark set", "ether type ip6 meta mark set")

Elements = Mapping[str, frozenset[str]]
"""Elements by set, in nft's words."""

_SET: Final = re.compile(r"(?:set|map) (\w+) \{.*?\n\t\}", re.DOTALL)
_ELEMENTS: Final = re.compile(r"\n\t\telements = \{(.*?)\}", re.DOTALL)


def elements(entries: Iterable[HostEntry]) -> dict[str, frozenset[str]]:
    """What sets hold for entries; an empty one is left out."""
    found: dict[str, set[str]] = {}
    for entry in entries:
        for name, element in _of(entry):
            found.setdefault(name, set()).add(element)
    return {name: frozenset(some) for name, some in found.items()}


def _of(entry: HostEntry) -> Iterator[tuple[str, str]]:
    match entry:
        case Port(device=device, mac=mac):
            yield "vn_ports", f'"{device}"'
            for ip6 in entry.ip6s:
                yield "vn_targets", f'"{device}" . {mac} . {int(IPv6Address(ip6)):#x}'
            if entry.ip6s:
                for kind in LINK_LAYER_OPTIONS:
                    yield "vn_options", f'"{device}" . {kind << 48 | int(mac.replace(":", ""), 16):#x}'
        case Leg():
            yield "vn_legs", f'"{entry.device}" : {_mark(entry.network)}'
        case Claim(network=network, ip=ip) if ":" in ip:
            yield "vn_claims6", f"{_mark(network)} . {ip}"
            yield "vn_claimed", f"{_mark(network)} . {int(IPv6Address(ip)):#x}"
        case _:
            pass


def _mark(network: str) -> int:
    return int(network[:8], 16) or 1


class Discovery:
    """The table in a namespace. Raises DataplaneError."""

    __slots__ = ("_host",)

    def __init__(self, host: str) -> None:
        self._host = host

    def change(self, before: Elements, after: Elements) -> None:
        """Add what comes, delete what goes; the table is there."""
        lines = [*_lines("delete", before, after), *_lines("add", after, before)]
        if lines:
            self._commit("\n".join(lines))

    def renew(self, wanted: Elements) -> None:
        """Make the table anew, with these elements."""
        self._commit(f"table bridge {_TABLE} {{ }}\ndelete table bridge {_TABLE}\n{_script(wanted)}")

    def delete(self) -> None:
        """Take the table away."""
        self._commit(f"table bridge {_TABLE} {{ }}\ndelete table bridge {_TABLE}")

    def is_as(self, wanted: Elements) -> bool:
        """Whether the table is there, and as it should be: as nft lists one that is made of the same."""
        there = self._listed()
        if not there:
            return False
        with scratch():
            run(["nft", "-f", "-"], stdin=_script(wanted))
            should = run(["nft", "list", "table", "bridge", _TABLE]).stdout
        return _comparable(there) == _comparable(should)

    def _listed(self) -> str:
        with entered(self._host):
            done = run(["nft", "list", "table", "bridge", _TABLE], check=False)
        return done.stdout if done.returncode == 0 else ""

    def _commit(self, script: str) -> None:
        with entered(self._host):
            run(["nft", "-f", "-"], stdin=script + "\n")


def _script(wanted: Elements) -> str:
    return _DECLARATION + "\n".join(_lines("add", wanted, {}))


def _lines(verb: str, some: Elements, but: Elements) -> Iterator[str]:
    for name, there in some.items():
        if more := sorted(there - but.get(name, frozenset())):
            words = more if verb == "add" or name != "vn_legs" else [element.partition(" : ")[0] for element in more]
            yield f"{verb} element bridge {_TABLE} {name} {{ {', '.join(words)} }}"


def _comparable(listed: str) -> tuple[str, dict[str, frozenset[str]]]:
    """A table but for its elements, and these: they are listed in no order."""
    found: dict[str, frozenset[str]] = {}
    for match in _SET.finditer(listed):
        some = _ELEMENTS.search(match[0])
        found[match[1]] = frozenset() if some is None else frozenset(" ".join(one.split()) for one in some[1].split(","))
    return _ELEMENTS.sub("", listed), found
