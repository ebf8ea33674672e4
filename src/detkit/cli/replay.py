"""`detkit replay`: look closely at a training step that was refused."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from detkit.cli.console import RichMessages, print_table
from detkit.cli.options import json_option
from detkit.errors import RecordError

if TYPE_CHECKING:
    from detkit.engine.reproduce import Reproduction


@click.command("replay")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--step", type=int, metavar="N", help="Which step; may be left out where there is one incident.")
@json_option
def command(run: Path, step: int | None, as_json: bool) -> None:
    """Replay a training step of RUN whose loss was not finite, or exploded.

    RUN is the folder of a run, EXPERIMENT_FOLDER/BEGINNING of its name, or an experiment with one run. Lists the run's
    incidents; replays the one of --step, or the only one.
    """
    from detkit.engine.incidents import incident_files, read_incident
    from detkit.engine.reproduce import reproduce
    from detkit.record.reader import open_run

    record = open_run(run)
    files = {int(file.stem.removeprefix("step-")): file for file in incident_files(record.files)}
    if step is not None and step not in files:
        there = f"there are: {', '.join(map(str, files))}" if files else "it has none"
        raise RecordError(f"{record.run_id} has no incident in step {step}; {there}")
    chosen = files[step] if step is not None else next(iter(files.values())) if len(files) == 1 else None
    listed = [read_incident(file, lazily=True) for file in ([chosen] if chosen else files.values())]
    found = reproduce(record, chosen, RichMessages()) if chosen else None
    if as_json:
        incidents = [{key: one[key] for key in ("step", "epoch", "fault")} for one in listed]
        content = {"run": record.run_id, "incidents": incidents, "replay": asdict(found) if found else None}
        click.echo(json.dumps(_json_ready(content), indent=2))
    elif found:
        print_reproduction(found)
    elif not files:
        click.echo(f"{record.run_id} has no incident: no step was refused")
    else:
        print_table(("step", "epoch", "fault"), [(str(one["step"]), str(one["epoch"]), one["fault"]) for one in listed])
        click.echo(f"replay one with: detkit replay {run} --step {listed[-1]['step']}")


def print_reproduction(found: Reproduction) -> None:
    """What the replay found, on stdout."""
    click.echo(f"step {found.step}, epoch {found.epoch}: {found.fault}")
    where = found.replayed_on
    if found.recorded_on != found.replayed_on:
        where += f" (recorded on {found.recorded_on}: losses may differ a little)"
    click.echo(f"learning rate {found.rate:.3g}, {found.precision}, on {where}\n")
    terms = list(found.recorded)
    rows = [(term, _number(found.recorded[term]), _number(found.replayed.get(term))) for term in terms]
    print_table(("loss", "recorded", "replayed"), rows, right=("recorded", "replayed"))
    click.echo()
    images = [
        (image.name, *([image.trouble] if image.trouble else [_number(image.losses.get(term)) for term in terms]))
        for image in found.images
    ]
    width = len(terms) + 1
    print_table(("image alone", *terms), [(*row, *[""] * (width - len(row))) for row in images], right=terms)
    click.echo()
    if found.first_bad:
        bad = found.first_bad
        click.echo(f"first output that is not finite: {bad.module} ({bad.kind}), {bad.count} of {bad.total} values\n")
    else:
        click.echo("the output of every module is finite\n")
    norms = [(part, _number(norm)) for part, norm in found.gradient_norms.items()]
    print_table(("part", "gradient norm"), norms, right=("gradient norm",))
    click.echo()
    weights = [(name, _number(value)) for name, value in found.largest_weights.items()]
    print_table(("largest weights", "absolute value"), weights, right=("absolute value",))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"


def _json_ready(value: Any) -> Any:
    """NaN and infinities, which JSON has not, as text."""
    if isinstance(value, dict):
        return {key: _json_ready(child) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_ready(child) for child in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
