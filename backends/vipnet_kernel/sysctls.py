"""Kernel settings under /proc/sys/net of a namespace; names are paths, like `ipv4/ip_forward`."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from vipnet.errors import DataplaneError
from vipnet_kernel.namespaces import entered

__all__ = ["read_sysctls", "switch_off_ipv6", "write_sysctl", "write_sysctls"]

_ROOT = Path("/proc/sys/net")


def read_sysctls(namespace: str, names: Iterable[str]) -> dict[str, str]:
    """Read settings of a namespace; those that do not exist there are left out. Raises DataplaneError."""
    try:
        with entered(namespace):
            found = {name: _read(name) for name in names}
    except OSError as error:
        raise DataplaneError(f"settings of {namespace or 'this namespace'} cannot be read: {error.strerror}") from error
    return {name: value for name, value in found.items() if value is not None}


def write_sysctls(namespace: str, values: Mapping[str, str]) -> dict[str, str]:
    """Write settings of a namespace, all that can be; return the reasons of those that could not, by name."""
    refused: dict[str, str] = {}
    with entered(namespace):
        for name, value in values.items():
            try:
                write_sysctl(name, value)
            except OSError as error:
                refused[name] = error.strerror or str(error)
    return refused


def write_sysctl(name: str, value: str) -> None:
    """Write a setting of the namespace that the calling thread is in. Raises OSError."""
    _write(_ROOT / name, value)


def _write(path: Path, value: str) -> None:
    path.write_text(value)


def switch_off_ipv6(device: str) -> None:
    """Switch IPv6 off on an interface of the namespace that the calling thread is in. Raises OSError: ENODEV without one."""
    try:
        write_sysctl(f"ipv6/conf/{device}/disable_ipv6", "1")
    except FileNotFoundError as error:
        if (_ROOT / "ipv6").exists():  # else the kernel has no IPv6
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV)) from error


def _read(name: str) -> str | None:
    try:
        return (_ROOT / name).read_text().strip()
    except FileNotFoundError:
        return None
