"""`detkit data check`: what is wrong with the data of a spec."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click

from detkit.cli.options import json_option, no_plugin_option
from detkit.cli.stopping import stoppable
from detkit.errors import Interrupted, did_you_mean

if TYPE_CHECKING:
    from detkit.doctor.checkup import Checkup


@click.command("check")
@click.argument("spec", required=False, type=click.Path(path_type=Path))
@click.option("--only", multiple=True, metavar="ID", help="Make this check alone. May be repeated.")
@click.option("--skip", multiple=True, metavar="ID", help="Leave this check out. May be repeated.")
@click.option("--decode", is_flag=True, help="Decode every image; by default headers are read.")
@click.option("--strict", is_flag=True, help="Exit code 1 for warnings too.")
@click.option("--limit", type=click.IntRange(min=0), default=10, show_default=True, help="List so many of each check.")
@click.option("--list", "list_checks", is_flag=True, help="List the checks, and do nothing else.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a value of [dataset], as dataset.masks=off. May be repeated.",
)
@no_plugin_option
@json_option
def command(
    spec: Path | None,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    decode: bool,
    strict: bool,
    limit: int,
    list_checks: bool,
    settings: tuple[str, ...],
    blocked: tuple[str, ...],
    as_json: bool,
) -> int:
    """Say everything that is wrong with the [dataset] of SPEC, by file and object, and what to do.

    Nothing is changed. Exit code 1 where there are errors, 2 where SPEC cannot be read.
    """
    if list_checks:
        _list_checks(as_json)
        return 0
    if spec is None:
        raise click.UsageError("name a SPEC, or --list the checks")
    from detkit.cli.console import RichMessages
    from detkit.doctor.checkup import check_data
    from detkit.spec.overrides import parse_overrides
    from detkit.spec.parts import load_data

    wanted = _wanted(only, skip, decode=decode)
    tables = load_data(spec, set=parse_overrides(settings), blocked=blocked)
    if not only:
        wanted -= frozenset(tables.skip_checks)
    try:
        with stoppable():
            done = check_data(tables, folder=spec.parent, messages=RichMessages(), wanted=wanted, decode=decode)
    except KeyboardInterrupt:
        raise Interrupted("interrupted; nothing was changed") from None
    if as_json:
        from detkit.record.layout import FORMAT_VERSION

        click.echo(json.dumps({"format_version": FORMAT_VERSION, **done.to_dict()}, indent=2))
    else:
        _print(done, limit)
        if tables.skip_checks and not only:
            click.echo(f"left out by skip_checks in the spec: {', '.join(tables.skip_checks)}")
    return 1 if done.counts["error"] or (strict and done.counts["warning"]) else 0


def _wanted(only: tuple[str, ...], skip: tuple[str, ...], *, decode: bool) -> frozenset[str]:
    from detkit.checks.catalogue import CHECKS
    from detkit.checks.similar import CHECKS as OF_PIXELS

    ids = [check.id for check in CHECKS]
    for name in (*only, *skip):
        if name not in ids:
            raise click.UsageError(f"no check {name!r}{did_you_mean(name, ids)}; detkit data check --list has them")
    if not decode and (blind := [check.id for check in OF_PIXELS if check.id in only]):
        raise click.UsageError(f"--only {blind[0]} looks at pixels: give --decode too")
    return frozenset(only or ids) - frozenset(skip)


def _list_checks(as_json: bool) -> None:
    from dataclasses import asdict

    from detkit.checks.catalogue import CHECKS
    from detkit.cli.console import print_table

    if as_json:
        click.echo(json.dumps([asdict(check) for check in CHECKS], indent=2))
        return
    print_table(("check", "severity", "what it finds"), [(check.id, check.severity, check.summary) for check in CHECKS])


def _print(done: Checkup, limit: int) -> None:
    if done.class_names is None:
        click.echo(f"{done.dataset}: cannot be opened")
    else:
        many = len(done.class_names)
        classes = f"{many} class{'es' * (many != 1)}"
        click.echo(f"{done.dataset}: {done.images} images, {done.objects} objects, {classes}")
    for (severity, check), group in groupby(done.findings, key=lambda finding: (finding.severity, finding.check)):
        findings = list(group)
        click.echo(f"\n{severity} {check.id} ({len(findings)}): {check.summary}")
        for finding in findings[:limit]:
            click.echo(f"  {finding}")
        if len(findings) > limit:
            click.echo(f"  and {len(findings) - limit} more; --limit {len(findings)} or --json lists them all")
        click.echo(f"  to do: {check.remedy}")
    counts = ", ".join(f"{count} {severity}{'s' * (count != 1)}" for severity, count in done.counts.items())
    click.echo(f"\n{counts}" if done.findings else "nothing was found")
