"""Real servers in namespaces: what the demo and the packet tests are made of."""

from vipnet.lab.lab import Lab
from vipnet.lab.netns import call_in
from vipnet.lab.node import LabClient, LabNode, LabServer

__all__ = ["Lab", "LabClient", "LabNode", "LabServer", "call_in"]
