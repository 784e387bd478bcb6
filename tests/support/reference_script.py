"""Random scripts of verbs over small pools of names, so that they meet; a step is data, so that a script can be cut down."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["PREPARED", "Step", "script"]


@dataclass(frozen=True, slots=True)
class Step:
    """One verb; `wait` seconds pass before it. A text `#name` stands for the id of what has that name."""

    verb: str
    args: tuple[Any, ...] = ()
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    wait: float = 0

    def __str__(self) -> str:
        words = [*map(repr, self.args), *(f"{name}={value!r}" for name, value in self.options.items())]
        return f"cloud.{self.verb}({', '.join(words)})" + (f"  # {self.wait:g} s later" if self.wait else "")


NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "web": ("10.1.0.0/28", {"vpc": "v1"}),
    "tiny": ("10.2.0.0/29", {"vpc": "v1", "end_ip": "10.2.0.3"}),
    "dual": ("10.3.0.0/28", {"vpc": "v1", "prefix6": "fd00:3::/124"}),
    "dual6": ("10.3.1.0/28", {"vpc": "v1", "prefix6": "fd00:3::8/125"}),
    "zoned": ("10.4.0.0/28", {"vpc": "v1", "zone": "z2", "shared": True}),
    "lent": ("10.5.0.0/28", {"vpc": "v1", "project": "p2", "shared": True, "alloc_policy": "random"}),
    "own": ("10.6.0.0/29", {"vpc": "v1", "project": "p2", "alloc_policy": "stepup"}),
    "shut": ("10.1.0.0/29", {"vpc": "v2", "alloc_timeout_seconds": 90}),
    "office": ("192.168.0.0/29", {"gateway": "192.168.0.2"}),
    "pub": ("203.0.113.0/29", {"server_type": "eip", "shared": True}),
    "bgp": ("203.0.113.16/30", {"server_type": "eip", "bgp_type": "BGP"}),
    "pubz": ("203.0.113.32/29", {"server_type": "eip", "zone": "z2", "end_ip": "203.0.113.35"}),
    "pubp": ("203.0.113.64/29", {"server_type": "eip", "project": "p2"}),
}
GUEST = (*["web"] * 6, "tiny", "tiny", "dual", "zoned", "lent", "own", "shut", "office", "pub", "dual6", "ghost")
PUBLIC = ("pub", "pub", "pub", "bgp", "bgp", "bgp", "pubz", "pubp", "web", "ghost")
BAD_IPS = ("10.1.0.012", " 10.1.0.4", "+10.1.0.4", "0xa010004", "10.1.0.4/32", "x", "9.9.9.9", "10.1.0.256", "10.1.0.15")
BAD_NAMES = ("", "-a", "_a", "a b", "a\n", "x" * 129, "a;b")
PREPARED = (
    Step("vpcs.create", ("v1", "10.0.0.0/8"), {"cidr6": "fd00::/16"}),
    Step("vpcs.create", ("v2", "10.0.0.0/8"), {"external_access_mode": "distgw"}),
    Step("vpcs.create", ("v3", "10.0.0.0/16"), {"external_access_mode": "eip"}),
    *(Step("networks.create", (name, prefix), options) for name, (prefix, options) in NETWORKS.items() if name != "dual6"),
    Step("hosts.create", ("h1",)),
    Step("groups.create", ("g1",)),
    Step("groups.create", ("g2",), {"granularity": 2}),
    Step("servers.create", ("s1",), {"nets": ["web"]}),
    Step("servers.create", ("s2",), {"nets": ["web"]}),
)


def script(seed: int, length: int) -> list[Step]:
    """A script of that seed, after a world to begin with."""
    maker = _Maker(random.Random(seed))
    return [*PREPARED, *(maker.step() for _ in range(length))]


class _Maker:
    """Makes steps; each method of a verb gives its arguments and its options."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance

    def step(self) -> Step:
        verb = self.chance.choices(list(_VERBS), list(_VERBS.values()))[0]
        make: Callable[[], tuple[tuple[Any, ...], dict[str, Any]]] = getattr(self, verb.replace(".", "_"))
        args, options = make()
        wait = self.chance.choice((5, 31, 61, 95, 4000)) if self.chance.random() < 0.08 else 0
        return Step(verb, args, {name: value for name, value in options.items() if value not in (None, False)}, wait)

    # ------------------------------------------------------------------------------------------------- words

    def some(self, value: Any, often: float = 0.3) -> Any:
        return value if self.chance.random() < often else None

    def ref(self, *names: str) -> str:
        """A name, or the id of what has it."""
        name = self.chance.choice(names)
        return f"#{name}" if self.chance.random() < 0.3 else name

    def new(self, *names: str) -> str:
        return self.chance.choice(BAD_NAMES if self.chance.random() < 0.03 else names)

    def group(self) -> str:
        return self.ref(*["g1", "g2", "g3"] * 5, "ghost")

    def server(self) -> str:
        return self.ref(*(f"s{number}" for number in range(1, 8)), *["s1", "s2"] * 2)

    def eip(self) -> str:
        return self.ref("e1", "e2", "e3", "eip-for-grp-g1", "eip-for-grp-g2", "ghost")

    def project(self) -> str | None:
        return "p2" if self.chance.random() < 0.12 else None

    def ip(self, net: str) -> str:
        """An address of a network, sometimes one that is none."""
        if self.chance.random() < 0.08:
            return self.chance.choice(BAD_IPS)
        head, _, tail = NETWORKS.get(net.lstrip("#"), NETWORKS["web"])[0].partition("/")[0].rpartition(".")
        return f"{head}.{int(tail) + self.chance.choice((2, 2, 3, 3, 4, 4, 5, 6, 13))}"

    def ip6(self) -> str:
        low = self.chance.choice(("2", "3", "4", "D", "000d", "f", "10"))
        return self.chance.choice((f"fd00:3::{low}",) * 5 + ("fd00:9::2", "::10.1.0.13", "nonsense:", "fd00:3:0::0:4"))

    def net(self) -> str:
        """A wish for a NIC: NETWORK[:IP4][,IP6]."""
        name = self.ref(*GUEST)
        four = f":{self.ip(name)}" if self.chance.random() < 0.2 else ""
        six = f",{self.ip6()}" if self.chance.random() < (0.3 if "dual" in name else 0.02) else ""
        return name + four + six

    def mac(self, net: str) -> str | None:
        place = GUEST.index(net.lstrip("#").partition(":")[0].partition(",")[0])
        good = f"02:00:00:00:{place:02x}:{self.chance.randrange(2):02x}"
        return good if self.chance.random() < 0.2 else None

    def refs(self, make: Callable[[], str], most: int = 2) -> list[str]:
        made = [make() for _ in range(self.chance.choice((0, *[1] * 9, most, most)))]
        return made * 2 if self.chance.random() < 0.1 else made

    # ------------------------------------------------------------------------------------------------- places

    def vpcs_create(self) -> Any:
        cidr = self.chance.choice(("10.0.0.0/8", "10.0.0.0/16", "10.0.0.1/8", "10.0.0.0/08", "nothing"))
        mode = self.some(self.chance.choice(("eip", "none", "distgw", "all")))
        return (self.new("v1", "v2", "v3", "v3", "v3", "default"), cidr), {
            "external_access_mode": mode,
            "cidr6": self.some("fd00::/16"),
        }

    def vpcs_delete(self) -> Any:
        return (self.ref("v1", "v2", *["v3"] * 4, "default", "ghost"),), {}

    def hosts_create(self) -> Any:
        return (self.new("h1", "h2"),), {"zone": self.some("z2")}

    def hosts_delete(self) -> Any:
        return (self.ref("h1", "h2", "ghost"),), {}

    def networks_create(self) -> Any:
        name = self.chance.choice(list(NETWORKS))
        prefix, usual = NETWORKS[name]
        if self.chance.random() < 0.15:
            prefix = self.chance.choice(("10.1.0.0/24", "10.9.0.0/31", "172.16.0.0/28", "10.9.0.1/28", "10.9.0.0/30"))
        options = {**usual, "project": self.project() or usual.get("project")}
        options["vpc"] = self.some(self.ref("v1", "v2", "v3", "ghost"), 0.1) or usual.get("vpc")
        options["alloc_policy"] = self.some(self.chance.choice(("none", "stepup", "random", "up"))) or usual.get("alloc_policy")
        options["prefix6"] = self.some(self.chance.choice(("fd00:3::/126", "fd00:8::/125", "fe00::/64")), 0.1) or usual.get(
            "prefix6"
        )
        options["start_ip"] = self.some(self.ip(name), 0.15)
        options["end_ip"] = self.some(self.ip(name), 0.1) or usual.get("end_ip")
        options["gateway"] = self.some(self.ip(name), 0.15) or usual.get("gateway")
        return (self.new(name), prefix), options

    def networks_update(self) -> Any:
        name = self.ref(*GUEST, *PUBLIC, "office", "office")
        options = {"start_ip": self.some(self.ip(name)), "end_ip": self.some(self.ip(name), 0.2)}
        policy = self.some(self.chance.choice(("none", "stepup", "stepdown", "random", "up")))
        return (name,), {**options, "alloc_policy": policy, "gateway": self.some(self.ip(name))}

    def networks_delete(self) -> Any:
        return (self.ref(*NETWORKS, "ghost"),), {}

    def networks_reserve_ip(self) -> Any:
        net = self.ref("web", "web", "tiny", "dual", "office", "pub", "bgp", "ghost")
        ips = self.refs(lambda: self.ip6() if self.chance.random() < 0.1 else self.ip(net), 3)
        duration = self.some(self.chance.choice(("1I", "1I", "2i", "1H", "1Y", "0I", "1X", "")), 0.6)
        notes = self.chance.choice(("kept", "kept", "for the press", "", "gate\x07way", "x" * 257, "\u202ex"))
        return (net, self.chance.choice(("kept", notes)), ips), {"duration": duration}

    def networks_release_reserved_ip(self) -> Any:
        net = self.ref("web", "web", "tiny", "dual", "office", "pub")
        return (net, self.ip6() if self.chance.random() < 0.15 else self.ip(net)), {}

    # ------------------------------------------------------------------------------------------------- servers

    def servers_create(self) -> Any:
        nets = [self.net() for _ in range(self.chance.choice((0, *[1] * 10, 2)))]
        macs = [mac for net in nets if (mac := self.mac(net))]
        device = self.chance.choice(("tap0", "tap1", "tap2", "no such device", "x" * 16))
        options = {"groups": self.refs(self.group) if self.chance.random() < 0.4 else None, "project": self.project()}
        options["macs"] = macs if len(macs) == len(nets) or self.chance.random() < 0.1 else None
        options["devices"] = self.some([device] * self.chance.choice((1, 1, 1, 2)), 0.2)
        name = self.new(*(f"s{number}" for number in range(1, 8)))
        return (name,), {"nets": nets, "host": self.some(self.ref("h1", "h1", "h2"), 0.4), **options}

    def servers_delete(self) -> Any:
        return (self.server(),), {}

    def servers_attach_network(self) -> Any:
        net = self.net()
        return (self.server(), net), {"mac": self.mac(net), "device": self.some("tap0", 0.1)}

    def servers_detach_network(self) -> Any:
        return (self.server(), self.ref("web", "web", "tiny", "dual", "lent", "ghost")), {}

    def servers_join_groups(self) -> Any:
        return (self.server(), self.refs(self.group)), {}

    def servers_leave_groups(self) -> Any:
        return (self.server(), self.refs(self.group)), {}

    # ------------------------------------------------------------------------------------------------- groups

    def _group_options(self) -> dict[str, Any]:
        vrid = self.some(self.chance.choice((1, 2, 3, 255, 256, 0)), 0.15)
        granularity = self.some(self.chance.choice((1, 2, 0, -1, 3)), 0.2)
        return {"granularity": granularity, "force_dispersion": self.some(self.chance.choice(("yes", "no", "on")), 0.2)} | {
            "vrid": vrid
        }

    def groups_create(self) -> Any:
        return (self.new("g1", "g2", "g3"),), {**self._group_options(), "project": self.project()}

    def groups_update(self) -> Any:
        return (self.group(),), {**self._group_options(), "name": self.some(self.new("g1", "g2", "g3"), 0.2)}

    def groups_delete(self) -> Any:
        return (self.group(),), {}

    groups_enable = groups_disable = groups_freeze = groups_unfreeze = groups_delete

    def groups_bind_guests(self) -> Any:
        return (self.group(), self.refs(self.server)), {}

    groups_unbind_guests = groups_bind_guests

    def groups_attach_network(self) -> Any:
        net = self.ref(*GUEST)
        options: dict[str, Any] = {"network_id": self.some(net, 0.5), "ip_addr": self.some(self.ip(net), 0.4)}
        options["alloc_dir"] = self.some(self.chance.choice(("stepup", "random", "none", "stepdown", "down")))
        options["reserved"], options["require_designated_ip"] = self.some(True), self.some(True)
        six = 0.5 if "dual" in net else 0.05
        options["ip6_addr"], options["require_ipv6"] = self.some(self.ip6(), six), self.some(True, six)
        return (self.group(),), {**options, "vrid": self.some(self.chance.choice((1, 2, 0)), 0.1)}

    def groups_detach_network(self) -> Any:
        ip = self.ip6() if self.chance.random() < 0.3 else self.ip("web")
        return (self.group(),), {"ip_addr": self.some(ip)}

    # ------------------------------------------------------------------------------------------------- EIPs

    def _eip_options(self) -> dict[str, Any]:
        charge = self.some(self.chance.choice(("bandwidth", "traffic", "traffic", "free")))
        options = {"bandwidth": self.some(self.chance.choice((*[5] * 20, 0, -1, 1_000_001)), 0.95), "charge_type": charge}
        return {
            **options,
            "bgp_type": self.some(self.chance.choice(("BGP", "BGP", "BGP_PRO")), 0.2),
            "auto_dellocate": self.some(True),
        }

    def groups_create_eip(self) -> Any:
        options = {"ip_addr": self.some(self.ip("web"), 0.1), "eip_addr": self.some(self.ip(self.chance.choice(PUBLIC)), 0.2)}
        return (self.group(),), {**self._eip_options(), **options}

    def groups_associate_eip(self) -> Any:
        return (self.group(),), {"eip_id": self.some(self.eip(), 0.95), "ip_addr": self.some(self.ip("web"), 0.1)}

    def groups_dissociate_eip(self) -> Any:
        return (self.group(),), {"auto_delete": self.some(True)}

    def eips_create(self) -> Any:
        net = self.ref(*PUBLIC)
        options = {"network": self.some(net, 0.6), "ip_addr": self.some(self.ip(net), 0.3)}
        return (self.new("e1", "e2", "e3"),), {**self._eip_options(), **options}

    def eips_delete(self) -> Any:
        return (self.eip(),), {}

    def eips_change_bandwidth(self) -> Any:
        return (self.eip(), self.chance.choice((1, 30, 30, 0, -5, 1_000_001))), {}


_VERBS = {
    "vpcs.create": 2, "vpcs.delete": 2, "hosts.create": 3, "hosts.delete": 1, "networks.create": 8, "networks.update": 4,
    "networks.delete": 1, "networks.reserve_ip": 5, "networks.release_reserved_ip": 4, "servers.create": 18,
    "servers.delete": 4, "servers.attach_network": 4, "servers.detach_network": 3, "servers.join_groups": 3,
    "servers.leave_groups": 2, "groups.create": 5, "groups.update": 3, "groups.delete": 2, "groups.enable": 5,
    "groups.disable": 1, "groups.freeze": 1, "groups.unfreeze": 8, "groups.bind_guests": 6, "groups.unbind_guests": 4,
    "groups.attach_network": 16, "groups.detach_network": 6, "groups.create_eip": 9, "groups.associate_eip": 9,
    "groups.dissociate_eip": 8, "eips.create": 8, "eips.delete": 2, "eips.change_bandwidth": 2,
}  # fmt: skip
