"""The contract: everything that a backend's tests inherit. Needs pytest and hypothesis: `pip install 'vipnet[testing]'`.

A test module of a backend is a system, a class, and the plugin in its conftest (`pytest_plugins = ["vipnet.testing.plugin"]`):

    class OvsSystem(HostSystem):
        name = "ovs"

    class TestOvs(BackendContract):
        system = OvsSystem

    class TestOvsByVerbs(VerbsContract):
        system = OvsSystem
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from vipnet.testing.commits import CommitContract
from vipnet.testing.continuity import ContinuityPromises
from vipnet.testing.icmp import IcmpPromises
from vipnet.testing.metering import MeteringPromises
from vipnet.testing.neighbours import NeighbourPromises
from vipnet.testing.owed import CoreContract
from vipnet.testing.promises import PacketPromises
from vipnet.testing.promises6 import Ipv6Promises
from vipnet.testing.restarts import RestartPromises
from vipnet.testing.system import System
from vipnet.testing.table import PROMISES, asked
from vipnet.testing.watching import WatchingPromises

__all__ = ["BackendContract", "SystemTests", "VerbsContract"]


class SystemTests:
    """Tests of one system. The plugin's fixtures, for each class anew:

    `network`, the standard scene, programmed on the system by the backend alone; `controlled`, the same, made and changed by
    the verbs of a Controller; `stage`, a busier one for what takes time; `compiler`, an object of the backend of which only the
    pure part is used. In a class that says `by_verbs`, `network` is `controlled`.
    """

    system: ClassVar[type[System]]
    exempt: ClassVar[Mapping[str, str]] = {}
    """Promises that are not asked of this backend, each with the reason; whatever is not here is required."""

    by_verbs: ClassVar[bool] = False


# A line for each theme; a promise that none of them asks about is red.
class BackendContract(
    PacketPromises,
    Ipv6Promises,
    IcmpPromises,
    MeteringPromises,
    ContinuityPromises,
    NeighbourPromises,
    RestartPromises,
    WatchingPromises,
    CommitContract,
    CoreContract,
    SystemTests,
):
    """What every backend keeps: the packet promises, but for those that it is exempt from, and what it owes the core."""

    def test_every_promise_is_asked_for_or_exempt(self) -> None:
        exempt, able = self.exempt.keys(), self.system.abilities()
        assert exempt <= PROMISES.keys(), f"exempt from what is no promise: {sorted(exempt - PROMISES.keys())}"
        assert all(reason.strip() for reason in self.exempt.values()), "an exemption needs a reason"
        missing = [promise for promise in PROMISES if promise not in asked(type(self), able) | exempt]
        assert not missing, f"required, and no test asks about it: {', '.join(missing)}"

    def test_the_questions_are_those_of_every_backend(self) -> None:
        mine = type(self)
        changed = [name for name in dir(BackendContract) if name.startswith("test_") and not _is_inherited(mine, name)]
        assert not changed, f"a question is not asked as of every backend; say exempt, with a reason: {', '.join(changed)}"


class VerbsContract(PacketPromises, Ipv6Promises, IcmpPromises, SystemTests):
    """The packet promises again, with a Controller's verbs bringing each scene about: the whole road from verb to packet."""

    by_verbs = True


def _is_inherited(tests: type, name: str) -> bool:
    return getattr(tests, name, None) is getattr(BackendContract, name)
