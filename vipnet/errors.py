"""The errors of vipnet, one tree, branched by what the caller can do.

    VipnetError
     ├─ RefusedError              the request or the state forbids it; nothing changed; exit status 1
     │   ├─ InputParameterError       400  a value is wrong: correct it
     │   ├─ MissingParameterError     400  a value is missing: add it
     │   ├─ InvalidStatusError        400  the object is in the wrong state: change that first
     │   ├─ InsufficientResourceError 400  nothing free is left: make room
     │   ├─ BadRequestError           400  the object is frozen: unfreeze it first
     │   ├─ ForbiddenError            403  not yours, or disabled: ask the owner
     │   ├─ ResourceNotFoundError     404  no object of that id or name
     │   ├─ NotFoundError             404  nothing suitable exists
     │   ├─ NotSupportedError         406  this kind of object cannot do that
     │   ├─ UnsupportOperationError   406  not while others depend on it
     │   ├─ NotEmptyError             406  something is still inside
     │   └─ ConflictError             409  taken, or in contradiction to what is there
     └─ DataplaneError            500  the system refused or was unreachable; exit status 3
         └─ OwnedError                500  another process keeps what is installed: end it, or use its store

Class names and codes are those of the source system, misspelling included, so that callers can test on them.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "BadRequestError",
    "ConflictError",
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
    "RefusedError",
    "ResourceNotFoundError",
    "UnsupportOperationError",
    "VipnetError",
]


class VipnetError(Exception):
    """Root of every error that vipnet raises on purpose.

    `details` is one sentence that names the object, the value and what would be accepted.
    """

    code: ClassVar[int] = 500

    def __init__(self, details: str) -> None:
        super().__init__(details)
        self.details = details


class RefusedError(VipnetError):
    """The request or the present state forbids it; nothing has changed."""


class InputParameterError(RefusedError):
    """A given value is wrong."""

    code = 400


class MissingParameterError(RefusedError):
    """A value that this request needs was not given."""

    code = 400


class InvalidStatusError(RefusedError):
    """The object is in a state that does not allow this."""

    code = 400


class InsufficientResourceError(RefusedError):
    """Nothing free is left of what was asked for."""

    code = 400


class BadRequestError(RefusedError):
    """The object is frozen and refuses every action but unfreeze."""

    code = 400


class ForbiddenError(RefusedError):
    """The object belongs to somebody else, or is disabled."""

    code = 403


class ResourceNotFoundError(RefusedError):
    """No object has the id or name given."""

    code = 404


class NotFoundError(RefusedError):
    """No object is suitable for what was asked."""

    code = 404


class NotSupportedError(RefusedError):
    """This kind of object cannot do what was asked."""

    code = 406


class UnsupportOperationError(RefusedError):
    """Others depend on the object as it is."""

    code = 406


class NotEmptyError(RefusedError):
    """The object still contains something."""

    code = 406


class ConflictError(RefusedError):
    """The value is taken, or contradicts what is there."""

    code = 409


class DataplaneError(VipnetError):
    """The data plane refused, lacks something, or could not be reached.

    With `pending` the change is stored and the next `apply` finishes it; without, nothing changed.
    """

    def __init__(self, details: str, *, pending: bool = False) -> None:
        super().__init__(details)
        self.pending = pending


class OwnedError(DataplaneError):
    """Another process, which watches, lets nobody else change what is installed; nothing changed."""
