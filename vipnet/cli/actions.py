"""The commands that are more than one call of the library."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from vipnet.cli.output import NOT_EMPTY, REFUSED, line, show, show_plan, show_trace
from vipnet.cli.progress import watched
from vipnet.cli.settings import Settings
from vipnet.cli.shapes import Removed
from vipnet.errors import NotSupportedError

if TYPE_CHECKING:
    from vipnet.controller import Controller

__all__ = ["apply", "backends", "call", "demo", "opened", "plan", "preview", "trace"]


def call(settings: Settings, method: str, columns: Sequence[str], given: Sequence[Any], options: Mapping[str, Any]) -> int:
    """Call a method of the Controller, by its path, and print what it returns."""
    with opened(settings) as cloud:
        result = attrgetter(method)(cloud)(*given, **options)
    show(result, output=settings.output, columns=columns)
    return 0


def preview(settings: Settings, method: str, given: Sequence[Any], options: Mapping[str, Any]) -> int:
    """Print the plan of a method that changes the model; change nothing."""
    with opened(settings) as cloud, cloud.transaction(dry_run=True) as tx:
        result = attrgetter(method)(tx)(*given, **options)
    show_plan(tx.plan, output=settings.output, warnings=getattr(result, "warnings", ()))
    return 0


def plan(settings: Settings, *, check: bool = False) -> int:
    """Print the difference between the stored state and the data plane."""
    with opened(settings) as cloud:
        difference = cloud.plan()
    show_plan(difference, output=settings.output)
    return NOT_EMPTY if check and difference else 0


def apply(settings: Settings, *, audit: bool = False) -> int:
    """Program the stored state; with --dry-run print what that would change."""
    if settings.dry_run:
        return plan(settings)
    with opened(settings) as cloud:
        done = cloud.apply(audit=audit)
    show(done, output=settings.output)
    return 0


def trace(settings: Settings, **options: Any) -> int:
    """Print the way of a packet; it changes nothing, so --dry-run makes no difference."""
    with opened(settings) as cloud:
        way = cloud.trace(**options)
    show_trace(way, output=settings.output)
    return 0


def backends(settings: Settings) -> int:
    """Print the installed backends; looks at no store and no configuration."""
    from vipnet.registry import available_backends

    show(available_backends(), output=settings.output, columns=("name", "usable", "capabilities", "reason"))
    return 0


def demo(settings: Settings, *, backend: str | None = None, keep: bool = False, down: bool = False) -> int:
    """Run the worked example, or take down what an earlier run kept."""
    if settings.dry_run:
        raise NotSupportedError("demo has no --dry-run: it builds namespaces of its own and sends real packets through them")
    from vipnet.lab.demo import run_demo, take_down

    if down:
        show(Removed(removed=take_down()), output=settings.output)
        return 0
    chosen = backend or settings.backend
    named = {} if chosen is None else {"backend": chosen}
    result = run_demo(**named, keep=keep, say=lambda text: line(text, output=settings.output))
    # on a terminal the checks have been said already, as they happened
    told = result if settings.output == "json" else {"failover_ms": result.failover_ms, "namespaces": result.namespaces}
    show(told, output=settings.output)
    return 0 if result.ok else REFUSED


@contextmanager
def opened(settings: Settings, *, by_key: bool = True) -> Generator[Controller, None, None]:
    """Open what the settings name, with a bar for whoever waits. `by_key`: as `Controller.open` has it."""
    from vipnet.controller import Controller

    with (
        watched(settings) as progress,
        Controller.open(
            settings.config, store=settings.store, backend=settings.backend, by_key=by_key, progress=progress
        ) as cloud,
    ):
        yield cloud
