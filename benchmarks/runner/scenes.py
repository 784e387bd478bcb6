"""What workers of all data planes have: a scene, which is programmed when they are ready, until they end."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

from runner.worker import Worker
from vipnet.backend import Backend
from vipnet.intents import EipMapping
from vipnet.plan import TargetPlan

__all__ = ["InScene", "Programmed", "Staged"]


class Programmed(Protocol):
    """A scene of any data plane. `base`: the entries of all but its EIPs."""

    @property
    def backend(self) -> Backend[Any]:
        """Who programs it."""
        ...

    @property
    def base(self) -> Mapping[str, Any]:
        """What is there beside EIPs, by key."""
        ...

    def mapped(self, number: int) -> EipMapping:
        """An EIP by number, to the VIP of that number."""
        ...

    def steps(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[TargetPlan[Any]]:
        """What is to be done."""
        ...

    def carry_out(self, steps: Iterable[TargetPlan[Any]]) -> None:
        """Do it."""
        ...


S = TypeVar("S", bound=Programmed)


class Staged(Worker):
    """Has what it needs on a stack, also where it is interrupted while it gets ready."""

    stack: ExitStack
    """What is on it ends with the worker."""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.stack = stack
            self.begin()
            self.prepare()
            self.stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stack.close()

    @abstractmethod
    def begin(self) -> None:
        """Make what it works in, on the stack."""

    def prepare(self) -> None:
        """Get ready in it."""


class InScene(Staged, Generic[S]):
    """Has a scene, to which nothing else is done. `filled`: with its EIPs."""

    filled = True
    scene: S

    @property
    def expected(self) -> int:
        """EIPs that are there at its end."""
        return self.scale if self.filled else 0
