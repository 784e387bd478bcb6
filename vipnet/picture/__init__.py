"""A topology drawn, for tickets: `picture(topology, "text" | "mermaid" | "svg")`. Pure, and the same for the same model.

`outline` says what is in the picture and in which order, the other modules how it looks. Who holds a VIP is decided by
keepalived inside the servers, and no model knows it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from vipnet.errors import InputParameterError
from vipnet.picture.mermaid import mermaid_picture
from vipnet.picture.outline import Outline, outline_of
from vipnet.picture.svg import svg_picture
from vipnet.picture.text import text_picture
from vipnet.topology import Topology

__all__ = ["FORMATS", "picture"]

FORMATS: Mapping[str, Callable[[Outline], str]] = {
    "text": text_picture,
    "mermaid": mermaid_picture,
    "svg": svg_picture,
}
"""How a picture can be drawn."""


def picture(topology: Topology, format: str = "text") -> str:
    """Draw a topology. Raises InputParameterError for an unknown format."""
    draw = FORMATS.get(format)
    if draw is None:
        raise InputParameterError(f"format {format!r} is unknown; use one of {', '.join(FORMATS)}")
    return draw(outline_of(topology))
