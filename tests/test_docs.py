"""The documentation: the tutorial is run, the reference says everything, no page is forgotten."""

from __future__ import annotations

import gc
import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any, get_args, get_type_hints

import pytest
import yaml
from shell import Shell
from snippets import blocks, run

import vipnet as library
import vipnet.verbs
from vipnet.cli.answers import Shape, shapes
from vipnet.cli.declare import Verb
from vipnet.cli.verbs import SECTIONS
from vipnet.packets import Stage
from vipnet.views import EvidenceView, TraceReason

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def test_the_tutorial_runs(vipnet: Shell) -> None:
    page = DOCS / "tutorial.md"
    assert {block.language for block in blocks(page) if not block.title} == {"python", "console"}
    try:
        said = run(page)
    finally:
        gc.unfreeze()  # it settles, for the whole process
    assert re.search(r"^name +nginx-3$", said, re.MULTILINE)
    assert (vipnet.folder / "cloud.db").exists()


def test_the_example_of_a_pool_runs() -> None:
    assert {block.language for block in blocks(DOCS / "ipam.md")} == {"python"}
    run(DOCS / "ipam.md")


def test_the_page_about_trace_runs(vipnet: Shell) -> None:
    page = DOCS / "trace.md"
    assert vipnet.folder == Path.cwd()
    said = run(page)
    assert "delivered to nginx-1, 198.51.100.1 > 192.168.7.246" in said
    assert "dropped (port-security), 192.168.7.246 > 192.168.7.248" in said
    text = page.read_text(encoding="utf-8")
    words = {word for kind in (Stage, TraceReason, EvidenceView.__annotations__["state"]) for word in _words(kind)}
    assert set(re.findall(r"^\| `([\w-]+)` \|", text, re.MULTILINE)) == words


def _words(kind: Any) -> list[str]:
    hints = get_type_hints(EvidenceView)["state"] if isinstance(kind, str) else kind
    return [word for part in get_args(hints) for word in (get_args(part) or (part,))]


def _hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "scripts/docs_hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def reference() -> dict[str, str]:
    """The command reference by heading."""
    parts = re.split(r"^### (.*)\n", _hooks().commands(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("verb", [verb for section in SECTIONS for verb in section.verbs], ids=lambda verb: verb.name)
def test_the_reference_has_every_command(reference: dict[str, str], verb: Verb) -> None:
    text = reference[verb.name]
    assert verb.help in text
    assert f"$ vipnet {verb.example}\n" in text
    assert all(word.removesuffix("...") in text for word in verb.arguments)
    assert all(f"`{option.flag}" in text for option in verb.options)
    assert all(f"`{name}` |" in text for shape in shapes(verb) for name in _names(shape))


def _names(shape: Shape) -> list[str]:
    held = [(f"{field.name}{'[]' if field.inside.several else ''}", field.inside) for field in shape.fields if field.inside]
    return [field.name for field in shape.fields] + [f"{name}.{inner}" for name, inside in held for inner in _names(inside)]


def test_every_public_name_has_a_place() -> None:
    shown = set(re.findall(r"^::: ([\w.]+)", "".join(page.read_text() for page in DOCS.glob("api/*.md")), re.MULTILINE))
    homes = {getattr(library, name).__module__ for name in library.__all__ if name.endswith("Error")}
    assert homes == {"vipnet.errors"}
    assert {"vipnet.errors", "vipnet.backend", "vipnet.testing"} <= shown
    assert {f"vipnet.{name}" for name in library.__all__ if not name.endswith("Error")} <= shown
    assert {f"vipnet.verbs.{name}" for name in vipnet.verbs.__all__ if name != "Session"} <= shown


def test_every_page_is_found_from_the_menu() -> None:
    menu = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    pages = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}
    assert {"index.md", "tutorial.md", "api/index.md"} <= pages
    assert set(_pages(menu)) == pages | {"commands.md", "changelog.md"}


def _pages(menu: Any) -> list[str]:
    if isinstance(menu, str):
        return [menu]
    return [page for entry in menu for item in entry.values() for page in _pages(item)]
