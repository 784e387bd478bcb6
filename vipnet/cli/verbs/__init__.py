"""Every command: its name, what it calls, its help with an example, its options."""

from vipnet.cli.declare import Section
from vipnet.cli.verbs.dataplane import DATA_PLANE
from vipnet.cli.verbs.eips import EIPS
from vipnet.cli.verbs.groups import GROUPS
from vipnet.cli.verbs.networks import NETWORKS, VPCS
from vipnet.cli.verbs.servers import HOSTS, SERVERS
from vipnet.cli.verbs.shell import SHELL
from vipnet.cli.verbs.whole import WHOLE

__all__ = ["SECTIONS"]

SECTIONS: tuple[Section, ...] = (VPCS, NETWORKS, HOSTS, SERVERS, GROUPS, EIPS, WHOLE, DATA_PLANE, SHELL)
