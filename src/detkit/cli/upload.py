"""`detkit upload`: send what is recorded to a logger that was off, or that lost some of it."""

from __future__ import annotations

from pathlib import Path

import click

from detkit.errors import RecordError, did_you_mean


@click.command("upload")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--logger", "loggers", multiple=True, metavar="KEY", help="Of [loggers] in the spec. May be repeated.")
@click.option("--all", "again", is_flag=True, help="Runs that the logger has received completely, too.")
def command(folder: Path, loggers: tuple[str, ...], again: bool) -> int:
    """Send the finished runs of the experiment in FOLDER to loggers of its spec, from the record.

    Without --logger: to every logger that is enabled there. Runs that a logger has received completely are left out.
    Exit code 1 if a logger did not take everything.
    """
    from detkit.cli.live import ConsoleDisplay
    from detkit.engine.replay import recorded_states, replay
    from detkit.record.files import read_json
    from detkit.record.lock import exclusive
    from detkit.record.reader import open_record
    from detkit.spec.loader import load_spec

    record = open_record(folder)
    blocked = read_json(record.files.experiment)["blocked"]
    spec = load_spec(record.files.spec, blocked=blocked)
    for key in loggers:
        if key not in spec.loggers:
            raise RecordError(f"[loggers] of {record.files.spec} has no {key!r}{did_you_mean(key, spec.loggers)}")
    wanted = [use for key, use in spec.loggers.items() if (key in loggers if loggers else use.enabled)]
    display = ConsoleDisplay()
    failed = False
    with exclusive(record.files.lock, f"the experiment {record.folder}"):
        for run in record.runs:
            if run.state not in ("finished", "pruned"):
                display.warning(f"{run} is left out: only finished runs can be sent")
                continue
            states = recorded_states(run)
            uses = [use for use in wanted if again or not states.get(use.key, {}).get("complete")]
            if uses:
                display.info(f"{run.run_id}: sending to {', '.join(use.key for use in uses)}")
                failed |= any(replay(spec, run, uses, display).values())
            else:
                display.info(f"{run.run_id}: nothing to send")
    return int(failed)
