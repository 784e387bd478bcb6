"""What mkdocs asks for while it builds the documentation: the pages that are made of something else.

The command reference is made of the declarations in `vipnet.cli`; it is in no file, so it cannot be out of date.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vipnet.cli.answers import Shape, shapes
from vipnet.cli.declare import Option, Section, Verb
from vipnet.cli.program import program
from vipnet.cli.verbs import SECTIONS

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).resolve().parent.parent

INTRODUCTION = """\
# Commands

One flat command for each operation, `noun-verb`. `vipnet --help` lists them, `vipnet COMMAND --help` says what is said here.
An option may stand anywhere after its command; an ID is an id or a name.

With `-o json` a command prints exactly one JSON value on standard output: what is listed here under *Prints*. A command that
changes something prints the object as it is afterwards, one that deletes prints it as it last was. An error is one JSON value on
standard error, `{"error": {"class", "code", "details"}}`, with `"pending"` where the
[data plane](tutorial.md#when-the-data-plane-fails) failed.

On a terminal tables fit its width, JSON is indented, plans and errors have colours (none with `NO_COLOR` or `TERM=dumb`),
and what takes more than a second shows a bar on standard error (not with `-o json`). In a pipe there is nothing of it.

With `--dry-run` a command that changes something prints the plan instead, like [`plan`](#plan), and changes nothing.
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are in no file of docs/."""
    from mkdocs.structure.files import File

    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    for name, text in (("commands.md", commands()), ("changelog.md", changelog)):
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Let links to files of the checkout that are pages here lead to the page."""
    return markdown.replace("(../CHANGELOG.md)", "(changelog.md)")


def commands() -> str:
    """Return the command reference."""
    cli = program()
    context = click.Context(cli, info_name="vipnet")
    parts = [INTRODUCTION, *_global_options(cli, context)]
    for section in SECTIONS:
        parts += _section(section, cli, context)
    return "\n".join(parts)


def _global_options(cli: click.Group, context: click.Context) -> Iterator[str]:
    yield "## Before the command\n"
    yield from _table(("option", "environment", "what"), (_global_option(option, context) for option in cli.params))
    yield "The option wins over the environment, that over the configuration file, that over the default.\n"
    yield "## Exit status\n"
    yield from _table(("status", "meaning"), (line.split(maxsplit=1) for line in (cli.epilog or "").splitlines()[2:]))


def _global_option(option: click.Parameter, context: click.Context) -> tuple[str, str, str]:
    names, text = option.get_help_record(context) or ("", "")
    return f"`{names}`", f"`{option.envvar}`" if option.envvar else "", text


def _section(section: Section, cli: click.Group, context: click.Context) -> Iterator[str]:
    yield f"## {section.title}\n"
    for verb in section.verbs:
        yield from _command(verb, cli, context)


def _command(verb: Verb, cli: click.Group, context: click.Context) -> Iterator[str]:
    command = cli.get_command(context, verb.name)
    assert command is not None
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"### {verb.name}\n\n{verb.help}\n\n```text\nvipnet {verb.name} {usage}\n```\n"
    if verb.options:
        yield from _table(("option", "what"), map(_option, verb.options))
    yield f"Example:\n\n```console\n$ vipnet {verb.example}\n```\n"
    if verb.notes:
        yield "```text\n" + "\n".join(verb.notes) + "\n```\n"
    for shape in shapes(verb):
        yield from _prints(shape)


def _option(option: Option) -> tuple[str, str]:
    return f"`{option.flag} {option.metavar}`".replace(" `", "`"), f"{option.help}{' (required)' if option.required else ''}"


def _prints(shape: Shape) -> Iterator[str]:
    names = ", ".join(f"`{field.name}`" for field in shape.fields)
    yield f'??? quote "Prints {"an array of objects" if shape.several else "an object"}: {names}"\n'
    yield from ("    " + line for line in _table(("field", "JSON"), _fields(shape, "")))
    yield ""


def _fields(shape: Shape, path: str) -> Iterator[tuple[str, str]]:
    for field in shape.fields:
        name = f"{path}{field.name}"
        yield f"`{name}`", field.kind
        if field.inside is not None:
            yield from _fields(field.inside, f"{name}[]." if field.inside.several else f"{name}.")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "| " + " | ".join("---" for _ in head) + " |"
    for row in rows:
        yield f"| {' | '.join(row)} |"  # a | in `code` ends no cell
    yield ""
