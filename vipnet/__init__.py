"""vipnet: virtual IPs shared by groups of servers, elastic IPs in front of them, on interchangeable data planes.

    with vipnet.Controller.open("vipnet.toml") as cloud:
        cloud.vpcs.create("prod", "192.168.0.0/16")
"""

from __future__ import annotations

from vipnet.config import Config
from vipnet.controller import Controller, Transaction
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
    RefusedError,
    ResourceNotFoundError,
    UnsupportOperationError,
    VipnetError,
)
from vipnet.plan import Plan
from vipnet.registry import available_backends
from vipnet.topology import Topology

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
    "Plan",
    "RefusedError",
    "ResourceNotFoundError",
    "Topology",
    "Transaction",
    "UnsupportOperationError",
    "VipnetError",
    "available_backends",
]
