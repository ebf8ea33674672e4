"""`detkit plugins test`: whether the components of a plugin keep the contract, without writing a test."""

from __future__ import annotations

import io
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from detkit.cli.options import json_option, no_plugin_option
from detkit.errors import PluginError, UserError, did_you_mean

if TYPE_CHECKING:
    from detkit.plugins import Registry
    from detkit.testing.rule import Verdict
    from detkit.testing.runner import Found

#: State of a verdict to what stands before its rule.
MARKS: Mapping[str, str] = {"kept": "ok  ", "broken": "FAIL", "noted": "note", "skipped": "skip"}


@click.command("test")
@click.argument("plugin", metavar="FILE_OR_NAME")
@click.option("--component", "only", multiple=True, metavar="NAME", help="Test only this one. May be repeated.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="An option of the components that have it, as backbone=tiny_fpn. May be repeated.",
)
@click.option("--failures", is_flag=True, help="Print what is broken or skipped alone, not what is kept.")
@no_plugin_option
@json_option
@click.pass_context
def test(
    context: click.Context,
    plugin: str,
    only: tuple[str, ...],
    settings: tuple[str, ...],
    failures: bool,
    blocked: tuple[str, ...],
    as_json: bool,
) -> None:
    """Hold a plugin's components to their contract: those of a file, of an installed plugin, or one by its name.

    Every rule is documented in docs/reference/plugin-contract.md. Exits with 1 where one is broken.
    """
    from detkit.testing.runner import find

    registry, name = _registry(plugin, blocked)
    found = _chosen(find(registry, name), only)
    options = _shared_out(_options(settings), found)
    results = []
    for each in found:
        began = time.perf_counter()
        verdicts = _tested(each, options[each.component.name], failures=failures, quiet=as_json)
        results.append((each, verdicts))
        if not as_json:
            click.echo(f"  {_counted(verdicts)} ({time.perf_counter() - began:.1f} s)")
    if as_json:
        click.echo(json.dumps([_json(each, verdicts) for each, verdicts in results], indent=2))
    if any(verdict.state == "broken" for _, verdicts in results for verdict in verdicts):
        context.exit(1)


def _registry(plugin: str, blocked: Sequence[str]) -> tuple[Registry, str]:
    """What is installed, with the file where one is meant; and the name to look for in it."""
    from detkit.plugins import collect

    file = Path(plugin)
    if file.suffix != ".py" and not file.is_file():
        return collect(blocked=blocked), plugin
    if not file.is_file():
        raise UserError(f"there is no file {plugin}")
    return collect([file.resolve()], blocked=blocked), str(file.resolve())


def _chosen(found: Sequence[Found], only: Sequence[str]) -> list[Found]:
    names = [each.component.name for each in found]
    for name in only:
        if name not in names:
            raise PluginError(f"--component {name}: no such component here{did_you_mean(name, names)}")
    return [each for each in found if not only or each.component.name in only]


def _options(settings: Sequence[str]) -> dict[str, Any]:
    """Values by their keys; those of dotted keys in tables."""
    from detkit.spec.overrides import parse_overrides

    values: dict[str, Any] = {}
    for key, value in parse_overrides(settings).items():
        *tables, last = key.split(".")
        table = values
        for name in tables:
            table = table.setdefault(name, {})
        table[last] = value
    return values


def _shared_out(options: Mapping[str, Any], found: Sequence[Found]) -> dict[str, dict[str, Any]]:
    """To each component those of the options that it has."""
    known = {name for each in found for name in each.component.options.model_fields}
    for key in options:
        if key not in known:
            raise UserError(f"--set {key}: none of these components has such an option{did_you_mean(key, known)}")
    return {
        each.component.name: {key: v for key, v in options.items() if key in each.component.options.model_fields}
        for each in found
    }


def _tested(found: Found, options: Mapping[str, Any], *, failures: bool, quiet: bool) -> list[Verdict]:
    from detkit.testing.rule import rules_of
    from detkit.testing.runner import NOT_BUILT, judge

    if not quiet:
        kind = found.kind.replace("_", " ")
        click.echo(f"{kind} {found.component.name} of {found.plugin.title}")
    subject = found.subject(options)
    verdicts = []
    try:
        if subject.read_own_files() and not quiet:
            click.echo("  no files are given: it reads drawn scenes that it has written itself")
        for rule in rules_of(found.kind):
            # What a component prints while it is tried is none of the report.
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                verdict = judge(rule, subject)
            verdicts.append(verdict)
            shown = not failures or verdict.state != "kept"
            if shown and not quiet and verdict.reason != NOT_BUILT:
                click.echo(_line(verdict))
    finally:
        subject.close()
    return verdicts


def _line(verdict: Verdict) -> str:
    mark, rule = MARKS[verdict.state], verdict.rule
    if verdict.state in ("broken", "noted"):
        lines = verdict.message.removeprefix("rule ").splitlines()
        return "\n        ".join([f"  {mark}  {lines[0]}", *(line.strip() for line in lines[1:])])
    return f"  {mark}  {rule.id}: {verdict.reason or rule.statement}"


def _counted(verdicts: Sequence[Verdict]) -> str:
    counts = Counter[str](verdict.state for verdict in verdicts)
    words = {"kept": "kept", "broken": "broken", "noted": "noted", "skipped": "skipped"}
    shown = [f"{counts[state]} {word}" for state, word in words.items() if counts[state] or state in ("kept", "broken")]
    return f"{len(verdicts)} rules: {', '.join(shown)}"


def _json(found: Found, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    return {
        "component": found.component.name,
        "kind": found.kind,
        "plugin": found.plugin.name,
        "rules": [
            {
                "id": verdict.rule.id,
                "statement": verdict.rule.statement,
                "state": verdict.state,
                "found": verdict.found,
                "expected": verdict.expected,
                "reason": verdict.reason,
                "see": verdict.rule.place,
            }
            for verdict in verdicts
        ],
    }
