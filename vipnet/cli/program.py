"""From the declaration of the commands to a click program; a command's parameters are made when it is called."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import click

from vipnet.cli import actions
from vipnet.cli.completion import candidates
from vipnet.cli.declare import Option, Verb
from vipnet.cli.output import report, report_bug
from vipnet.cli.settings import OutputFormat, Settings
from vipnet.cli.verbs import SECTIONS
from vipnet.errors import InputParameterError, VipnetError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["program"]

_HELP = "Virtual IPs for groups of servers, elastic IPs in front of them, on interchangeable data planes."
_EPILOG = """\b
Exit status:
  0   done
  1   refused; nothing has changed
  2   usage: unknown command or option, missing argument
  3   the data plane refused (nothing has changed) or was unreachable (the next apply finishes it)
  4   plan --check: there is a difference
  70  a defect of vipnet"""


def program() -> click.Group:
    """Build the command line."""
    return _Program(
        "vipnet",
        callback=_keep_settings,
        params=_global_options(),
        help=_HELP,
        epilog=_EPILOG,
        no_args_is_help=True,
        subcommand_metavar="COMMAND [ARGUMENTS]",
        context_settings={"help_option_names": ["-h", "--help"]},
    )


class _Command(click.Command):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            # click leaves the context out where an option has a value too many or too few, and then shows no usage.
            if error.ctx is None:
                ctx.fail(error.format_message())
            raise


class _VerbCommand(_Command):
    def __init__(self, verb: Verb, **attributes: Any) -> None:
        super().__init__(verb.name, **attributes)
        self.verb = verb

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 -- click's signature
        from vipnet.cli.answers import outline

        formatter.write_paragraph()
        formatter.write_text(f"Prints with -o json: {outline(self.verb)}")


class _Program(_Command, click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's signature
        return [verb.name for section in SECTIONS for verb in section.verbs]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 -- click's signature
        return next((_command(verb) for section in SECTIONS for verb in section.verbs if verb.name == cmd_name), None)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-") and not ctx.resilient_parsing:
            near = get_close_matches(name, self.list_commands(ctx), n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"No such command {name!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 -- click's signature
        for section in SECTIONS:
            with formatter.section(section.title):
                formatter.write_dl([(verb.name, verb.help) for verb in section.verbs], col_max=36)


def _global_options() -> list[click.Parameter]:
    return [
        click.Option(
            ["--config"],
            envvar="VIPNET_CONFIG",
            metavar="FILE",
            help="Configuration file (TOML).",
            shell_complete=_completer("FILE"),
        ),
        click.Option(["--store"], envvar="VIPNET_STORE", metavar="URL", help="memory:, sqlite:///PATH or a PostgreSQL URL."),
        click.Option(["--backend"], envvar="VIPNET_BACKEND", metavar="NAME", help="The data plane; see `vipnet backends`."),
        click.Option(
            ["-o", "--output"],
            envvar="VIPNET_OUTPUT",
            type=click.Choice(["table", "json"]),
            default="table",
            help="What is printed; also accepted after the command.",
        ),
        click.Option(["--dry-run"], envvar="VIPNET_DRY_RUN", is_flag=True, help="Print the plan, change nothing."),
        _version_option(),
    ]


def _version_option() -> click.Option:
    return click.Option(
        ["--version"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_print_version,
        help="Show the version and exit.",
    )


def _print_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:  # a shell completes
        from importlib.metadata import version

        click.echo(f"vipnet {version('vipnet')}")
        ctx.exit()


def _keep_settings(**values: Any) -> None:
    click.get_current_context().obj = Settings(**values)


def _command(verb: Verb) -> click.Command:
    def run(**values: Any) -> int:
        return _execute(verb, click.get_current_context().obj, values)

    arguments: list[click.Parameter] = [_argument(place, word) for place, word in enumerate(verb.arguments)]
    options: list[click.Parameter] = [_option(option) for option in verb.options]
    notes = "\n\n\b\n" + "\n".join(verb.notes) if verb.notes else ""
    text = f"{verb.help}\n\n\b\nExample: vipnet {verb.example}{notes}"
    return _VerbCommand(verb, callback=run, params=[*arguments, *options, _late_output()], help=text)


def _argument(place: int, word: str) -> click.Argument:
    # A number for a name: in `eip-create NAME --name ...` the words of the user would meet.
    many, metavar = word.endswith("..."), word.removesuffix("...")
    return click.Argument(
        [f"argument{place}"], metavar=metavar, nargs=-1 if many else 1, required=True, shell_complete=_completer(metavar)
    )


def _completer(metavar: str) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    return lambda _ctx, _parameter, incomplete: candidates(metavar, incomplete)


def _option(option: Option) -> click.Option:
    names = [option.keyword, option.flag]
    if option.kind == "flag":
        return click.Option(names, is_flag=True, help=option.help)
    return click.Option(
        names,
        metavar=option.metavar,
        multiple=option.kind == "many",
        required=option.required,
        help=option.help,
        shell_complete=_completer(option.metavar),
    )


def _late_output() -> click.Option:
    return click.Option(
        ["-o", "--output"],
        type=click.Choice(["table", "json"]),
        expose_value=False,
        callback=_replace_output,
        help="table or json",
    )


def _replace_output(ctx: click.Context, _param: click.Parameter, value: OutputFormat | None) -> None:
    if value is not None:
        ctx.obj = replace(ctx.obj, output=value)


def _execute(verb: Verb, settings: Settings, values: Mapping[str, Any]) -> int:
    try:
        return _run(verb, settings, values)
    except VipnetError as error:
        return report(error, output=settings.output)
    except Exception as error:  # noqa: BLE001 -- nothing but an exit status leaves the command line
        return report_bug(error, output=settings.output)


def _run(verb: Verb, settings: Settings, values: Mapping[str, Any]) -> int:
    given = [_listed(values[f"argument{place}"]) for place in range(len(verb.arguments))]
    options = {
        option.keyword: _converted(option, values[option.keyword])
        for option in verb.options
        if option.always or _is_given(values[option.keyword])
    }
    if not isinstance(verb.call, str):
        return verb.call(settings, *given, **options)
    if settings.dry_run and verb.changes:
        return actions.preview(settings, verb.call, given, options)
    return actions.call(settings, verb.call, verb.columns, given, options)


def _is_given(value: object) -> bool:
    return value is not None and value is not False and value != ()


def _listed(value: str | tuple[str, ...]) -> str | list[str]:
    return list(value) if isinstance(value, tuple) else value


def _converted(option: Option, value: Any) -> object:
    if option.kind != "number":
        return _listed(value)
    if re.fullmatch(r"-?[0-9]{1,18}", value) is None:
        raise InputParameterError(f"option {option.flag} is {value!r}; it must be a whole number")
    return int(value)
