"""Random command lines out of the declaration of the commands: plausible words, and words that mean harm."""

from __future__ import annotations

import random

from vipnet.cli.declare import Option, Verb
from vipnet.cli.verbs import SECTIONS

__all__ = ["COMMANDS", "GOALS", "PREPARED", "Words"]

COMMANDS = {verb.name: verb for section in SECTIONS for verb in section.verbs if verb.name not in ("demo", "bench", "watch")}

PREPARED = (
    "vpc-create v1 10.0.0.0/8 --cidr6 fd00::/16",
    "vpc-create v2 10.0.0.0/8",
    "network-create n1 10.1.0.0/28 --vpc v1",
    "network-create n2 10.2.0.0/29 --vpc v1 --prefix6 fd00:2::/64",
    "network-create pub 203.0.113.0/28 --server-type eip",
    "host-create h1",
    "instancegroup-create g1",
    "instancegroup-create g2 --vrid 7",
    "server-create s1 --net n1 --host h1 --group g1",
    "server-create s2 --net n1",
    "instancegroup-attachnetwork g1",
    "instancegroup-attachnetwork g2 --network-id n1",
    "instancegroup-create-eip g2 --bandwidth 5",
    "instancegroup-create g3",
    "eip-create e1 --network pub --bandwidth 5",
    "network-reserve-ip n1 kept 10.1.0.5",
    "network-create full 10.9.0.0/29 --vpc v2 --start-ip 10.9.0.2 --end-ip 10.9.0.2",
    "network-reserve-ip full all 10.9.0.2",
    "instancegroup-create off",
    "instancegroup-disable off",
    "instancegroup-create ice",
    "instancegroup-freeze ice",
)

GOALS = (
    # one for each class of refusal
    "instancegroup-create-eip g1 --bandwidth -1",
    "instancegroup-create-eip g1",
    "instancegroup-create-eip g3 --bandwidth 5",
    "instancegroup-create-eip g1 --bandwidth 5 --bgp-type BGP",
    "instancegroup-update ice --granularity 2",
    "instancegroup-bind-guests off --guest s2",
    "instancegroup-delete g1",
    "server-create new --net full",
    "server-create new --net n1 --net n2 --group g1",
    "vpc-create v1 10.0.0.0/8",
    "vpc-delete v1",
    "eip-show nothing",
    "--store sqlite:///broken.db host-create new",
    # what needs a word of few, several words that fit, or an order
    "completion bash",
    "--store memory: import model.json",
    "--store memory: import model.yaml",
    "vpc-create v9 10.0.0.0/8",
    "vpc-delete v9",
    "network-create n9 10.5.0.0/28 --vpc v1",
    "network-delete n9",
    "server-attach-network s2 --net n2",
    "server-detach-network s2 --net n2",
    "server-join-groups s2 --group g1",
    "keepalived-config g1 s1",
    "trace --from external --dst 203.0.113.2 --dport 80",
    "trace --from s1 --proto 112",
    "instancegroup-create-eip g1 --bandwidth 5",
    "instancegroup-dissociate-eip g1",
    "instancegroup-associate-eip g1 --eip-id e1",
    "instancegroup-dissociate-eip g1",
    "instancegroup-detachnetwork g1",
    "instancegroup-attachnetwork g3 --network-id n1",
    "server-leave-groups s1 --group g1",
    "network-release-reserved-ip n1 10.1.0.5",
    "network-reserve-ip n1 kept 10.1.0.5",
    "eip-create e2 --network pub --bandwidth 5",
)
"""Lines that reach what chance seldom does; told one after the other, each does what it is for."""

HOSTILE = (
    "", " ", "\t", "a\n", "a\nb", "\r", "a\x00b", "\x1b[31mred\x1b[0m", "\x7f", "\x85", "\u2028",
    "'", '"', "`id`", "$(id)", "${IFS}", "a;b", "a; drop table vpc", "' OR 1=1 --", "%s%n", "{0}", "a|b", "a&b", "<x>", "\\",
    "*", "?", "~", "../../passwd", "/dev/null", "a/b", "#", "@all", "}", 'tap0" accept; flush ruleset', "{ type filter }",
    "ｆｕｌｌ", "ɡ1", "g1\u200b", "g1\u00ad", "\u202eevil", "\u200f", "\u2066x\u2069", "é", "e\u0301", "名前", "🦊", "\ufeff",
    "\ud800", "\udcff", "g1\udc80", "a" * 128, "a" * 129, "x" * 100_000, "9" * 5000, "９", "²", "١٢", "_x", ".x", "-", "--", "-x",
    "--x=\x1b", "--\udcff", "0", "-1", "+1", "1e3", "1_000", "0x10", "00", "1.5", "nan", "inf", "-inf", "1e400", "true", "None",
    str(2**31), str(2**32), str(2**63), str(2**64), str(-(2**63)), str(10**18 - 1), "4294967295.", "null", "[]", "{}", "default",
    "00000000-0000-0000-0000-000000000000", "DEFAULT", "a,b", "a:b", "::", ":", ",", "n1:", "n1,", "n1:,", "n1:10.1.0.4,",
)  # fmt: skip

IPS = ("10.1.0.2", "10.1.0.4", "10.1.0.5", "10.1.0.13", "10.2.0.3", "203.0.113.2", "fd00:2::2", "fd00:2::9")
ODD_IPS = (
    "10.1.0.012", "10.1.0", "10.1", "167837700", "0xa010004", "10.1.0.4/32", " 10.1.0.4", "10.1.0.4 ", "+10.1.0.4", "10.1.0.256",
    "10.1.0.4.", "١٠.1.0.4", "10．1．0．4", "0.0.0.0", "255.255.255.255", "127.0.0.1", "224.0.0.1", "::", "::1", "::10.1.0.4",
    "::ffff:10.1.0.4", "fe80::1", "fe80::1%eth0", "fd00:2::9%x;y", "ff02::1", "FD00:2::000A", "fd00:2::1::2", "1:2:3:4:5:6:7:8:9",
    "fd00:2:0:0::00000009", "[fd00:2::9]", ":", ":::",
)  # fmt: skip
PREFIXES = ("10.3.0.0/28", "10.4.0.0/29", "192.168.0.0/24", "172.16.0.0/30", "fd00:3::/64", "fd00:4::/125", "203.0.113.64/28")
ODD_PREFIXES = (
    "10.3.0.0", "10.3.0.1/28", "10.3.0.0/33", "10.3.0.0/-1", "10.3.0.0/028", "10.3.0.0/255.255.255.240", "10.3.0.0/0.0.0.15",
    "0.0.0.0/0", "10.0.0.0/8", "10.3.0.0/31", "10.3.0.0/32", "/24", "10.3.0.0/", "10.3.0.0//28", "10.3.0.0/28/28", "::/0",
    "fd00:3::%x;y/64", "fd00:3::/126", "fd00:3::/127", "fd00:3::/128", "fd00:3::/129", "fd00:3::/ffff::", "fd00:3::1/64",
    "fe80::/64", "ff00::/64", "::ffff:0:0/96", "224.0.0.0/24", "127.0.0.0/8", "255.255.255.240/28",
)  # fmt: skip
MACS = ("02:00:00:00:00:01", "02-00-00-00-00-02", "0200.0000.0003")
ODD_MACS = (
    "01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", "2:0:0:0:0:1", "020000000001", "20000000001", "1",
    "02:00:00:00:00:01\n", "02:00:00:00:00:0g", "02:00:00:00:00", "02:00:00:00:00:00:00:01", "０2:00:00:00:00:01",
)  # fmt: skip
DEVICES = ("tap0", "tap1", "eth0.100")
ODD_DEVICES = (".", "..", "a/b", "a b", "x" * 15, "x" * 16, "tap0\n", "lo", "all", "default", "tap%d", "-tap", "tap0:1", "tàp")
DURATIONS = ("10I", "1H", "1d", "2W", "1M", "1Y")
ODD_DURATIONS = ("0I", "-1H", "1", "H", "1S", "01H", "1 H", "999999Y", "9999999Y", "١H", "1H\n", "10I10I", "1e3H", "1ſ")
NUMBERS = ("0", "1", "2", "5", "30", "255", "4094", "86400")
ODD_NUMBERS = ("-1", "256", "4095", "1000001", "999999999999999999", "1000000000000000000", "+5", " 5", "5 ", "05", "5.0", "٥")
WORDS = (
    "none",
    "stepdown",
    "stepup",
    "random",
    "guest",
    "eip",
    "bandwidth",
    "traffic",
    "yes",
    "no",
    "distgw",
    "eip-distgw",
    "BGP",
)
NAMES = ("v1", "n1", "n2", "pub", "h1", "g1", "g1", "g2", "s1", "s2", "s3", "e1", "eip-for-grp-g2", "default", "new", "z2")
COMMANDS_OF_CHECK = ("/usr/bin/pidof nginx", "true", 'x"\n}', "a\\", "/bin/sh -c 'id;id'", "${x}", "include /etc/passwd")

STORES = (
    "", "memory:", "sqlite:", "sqlite:///:memory:", "sqlite:///odd?mode=ro#x", "sqlite:///a\x00b", "sqlite:///\ud800", "http://[",
    "sqlite:////dev/null/x", "sqlite:////proc/self/nothing", "sqlite:///" + "x" * 5000, "sqlite:///.", "postgresql://u@h:port/db",
    "postgresql+nodriver://h/d", "postgresql+psycopg2cffi://a:b@[::1/x", "sqlite:///\x1b[31m", "mysql://h/d",
)  # fmt: skip

_Pools = tuple[tuple[str, ...], tuple[str, ...]]
_BY_METAVAR: dict[str, _Pools] = {
    "IP": (IPS, ODD_IPS),
    "CIDR": (PREFIXES, ODD_PREFIXES),
    "PREFIX": (PREFIXES, ODD_PREFIXES),
    "MAC": (MACS, ODD_MACS),
    "IFNAME": (DEVICES, ODD_DEVICES),
    "TIME": (DURATIONS, ODD_DURATIONS),
    "N": (NUMBERS, ODD_NUMBERS),
    "MBPS": (NUMBERS, ODD_NUMBERS),
    "PORT": (("1", "80", "65535"), ("0", "65536", *ODD_NUMBERS)),
    "tcp|udp|icmp|arp|112": (("tcp", "udp", "icmp", "arp", "112"), ("TCP", "6", "sctp", "vrrp")),
    "SECONDS": (("1", "0.1", "40.95"), ("0", "-1", "nan", "inf", "1e999", "0.001", "41", "١")),
    "COMMAND": (COMMANDS_OF_CHECK, HOSTILE),
    "FILE": (("model.json", "model.yaml"), ("broken.json", "broken.db", "/dev/null", ".")),
    "NOTES": (("kept", "for the press"), ("x" * 256, "x" * 257)),
}
_FITTING = {
    "NETWORK": ("n1", "n1", "n2", "pub"),
    "SERVER": ("s1", "s2", "s3", "external"),
    "GROUP": ("g1", "g2", "g3"),
    "EIP": ("e1",),
    "HOST": ("h1",),
}
_OF_NOUN = {"vpc": ("v1", "v2", "default"), "network": ("n1", "n2", "pub"), "host": ("h1",), "server": ("s1", "s2", "s3")} | {
    "instancegroup": ("g1", "g1", "g2", "g3"),
    "eip": ("e1", "e1", "eip-for-grp-g2"),
}


class Words:
    """Makes command lines; now and then one names another store, or what can be none."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance

    def line(self) -> list[str]:
        """A command with arguments and options, sometimes too many, too few or unknown ones; now and then one of GOALS."""
        if self.chance.random() < 0.1:
            return [*self.chance.choice(GOALS).split()]
        verb = COMMANDS[self.chance.choice(list(COMMANDS))]
        words = [word for name in verb.arguments for word in self._argument(verb, name)]
        often = self.chance.choice((0.1, 0.3, 0.6))
        words += [word for option in verb.options for word in self._option(option, often)]
        if self.chance.random() < 0.05 and words:
            words.pop(self.chance.randrange(len(words)))
        if self.chance.random() < 0.05:
            words.insert(self.chance.randrange(len(words) + 1), self.hostile())
        name = verb.name if self.chance.random() < 0.98 else self.hostile()
        return [*self._globals(), name, *words]

    def hostile(self) -> str:
        """A word out of the list, or letters at random; never one that asks for help or another output."""
        if self.chance.random() < 0.8:
            return self.chance.choice(HOSTILE)
        tops = [self.chance.choice((128, 0x3000, 0x11000)) for _ in range(self.chance.randrange(1, 12))]
        return "w" + "".join(chr(self.chance.randrange(top)) for top in tops)

    def _globals(self) -> list[str]:
        words = ["--dry-run"] if self.chance.random() < 0.1 else []
        if self.chance.random() < 0.02:
            words += [self.chance.choice(("--config", "--backend")), self.hostile()]
        if self.chance.random() < 0.02:
            words += ["--store", self.chance.choice(STORES)]
        return words

    def _argument(self, verb: Verb, name: str) -> list[str]:
        several = name.endswith("...")
        count = self.chance.choice((1, 1, 2, 3)) if several else 1
        noun = verb.name.partition("-")[0]
        fitting = _OF_NOUN.get(noun, NAMES) if name == "ID" else None
        return [self._value(name.removesuffix("..."), fitting) for _ in range(count)]

    def _option(self, option: Option, often: float) -> list[str]:
        if self.chance.random() >= (0.95 if option.required or option.always else often):
            return []
        if option.kind == "flag":
            return [option.flag]
        count = self.chance.choice((1, 1, 1, 2)) if option.kind == "many" else 1
        values = [self._net() if "[:IP4]" in option.metavar else self._value(option.metavar, None) for _ in range(count)]
        glued = self.chance.random() < 0.3
        return [word for value in values for word in ([f"{option.flag}={value}"] if glued else [option.flag, value])]

    def _value(self, metavar: str, fitting: tuple[str, ...] | None) -> str:
        if self.chance.random() < 0.12:
            return self.hostile()
        names: _Pools = (fitting or _FITTING.get(metavar, NAMES + WORDS), NAMES)
        usual, odd = _BY_METAVAR.get(metavar, names)
        return self.chance.choice(odd if self.chance.random() < 0.2 else usual)

    def _net(self) -> str:
        word = self._value("NETWORK", None)
        four = f":{self._value('IP', None)}" if self.chance.random() < 0.2 else ""
        six = f",{self._value('IP', None)}" if self.chance.random() < 0.2 else ""
        return word + four + six
