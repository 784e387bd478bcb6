"""The programs: which variant, what they list, what they are given. Everything goes through `vipnet.process`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final, Literal

from vipnet.errors import DataplaneError
from vipnet.process import missing, run
from vipnet_iptables.saved import Listed, parsed
from vipnet_iptables.tables import MARK, Family, Section, Table
from vipnet_kernel.namespaces import entered

__all__ = ["LEGACY", "NFT", "PROGRAMS", "Refused", "Tools", "Variant"]

Variant = Literal["legacy", "nft"]
LEGACY: Final[Variant] = "legacy"
NFT: Final[Variant] = "nft"

PROGRAMS: Final = ("iptables-legacy", "iptables-nft", "ip6tables-legacy", "ip6tables-nft", "ebtables-nft", "arptables-nft", "nft")
"""Of the Debian packages iptables and nftables; the latter is needed for IPv6 alone, see `discovery`."""

_PATIENCE: Final = 10
"""Seconds to wait for the lock of xtables, which every change by iptables-legacy takes."""
_LOCKED: Final = 4
_TOGETHER: Final = 100
"""Chains that are made in one transaction."""
_LIMIT: Final = re.compile(r"VIPNET-[RT]L\d+$")
_BRANCH: Final = re.compile(r"-[0-9a-f]{3,7}$|VIPNET-[RT]L\d+$")
_NO_CHAIN: Final = re.compile(r"No chain/target/match|does not exist|incompatible")
_LINE: Final = re.compile(r"[Ll]ine:? (\d+)")
_SAVED: Final[dict[Family, str]] = {"bridge": "ebtables-nft-save", "arp": "arptables-nft-save"}
_FAMILY: Final[dict[Family, str]] = {"ip": "iptables", "ip6": "ip6tables"}


class Refused(Exception):  # noqa: N818 -- no error of the user's: it says what a program did
    """A program did not carry out a section: `done` were before it, `line` is the command in it if it says so, else None."""

    def __init__(self, reason: str, done: int, line: str | None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.done = done
        self.line = line


class Tools:
    """Runs the programs of a variant in namespaces. `wanted` None: that in which the host's rules are; nft if there are none."""

    __slots__ = ("_found", "_host", "_wanted")

    def __init__(self, host: str, wanted: Variant | None) -> None:
        self._host = host
        self._wanted = wanted
        self._found: Variant | None = wanted

    @property
    def variant(self) -> Variant:
        """The variant in use. Raises DataplaneError."""
        if self._found is None:
            self._found = self._detected()
        return self._found

    def mixed(self) -> bool:
        """Whether the host has rules in both variants, of which a packet has to pass both. Raises DataplaneError."""
        return all(self._amounts(variant)[0] for variant in (LEGACY, NFT))

    def listed(self, namespace: str, family: Family, tables: Sequence[str] = ()) -> dict[Table, Listed]:
        """What is there, of some tables or of all. Raises DataplaneError."""
        if family in _SAVED:
            return parsed(family, self._run(namespace, [_SAVED[family]]))
        program = f"{_FAMILY[family]}-{self.variant}-save"
        if len(tables) == 1:
            return parsed(family, self._run(namespace, [program, "-c", "-t", tables[0]]))
        return parsed(family, self._run(namespace, [program, "-c"]))

    def commit(self, namespace: str, sections: Iterable[Section]) -> None:
        """Carry out sections in their order, each as a whole. Raises Refused at the first that is not, and DataplaneError."""
        done = 0
        wanted = [part for section in sections if section.lines for part in self._parts(section)]
        for family, group in groupby(wanted, key=_family):
            some = list(group)
            if family == "arp":
                self._command(namespace, some, done)
            else:
                self._restore(namespace, family, some, done)
            done += len(some)

    def chain(self, namespace: str, table: Table, chain: str) -> str:
        """The rules of one chain, with what they count, as `-L -v -x -n` prints them; "": there is no such chain."""
        program = f"{_FAMILY[table.family]}-{self.variant}"
        with entered(namespace):
            done = run([program, "-w", str(_PATIENCE), "-t", table.name, "-L", chain, "-v", "-x", "-n"], check=False)
        said = " ".join(done.stderr.split())
        _check_lock(done.returncode, said)
        if done.returncode != 0 and not _NO_CHAIN.search(said):
            raise DataplaneError(f"chain {chain} of {namespace} cannot be listed: {said or done.returncode}")
        return done.stdout if done.returncode == 0 else ""

    def version(self) -> str:
        """The version of iptables."""
        return run(["iptables-nft", "--version"]).stdout.split()[1].removeprefix("v")

    # ------------------------------------------------------------------------------------------------- within

    def _parts(self, section: Section) -> list[Section]:
        """New branches of trees, from below, and then what leads to them: so they may be made in several transactions.

        iptables-nft-restore takes a time quadratic in the chains that one transaction makes; with legacy a section costs a table.
        """
        new = [line[1:].split(" ", 1)[0] for line in section.lines if line.startswith(":")]
        if len(new) <= _TOGETHER or self.variant == LEGACY or section.table.family != "ip":
            return [section]
        apart = sorted(filter(_BRANCH.search, new), key=lambda chain: (not _LIMIT.match(chain), -len(chain), chain))
        lines: dict[str, list[str]] = {chain: [] for chain in apart}
        rest = list[str]()
        for line in section.lines:
            chain = line[1:].split(" ", 1)[0] if line.startswith(":") else line.split(" ", 2)[1]
            (lines[chain] if chain in lines and line[0:2] != "-X" else rest).append(line)
        some = (sorted(apart[at : at + _TOGETHER]) for at in range(0, len(apart), _TOGETHER))
        made = (_declared_first(line for chain in chains for line in lines[chain]) for chains in some)
        return [*(Section(section.table, part) for part in made), Section(section.table, rest)]

    def _restore(self, namespace: str, family: Family, sections: Sequence[Section], before: int) -> None:
        text = "".join(f"*{table.name}\n{chr(10).join(lines)}\nCOMMIT\n" for table, lines in sections)
        wait = [] if family == "bridge" else ["-w", str(_PATIENCE)]
        program = "ebtables-nft-restore" if family == "bridge" else f"{_FAMILY[family]}-{self.variant}-restore"
        with entered(namespace):
            done = run([program, "--noflush", *wait], stdin=text, check=False, timeout=300)
        if done.returncode == 0:
            return
        said = " ".join(done.stderr.split()) or f"{program} exited {done.returncode}"
        _check_lock(done.returncode, said)
        at = _LINE.search(said)
        raise _refusal(said, text.splitlines(), int(at[1]) if at else None, before)

    def _command(self, namespace: str, sections: Iterable[Section], before: int) -> None:
        """One by one: arptables-restore 1.8.9 takes others' rules away."""
        for section in sections:
            for line in section.lines:
                words = ["-N", line[1:].split()[0]] if line.startswith(":") else line.split()
                with entered(namespace):
                    done = run(["arptables-nft", *words], check=False)
                if done.returncode != 0:
                    raise Refused(" ".join(done.stderr.split()) or f"arptables-nft exited {done.returncode}", before + 1, line)

    def _run(self, namespace: str, argv: Sequence[str]) -> str:
        with entered(namespace):
            return run(argv, timeout=120).stdout

    def _detected(self) -> Variant:
        legacy, nft = self._amounts(LEGACY), self._amounts(NFT)
        if legacy[1] != nft[1]:  # where rules of ours are they stay
            return LEGACY if legacy[1] else NFT
        return LEGACY if legacy[0] and not nft[0] else NFT

    def _amounts(self, variant: Variant) -> tuple[int, bool]:
        """How many rules the host's namespace has in a variant, and whether some are ours."""
        if missing([f"iptables-{variant}-save"]):
            return 0, False
        texts = [self._run(self._host, [f"{program}-{variant}-save"]) for program in _FAMILY.values()]
        lines = [line for text in texts for line in text.splitlines() if line.startswith("-A ")]
        return len(lines), any(MARK in line for line in lines)


def _declared_first(lines: Iterable[str]) -> list[str]:
    return sorted(lines, key=lambda line: not line.startswith(":"))


def _check_lock(status: int, said: str) -> None:
    if status == _LOCKED and "xtables lock" in said:
        raise DataplaneError(f"the lock of xtables is held by another program for more than {_PATIENCE} s: {said}")


def _family(section: Section) -> Family:
    return section.table.family


def _refusal(said: str, lines: Sequence[str], at: int | None, before: int) -> Refused:
    if at is None or not 0 < at <= len(lines):
        return Refused(said, before, None)
    done = before + lines[: at - 1].count("COMMIT")
    line = lines[at - 1]
    return Refused(said, done, None if line == "COMMIT" else line)
