"""The commands of the model as a whole."""

from __future__ import annotations

from vipnet.cli import exchange
from vipnet.cli.declare import Section, action, text

__all__ = ["WHOLE"]

WHOLE = Section(
    "The whole model",
    (
        action(
            "topology-show",
            exchange.topology_show,
            "Draw VPCs, networks, servers, groups and elastic IPs.",
            "topology-show --format svg",
            text("--format", "WORD", "text (default), mermaid or svg"),
        ),
        action(
            "export",
            exchange.export,
            "Print the whole model as a document.",
            "export --format yaml",
            text("--format", "WORD", "json (default) or yaml"),
        ),
        action(
            "import FILE",
            exchange.import_file,
            "Put an exported document, JSON or YAML (- is standard input), into an empty model.",
            "import model.json",
        ),
    ),
)
