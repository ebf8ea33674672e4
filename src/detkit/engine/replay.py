"""Send a recorded run to loggers: those that came later, and those that lost some of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tomli

from detkit.components import Logger, Messages, Outcome, RunInfo
from detkit.data.sampling import plan_epoch
from detkit.engine.attribution import attributed
from detkit.engine.loggers import Loggers
from detkit.engine.prepare import build_context, read_splits
from detkit.engine.recorder import epoch_values, is_logged, log_files, logger_states, step_values
from detkit.errors import RecordError
from detkit.record.figures import read_curve, read_matrix, read_table
from detkit.record.files import read_json, write_json
from detkit.record.layout import ExperimentLayout
from detkit.record.reader import RunRecord
from detkit.spec.model import ExperimentSpec, Use


def replay_missing(spec: ExperimentSpec, runs: Sequence[RunRecord], messages: Messages) -> None:
    """Send each finished run to the enabled loggers that the run did not have."""
    for run in runs:
        known = recorded_states(run)
        missing = [use for use in spec.loggers.values() if use.enabled and use.key not in known]
        if missing:
            messages.info(f"{run.run_id}: sending the record to {', '.join(use.key for use in missing)}")
            replay(spec, run, missing, messages)


def recorded_states(run: RunRecord) -> dict[str, dict[str, Any]]:
    """Logger key to `complete` and `trouble`, as far as the run has said."""
    return dict(read_json(run.files.loggers)["loggers"]) if run.files.loggers.exists() else {}


def replay(spec: ExperimentSpec, run: RunRecord, uses: Sequence[Use], messages: Messages) -> dict[str, str]:
    """Call the loggers as the run would have: the same values, in the same order.

    Returns:
        Logger key to its trouble, empty for those that received everything.

    Raises:
        RecordError: the run has not ended. LoggerRefused: a logger's configuration cannot work.
    """
    if run.state not in ("finished", "pruned"):
        raise RecordError(f"{run}: only a finished run can be sent; finish it with: detkit run {spec.path} --resume")

    def build(use: Use) -> Logger:
        with attributed(use, "being built"):
            context = build_context(
                spec, use, messages=messages, seed=run.seed, run_id=run.run_id, run_folder=run.files.folder
            )
            logger: Logger = use.offered.component.build(use.options, context)
            return logger

    loggers = Loggers(uses, build, messages.warning, patient=True)
    tell(run, loggers)
    troubles = loggers.close(outcome_of(run))
    write_json(run.files.loggers, {"loggers": {**recorded_states(run), **logger_states(troubles)}})
    return troubles


def tell(run: RunRecord, logger: Logger | Loggers) -> None:
    """All calls that the run would have made, but for the last one, `close`: the same values, in the same order.

    Only the figures of one epoch may come in another order among themselves.

    Raises:
        RecordError: the run ended before it came to its loggers, or a file of the record is missing or damaged.
        What the logger raises.
    """
    info = run_info(run)
    every = _log_every_steps(run)
    epochs = {row["step"]: row for row in run.epochs()}
    logger.start(info)
    logger.log_parameters(info.parameters)
    if run.files.model.exists():
        logger.log_file(run.files.model, name="model.txt")
    for row in run.steps():
        if is_logged(row["step"], every):
            logger.log_metrics(_there(step_values(row, row["measured"])), step=row["step"], epoch=row["epoch"])
        if row["step"] in epochs:
            _tell_epoch(run, epochs[row["step"]], logger)
    # Of an interrupted run, too: it may be all that there will ever be of it.
    log_files(run.files, logger)


def _tell_epoch(run: RunRecord, row: dict[str, Any], logger: Logger | Loggers) -> None:
    epoch, step = row["epoch"], row["step"]
    if run.files.predictions(epoch).exists():
        logger.log_predictions(run.files.predictions(epoch), step=step, epoch=epoch)
    for file in run.files.figures("tables", epoch):
        logger.log_table(*read_table(file), step=step, epoch=epoch)
    for file in run.files.figures("curves", epoch):
        logger.log_curve(*read_curve(file), step=step, epoch=epoch)
    for file in run.files.figures("matrices", epoch):
        logger.log_confusion_matrix(*read_matrix(file), step=step, epoch=epoch)
    logger.log_metrics(_there(epoch_values(row["values"], row["measured"])), step=step, epoch=epoch)


def _there(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None}


def _log_every_steps(run: RunRecord) -> int:
    """As the experiment's spec says it, which need not be loaded for that: its plugins may be gone."""
    with ExperimentLayout(run.experiment).spec.open("rb") as stream:
        return int(tomli.load(stream)["experiment"]["log_every_steps"])


def outcome_of(run: RunRecord) -> Outcome:
    """How a run ended, from its record.

    Raises:
        RecordError: it has not ended, or not begun.
    """
    state = run.state
    if state == "finished":
        return Outcome("finished", str((run.summary or {})["ended"]))
    if state == "failed":
        return Outcome("failed", str((run.failure or {})["message"]))
    if state == "pruned":
        return Outcome("pruned", str((run.pruned or {})["reason"]))
    if state == "interrupted":
        return Outcome("interrupted")
    raise RecordError(f"{run}: only a run that has ended can be sent")


def run_info(run: RunRecord) -> RunInfo:
    """What the run's own process told its loggers, from its record.

    Raises:
        RecordError: it ended before it came so far.
    """
    facts = run.facts
    if "compute" not in facts:
        raise RecordError(f"{run} ended before it began to train: there is nothing that a logger could be told")
    given = {
        "run_id",
        "experiment",
        "model",
        "seed",
        "limits",
        "schedule_from_epoch",
        "extended",
        "prune",
        "format_version",
    }
    return RunInfo(
        run_id=run.run_id,
        experiment=facts["experiment"],
        model=run.model,
        seed=run.seed,
        fold=run.fold,
        folder=run.files.folder,
        class_names=tuple(facts["class_names"]),
        device=facts["device"],
        precision=facts["compute"]["precision"],
        epochs=facts["spec"]["model"]["train"]["epochs"],
        steps_per_epoch=_steps_per_epoch(run, facts),
        parameters={key: value for key, value in facts.items() if key not in given - {"seed"}},
    )


def _steps_per_epoch(run: RunRecord, facts: Mapping[str, Any]) -> int:
    """Not counted: the run may have ended within its first epoch."""
    train = facts["spec"]["model"]["train"]
    plan = plan_epoch(
        read_splits(ExperimentLayout(run.experiment), run.fold).train,
        batch_size=train["batch_size"],
        accumulate=train["accumulate"],
        processes=facts["compute"]["processes"],
        seed=run.seed,
        epoch=1,
    )
    return len(plan[: facts.get("limits", {}).get("train_steps")])
