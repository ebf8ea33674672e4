"""`detkit comet upload`: send recorded runs to Comet, whether or not the logger was on while they ran."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import click

from detkit import DetkitError, ExperimentRecord, Progress, RunRecord, UserError, open_record, open_run
from detkit_comet.sending import Into, Sent, options_of, prepare, upload_leaderboard, upload_runs

FORMAT_VERSION = 1


@click.command("upload")
@click.argument("paths", nargs=-1, required=True, metavar="RUN...", type=click.Path(path_type=Path))
@click.option("--logger", metavar="KEY", help="Whose options are taken, where the spec has several Comet loggers.")
@click.option("--project", help="Comet's project, instead of the spec's.")
@click.option("--workspace", help="Comet's workspace, instead of the spec's.")
@click.option("--name", help="Of the experiment in Comet; may hold {experiment}, {model}, {run_id}, {seed}.")
@click.option("--tag", "tags", multiple=True, help="A tag beside the spec's. May be repeated.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Another option, as --set images=false.")
@click.option("--new", is_flag=True, help="A new experiment in Comet, also where nothing is missing there.")
@click.option("--again", is_flag=True, help="Where it is unknown what arrived: send it into the old experiment.")
@click.option("--dry-run", is_flag=True, help="Say what would be done.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
def command(
    paths: tuple[Path, ...],
    logger: str | None,
    project: str | None,
    workspace: str | None,
    name: str | None,
    tags: tuple[str, ...],
    settings: tuple[str, ...],
    new: bool,
    again: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Send recorded runs to Comet, from the record: those that were never logged there, and those that lost something.

    RUN is the folder of a run, or of an experiment: all its runs, and its leaderboard. What has arrived completely is
    not sent again. Where it is unknown what arrived, because the server or the run's process died, a new experiment
    gets everything, unless --again is given.

    Exit code 1 if something could not be sent.
    """
    if new and again:
        raise click.UsageError("--new and --again exclude each other")
    into: Into = "new" if new else "again" if again else "auto"
    changes = _changes(settings) | {
        key: value
        for key, value in {"project": project, "workspace": workspace, "name": name}.items()
        if value is not None
    }
    messages = Lines()
    done: list[Sent] = []
    trouble: list[str] = []
    for record, runs, whole in _experiments(paths):
        options = options_of(record, logger, changes)
        if tags:
            options = options.model_copy(update={"tags": tuple(dict.fromkeys((*options.tags, *tags)))})
        prepare(options)
        with nullcontext() if dry_run else record.exclusive():
            sent = upload_runs(runs, options, messages, into=into, dry_run=dry_run)
            if not as_json:
                for row in sent:
                    click.echo(_line(row))
            done += sent
            if whole and not dry_run and not any(row.action == "failed" for row in sent):
                try:
                    upload_leaderboard(options, record, messages)
                except DetkitError as error:
                    trouble.append(f"the leaderboard: {error}")
    if as_json:
        click.echo(json.dumps({"format_version": FORMAT_VERSION, "runs": [_row(sent) for sent in done]}, indent=2))
    for text in trouble:
        messages.warning(text)
    named = {path.resolve() for path in paths}
    left = [sent for sent in done if sent.action == "left out" and sent.run.files.folder.resolve() in named]
    return int(bool(trouble or left) or any(sent.action == "failed" for sent in done))


def _experiments(paths: Sequence[Path]) -> list[tuple[ExperimentRecord, list[RunRecord], bool]]:
    """Experiment, runs of it, and whether all of it is meant; each run once."""
    found: dict[Path, tuple[ExperimentRecord, list[RunRecord], bool]] = {}
    for path in paths:
        whole = (path / "experiment.json").is_file()
        first = None if whole else open_run(path)
        record = open_record(path if first is None else first.experiment)
        runs = record.runs if first is None else [first]
        _, before, whole_before = found.get(record.folder.resolve(), (record, [], False))
        more = [run for run in runs if run.run_id not in {other.run_id for other in before}]
        found[record.folder.resolve()] = (record, before + more, whole or whole_before)
    return list(found.values())


def _changes(settings: Sequence[str]) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for setting in settings:
        key, sign, value = setting.partition("=")
        if not sign:
            raise UserError(f"--set {setting}: write KEY=VALUE")
        try:
            changes[key.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            changes[key.strip()] = value
    return changes


def _line(sent: Sent) -> str:
    where = sent.url or sent.key or ""
    words = {
        "sent": f"sent to {where}",
        "nothing": f"nothing to send: it {sent.why}" + (f" ({where})" if where else ""),
        "would send": f"would be sent: it {sent.why}",
        "left out": f"left out: it {sent.why}",
        "failed": f"failed: {sent.why}",
    }
    return f"{sent.run.run_id}: {words[sent.action]}"


def _row(sent: Sent) -> dict[str, Any]:
    return {
        "run": str(sent.run.files.folder),
        "action": sent.action,
        "why": sent.why,
        "key": sent.key,
        "url": sent.url or None,
    }


class _Bar:
    def __init__(self, bar: Any) -> None:
        self._bar = bar

    def advance(self, amount: int = 1) -> None:
        self._bar.update(amount)


class _NoBar:
    def advance(self, amount: int = 1) -> None:
        pass


class Lines:
    """`detkit.Messages` on stderr."""

    def info(self, text: str) -> None:
        click.echo(text, err=True)

    def warning(self, text: str) -> None:
        click.echo(f"warning: {text}", err=True)

    @contextmanager
    def progress(self, description: str, total: int | None, unit: str = "") -> Iterator[Progress]:
        if not sys.stderr.isatty():
            self.info(f"{description} ...")
            yield _NoBar()
            return
        with click.progressbar(length=total or 1, label=description, file=sys.stderr) as bar:
            yield _Bar(bar)
