"""The file that holds a simulator's entries: an SQLite database of one table, readable by its owner alone.

A change costs what it changes, not what is there. It is whole or not at all, also over a kill or a power cut: a journal
beside the file while a change is written, rolled back by whoever opens it next.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from collections.abc import Callable, Generator, Iterable
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import starmap
from pathlib import Path
from typing import TypeVar

from vipnet.errors import DataplaneError

__all__ = ["COUNT", "Identity", "Row", "change", "counts", "found", "identity", "load"]

R = TypeVar("R")

Row = tuple[bytes, bytes, str]
"""Key, line and target; the target is there for counting alone."""

_TABLE = (
    "CREATE TABLE entries (key TEXT PRIMARY KEY, line TEXT NOT NULL, target TEXT, "
    "CHECK (typeof(key) = 'text' AND typeof(line) = 'text')) WITHOUT ROWID"
)
_INDEX = "CREATE INDEX entries_target ON entries (target)"
COUNT = "SELECT target, count(*) FROM entries GROUP BY target"  # the index says it, no row is read
_GET = "SELECT key, line FROM entries WHERE key = CAST(? AS TEXT)"
_DELETE = "DELETE FROM entries WHERE key = CAST(? AS TEXT)"
_PUT = "INSERT OR REPLACE INTO entries VALUES (CAST(? AS TEXT), CAST(? AS TEXT), ?)"
# Text is given and taken as bytes: what people write into the file need not be UTF-8.

_PATIENCE = 60.0
"""Seconds to wait for a lock; as long as for the store's, because a reader of millions holds it for many of them."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Tells one content of the file from another without reading it.

    `commits` is SQLite's own counter, in the header: two changes may fall on one tick of the file's clock. `unfinished`: a
    journal is beside the file, so its last change is being made, or will be taken back.
    """

    device: int
    inode: int
    size: int
    modified: int
    changed: int
    commits: int
    unfinished: bool


def identity(path: Path) -> Identity | None:
    """Look at the file; None: there is none. Raises DataplaneError when it cannot be looked at."""
    with _naming(path), _descriptor(path) as descriptor:
        return None if descriptor is None else _identity(path, descriptor)


def load(path: Path, read: Callable[[bytes, bytes], R]) -> tuple[Identity | None, list[R]]:
    """Return the file's identity and what `read` makes of each key and line, in order of keys; a missing file is empty.

    Raises DataplaneError when it cannot be read.
    """
    with _naming(path), _descriptor(path) as descriptor:
        if descriptor is None:
            return None, []
        with _database(path) as sql:
            sql.execute("BEGIN")
            rows = sql.execute("SELECT key, line FROM entries ORDER BY key") if _has_table(sql, path) else ()
            return _identity(path, descriptor), list(starmap(read, rows))


def found(path: Path, keys: Iterable[bytes], read: Callable[[bytes, bytes], R]) -> list[R]:
    """Return what `read` makes of the rows of these keys, as far as they are there. Raises DataplaneError as `load` does."""
    with _naming(path), _descriptor(path) as descriptor:
        if descriptor is None:
            return []
        with _database(path) as sql:
            sql.execute("BEGIN")
            if not _has_table(sql, path):
                return []
            return list(starmap(read, (row for key in keys for row in sql.execute(_GET, (key,)))))


def counts(path: Path) -> dict[str, int]:
    """Return how many rows each target has; a missing file is empty. Raises DataplaneError when it cannot be read."""
    with _naming(path), _descriptor(path) as descriptor:
        if descriptor is None:
            return {}
        with _database(path) as sql:
            sql.execute("BEGIN")
            rows = sql.execute(COUNT) if _has_table(sql, path) else ()
            return {"damaged" if target is None else str(target, "utf-8", "replace"): count for target, count in rows}


def change(path: Path, put: Iterable[Row], gone: Iterable[bytes]) -> tuple[Identity, Identity | None]:
    """Delete rows by key and put others, in one transaction; a missing file is made.

    Returns the identity of the file that was changed and its new one; None: somebody else wrote before it could be seen.
    Raises DataplaneError when that fails; then nothing is done.
    """
    with _naming(path), _descriptor(path, os.O_CREAT) as descriptor, _database(path) as sql:
        assert descriptor is not None  # a missing file was made
        sql.execute("BEGIN IMMEDIATE")
        before = _identity(path, descriptor)
        if not _has_table(sql, path):
            sql.execute(_TABLE)
            sql.execute(_INDEX)
        sql.executemany(_DELETE, ((key,) for key in gone))
        sql.executemany(_PUT, sorted(put))  # sorted: a large change writes each page once
        mine = _version(sql)
        sql.execute("COMMIT")
        sql.execute("BEGIN")
        return before, _identity(path, descriptor) if _version(sql) == mine else None


def _version(sql: sqlite3.Connection) -> int:
    """A number that moves when others commit, and not with one's own commits; within a transaction it also keeps them out."""
    return int(sql.execute("PRAGMA data_version").fetchone()[0])


def _has_table(sql: sqlite3.Connection, path: Path) -> bool:
    found = dict(sql.execute("SELECT name, sql FROM sqlite_master"))
    if found and found.get(b"entries") != _TABLE.encode():
        raise _unusable(path, f"it is a database, but not of the simulator's making; {_ANEW}")
    return bool(found)


@contextmanager
def _descriptor(path: Path, flags: int = 0) -> Generator[int | None, None, None]:
    """Hold the file open; None: it is missing.

    The database must be closed before this is: closing any descriptor of a file lets go of the locks on it (POSIX) that
    this process has. Two Controllers of one process are kept apart by the store's lock.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | flags, 0o600)
    except FileNotFoundError:
        if flags:
            raise  # the folder is missing
        yield None
        return
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _unusable(path, "it is no regular file; name one, or a place where none is yet")
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _database(path: Path) -> Generator[sqlite3.Connection, None, None]:
    """Open the file, which is there. A transaction that is still open at the end is rolled back.

    Each time anew: a connection that is kept would go on writing to a file that somebody has moved away.
    """
    place = f"{path.absolute().as_uri()}?mode=rw"
    with closing(sqlite3.connect(place, uri=True, isolation_level=None, timeout=_PATIENCE)) as sql:
        sql.text_factory = bytes
        sql.execute("PRAGMA journal_mode = DELETE")  # a file that was put in WAL mode would not show its commits in itself
        sql.execute("PRAGMA synchronous = FULL")
        yield sql


def _identity(path: Path, descriptor: int) -> Identity:
    seen, commits = os.fstat(descriptor), int.from_bytes(os.pread(descriptor, 4, 24))
    unfinished = path.with_name(f"{path.name}-journal").exists()
    return Identity(seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, commits, unfinished)


_ANEW = "move it away, and the next apply builds it anew"


@contextmanager
def _naming(path: Path) -> Generator[None, None, None]:
    """Turn what can go wrong with the file into a DataplaneError that names it."""
    try:
        yield
    except OSError as error:
        link = error.errno == errno.ELOOP and path.is_symlink()
        raise _unusable(path, "it is a link; name the file itself" if link else error.strerror or str(error)) from error
    except ValueError as error:  # a name that no file can have
        raise _unusable(path, str(error)) from error
    except sqlite3.Error as error:
        raise _unusable(path, _reason(error)) from error


def _reason(error: sqlite3.Error) -> str:
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:  # the rest says more closely where
        case sqlite3.SQLITE_BUSY:
            return f"another process has held it for {_PATIENCE:g} s; end it, or wait"
        case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
            return f"{error}; {_ANEW}"
        case _:
            return str(error)


def _unusable(path: Path, reason: str) -> DataplaneError:
    return DataplaneError(f"the simulator's state file {str(path)!r} cannot be used: {reason}")
