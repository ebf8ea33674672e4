"""`detkit eval`: a recorded run on images, or files of predictions and ground truth."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from detkit.cli.console import print_table
from detkit.cli.options import json_option
from detkit.cli.stopping import stoppable
from detkit.errors import Interrupted

if TYPE_CHECKING:
    from detkit.evaluation.report import EvaluationReport
    from detkit.figures import Table


@click.command("eval")
@click.argument("run", type=click.Path(path_type=Path), required=False)
@click.option("--checkpoint", type=click.Choice(["best", "last"]), help="Which weights of the run; best by default.")
@click.option(
    "--dataset", type=click.Path(path_type=Path), metavar="SPEC", help="The [dataset] of this file, not the run's own."
)
@click.option(
    "--split",
    type=click.Choice(["test", "validation", "train", "all"]),
    help="Which images; by default those of the final figures, or all of --dataset.",
)
@click.option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:N or mps.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Images the model takes together; the run's by default.")
@click.option("--predictions", type=click.Path(path_type=Path), metavar="FILE", help="Results in COCO's form.")
@click.option("--ground-truth", type=click.Path(path_type=Path), metavar="FILE", help="Ground truth in COCO's form.")
@click.option("--metric", "metrics", multiple=True, metavar="NAME", help="Evaluate with this metric. May be repeated.")
@click.option(
    "--metrics-from", type=click.Path(path_type=Path), metavar="SPEC", help="Evaluate with the [metrics] of this file."
)
@click.option(
    "--resamples",
    type=click.IntRange(min=0),
    metavar="N",
    help="Draws of the images for intervals; by default the run's, else 1000. 0: no intervals.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a value of [metrics], [dataset] or [models]. May be repeated.",
)
@click.option("--output", type=click.Path(path_type=Path), help="Where to write; evaluation-NAME by default.")
@click.option("--overwrite", is_flag=True, help="Replace an evaluation of before instead of taking a numbered folder.")
@json_option
def command(
    run: Path | None,
    checkpoint: Literal["best", "last"] | None,
    dataset: Path | None,
    split: Literal["test", "validation", "train", "all"] | None,
    device: str | None,
    batch_size: int | None,
    predictions: Path | None,
    ground_truth: Path | None,
    metrics: tuple[str, ...],
    metrics_from: Path | None,
    resamples: int | None,
    settings: tuple[str, ...],
    output: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Evaluate the detector that RUN trained, or predictions of any model.

    RUN is a run's folder, EXPERIMENT_FOLDER/BEGINNING of its name, or an experiment: then its only run, or its winner.
    Without RUN, --predictions and --ground-truth name files in COCO's form.
    """
    from detkit.cli.console import RichMessages
    from detkit.evaluation.asking import prepare
    from detkit.evaluation.writing import evaluate_into
    from detkit.spec.overrides import parse_overrides

    try:
        with stoppable():
            job = prepare(
                run,
                predictions,
                ground_truth,
                checkpoint=checkpoint,
                dataset=dataset,
                split=split,
                device=device,
                batch_size=batch_size,
                metrics=metrics,
                metrics_from=metrics_from,
                resamples=resamples,
                settings=parse_overrides(settings),
                messages=RichMessages(),
            )
            report = evaluate_into(job, output, overwrite=overwrite)
    except KeyboardInterrupt:
        raise Interrupted("interrupted; nothing was written") from None
    if as_json:
        from detkit.record.layout import FORMAT_VERSION

        click.echo(json.dumps({"format_version": FORMAT_VERSION, **report.to_dict()}, indent=2))
    else:
        _print(report)


def _print(report: EvaluationReport) -> None:
    from detkit.evaluation.writing import EVALUATION

    click.echo(report.title)
    for table in report.number_tables:
        click.echo()
        print_table(table.columns, [[str(cell) for cell in row] for row in table.rows], right=table.columns[1:])
    if report.interval_note:
        click.echo(report.interval_note)
    for table in report.printed_tables:
        click.echo()
        click.echo(table.title)
        _print_figure(table)
    click.echo()
    assert report.folder is not None
    click.echo(f"evaluation: {report.folder / EVALUATION}{_beside(report)}")


def _print_figure(table: Table) -> None:
    from detkit.evaluation.report import shown

    print_table(table.columns, [[shown(cell) for cell in row] for row in table.rows], right=_numeric(table))


def _numeric(table: Table) -> Sequence[str]:
    """The columns to align to the right: those that hold numbers, not texts alone."""
    return [
        name for place, name in enumerate(table.columns) if any(not isinstance(row[place], str) for row in table.rows)
    ]


def _beside(report: EvaluationReport) -> str:
    from detkit.evaluation.writing import CURVES, MATRICES, PREDICTIONS, TABLES

    assert report.folder is not None
    there = [name for name in (PREDICTIONS, TABLES, CURVES, MATRICES) if (report.folder / name).exists()]
    return f", with {', '.join(there)} beside it" if there else ""
