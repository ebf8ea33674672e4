"""The group of commands, and what becomes of their errors.

A command is a module with an attribute `command`; it returns None, or an exit code.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

import click

from detkit import __version__
from detkit.errors import DetkitError, Interrupted, PluginError, SpecError, did_you_mean

if TYPE_CHECKING:
    from detkit.components import Command
    from detkit.plugins import Plugin

#: Command to its module and its line in `detkit --help`, in that order.
COMMANDS: Mapping[str, tuple[str, str]] = {
    "run": ("detkit.cli.run", "Train, evaluate and compare every model of a spec"),
    "check": ("detkit.cli.check", "Check a spec; say everything that is wrong with it"),
    "data": ("detkit.cli.data", "Compare datasets, or convert one to another format"),
    "predict": ("detkit.cli.predict", "Find objects in images with a trained detector"),
    "eval": ("detkit.cli.eval", "Evaluate a trained detector, or predictions of any model"),
    "compare": ("detkit.cli.compare", "Compare models: who wins, by how much, and how sure that is"),
    "show": ("detkit.cli.show", "Show the table of an experiment, or a page in Markdown"),
    "report": ("detkit.cli.report", "Write the report of an experiment: pages that open anywhere"),
    "runs": ("detkit.cli.runs", "List, show and remove what experiments have left on disk"),
    "replay": ("detkit.cli.replay", "Replay a training step whose loss exploded"),
    "upload": ("detkit.cli.upload", "Send a recorded experiment to a logger"),
    "plugins": ("detkit.cli.plugins", "List plugins, or show the options of a component"),
    "schema": ("detkit.cli.schema", "Write a JSON Schema of specs, for completion in editors"),
    "new": ("detkit.cli.new", "Begin a plugin of your own, or a spec for data that you have"),
    "doctor": ("detkit.cli.doctor", "Print versions, hardware and plugins: what belongs in a bug report"),
}


@dataclass(slots=True)
class Settings:
    """What the program's own options say; click's `obj`."""

    debug: bool = False


class Commands(click.Group):
    """detkit's commands and the plugins'. Help needs only their names; a module is imported when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS) + [name for name, _ in self._offered()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in COMMANDS:
            command: click.Command = import_module(COMMANDS[cmd_name][0]).command
            return command
        return self._load_offered(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and self.get_command(ctx, name) is None:
            raise click.UsageError(f"no command {name!r}{did_you_mean(name, self.list_commands(ctx))}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])
        offered = self._offered()
        if offered:
            with formatter.section("Commands of plugins"):
                formatter.write_dl(offered)

    def _offered(self) -> list[tuple[str, str]]:
        """Names and summaries of the plugins' commands; plugins that clash must not take the help with them."""
        try:
            commands = _plugin_commands()
        except PluginError as error:
            click.echo(f"warning: the plugins' commands are left out: {error}", err=True)
            return []
        return [(name, command.summary) for name, (command, _) in sorted(commands.items()) if name not in COMMANDS]

    def _load_offered(self, name: str) -> click.Command | None:
        if name not in (offered for offered, _ in self._offered()):
            return None
        command, plugin = _plugin_commands()[name]
        try:
            loaded: click.Command = command.load()
        except Exception as error:
            raise PluginError(f"command {name!r} of {plugin.title} failed: {type(error).__name__}: {error}") from error
        return loaded


def _plugin_commands() -> Mapping[str, tuple[Command, Plugin]]:
    from detkit.plugins import collect

    return collect().commands


@click.command(cls=Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show the traceback of errors.")
@click.version_option(__version__, prog_name="detkit")
@click.pass_context
def detkit(context: click.Context, debug: bool) -> None:
    """Find the best object detector for your own images."""
    context.obj.debug = debug
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def run(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit code: 0, 1 for failures, 2 for mistakes of the user, 130 for Ctrl-C."""
    settings = Settings()
    try:
        result = detkit.main(list(arguments), prog_name="detkit", obj=settings, standalone_mode=False)
    except click.ClickException as error:
        _tell(error, settings)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt) as error:
        _tell(error, settings)
        return Interrupted.exit_code
    except DetkitError as error:
        _tell(error, settings)
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - the last place before the interpreter's own traceback
        _tell(error, settings)
        return 1
    return result if isinstance(result, int) else 0


def _tell(error: BaseException, settings: Settings) -> None:
    if settings.debug:
        traceback.print_exception(error, file=sys.stderr)
    click.echo(_words(error), err=True)


def _words(error: BaseException) -> str:
    if isinstance(error, SpecError):
        return "\n".join(f"error: {problem}" for problem in error.problems)
    if isinstance(error, Interrupted):
        return str(error)
    if isinstance(error, DetkitError):
        return f"error: {error}"
    if isinstance(error, click.UsageError):
        command = error.ctx.command_path if error.ctx else "detkit"
        return f"error: {error.format_message()}\nhelp: {command} --help"
    if isinstance(error, click.ClickException):
        return f"error: {error.format_message()}"
    if isinstance(error, click.Abort | KeyboardInterrupt):
        return "interrupted"
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return (
        f"error: {text}\nThis is a fault in detkit or in a plugin. `detkit --debug ...` shows where;"
        " please report it, with that and with what `detkit doctor` prints."
    )
