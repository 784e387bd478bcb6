"""The commands of the model as a whole."""

from __future__ import annotations

from vipnet.cli import exchange, shapes
from vipnet.cli.declare import Section, action, text

__all__ = ["WHOLE"]

WHOLE = Section(
    "The whole model",
    (
        action(
            "topology-show",
            exchange.topology_show,
            shapes.drawn,
            "Draw VPCs, networks, servers, groups and elastic IPs.",
            "topology-show --format svg",
            text("--format", "text|mermaid|svg", "how (default text)"),
        ),
        action(
            "export",
            exchange.export,
            shapes.exported,
            "Print the whole model as a document.",
            "export --format yaml",
            text("--format", "json|yaml", "how (default json)"),
        ),
        action(
            "import FILE",
            exchange.import_file,
            shapes.imported,
            "Put an exported document, JSON or YAML (- is standard input), into an empty model.",
            "import model.json",
        ),
    ),
)
