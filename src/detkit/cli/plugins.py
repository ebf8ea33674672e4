"""`detkit plugins`: what is installed, what it offers, why something failed; the options of a component."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from detkit import __version__
from detkit.cli.options import json_option, no_plugin_option
from detkit.cli.plugin_test import test as plugin_test
from detkit.errors import PluginError, did_you_mean

if TYPE_CHECKING:
    from detkit.plugins import Kind, Offered, Plugin, Registry

spec_option = click.option(
    "--spec", type=click.Path(path_type=Path), help="Include the plugin files that this spec names."
)


@click.group("plugins", invoke_without_command=True)
@no_plugin_option
@spec_option
@json_option
@click.pass_context
def command(context: click.Context, blocked: tuple[str, ...], spec: Path | None, as_json: bool) -> None:
    """List the plugins: version, state, what they offer, and why one failed."""
    if context.invoked_subcommand is not None:
        context.obj = (blocked, spec)
        return
    registry = _collect(blocked, spec)
    if as_json:
        click.echo(json.dumps([_plugin_json(plugin) for plugin in registry.plugins], indent=2))
        return
    from detkit.cli.console import print_table

    rows = [
        (plugin.name, plugin.version, plugin.distribution or plugin.source, plugin.state, _offers(plugin))
        for plugin in registry.plugins
    ]
    print_table(("plugin", "version", "from", "state", "offers"), rows)
    click.echo(f"detkit {__version__}, hook API {registry.hook_api}")
    for plugin in registry.plugins:
        if plugin.trouble:
            click.echo(f"warning: {plugin.trouble}", err=True)


@command.command("show")
@click.argument("name")
@no_plugin_option
@spec_option
@json_option
@click.pass_obj
def show(
    group: tuple[tuple[str, ...], Path | None] | None,
    name: str,
    blocked: tuple[str, ...],
    spec: Path | None,
    as_json: bool,
) -> None:
    """Print the options of the component NAME, of whatever kind: type, default, description."""
    outer_blocked, outer_spec = group or ((), None)
    registry = _collect((*outer_blocked, *blocked), spec or outer_spec)
    found = list(_named(registry, name))
    if not found:
        raise PluginError(_nothing_named(registry, name))
    if as_json:
        click.echo(json.dumps([_component_json(kind, offered) for kind, offered in found], indent=2))
        return
    for kind, offered in found:
        _print_component(kind, offered)


command.add_command(plugin_test)


def _collect(blocked: tuple[str, ...], spec: Path | None) -> Registry:
    from detkit.plugins import collect

    if spec is None:
        return collect(blocked=blocked)
    from detkit.spec.loader import named_plugins

    return collect(named_plugins(spec)[0], blocked=blocked)


def _offers(plugin: Plugin) -> str:
    if plugin.state != "loaded":
        return plugin.reason
    kinds = [f"{kind.replace('_', ' ')}: {', '.join(names)}" for kind, names in plugin.offers.items()]
    return "; ".join(kinds) or "nothing"


def _plugin_json(plugin: Plugin) -> dict[str, Any]:
    return {
        "name": plugin.name,
        "version": plugin.version,
        "distribution": plugin.distribution,
        "source": plugin.source,
        "state": plugin.state,
        "reason": plugin.reason,
        "offers": {kind: list(names) for kind, names in plugin.offers.items()},
        "requires_detkit": plugin.requires_detkit or None,
        "detkit_api": plugin.detkit_api,
        "deprecations": list(plugin.deprecations),
    }


def _named(registry: Registry, name: str) -> Iterator[tuple[Kind, Offered]]:
    for kind, offers in registry.components.items():
        if name in offers:
            yield kind, offers[name]


def _nothing_named(registry: Registry, name: str) -> str:
    for plugin in registry.plugins:
        if plugin.name == name:
            return f"{name!r} is a plugin that offers {_offers(plugin)}; name one of its components"
    names = {other for offers in registry.components.values() for other in offers}
    failed = [f"; {plugin.trouble}" for plugin in registry.plugins if plugin.trouble]
    return f"no component named {name!r}{did_you_mean(name, names)}{''.join(failed)}"


def _component_json(kind: Kind, offered: Offered) -> dict[str, Any]:
    from detkit.spec.describe import describe

    return {
        "name": offered.component.name,
        "kind": kind,
        "summary": offered.component.summary,
        "plugin": offered.plugin.name,
        "options": [option.as_json() for option in describe(offered.component.options)],
    }


def _print_component(kind: Kind, offered: Offered) -> None:
    from detkit.cli.console import print_table
    from detkit.spec.describe import describe

    component = offered.component
    summary = f": {component.summary}" if component.summary else ""
    click.echo(f"{kind.replace('_', ' ')} {component.name}{summary}\n  from {offered.plugin.title}")
    rows = [(option.name, option.type, option.default, option.description) for option in describe(component.options)]
    if rows:
        print_table(("option", "type", "default", "description"), rows)
    else:
        click.echo("  has no options")
