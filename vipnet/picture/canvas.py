"""The strokes of an SVG picture: boxes, chips, arrows and text that is cut to its room, in the colours of day and night."""

from __future__ import annotations

from dataclasses import dataclass
from xml.sax.saxutils import escape

from vipnet.picture.fitting import columns

__all__ = ["LINE", "STYLE", "Chip", "arrow", "box", "chip", "chip_height", "text"]

LINE = 16
"""Pixels from one line of text to the next."""

_PAD = 10
_WIDE = {"h1": 10.2, "h2": 8.8, "name": 8.1, "dim": 7.4}  # pixels of a character, in the widest of the fonts
_MONO = 6.4

STYLE = """\
.vipnet{font:12px system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif}
.vipnet text{fill:#1f2328}.vipnet .h1{font-size:15px;font-weight:600}.vipnet .h2{font-size:13px;font-weight:600}
.vipnet .name{font-weight:600}.vipnet .mono{font:10.5px ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace}
.vipnet .dim{fill:#59636e}.vipnet .page{fill:#fff}
.vipnet .vpc{fill:#f6f8fa;stroke:#afb8c1}.vipnet .net{fill:#fff;stroke:#d1d9e0}
.vipnet .group{fill:none;stroke:#818b98;stroke-dasharray:4 3}.vipnet .server{fill:#f6f8fa;stroke:#d1d9e0}
.vipnet .vip{fill:#ddf4ff;stroke:#218bff}.vipnet .eip{fill:#fff1e5;stroke:#e16f24}
.vipnet .edge{fill:none;stroke:#59636e;stroke-width:1.5}.vipnet .tip{fill:#59636e}
@media (prefers-color-scheme:dark){
.vipnet text{fill:#e6edf3}.vipnet .dim{fill:#9198a1}.vipnet .page{fill:#0d1117}
.vipnet .vpc{fill:#151b23;stroke:#656c76}.vipnet .net{fill:#0d1117;stroke:#3d444d}
.vipnet .group{stroke:#9198a1}.vipnet .server{fill:#212830;stroke:#3d444d}
.vipnet .vip{fill:#0c2d6b;stroke:#4493f8}.vipnet .eip{fill:#4a2109;stroke:#e0823d}
.vipnet .edge{stroke:#9198a1}.vipnet .tip{fill:#9198a1}
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """A small box: a name, a remark at its right, lines of addresses below. `kind` is its class in the style."""

    kind: str
    name: str
    remark: str = ""
    lines: tuple[str, ...] = ()


def box(kind: str, x: int, y: int, width: int, height: int, *, radius: int = 8) -> str:
    """A box with round corners."""
    return f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="{radius}"/>'


def text(kind: str, x: int, y: int, words: str, *, room: int, end: bool = False) -> str:
    """Words in one line that begin, or with `end` finish, at `x`; cut to `room` pixels, with the whole as a tooltip."""
    if not words:
        return ""
    shown = _cut(words, int(room / _WIDE.get(kind, _MONO)))
    tooltip = "" if shown == words else f"<title>{escape(words)}</title>"
    anchor = ' text-anchor="end"' if end else ""
    return f'<text class="{kind}" x="{x}" y="{y}"{anchor}>{tooltip}{escape(shown)}</text>'


def _cut(words: str, most: int) -> str:
    if columns(words) <= most:
        return words
    end = len(words)
    while end > 1 and columns(words[:end]) >= most:
        end -= 1
    return words[:end] + "…"


def chip_height(lines: int) -> int:
    """How high a chip with so many lines below its name is."""
    return 12 + LINE * (1 + lines)


def chip(one: Chip, x: int, y: int, width: int, height: int) -> list[str]:
    """Draw a chip."""
    room = width - 2 * _PAD
    aside = min(int(columns(one.remark) * _WIDE["dim"]) + 8, room // 2) if one.remark else 0
    parts = [
        box(one.kind, x, y, width, height, radius=6),
        text("name", x + _PAD, y + 18, one.name, room=room - aside),
        text("dim", x + width - _PAD, y + 18, one.remark, room=aside, end=True),
    ]
    rows = enumerate(one.lines, 1)
    parts += [text("mono", x + _PAD, y + 18 + LINE * number, line, room=room) for number, line in rows]
    return [part for part in parts if part]


def arrow(x: int, y: int, end: int, end_y: int) -> list[str]:
    """An arrow to the right, with a step between different heights."""
    middle = (x + end) // 2
    path = f"M{x} {y}H{middle}V{end_y}H{end - 6}"
    return [
        f'<path class="edge" d="{path}"/>',
        f'<path class="tip" d="M{end} {end_y}l-7 -4v8z"/>',
    ]
