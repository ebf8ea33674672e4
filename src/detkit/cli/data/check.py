"""`detkit data check`: what is wrong with the data of a spec."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click

from detkit.cli.data.writing import images_option, print_losses
from detkit.cli.options import json_option, no_plugin_option
from detkit.cli.stopping import stoppable
from detkit.errors import Interrupted, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from detkit.checks.finding import Finding
    from detkit.components import ImageTransfer
    from detkit.doctor.checkup import Checkup
    from detkit.doctor.repair import RepairedCopy
    from detkit.plugins import Offered
    from detkit.spec.parts import DataTables


@click.command("check")
@click.argument("spec", required=False, type=click.Path(path_type=Path))
@click.option("--only", multiple=True, metavar="ID", help="Make this check alone. May be repeated.")
@click.option("--skip", multiple=True, metavar="ID", help="Leave this check out. May be repeated.")
@click.option("--decode", is_flag=True, help="Decode every image; by default headers are read.")
@click.option(
    "--fix",
    "fix",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Write a repaired copy into this new folder. The original is never touched.",
)
@click.option("--to", "target", metavar="FORMAT", help="The copy's format; by default the dataset's own.")
@images_option
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
    fix: Path | None,
    target: str | None,
    images: ImageTransfer,
    strict: bool,
    limit: int,
    list_checks: bool,
    settings: tuple[str, ...],
    blocked: tuple[str, ...],
    as_json: bool,
) -> int:
    """Say everything that is wrong with the [dataset] of SPEC, by file and object, and what to do.

    Nothing is changed; --fix writes a copy in which all is put right that nobody has to decide. Exit code 1 where there
    are errors, with --fix errors in the copy; 2 where SPEC cannot be read, or no copy can be written.
    """
    if list_checks:
        _list_checks(as_json)
        return 0
    if spec is None:
        raise click.UsageError("name a SPEC, or --list the checks")
    _refuse_without_fix(fix, target)
    from detkit.cli.console import RichMessages
    from detkit.doctor.checkup import check_data
    from detkit.spec.overrides import parse_overrides
    from detkit.spec.parts import load_data

    wanted = _wanted(only, skip, decode=decode)
    changes = parse_overrides(settings)
    tables = load_data(spec, set=changes, blocked=blocked)
    if not only:
        wanted -= frozenset(tables.skip_checks)
    writer = None if fix is None else _writer(spec, tables, fix, target, changes, blocked)
    copy: RepairedCopy | None = None
    messages = RichMessages()
    try:
        with stoppable():
            done = check_data(tables, folder=spec.parent, messages=messages, wanted=wanted, decode=decode)
            if not as_json:
                _print(done, limit, hint=fix is None)
                if tables.skip_checks and not only:
                    click.echo(f"left out by skip_checks in the spec: {', '.join(tables.skip_checks)}")
            if fix is not None and writer is not None:
                from detkit.doctor.repair import repair_data

                copy = repair_data(
                    tables,
                    writer,
                    fix,
                    spec_folder=spec.parent,
                    transfer=images,
                    messages=messages,
                    wanted=wanted,
                    decode=decode,
                )
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted; {_after_interrupt(fix)}") from None
    if as_json:
        from detkit.record.layout import FORMAT_VERSION

        fixed = {} if copy is None else {"fix": copy.to_dict()}
        click.echo(json.dumps({"format_version": FORMAT_VERSION, **done.to_dict(), **fixed}, indent=2))
    elif copy is not None:
        _print_copy(copy, limit)
    counts = (done if copy is None else copy.after).counts
    return 1 if counts["error"] or (strict and counts["warning"]) else 0


def _after_interrupt(fix: Path | None) -> str:
    if fix is None:
        return "nothing was changed"
    # It appears when all is in it; what is done after that is its own check.
    whole = fix.is_dir() and any(fix.iterdir())
    return f"the copy in {fix} is whole, and was not checked" if whole else f"there is no copy in {fix}"


def _refuse_without_fix(fix: Path | None, target: str | None) -> None:
    """Raises `click.UsageError` where options of --fix are given without it."""
    source = click.get_current_context().get_parameter_source("images")
    if fix is None and target is not None:
        raise click.UsageError("--to is the format of a repaired copy: give --fix DIR, too")
    if fix is None and source is not None and source.name == "COMMANDLINE":
        raise click.UsageError("--images says how images get into a repaired copy: give --fix DIR, too")


def _writer(
    spec: Path,
    tables: DataTables,
    fix: Path,
    target: str | None,
    changes: Mapping[str, Any],
    blocked: Sequence[str],
) -> Offered:
    """What writes the copy; whatever is to be refused is, before the check begins."""
    from detkit.doctor.repair import refuse_folder
    from detkit.engine.writing import dataset_component, find_writer, writable
    from detkit.errors import UserError
    from detkit.spec.parts import load_dataset

    refuse_folder(fix, tables)
    own = tables.dataset.offered
    if target is None and dataset_component(own).write is not None:
        return own
    _, registry = load_dataset(spec, set=changes, blocked=blocked)
    if target is None:
        raise UserError(
            f"{own.component.name} is a dataset that is only read: there is no copy of it in its own format; --to"
            f" writes one in another, which can be {', '.join(writable(registry))}"
        )
    return find_writer(registry, target)


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


def _print(done: Checkup, limit: int, *, hint: bool) -> None:
    """Args: hint: say that there is --fix, where it would do something."""
    from detkit.doctor.repair import REPAIRABLE

    if done.class_names is None:
        click.echo(f"{done.dataset}: cannot be opened")
    else:
        many = len(done.class_names)
        classes = f"{many} class{'es' * (many != 1)}"
        click.echo(f"{done.dataset}: {done.images} images, {done.objects} objects, {classes}")
    _print_findings(done.findings, limit)
    click.echo(f"\n{_counted(done.counts)}" if done.findings else "nothing was found")
    if hint and any(found.check.id in REPAIRABLE and found.severity != "note" for found in done.findings):
        click.echo("--fix DIR writes a copy in which all is put right that nobody has to decide")


def _print_findings(all_findings: Sequence[Finding], limit: int) -> None:
    """By check, with what to do."""
    for (severity, check), group in groupby(all_findings, key=lambda finding: (finding.severity, finding.check)):
        findings = list(group)
        click.echo(f"\n{severity} {check.id} ({len(findings)}): {check.summary}")
        _print_some(list(map(str, findings)), limit)
        click.echo(f"  to do: {check.remedy}")


def _print_some(lines: Sequence[str], limit: int) -> None:
    for line in lines[:limit]:
        click.echo(f"  {line}")
    if len(lines) > limit:
        click.echo(f"  and {len(lines) - limit} more; --limit {len(lines)} or --json lists them all")


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {what}{'s' * (count != 1)}" for what, count in counts.items())


def _print_copy(copy: RepairedCopy, limit: int) -> None:
    import tomli_w

    written = copy.written
    splits = "".join(f", {name} {count}" for name, count in copy.splits.items())
    click.echo(f"\nrepaired copy: {copy.folder} ({written.images} images, {written.objects} objects{splits})")
    if not copy.repairs:
        click.echo("there was nothing to repair")
    for check, group in groupby(copy.repairs, key=lambda repair: repair.finding.check):
        repairs = [f"{repair.finding}: {repair.done}" for repair in group]
        click.echo(f"\nrepaired {check.id} ({len(repairs)}): {check.summary}")
        _print_some(repairs, limit)
    click.echo("")
    print_losses("not all of the original is in the copy:", written)
    if any(loss.what == "masks" for loss in written.losses):
        click.echo("--to writes the copy in a format that holds masks, as coco")
    left = [finding for finding in copy.after.findings if finding.severity != "note"]
    click.echo(f"\nleft in the copy: {_counted(copy.after.counts)}")
    _print_findings(left, limit)
    click.echo("\nto use the copy, put this in the place of [dataset]; [dataset.split] may stay as it is:\n")
    click.echo(tomli_w.dumps({"dataset": dict(copy.table)}).rstrip())
