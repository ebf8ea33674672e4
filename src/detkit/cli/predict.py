"""`detkit predict`: a trained detector on image files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from detkit.cli.options import json_option
from detkit.cli.stopping import stoppable
from detkit.errors import Interrupted

if TYPE_CHECKING:
    from detkit.predict.files import Report

#: So many files that could not be read are listed; summary.json has all.
LISTED = 20


@click.command("predict")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("images", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="IMAGE|FOLDER...")
@click.option("--output", type=click.Path(path_type=Path), help="Where to write; predictions-RUN by default.")
@click.option("--overwrite", is_flag=True, help="Replace results of before instead of taking a numbered folder.")
@click.option("--threshold", type=click.FloatRange(0, 1), metavar="SCORE", help="From which score a detection counts.")
@click.option(
    "--checkpoint", type=click.Choice(["best", "last"]), default="best", help="Which weights; best by default."
)
@click.option("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:N or mps.")
@click.option(
    "--batch-size", type=click.IntRange(min=1), default=1, help="Images the model takes together; 1 by default."
)
@click.option("--pictures/--no-pictures", default=True, help="Draw what is found into copies of the images.")
@click.option("--font", type=click.Path(path_type=Path), help="A TrueType font for the labels.")
@click.option("--recursive/--no-recursive", default=True, help="Look into the folders inside a folder.")
@json_option
def command(
    run: Path,
    images: tuple[Path, ...],
    output: Path | None,
    overwrite: bool,
    threshold: float | None,
    checkpoint: Literal["best", "last"],
    device: str,
    batch_size: int,
    pictures: bool,
    font: Path | None,
    recursive: bool,
    as_json: bool,
) -> int:
    """Find objects in images with the detector that RUN trained.

    RUN is a run's folder, EXPERIMENT_FOLDER/BEGINNING of its name, or an experiment: then its only run, or its winner.
    Writes predictions.json in COCO's form and pictures. Exit code 1 if an image could not be read.
    """
    from detkit.cli.console import RichMessages
    from detkit.predict.files import predict_files
    from detkit.predict.listing import find_images
    from detkit.predict.loading import load_detector
    from detkit.predict.pictures import label_font
    from detkit.predict.results import RESULTS
    from detkit.record.folders import take_folder

    messages = RichMessages()
    files = find_images(images, recursive=recursive)
    detector = load_detector(run, checkpoint=checkpoint, device=device, score_threshold=threshold, messages=messages)
    letters = label_font(detector.class_names, font) if pictures else None
    folder = take_folder(output or Path(f"predictions-{detector.run_id}"), RESULTS, overwrite=overwrite)
    RESULTS.remove_from(folder)
    with stoppable():
        report = predict_files(detector, files, folder, messages=messages, batch_size=batch_size, font=letters)
    if as_json:
        from detkit.record.layout import FORMAT_VERSION

        click.echo(json.dumps({"format_version": FORMAT_VERSION, **report.to_dict()}, indent=2))
    else:
        _print(report, str(detector.thresholds), pictures)
    _tell_failed(report)
    if report.interrupted:
        raise Interrupted(
            f"interrupted after {report.images} of {len(files)} images; what is done is in {report.folder}"
        )
    return 1 if report.failed else 0


def _print(report: Report, threshold: str, pictures: bool) -> None:
    from detkit.predict.results import IMAGES, PICTURES, PREDICTIONS

    click.echo(f"images: {report.images}, objects: {report.objects}, threshold: {threshold}")
    speed = report.images_per_s
    if speed["model"] is not None and speed["all"] is not None:
        click.echo(f"images per second: {speed['model']:.1f} in the model alone, {speed['all']:.1f} with all else")
    click.echo(f"predictions: {report.folder / PREDICTIONS} (COCO's results form; its image ids are those of {IMAGES})")
    if pictures and report.images:
        click.echo(f"pictures: {report.folder / PICTURES}")


def _tell_failed(report: Report) -> None:
    from detkit.predict.results import SUMMARY

    if not report.failed:
        return
    click.echo(f"{len(report.failed)} of the images could not be used:", err=True)
    for file, cause in list(report.failed.items())[:LISTED]:
        click.echo(f"  {cause}" if file in cause else f"  {file}: {cause}", err=True)
    if len(report.failed) > LISTED:
        click.echo(f"  and {len(report.failed) - LISTED} more, in {report.folder / SUMMARY}", err=True)
