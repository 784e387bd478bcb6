"""vipnet: virtual IPs shared by groups of servers, elastic IPs in front of them, on interchangeable data planes.

    with vipnet.Controller.open("vipnet.toml") as cloud:
        cloud.vpcs.create("prod", "192.168.0.0/16")

Importing vipnet imports the errors; the rest comes when first named (PEP 562), so that a program which only wants to catch
an error, or prints its help, does not wait for it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from vipnet.errors import (
    BadRequestError,
    ConflictError,
    DataplaneError,
    ForbiddenError,
    InputParameterError,
    InsufficientResourceError,
    InvalidStatusError,
    MissingParameterError,
    NotEmptyError,
    NotFoundError,
    NotSupportedError,
    OwnedError,
    RefusedError,
    ResourceNotFoundError,
    UnsupportOperationError,
    VipnetError,
)

if TYPE_CHECKING:
    from vipnet.config import Config
    from vipnet.controller import Controller
    from vipnet.events import WatchEvent
    from vipnet.plan import Plan
    from vipnet.registry import available_backends
    from vipnet.topology import Topology
    from vipnet.transaction import Transaction

__all__ = [
    "BadRequestError",
    "Config",
    "ConflictError",
    "Controller",
    "DataplaneError",
    "ForbiddenError",
    "InputParameterError",
    "InsufficientResourceError",
    "InvalidStatusError",
    "MissingParameterError",
    "NotEmptyError",
    "NotFoundError",
    "NotSupportedError",
    "OwnedError",
    "Plan",
    "RefusedError",
    "ResourceNotFoundError",
    "Topology",
    "Transaction",
    "UnsupportOperationError",
    "VipnetError",
    "WatchEvent",
    "available_backends",
]

_HOMES = {
    "Config": "vipnet.config",
    "Controller": "vipnet.controller",
    "Plan": "vipnet.plan",
    "Topology": "vipnet.topology",
    "Transaction": "vipnet.transaction",
    "WatchEvent": "vipnet.events",
    "available_backends": "vipnet.registry",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
