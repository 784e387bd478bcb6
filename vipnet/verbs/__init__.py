"""The verbs by noun: `cloud.groups.attach_network(...)`. Options are named as on the command line and given by keyword.

Each mutating verb returns the object as it is after the change, a delete as it last was. All of them raise RefusedError
(nothing changed) or DataplaneError.
"""

from __future__ import annotations

from vipnet.verbs.groups import Eips, Groups
from vipnet.verbs.networks import Hosts, Networks, Servers, Vpcs
from vipnet.verbs.session import Session
from vipnet.verbs.whole import Whole

__all__ = ["Eips", "Groups", "Hosts", "Networks", "Servers", "Session", "Vpcs", "Whole"]
