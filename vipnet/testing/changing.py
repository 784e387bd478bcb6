"""A vipnet that changes things until it is killed; run as a program: BACKEND CONTEXT STORE, the context in JSON.

It first repairs what a killed one left, and says how many entries that were; then it says a line after each change. No change
touches the EIPs of red or blue, nor their holders.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path

from vipnet.backend import BackendContext
from vipnet.controller import Controller
from vipnet.registry import load_backend
from vipnet.store import open_store
from vipnet.testing.controlled import eip_name, scene_config
from vipnet.testing.promises import EIP_GREEN
from vipnet.testing.scene import standard_scene

__all__ = ["arguments", "main", "take_back"]


def arguments(name: str, context: BackendContext, store: str) -> list[str]:
    """The command line of a vipnet on a system."""
    told = {"options": dict(context.options), "state": None if context.state is None else str(context.state)}
    return [sys.executable, "-m", __name__, name, json.dumps(told), store]


def main(name: str, told: str, store: str) -> None:
    """Change things until killed."""
    given = json.loads(told)
    state = None if given["state"] is None else Path(given["state"])
    config = replace(scene_config(standard_scene(), name=name), store=store)
    backend = load_backend(name)(BackendContext(options=given["options"], state=state))
    with Controller(config=config, store=open_store(store), backend=backend) as cloud:
        _say(cloud.apply(audit=True).changed)
        for number in count():
            _change(cloud, number)
            _say(number)


def _change(cloud: Controller, number: int) -> None:
    """There and back: a member of the group without EIP, and the EIP of green; each where it is not already."""
    if number % 2:
        spare = cloud.groups.show("spare")
        (cloud.groups.bind_guests if spare.guest_count == 1 else cloud.groups.unbind_guests)("spare", ["c"])
    elif cloud.groups.show("green").vip_eip is None:
        cloud.groups.associate_eip("green", eip_id=eip_name(EIP_GREEN))
    else:
        cloud.groups.dissociate_eip("green")


def take_back(cloud: Controller) -> None:
    """Undo whatever one that was killed had changed."""
    for number, is_changed in enumerate((cloud.groups.show("green").vip_eip is None, cloud.groups.show("spare").guest_count > 1)):
        if is_changed:
            _change(cloud, number)


def _say(what: int) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
