"""detkit from Python: what the commands do, in a script or a notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from detkit.record.reader import ExperimentRecord, RunRecord, open_record, open_run
from detkit.spec.deprecated import warn_of_deprecated_options
from detkit.spec.loader import load_spec

if TYPE_CHECKING:
    from detkit.compare.paired import PairedDifference
    from detkit.components import Logger
    from detkit.engine.display import Display
    from detkit.evaluation.report import EvaluationReport
    from detkit.predict.detector import Detector
    from detkit.spec.model import ExperimentSpec

__all__ = ["evaluate", "load_detector", "load_spec", "open_record", "open_run", "paired_difference", "replay", "run"]


def run(
    spec: str | Path,
    *,
    set: Mapping[str, Any] | None = None,
    enable_loggers: Sequence[str] = (),
    disable_loggers: Sequence[str] = (),
    resume: bool = False,
    extend: bool = False,
    fresh: bool = False,
    name: str | None = None,
    report: bool = True,
    display: Display | None = None,
) -> ExperimentRecord:
    """Train, evaluate and compare every model of a spec, as `detkit run` does.

    Args:
        spec: the TOML file.
        set: dotted keys to values that override the file's, as {"train.epochs": 3}.
        enable_loggers, disable_loggers: keys under [loggers].
        resume: go on with runs that did not finish. extend: allow more epochs than the record has.
        fresh: a new numbered folder where the name is taken. name: another name for the experiment.
        report: whether to write the report, and to bring it up to date after each epoch.
        display: what to show meanwhile; by default the console's bars.

    Returns:
        The record; its runs say how each ended. In a notebook it shows itself.

    Raises:
        UserError: what was asked cannot be done. Interrupted: stopped before the end.
    """
    changes = {**(set or {}), **({"experiment.name": name} if name else {})}
    loaded = load_spec(spec, set=changes, enable_loggers=enable_loggers, disable_loggers=disable_loggers)
    warn_of_deprecated_options(loaded)
    return run_spec(loaded, resume=resume, extend=extend, fresh=fresh, report=report, display=display)


def run_spec(
    spec: ExperimentSpec,
    *,
    resume: bool = False,
    extend: bool = False,
    fresh: bool = False,
    report: bool = True,
    display: Display | None = None,
) -> ExperimentRecord:
    """`run` for a spec that is loaded already."""
    from detkit.compare.writing import write_leaderboard
    from detkit.engine.experiment import run_experiment
    from detkit.engine.publish import publish
    from detkit.engine.rerun import free_name
    from detkit.report.refresh import final_report, refreshed

    if fresh:
        spec = renamed(spec, free_name(spec))
    if display is None:
        from detkit.cli.live import ConsoleDisplay

        display = ConsoleDisplay()
    with refreshed(display) if report else nullcontext(display) as watched:
        record = run_experiment(spec, watched, resume=resume, extend=extend)
    write_leaderboard(record)
    if report:
        final_report(record, display)
    publish(spec, record.folder, display)
    return record


def renamed(spec: ExperimentSpec, name: str) -> ExperimentSpec:
    """The same experiment under another name."""
    experiment = spec.experiment.model_copy(update={"name": name})
    resolved = {**spec.resolved, "experiment": {**spec.resolved["experiment"], "name": name}}
    return replace(spec, experiment=experiment, resolved=resolved)


def replay(run: str | Path | RunRecord, logger: Logger) -> None:
    """Call a logger as a run would have called it, from the run's record: the same values, in the same order.

    All calls are made in this thread, `start` first and `close` last.

    Args:
        run: a run's folder, EXPERIMENT_FOLDER/PREFIX of its name, or a run of a record; it has ended, however.
        logger: built, not started.

    Raises:
        RecordError: there is no such run, it is not ended, or a file of its record is missing or damaged.
        Whatever the logger raises; it is not closed then.
    """
    from detkit.engine.replay import outcome_of, tell

    record = run if isinstance(run, RunRecord) else open_run(run)
    outcome = outcome_of(record)
    tell(record, logger)
    logger.close(outcome)


def load_detector(
    run: str | Path | RunRecord | ExperimentRecord,
    *,
    checkpoint: Literal["best", "last"] = "best",
    device: str = "auto",
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto",
    score_threshold: float | None = None,
) -> Detector:
    """A trained detector, to be called on images: `detkit.load_detector("runs/quickstart")("street.jpg")`.

    Needs neither the training data nor the weights that the training began with.

    Args:
        run: a run's folder, EXPERIMENT_FOLDER/PREFIX of its name, or a run of a record; or an experiment (folder or
            record): its only finished run, or the winner's.
        checkpoint: "best", which the validation images selected, or "last".
        device: auto (cuda where it is, else mps, else cpu), cpu, cuda, cuda:N or mps.
        precision: auto is the run's own, or fp32 where the device does not compute in that.
        score_threshold: from which score in 0..1 on a detection counts, for all classes. By default the thresholds that
            the first metric with some has chosen on the validation images; 0.5 where none has.

    Returns:
        The detector; its attributes say what was chosen.

    Raises:
        RecordError: there is no such run, it has no such checkpoint, or its plugins are gone.
        WeightsError: the checkpoint is cut, or of another format. ComputeError: there is no such device or precision.
    """
    from detkit.cli.console import RichMessages
    from detkit.predict import loading

    return loading.load_detector(
        run,
        checkpoint=checkpoint,
        device=device,
        precision=precision,
        score_threshold=score_threshold,
        messages=RichMessages(),
    )


def evaluate(
    run: str | Path | RunRecord | ExperimentRecord | None = None,
    *,
    checkpoint: Literal["best", "last"] | None = None,
    dataset: str | Path | None = None,
    split: Literal["test", "validation", "train", "all"] | None = None,
    device: str | None = None,
    batch_size: int | None = None,
    predictions: str | Path | None = None,
    ground_truth: str | Path | None = None,
    metrics: Sequence[str] = (),
    metrics_from: str | Path | None = None,
    resamples: int | None = None,
    set: Mapping[str, Any] | None = None,
    output: str | Path | None = None,
    overwrite: bool = False,
) -> EvaluationReport:
    """Evaluate a run's detector, with all that it finds, or files in COCO's form, as `detkit eval` does.

    Args:
        run: as for `load_detector`. Without it, `predictions` and `ground_truth` name files, gzipped or not.
        checkpoint: "best" (the default), which the validation images selected, or "last".
        dataset: a TOML file whose [dataset] is evaluated; by default the run's own data.
        split: of that data; by default the images of the final figures (test where there are some, else validation),
            or all images of `dataset`.
        device: as for `load_detector`. batch_size: images that the model takes together; the run's by default.
        metrics: keys of [metrics], or names of metrics; by default those of the run, and coco for files.
        metrics_from: a TOML file whose [metrics] are taken instead.
        resamples: draws of the images for 95 % intervals, 0 for none; by default as many as the run's, for files 1000.
        set: dotted keys of [metrics], [dataset] or [models] to values, as {"metrics.coco.engine": "pycocotools"}.
        output: a folder to write to, numbered where it is taken; None writes nothing.
        overwrite: replace an evaluation of before there instead.

    Returns:
        The numbers and all that belongs to them. In a notebook it shows itself.

    Raises:
        UserError: what was asked cannot be done; for files up to 20 faults, each with its entry.
        RunFailed: the model or a metric failed. KeyboardInterrupt: stopped; nothing was written.
    """
    from detkit.cli.console import RichMessages
    from detkit.evaluation.asking import prepare
    from detkit.evaluation.writing import evaluate_into

    job = prepare(
        run,
        _path(predictions),
        _path(ground_truth),
        checkpoint=checkpoint,
        dataset=_path(dataset),
        split=split,
        device=device,
        batch_size=batch_size,
        metrics=metrics,
        metrics_from=_path(metrics_from),
        resamples=resamples,
        settings=set or {},
        messages=RichMessages(),
    )
    return job.evaluate() if output is None else evaluate_into(job, Path(output), overwrite=overwrite)


def _path(file: str | Path | None) -> Path | None:
    return None if file is None else Path(file)


def paired_difference(
    run_a: str | Path | RunRecord,
    run_b: str | Path | RunRecord,
    *,
    quantity: str | None = None,
    resamples: int | None = None,
    seed: int | None = None,
) -> PairedDifference:
    """Whether two finished runs can be told apart: their difference in the same bootstrap draws of the same images.

    Needs the two records and the plugin of the metric, neither data nor models. Print the result for one sentence.

    Args:
        run_a, run_b: a run's folder, EXPERIMENT_FOLDER/PREFIX of its name, or a run of a record. They may be of two
            experiments that were scored on the same images.
        quantity: as "coco/ap50"; by default the primary one of the first run.
        resamples: how many draws; by default as many as the first run's spec says, or 1000 where it says none.
        seed: of the draws; by default the one of all intervals of detkit.

    Returns:
        The difference, the first less the second, with its 95 % interval and what must be said with it.

    Raises:
        RecordError: a run has not finished, the runs were not scored on the same images with the same metric, the
            metric cannot be resampled, or a record does not give its own figure again.
        ComponentError: the metric failed or broke its contract.
        UserError: fewer than 100 resamples.
    """
    from detkit.cli.console import RichMessages
    from detkit.compare import paired
    from detkit.resampling import SEED

    a, b = (found if isinstance(found, RunRecord) else open_run(found) for found in (run_a, run_b))
    return paired.paired_difference(
        a,
        b,
        quantity=quantity,
        resamples=resamples,
        seed=SEED if seed is None else seed,
        messages=RichMessages(),
    )
