"""What verbs run on."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Protocol, TypeVar

from vipnet.model import Eip
from vipnet.operations.draft import Draft
from vipnet.viewer import Viewer
from vipnet.views import Counters

__all__ = ["Noun", "Session"]

R = TypeVar("R")
V = TypeVar("V")


class Session(Protocol):
    """What runs verbs: a Controller, one transaction each, or an open Transaction."""

    @abstractmethod
    def mutate(self, operation: Callable[[Draft], R], view: Callable[[Viewer, R], V]) -> V:
        """Run an operation and show its result."""
        ...

    @abstractmethod
    def read(self) -> Viewer:
        """The present state."""
        ...

    @abstractmethod
    def counted(self, eip: Eip) -> Counters | None:
        """What the data plane has counted of an EIP, None: nothing counts it. Raises DataplaneError."""
        ...


class Noun:
    """A kind of object and its verbs."""

    def __init__(self, session: Session) -> None:
        self._session = session
