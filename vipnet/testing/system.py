"""What a backend is put to the test on: made empty, asked by one class of tests, taken away."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from vipnet.backend import Backend, BackendContext, Usability
from vipnet.errors import VipnetError
from vipnet.registry import load_backend
from vipnet.testing.network import Network, able, clear
from vipnet.testing.probe import Probe
from vipnet.testing.scene import Scene

__all__ = ["System", "SystemNetwork"]


class System(ABC):
    """One data plane of its own, with machines around it that can be asked. A context manager.

    Derive one for your backend: `name` is the backend's in the entry-point group `vipnet.backends`, `folder` an empty
    folder for this system alone. `HostSystem` is one of real namespaces, ready made but for the name.
    """

    name: ClassVar[str]

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def usability(cls) -> Usability:
        """Say whether the system can be made here. Default: whether the backend is installed and can work here."""
        try:
            return load_backend(cls.name).usability()
        except VipnetError as error:
            return Usability(False, error.details)

    @classmethod
    def abilities(cls) -> frozenset[str]:
        """What questions may count on: what the backend can do; and `time`, where packets take some, for they are real."""
        return frozenset(load_backend(cls.name).capabilities)

    def context(self) -> BackendContext:
        """What the backend is opened with. Default: a state file in the folder, no options."""
        return BackendContext(state=self.folder / "state")

    def backend(self) -> Backend[Any]:
        """Open the backend as a vipnet that has just started does: it knows nothing of what others of its kind did here."""
        return load_backend(self.name)(self.context())

    @abstractmethod
    def probe(self, backend: Backend[Any], scene: Scene) -> Probe:
        """Make the machines of a scene, once, before anything is installed, and what asks them.

        `backend` is one that works here, for those whose probe looks at what is installed.
        """

    @abstractmethod
    def plant(self) -> None:
        """Put things of others beside what is ours, as near in kind and name as may be. Once, before anything is installed."""

    @abstractmethod
    def others(self) -> frozenset[str]:
        """List whatever is there, a line each, in words that stay the same for as long as nobody changes it.

        What was handed to the backend, like a server's port, is left out; what it installed may be in it.
        """

    def damages(self, backend: Backend[Any]) -> Mapping[str, Callable[[], object]]:  # noqa: ARG002 -- for those that override it
        """Ways in which somebody else may damage what is installed now, by what happens. Default: none are known."""
        return {}

    def drifts(self) -> Mapping[str, Callable[[], object]]:
        """Ways in which somebody else may change what the backend installed so that no packet is lost, by what happens.

        The next apply is to put it right, and to lose none either. Default: none are known.
        """
        return {}

    def close(self) -> None:  # noqa: B027 -- for those that have some
        """Take the machines away."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class SystemNetwork(Network):
    """A backend alone on a system, without Controller and store, beside things of others. A context manager.

    `before` lists what was there before anything was installed.
    """

    def __init__(self, system: System, scene: Scene) -> None:
        self.system = system
        system.plant()
        backend = system.backend()
        probe = system.probe(backend, able(backend, scene))
        self.before = system.others()
        super().__init__(backend, probe, scene)

    def restart(self) -> None:
        """Put another object in the backend's place, which remembers nothing."""
        self.backend.close()
        self.backend = self.system.backend()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        clear(self.backend)
        self.backend.close()
