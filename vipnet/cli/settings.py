"""What the global options say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["OutputFormat", "Settings"]

OutputFormat = Literal["table", "json"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The global options, option before environment variable; None: the configuration file or the default decides."""

    config: str | None
    store: str | None
    backend: str | None
    output: OutputFormat
    dry_run: bool
