"""The options that `check`, `run` and others share: how a spec is changed from the command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

import click

if TYPE_CHECKING:
    from detkit.spec.model import ExperimentSpec

F = TypeVar("F", bound=Callable[..., Any])


class SpecOptions(TypedDict):
    """What `spec_options` gives to a command."""

    settings: tuple[str, ...]
    enable_loggers: tuple[str, ...]
    disable_loggers: tuple[str, ...]
    blocked: tuple[str, ...]


no_plugin_option = click.option(
    "--no-plugin", "blocked", multiple=True, metavar="NAME", help="Leave a plugin out. May be repeated."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def spec_options(function: F) -> F:
    """Add --set, --enable-logger, --disable-logger and --no-plugin to a command."""
    for option in (
        no_plugin_option,
        click.option("--disable-logger", "disable_loggers", multiple=True, metavar="NAME", help="Do not report there."),
        click.option("--enable-logger", "enable_loggers", multiple=True, metavar="NAME", help="Report there too."),
        click.option(
            "--set",
            "settings",
            multiple=True,
            metavar="KEY=VALUE",
            help="Override one value of the spec, as train.epochs=3. May be repeated.",
        ),
    ):
        function = option(function)
    return function


def load(path: Path, options: SpecOptions) -> ExperimentSpec:
    """`load_spec` with the values of `spec_options`; warns of options that are going to be removed.

    Raises:
        SpecError, PluginError: as `load_spec`.
    """
    from detkit.spec.deprecated import deprecated_options
    from detkit.spec.loader import load_spec
    from detkit.spec.overrides import parse_overrides

    changes: Mapping[str, Any] = parse_overrides(options["settings"])
    spec = load_spec(
        path,
        set=changes,
        enable_loggers=options["enable_loggers"],
        disable_loggers=options["disable_loggers"],
        blocked=options["blocked"],
    )
    for deprecated in deprecated_options(spec):
        click.echo(f"warning: {deprecated}", err=True)
    return spec
