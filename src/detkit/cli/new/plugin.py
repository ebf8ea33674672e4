"""`detkit new plugin`: a plugin that works, its tests, and a run that uses it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from detkit.cli.options import json_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detkit.scaffold.kinds import Scaffold
    from detkit.scaffold.plugin import NewFile

KINDS = ("dataset", "model", "step", "metric", "logger", "callback", "transform", "searcher", "command")


@click.command("plugin")
@click.argument("name")
@click.option("--kind", required=True, type=click.Choice(KINDS), help="What the plugin is.")
@click.option("--package", is_flag=True, help="Write a package that can be installed and published.")
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Write into FOLDER; by default here, a package into a folder of its name.",
)
@click.option("--force", is_flag=True, help="Replace files that are there.")
@json_option
def command(name: str, kind: str, package: bool, folder: Path | None, force: bool, as_json: bool) -> None:
    """Write the plugin NAME: a small one of its kind that works, with tests that pass and a run that uses it.

    That is NAME.py, test_NAME.py and experiment.toml; with --package a folder with pyproject.toml, README and tests.
    The places to change are marked in the file: # YOUR MODEL HERE.
    """
    from detkit.cli.main import COMMANDS
    from detkit.plugins import collect
    from detkit.scaffold.kinds import SCAFFOLDS
    from detkit.scaffold.names import check_name
    from detkit.scaffold.plugin import plugin_files
    from detkit.scaffold.writing import write_new

    scaffold = SCAFFOLDS[kind]
    to = folder or Path(name if package else "")
    check_name(name, scaffold, collect(), to, commands=frozenset(COMMANDS))
    files = plugin_files(name, scaffold, package=package)
    replaced = {file.path for file in write_new(to, files, force=force)}
    commands = _next(name, scaffold, to, package=package)
    if as_json:
        click.echo(json.dumps(_as_json(name, scaffold, to, files, replaced, commands), indent=2))
        return
    title = "package" if package else "plugin"
    click.echo(f"{title} {name}, a {scaffold.title}: {scaffold.summary}. Written into {to.resolve()}:")
    for line in _listed(files, replaced):
        click.echo(f"  {line}")
    click.echo(f"{scaffold.use.format(name=name)}; the places to change are marked: # YOUR ... HERE")
    if scaffold.kind is None and not package:
        click.echo("detkit finds commands in installed packages only: --package makes one")
    click.echo("next:")
    for line in commands:
        click.echo(f"  {line}")


def _next(name: str, scaffold: Scaffold, folder: Path, *, package: bool) -> list[str]:
    """The three commands that come next, from the folder in which somebody is."""
    if package:
        # With ./ it is a folder to pip, and no name of a package elsewhere.
        there = str(folder) if folder.is_absolute() else f"./{folder}"
        run = f"detkit run {shlex.quote(str(folder / 'experiment.toml'))}"
        return [
            f"python -m pip install -e {shlex.quote(f'{there}[test]')}",
            f"python -m pytest {shlex.quote(str(folder))}",
            run,
        ]
    tests, spec = (shlex.quote(str(folder / file)) for file in (f"test_{name}.py", "experiment.toml"))
    if scaffold.kind is None:
        program = f"python {shlex.quote(str(folder / f'{name}.py'))} {shlex.quote(str(folder / 'runs' / name))}"
        return [f"python -m pytest {tests}", f"detkit run {spec}", program]
    return [f"python -m pytest {tests}", f"detkit check {spec}", f"detkit run {spec}"]


def _listed(files: Sequence[NewFile], replaced: set[str]) -> list[str]:
    """The files with what they are; those of the data in one line."""
    from detkit.scaffold.plugin import DATA

    drawn = [file for file in files if file.path.startswith(f"{DATA}/")]
    shown = [file for file in files if file not in drawn and file.content]
    rows = [(file.path, file.what, file.path in replaced) for file in shown]
    if drawn:
        count = f"{drawn[0].what}: {len(drawn)} files"
        rows.append((f"{DATA}/", count, any(file.path in replaced for file in drawn)))
    width = max(len(path) for path, _, _ in rows)
    return [f"{path:<{width}}  {what}{' (replaced)' * old}".rstrip() for path, what, old in rows]


def _as_json(
    name: str, scaffold: Scaffold, folder: Path, files: Sequence[NewFile], replaced: set[str], commands: Sequence[str]
) -> dict[str, Any]:
    from detkit.record.layout import FORMAT_VERSION

    return {
        "format_version": FORMAT_VERSION,
        "name": name,
        "kind": scaffold.word,
        "folder": str(folder.resolve()),
        "files": [{"path": file.path, "what": file.what, "replaced": file.path in replaced} for file in files],
        "next": list(commands),
    }
