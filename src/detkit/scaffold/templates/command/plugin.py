"""A command for detkit: what each run of an experiment took, and which epoch was its best.

detkit finds commands in installed packages only. As a single file it runs by itself:

    python my_plugin.py runs/quickstart
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import detkit
from detkit import Command, hookimpl

if TYPE_CHECKING:
    from detkit import RunRecord

requires_detkit = ">=0.1"  # another detkit says that the plugin does not fit, before it imports it
detkit_api = 1  # and so does one whose hooks are no longer those that it was written for


@click.command("my_plugin")
@click.argument("experiment", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(experiment: Path, as_json: bool) -> None:
    """Say what each run of the recorded EXPERIMENT took, and which of its epochs was the best."""
    rows = described(detkit.open_record(experiment).runs)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        best = f"best in epoch {row['best_epoch']} of {row['epochs']}" if row["best_epoch"] else "nothing evaluated"
        click.echo(f"{COMPONENT.name}: {row['run']} ({row['state']}): {row['seconds']:.0f} s of training, {best}")


# YOUR ANALYSIS HERE: a record has every step, every epoch, every prediction, the ground truth and the final figures.
def described(runs: Iterable[RunRecord]) -> list[dict[str, Any]]:
    """A row of plain values for each run."""
    rows = []
    for run in runs:
        epochs, summary = run.epochs(), run.summary or {}  # a run that has not finished has no summary
        seconds = sum(epoch["measured"].get("train_s") or 0.0 for epoch in epochs)
        rows.append(
            {
                "run": run.run_id,
                "state": run.state,
                "epochs": len(epochs),
                "best_epoch": summary.get("selected", {}).get("epoch"),
                "seconds": round(seconds, 1),
            }
        )
    return rows


COMPONENT = Command(
    name="my_plugin",  # what is typed after `detkit`
    summary="Say what each run of an experiment took",
    load=lambda: command,  # called only when the command is used
)


@hookimpl
def detkit_commands() -> list[Command]:
    return [COMPONENT]


if __name__ == "__main__":
    command()
