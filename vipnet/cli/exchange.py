"""The commands of a model as a whole: documents in and out, pictures."""

from __future__ import annotations

import sys
from pathlib import Path

from vipnet.cli.actions import call, opened, preview
from vipnet.cli.output import encodes, show_text
from vipnet.cli.progress import watched
from vipnet.cli.settings import Settings
from vipnet.cli.shapes import Document, Picture
from vipnet.errors import InputParameterError

__all__ = ["export", "import_file", "topology_show"]


def export(settings: Settings, *, format: str = "json") -> int:
    """Print the whole model as a document; only YAML asked for as JSON is wrapped."""
    from vipnet.documents import as_text

    with opened(settings) as cloud:
        document = cloud.export()
        text = as_text(document, format)
    if not encodes(text):
        text = as_text(document, format, ascii=True)
    show_text(text, Document(format=format, document=text), output="table" if format == "json" else settings.output)
    return 0


def import_file(settings: Settings, file: str) -> int:
    """Read a document and put all of it into an empty model; with --dry-run print the plan."""
    from vipnet.documents import from_text

    name = "standard input" if file == "-" else file
    with watched(settings) as progress:
        if progress is not None:
            progress("reading the document")
        document = from_text(_read(file), name=name)
    if settings.dry_run:
        return preview(settings, "import_topology", [document], {})
    return call(settings, "import_topology", (), [document], {})


def topology_show(settings: Settings, *, format: str = "text") -> int:
    """Print a picture of the model."""
    with opened(settings) as cloud:
        picture = cloud.picture(format)
    show_text(picture, Picture(format=format, picture=picture), output=settings.output)
    return 0


def _read(file: str) -> str:
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return data.decode("utf-8-sig")
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputParameterError(f"file {file} cannot be read: {reason}; name an export, or - for standard input") from error
    except UnicodeDecodeError as error:
        raise InputParameterError(f"file {file} is no text in UTF-8; give what vipnet export has written") from error
    except ValueError as error:
        raise InputParameterError(f"file {file!r} cannot be read: no file can have this name") from error
