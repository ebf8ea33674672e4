"""A run as a process: a function from a run's folder to its record. `python -m detkit.engine RUN_FOLDER`."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, Literal

from detkit.components import Messages, Outcome, Progress, Silent
from detkit.engine.assembly import assemble
from detkit.engine.attribution import is_out_of_memory, out_of_memory
from detkit.engine.checkpoint import capture_generators, load_checkpoint, load_weights, restore_generators
from detkit.engine.compute import make_fabric, resolve_compute
from detkit.engine.costs import measure_costs
from detkit.engine.evaluation import evaluate
from detkit.engine.intervals import intervals_json, rehearse_intervals
from detkit.engine.loop import train
from detkit.engine.results import shown_rows
from detkit.engine.run import Run
from detkit.engine.selection import check_best_by, check_objectives
from detkit.engine.signals import StopRequest
from detkit.engine.state import TrainState
from detkit.engine.system import peak_memory_bytes
from detkit.errors import DetkitError, Interrupted, NonFiniteLoss
from detkit.figures import MetricResult
from detkit.record.files import read_json, write_atomically, write_json
from detkit.record.layout import ExperimentLayout, RunLayout
from detkit.record.lock import exclusive
from detkit.record.streams import StreamWriter
from detkit.spec.loader import load_spec


def main(folder: Path) -> int:
    """Run the run, and leave its outcome in the folder; returns the exit code."""
    layout = RunLayout(folder)
    stop = StopRequest()
    stop.install()
    first = os.environ.get("LOCAL_RANK", "0") == "0"
    try:
        # Fabric starts this program again for every further process; those share the first one's lock.
        with exclusive(layout.lock, f"the run {folder.name}") if first else nullcontext():
            run_run(layout, stop)
    except (Interrupted, NonFiniteLoss) as error:
        if not first:
            # All processes stop together here. Fabric kills the first one as soon as another ends with an error, and
            # it may still be writing its checkpoint.
            return 0
        if isinstance(error, NonFiniteLoss):
            return _leave_failure(layout, error)
        return Interrupted.exit_code
    except Exception as error:  # noqa: BLE001 - the process ends here; its parent reads why
        return _leave_failure(layout, error)
    return 0


def _leave_failure(layout: RunLayout, error: Exception) -> int:
    failure = _failure(error)
    with suppress(DetkitError):  # a full disk: the parent then tells from the exit code
        if not layout.failure.exists():  # else another process failed first, and this one for want of it
            write_json(layout.failure, failure)
    sys.stderr.write(failure["traceback"])
    return int(failure["exit_code"])


def run_run(layout: RunLayout, stop: StopRequest) -> None:
    """Assemble, train, score, summarise; the loggers learn how it ended in any case."""
    experiment = ExperimentLayout(layout.folder.parent)
    spec = load_spec(layout.own_spec, blocked=read_json(experiment.experiment)["blocked"])
    compute = resolve_compute(spec.compute)
    fabric = make_fabric(compute)
    fabric.launch()
    messages = StreamMessages(layout.messages) if fabric.is_global_zero else Silent()
    run, state, run_facts = assemble(spec, layout.folder, compute, fabric, messages, stop)
    if fabric.is_global_zero:
        write_atomically(run.layout.model, lambda stream: stream.write(f"{run.bare_model}\n".encode()), durable=False)
    outcome = Outcome("failed", "the process ended")
    if isinstance(messages, StreamMessages) and state.step == 0:
        tell_parts(run, messages)
    try:
        run.recorder.start(run.info, run_facts)
        run.events.run_started(run.info)
        sanity_check(run, state)
        train(run, state)
        ended = Outcome("pruned" if state.pruned else "finished", state.ended)
        summary = None if state.pruned else score(run, state, messages)
        run.events.run_ended(run.info, ended)
        # The last word: with it the run is over.
        if summary is None:
            run.recorder.pruned({"epoch": state.epoch, "reason": state.ended})
        else:
            run.recorder.summary(summary)
        outcome = ended
    except Exception as error:
        state_name: Literal["interrupted", "failed"] = "interrupted" if isinstance(error, Interrupted) else "failed"
        outcome = Outcome(state_name, str(_as_detkit(error)))
        with suppress(DetkitError):  # what stopped the run is the news, not that a callback stumbles over its end
            run.events.run_ended(run.info, outcome)
        raise
    finally:
        run.recorder.close(outcome)


def tell_parts(run: Run, messages: StreamMessages) -> None:
    """The table before training: what of the model trains, from when on, at which rate."""
    rows = []
    for row in run.info.parameters["parts"]:
        start = row["from_epoch"]
        trains = "frozen" if start is None else "trained" if start == 1 else f"from epoch {start}"
        rate = "-" if row["lr"] is None else f"{row['lr']:.3g}"
        rows.append((row["part"], row["weights"], f"{row['parameters']:,}", trains, rate))
    columns = ("part", "weights", "parameters", "training", "rate")
    messages.table(columns, rows, right=("parameters", "rate"))


def tell_tables(results: Mapping[str, MetricResult], messages: StreamMessages) -> None:
    """The tables that metrics want printed."""
    for key, result in results.items():
        for name, table in result.tables.items():
            if table.printed:
                rows, right = shown_rows(table)
                messages.table(table.columns, rows, title=table.title or f"{key}/{name}", right=right)


def sanity_check(run: Run, state: TrainState) -> None:
    """Evaluate two images before the first step: a model or a metric that does not fit is found now, not in hours.

    So is a `best_by` that names nothing, and a metric that cannot be resampled as it says.
    """
    if state.step == 0:
        generators = capture_generators()
        losses = run.train.validation_loss
        evaluation = evaluate(run, run.splits.validation[:2], name="checking", epoch=0, losses=losses)
        check_best_by(evaluation, run.use)
        check_objectives(
            evaluation, [row["metric"] for row in run.info.parameters.get("trial", {}).get("objectives", ())]
        )
        if run.fabric.is_global_zero:
            write_json(
                run.layout.quantities, {"primary": evaluation.primary, "higher_is_better": dict(evaluation.better)}
            )
        rehearse_intervals(run, evaluation)
        restore_generators(generators)


def score(run: Run, state: TrainState, messages: Messages) -> dict[str, Any]:
    """Evaluate the selected checkpoint on the images that give the final figures; returns the run's summary.

    Where there is no test split these are the validation images, and the figures are those of the selected epoch again.
    """
    run.fabric.barrier()  # the first process may still be writing it
    file = run.layout.best
    checkpoint = load_checkpoint(file, run_id=run.info.run_id)
    selected = checkpoint["selected"]
    load_weights(run.evaluated_model, checkpoint["model"], file)
    # Not on the images that they were chosen on: there they are the best by choice.
    thresholds = checkpoint["thresholds"] if run.splits.test else {}
    evaluation = evaluate(
        run,
        run.splits.scored,
        name="scoring",
        epoch=selected["epoch"],
        losses=run.train.validation_loss,
        thresholds=thresholds,
    )
    values = {name.replace("validation/", "loss/"): value for name, value in evaluation.values.items()}
    run.recorder.predictions(run.splits.scored_name, state.step, evaluation.predictions)
    run.recorder.results(run.splits.scored_name, state.step, evaluation.results)
    peak = peak_memory_bytes(run.info.device)  # of the run; measuring costs begins a new one
    if isinstance(messages, StreamMessages):
        tell_tables(evaluation.results, messages)
    return {
        "run_id": run.info.run_id,
        "model": run.info.model,
        "seed": run.info.seed,
        **({} if run.info.fold is None else {"fold": run.info.fold}),
        "epochs": state.epoch,
        "ended": state.ended,
        "guard": {"skipped": state.skipped, "rollbacks": state.rollbacks, "lr_scale": state.lr_scale},
        "selected": {**selected, "split": "validation"},
        "scored": {
            "split": run.splits.scored_name,
            "images": len(run.evaluated(run.splits.scored)),
            "same_images": not run.splits.test,
            "values": values,
            "thresholds": thresholds,
            **intervals_json(run, evaluation, selected["epoch"]),
        },
        "primary": evaluation.primary.replace("validation/", "loss/"),
        "higher_is_better": {
            name.replace("validation/", "loss/"): better for name, better in evaluation.better.items()
        },
        "parameters": run.info.parameters["parameters"],
        "weights_origin": run.origin["weights"],
        "precision": run.info.precision,
        "device": run.info.device,
        "costs": measure_costs(run, state, run.evaluated_model, messages),
        "measured": {
            **state.measured,
            "images_per_s": state.measured["train_images"] / max(state.measured["train_s"], 1e-9),
            "scoring_s": evaluation.seconds,
            "scoring_images_per_s": len(evaluation.predictions) / max(evaluation.seconds, 1e-9),
            "peak_memory_bytes": peak,
            "checkpoint_bytes": file.stat().st_size,
        },
    }


class StreamMessages:
    """Messages of components, for the parent to show: a stream in the run's folder."""

    def __init__(self, file: Path) -> None:
        self._stream = StreamWriter(file)

    def info(self, text: str) -> None:
        self._stream.append({"level": "info", "text": text})

    def warning(self, text: str) -> None:
        self._stream.append({"level": "warning", "text": text})

    def table(
        self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "", right: Sequence[str] = ()
    ) -> None:
        """Args: title: stands above it. right: the columns to align to the right."""
        row: dict[str, Any] = {"level": "table", "title": title, "columns": list(columns), "right": list(right)}
        self._stream.append({**row, "rows": [list(cells) for cells in rows]})

    def progress(self, description: str, total: int | None, unit: str = "") -> AbstractContextManager[Progress]:
        self.info(description)
        return _silent_progress()


class _SilentProgress:
    def advance(self, amount: int = 1) -> None:
        pass


@contextmanager
def _silent_progress() -> Iterator[Progress]:
    yield _SilentProgress()


def _as_detkit(error: BaseException) -> BaseException:
    if not isinstance(error, DetkitError) and is_out_of_memory(error):
        return out_of_memory("training")
    return error


def _failure(error: BaseException) -> Mapping[str, Any]:
    shown = _as_detkit(error)
    known = isinstance(shown, DetkitError)
    return {
        "kind": type(shown).__name__,
        "message": str(shown) if known else f"{type(shown).__name__}: {' '.join(str(shown).split())}",
        "exit_code": shown.exit_code if isinstance(shown, DetkitError) else 1,
        "traceback": "".join(traceback.format_exception(error)),
    }
