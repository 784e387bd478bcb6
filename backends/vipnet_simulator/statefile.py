"""The file that holds a simulator's entries: sorted lines, replaced as a whole, readable by its owner alone."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vipnet.errors import DataplaneError

__all__ = ["Identity", "identity", "load", "replace"]


@dataclass(frozen=True, slots=True)
class Identity:
    """Tells one content of the file from another without reading it."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int


def identity(path: Path) -> Identity | None:
    """Look at the file; None: there is none. Raises DataplaneError when it cannot be looked at."""
    try:
        return _identity(path.stat())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(path, error) from error


def load(path: Path) -> tuple[Identity | None, list[bytes]]:
    """Return the file's identity and its lines; a missing file is empty. Raises DataplaneError when it cannot be read."""
    try:
        with path.open("rb") as file:
            seen = _identity(os.fstat(file.fileno()))
            return seen, [line for line in file.read().split(b"\n") if line.strip()]
    except FileNotFoundError:
        return None, []
    except OSError as error:
        raise _unusable(path, error) from error


def replace(path: Path, lines: Iterable[bytes]) -> Identity:
    """Put `lines` in place of the file's content, whole or not at all, also over a crash.

    Raises DataplaneError when that fails.
    """
    # One fixed name beside it: what a crash leaves is overwritten by the next, not collected.
    fresh = path.with_name(f"{path.name}.new")
    try:
        fresh.unlink(missing_ok=True)  # whatever it was, link or file: never written through
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(b"".join(line + b"\n" for line in lines))
            file.flush()
            os.fsync(descriptor)
            fresh.replace(path)
            _sync_folder(path.parent)
            return _identity(os.fstat(descriptor))  # now: a rename may move the time of change
    except OSError as error:
        raise _unusable(path, error) from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _identity(seen: os.stat_result) -> Identity:
    return Identity(seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)


def _unusable(path: Path, error: OSError) -> DataplaneError:
    return DataplaneError(f"the simulator's state file {str(path)!r} cannot be used: {error.strerror or error}")
