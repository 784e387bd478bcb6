"""What rules say about one address, by tree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Protocol

from vipnet.addresses import format_ip4
from vipnet_iptables.entries import Count, Nat

__all__ = ["Lines", "rule_of_count"]


class _Mapped(Protocol):
    """What is mapped and counted in a router."""

    nats: dict[int, Nat]
    rx: dict[int, Count]

    def mapped(self, vip: int) -> list[Nat]: ...
    def sent(self, vip: int) -> list[Count]: ...


class _Texts(dict[int, str]):
    """Addresses as text. Each stands in up to five rules."""

    def __missing__(self, ip: int) -> str:
        text = self[ip] = format_ip4(ip)
        return text


class Lines:
    """The rules about addresses of a router as it is now."""

    __slots__ = ("_router", "_texts")

    def __init__(self, router: _Mapped) -> None:
        self._router = router
        self._texts = _Texts()

    def of(self, tag: str) -> Callable[[Iterable[int]], list[str]]:
        """What says the rules about addresses in a tree."""
        match tag[:2]:
            case "DN":
                return self._translating
            case "SN":
                return self._untranslating
            case "VI":
                return self._marking
            case "RX":
                return partial(self._receiving, int(tag[2:]))
            case _:
                return partial(self._sending, int(tag[2:]))

    def _translating(self, eips: Iterable[int]) -> list[str]:
        texts, nats = self._texts, self._router.nats
        there = (nats[eip] for eip in eips if eip in nats)
        return [f"-d {texts[nat.eip]}/32 -j DNAT --to-destination {texts[nat.vip]}" for nat in there]

    def _untranslating(self, vips: Iterable[int]) -> list[str]:
        texts, mapped = self._texts, self._router.mapped
        return [f"-s {texts[vip]}/32 -j SNAT --to-source {texts[nat.eip]}" for vip in vips for nat in mapped(vip)]

    def _marking(self, vips: Iterable[int]) -> list[str]:
        texts, mapped = self._texts, self._router.mapped
        return [f"-s {texts[vip]}/32 -j MARK --set-xmark {nat.uplink + 1:#x}/0xff" for vip in vips for nat in mapped(vip)]

    def _receiving(self, uplink: int, eips: Iterable[int]) -> list[str]:
        rules, router = list[str](), self._router
        for eip in eips:
            nats = [router.nats[eip]] if eip in router.nats else []
            counts = [router.rx[eip]] if eip in router.rx else []
            rules += _metered(f"-d {self._texts[eip]}/32", "RL", uplink, nats, counts)
        return rules

    def _sending(self, uplink: int, vips: Iterable[int]) -> list[str]:
        rules, router = list[str](), self._router
        for vip in vips:
            rules += _metered(f"-s {self._texts[vip]}/32", "TL", uplink, router.mapped(vip), router.sent(vip))
        return rules


def _metered(address: str, chain: str, uplink: int, nats: Sequence[Nat], counts: Sequence[Count]) -> Iterator[str]:
    """What limits and counts an address, and lets it pass. Counters of mappings that have gone stand where nothing gets to."""
    mapped = list[int]()
    for nat in nats:
        if nat.uplink == uplink:
            mapped.append(nat.eip)
            if nat.rate:
                yield f"{address} -j VIPNET-{chain}{nat.rate}"
            yield from [_counting(address, count) for count in counts if count.eip == nat.eip and count.uplink == uplink]
    closed = [count for count in counts if count.eip not in mapped and count.uplink == uplink]
    if closed:
        yield f"{address} -j DROP"
        yield from (_counting(address, count) for count in closed)


def rule_of_count(count: Count) -> str:
    """The rule that a counter is."""
    return _counting(f"-d {format_ip4(count.eip)}/32" if count.direction == "rx" else f"-s {format_ip4(count.vip)}/32", count)


def _counting(address: str, count: Count) -> str:
    return f"{address} -m comment --comment {_quoted(count.comment)} -j RETURN"


def _quoted(comment: str) -> str:
    """As iptables-save prints it: in quotes only where it must be."""
    return comment if comment.replace("-", "").isalnum() else f'"{comment}"'
