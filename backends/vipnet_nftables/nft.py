"""The program nft: listings as entries, transactions as text, and what the rules of each kind look like when listed."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vipnet.addresses import format_ip6, ip_of
from vipnet.errors import DataplaneError
from vipnet.process import run
from vipnet_kernel.namespaces import entered, scratch
from vipnet_nftables.entries import Element
from vipnet_nftables.metering import limit_words, owner_of
from vipnet_nftables.ruleset import TABLES, Kind, declaration

__all__ = ["TABLE", "Listing", "Refusal", "kind_of", "listing", "surplus", "tables_of", "transact"]

TABLE = "vipnet"

_PLACE = re.compile(r"/dev/stdin:(\d+):\d+-\d+: Error: (.*)")
_RULE = '["rule",'
_UNITS = {"kbytes": 1 << 10, "mbytes": 1 << 20}
_UNSTABLE = ("handle", "elem", "index")


@dataclass(frozen=True, slots=True)
class Listing:
    """Our tables in one namespace: elements, and the rest in a form that can be compared. No tables: `form` is empty."""

    elements: tuple[Element, ...]
    form: frozenset[str]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the kernel or nft refused a transaction; `lines` are the positions that it points at, if any."""

    lines: Mapping[int, str]
    reason: str


def listing(namespace: str, *, families: Sequence[str], elements: bool = True) -> Listing:
    """List our tables of some families in a namespace; without `elements`, rules and declarations only."""
    flags = ["-j"] if elements else ["-j", "-t"]
    with entered(namespace):
        rows = _rows(flags, families)
    return Listing(tuple(_elements(namespace, rows)), _form(rows))


def kind_of(form: frozenset[str], kinds: Sequence[Kind]) -> Kind | None:
    """Which kind's rules, all of them and nothing else, a listing shows."""
    return next((kind for kind in kinds if _expected(kind) == form), None)


def surplus(form: frozenset[str], kind: Kind) -> list[str] | None:
    """The commands that take away what a kind does not declare, once the tables' rules are flushed.

    None: something that it does declare is there in another shape, which only new tables can put right. A chain's policy
    is put right by declaring it.
    """
    declared = {_identity(row): _shape(row) for row in _expected(kind) if not row.startswith(_RULE)}
    more: list[tuple[bool, str]] = []
    for row in form:
        if row.startswith(_RULE):
            continue
        if (identity := _identity(row)) not in declared:
            noun, family, name = identity
            more.append((noun == "chain", f"delete {noun} {family} {TABLE} {name}"))  # maps lead to chains, and go first
        elif _shape(row) != declared[identity]:
            return None
    return [command for _, command in sorted(more)]


def _identity(row: str) -> tuple[str, str, str]:
    noun, body = json.loads(row)
    return noun, body["family"], body["name"]


def _shape(row: str) -> dict[str, Any]:
    noun, body = json.loads(row)
    return {name: value for name, value in body.items() if (noun, name) != ("chain", "policy")}


def tables_of(form: frozenset[str]) -> frozenset[str]:
    """The families of which a listing shows our table."""
    rows = (json.loads(row) for row in form)
    return frozenset(body["family"] for noun, body in rows if noun == "table")


def transact(namespace: str, lines: Sequence[str]) -> Refusal | None:
    """Run lines as one transaction in a namespace; None: committed. Raises DataplaneError when the outcome is unknown."""
    with entered(namespace):
        done = run(["nft", "-f", "-"], stdin="".join(f"{line}\n" for line in lines), timeout=120, check=False)
    if done.returncode == 0:
        return None
    said = done.stderr.strip().splitlines() or [f"nft exited {done.returncode}"]
    if done.returncode < 0 or said[0].startswith("netlink:"):  # killed, or without the kernel's answer: it may be committed
        raise DataplaneError(f"nft cannot tell whether it changed the rules of {namespace or 'this namespace'}: {said[0]}")
    found = {int(line) - 1: reason for line, reason in _PLACE.findall(done.stderr)}
    return Refusal(found, next(iter(found.values()), said[0]).removeprefix("Could not process rule: "))


def _rows(flags: Sequence[str], families: Sequence[str]) -> list[dict[str, Any]]:
    """In a namespace of ours, where nearly all is ours, one listing of everything is cheaper than one for each table."""
    what = ["ruleset"] if len(families) > 1 else ["table", families[0], TABLE]
    done = run(["nft", *flags, "list", *what], timeout=120, check=False)
    if done.returncode != 0:
        if "No such file or directory" in done.stderr:
            return []
        raise DataplaneError(f"nft cannot list {' '.join(what)}: {done.stderr.strip() or done.returncode}")
    rows: list[dict[str, Any]] = json.loads(done.stdout)["nftables"]
    return [row for row in rows if _is_of(row, families)]


def _is_of(row: Mapping[str, Any], families: Sequence[str]) -> bool:
    ((noun, body),) = row.items()
    return noun != "metainfo" and body["family"] in families and body["name" if noun == "table" else "table"] == TABLE


def _form(rows: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    places: dict[str, int] = {}
    return frozenset(_formed(row, places) for row in rows)


def _formed(row: Mapping[str, Any], places: dict[str, int]) -> str:
    ((noun, body),) = row.items()
    kept = {name: value for name, value in body.items() if name not in _UNSTABLE}
    if noun == "rule":  # the order of rules counts, that of chains and sets does not
        chain = f"{kept['family']} {kept['chain']}"
        places[chain] = kept["place"] = places.get(chain, 0) + 1
    return json.dumps([noun, kept], sort_keys=True)


@functools.cache
def _expected(kind: Kind) -> frozenset[str]:
    with scratch():
        refusal = transact("", [declaration(kind)])
        if refusal is not None:
            raise DataplaneError(f"this kernel does not take the rules of kind {kind}: {refusal.reason}")
        return listing("", families=TABLES[kind]).form


def _elements(namespace: str, rows: Sequence[Mapping[str, Any]]) -> Iterator[Element]:
    for row in rows:
        body = row.get("set") or row.get("map")
        if body is not None:
            types = [body["type"]] if isinstance(body["type"], str) else body["type"]
            for element in body.get("elem", ()):
                key, value = element if "map" in row else (element, "")
                bare, limit, state, comment = _kept(key)
                owner, lost = owner_of(comment)
                where = namespace, body["family"], body["name"], _key(bare, types)
                yield Element(*where, str(value), limit=limit, owner=owner, state=state, lost=lost)


def _kept(key: Any) -> tuple[Any, str, str, str]:
    """The key itself, the limit of its element, what it has counted, and its comment."""
    match key:
        case {"elem": {"val": bare, "limit": limit}}:
            return bare, _limit(limit), "", ""
        case {"elem": {"val": bare, "counter": {"packets": packets, "bytes": octets}} as body}:
            return bare, "", f"counter packets {packets} bytes {octets}", body.get("comment", "")
        case {"elem": {"val": bare}}:
            return bare, "", "", ""
        case _:
            return key, "", "", ""


def _limit(found: Mapping[str, Any]) -> str:
    rate, burst = (found[word] * _UNITS.get(found.get(f"{word}_unit", ""), 1) for word in ("rate", "burst"))
    return limit_words(rate, burst=burst, per=found["per"], over=found.get("inv", False))


def _key(key: Any, types: Sequence[str]) -> str:
    parts: list[Any] = key["concat"] if len(types) > 1 else [key]
    return " . ".join(map(_part, parts, types))


def _part(part: Any, type_: str) -> str:
    match type_:
        case "ifname":
            return f'"{part}"'
        case "integer":  # listed as a number as far as one of JSON goes, else in hexadecimal
            return hex(int(part, 16) if isinstance(part, str) else part)
        case "ipv6_addr":
            return format_ip6(ip_of(part))
        case _:
            return str(part)
