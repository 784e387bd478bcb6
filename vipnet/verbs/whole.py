"""Verbs of the model as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vipnet.errors import InvalidStatusError
from vipnet.exchange import export_document, import_document
from vipnet.model import InstanceGroup
from vipnet.operations.groups import eips_of, vips_of
from vipnet.operations.lookup import find
from vipnet.verbs.session import Session
from vipnet.viewer import Viewer
from vipnet.views import Counters, ImportView

__all__ = ["Whole"]


class Whole(Session):
    """What can be done with all of a model at once."""

    def export(self) -> dict[str, Any]:
        """The whole model as a document, `{"vipnet": 1, "vpcs": [...], ...}`, of dicts, lists, text and numbers."""
        return export_document(self.read().topology)

    def import_topology(self, document: Mapping[str, Any]) -> ImportView:
        """Put all of an exported document into this model, which must be empty (ConflictError); all or nothing.

        Raises InputParameterError for a document that breaks any rule. What the data plane refuses is no reason to take
        it back: it is set aside, as by `apply`, named by the answer's `warnings` and by `status`.
        """
        return self.mutate(lambda draft: import_document(draft, document), Viewer.imported)

    def picture(self, format: str = "text") -> str:
        """The model drawn as `text`, `mermaid` or `svg`."""
        from vipnet.picture import picture

        return picture(self.read().topology, format)

    def counters(self, group: str) -> Counters | None:
        """What crossed the uplink by the EIP of a group since it was made; None: the backend counts nothing.

        In a transaction None, too: what it changes is not programmed yet. Raises InvalidStatusError when the group has no
        EIP, DataplaneError when the counters cannot be read.
        """
        topology = self.read().topology
        one = find(topology, InstanceGroup, group)
        eip = next(eips_of(topology, vips_of(topology, one)), None)
        if eip is None:
            raise InvalidStatusError(f"instancegroup {one.name} has no EIP; create or associate one first")
        return self.counted(eip)
