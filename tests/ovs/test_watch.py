"""What a watch sees of a switch that no verb would notice: flows that somebody modified where they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest
from systems import OvsSystem

from vipnet.backend import Backend
from vipnet.testing.watching import WatchingPromises
from vipnet_ovs.pipeline import NUMBERS


class VandalisedSwitch(OvsSystem):
    """Somebody changes what flows do, and leaves their number as it is."""

    def damages(self, backend: Backend[Any]) -> Mapping[str, Callable[[], object]]:
        del backend
        return {
            f"flows of table {table} are modified": partial(self._ofctl, "mod-flows", f"table={NUMBERS[table]},actions=drop")
            for table in ("classify", "public", "leave")
        }


@pytest.mark.root
class TestFlowsThatAreModified(WatchingPromises):
    system = VandalisedSwitch
