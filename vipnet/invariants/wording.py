"""How an object is called in a refusal, and refusals of borrowed checks put under its name."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from vipnet.addresses import format_ip
from vipnet.errors import InputParameterError, RefusedError
from vipnet.model import Address, Eip, Host, InstanceGroup, Membership, Network, Nic, Server, Thing, Vip, Vpc
from vipnet.operations.lookup import KIND_WORDS

__all__ = ["about", "called", "kind_word", "shown"]

_WORDS: dict[type[Thing], str] = {**KIND_WORDS, Nic: "nic", Membership: "membership", Vip: "vip", Address: "address"}


def kind_word(kind: type[Thing]) -> str:
    """The word for a kind of object."""
    return _WORDS[kind]


def called(thing: Thing) -> str:
    """The word for an object with its name, or with its id where it has none."""
    match thing:
        case Vpc() | Network() | Host() | Server() | InstanceGroup() | Eip():
            return f"{_WORDS[type(thing)]} {thing.name}"
        case Address():
            return f"address {shown(thing)} of network {thing.network_id}"
        case _:
            return f"{_WORDS[type(thing)]} {thing.id}"


def shown(address: Address) -> str:
    """An address as text; one of no known version as the number that it is."""
    return format_ip(address.version, address.ip) if address.version in (4, 6) else str(address.ip)


@contextmanager
def about(thing: Thing) -> Generator[None, None, None]:
    """Let what refuses inside the block do so as InputParameterError, beginning with what `thing` is called."""
    try:
        yield
    except RefusedError as error:
        raise InputParameterError(f"{called(thing)}: {error.details}") from error
