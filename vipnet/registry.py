"""The installed backends, found by the entry-point group `vipnet.backends` at the moment they are asked for.

A backend of another distribution is found exactly like ours. Nothing is cached: what is asked is what is installed now.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

from vipnet.backend import Backend
from vipnet.errors import DataplaneError, InputParameterError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["BackendInfo", "available_backends", "load_backend"]

_GROUP = "vipnet.backends"


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendInfo:
    """One backend: whether it is installed, whether it can work here, and if not why and how to get there."""

    name: str
    installed: bool
    usable: bool
    reason: str
    capabilities: tuple[str, ...]


def available_backends() -> tuple[BackendInfo, ...]:
    """Load every installed backend and ask whether it can work here; sorted by name. Never raises for one of them."""
    return tuple(_info(entry) for _, entry in sorted(_entries().items()))


def load_backend(name: str) -> type[Backend[Any]]:
    """Return the class of an installed backend.

    Raises InputParameterError for a name that is not installed, DataplaneError when its import fails.
    """
    entries = _entries()
    if name not in entries:
        installed = ", ".join(sorted(entries)) or "none"
        raise InputParameterError(f"backend {name!r} is not installed; installed: {installed}")
    return _load(entries[name])


def _entries() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points

    # Reversed: where two distributions offer one name, the first on the path wins, as with imports.
    return {entry.name: entry for entry in reversed(tuple(entry_points(group=_GROUP)))}


def _info(entry: EntryPoint) -> BackendInfo:
    try:
        backend = _load(entry)
        answer = backend.usability()
    except DataplaneError as error:
        return BackendInfo(name=entry.name, installed=True, usable=False, reason=error.details, capabilities=())
    except Exception as error:  # noqa: BLE001 -- a foreign backend may fail in any way and must not hide the others
        reason = f"backend {entry.name!r} failed when asked: {error!r}"
        return BackendInfo(name=entry.name, installed=True, usable=False, reason=reason, capabilities=())
    return BackendInfo(
        name=entry.name,
        installed=True,
        usable=answer.usable,
        reason=answer.reason,
        capabilities=tuple(sorted(backend.capabilities)),
    )


def _load(entry: EntryPoint) -> type[Backend[Any]]:
    try:
        loaded: object = entry.load()
    except Exception as error:
        raise DataplaneError(f"backend {entry.name!r} cannot be imported ({error}); {_remedy(entry)}") from error
    if not _is_backend(loaded):
        raise DataplaneError(f"backend {entry.name!r} cannot be used: {entry.value} is no Backend; {_remedy(entry)}")
    return loaded


def _is_backend(loaded: object) -> TypeGuard[type[Backend[Any]]]:
    return isinstance(loaded, type) and issubclass(loaded, Backend)


def _remedy(entry: EntryPoint) -> str:
    distribution = entry.dist
    if distribution is None:
        return f"repair what installs {entry.value}"
    extras: list[str] = distribution.metadata.get_all("Provides-Extra") or []
    wanted = f"{distribution.name}[{entry.name}]" if entry.name in extras else distribution.name
    return f"install it with: pip install '{wanted}'"
