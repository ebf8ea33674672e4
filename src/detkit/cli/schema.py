"""`detkit schema`: completion and checks of specs in editors."""

from __future__ import annotations

import json
from pathlib import Path

import click

from detkit.cli.options import no_plugin_option
from detkit.errors import RecordError


@click.command("schema")
@click.argument("spec", type=click.Path(path_type=Path), required=False)
@click.option("--output", type=click.Path(path_type=Path), help="Write to this file instead of stdout.")
@click.option("--partial", is_flag=True, help="Require nothing: for files that others extend.")
@no_plugin_option
def command(spec: Path | None, output: Path | None, partial: bool, blocked: tuple[str, ...]) -> None:
    """Write a JSON Schema of specs, with all installed components, and those of the plugin files that SPEC names.

    Put `#:schema detkit.schema.json` at the top of a spec, and editors that use Taplo complete and check it. For a SPEC
    that extends another nothing is required, since the other may state it.
    """
    from detkit.plugins import collect
    from detkit.spec.json_schema import spec_schema
    from detkit.spec.loader import named_plugins

    files, extends = named_plugins(spec) if spec is not None else ([], False)
    registry = collect(files, blocked=blocked)
    for plugin in registry.plugins:
        if plugin.trouble:
            which = "which failed" if plugin.state == "failed" else "which is refused"
            click.echo(f"warning: without {plugin.title}, {which}: {plugin.reason}", err=True)
    schema = spec_schema(registry, partial=partial or extends)
    text = json.dumps(schema, indent=2) + "\n"
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RecordError(f"{output} cannot be written: {error.strerror}") from error
    click.echo(f"wrote {output}", err=True)
