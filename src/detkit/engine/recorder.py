"""The only writer of a run's record. What it writes, the loggers get: the same values, in the same order."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from detkit.components import Logger, Outcome, RunInfo
from detkit.data.coco_form import predictions_json
from detkit.data.types import Prediction
from detkit.engine.loggers import Loggers
from detkit.engine.system import SystemSampler
from detkit.errors import RecordError
from detkit.figures import MetricResult
from detkit.record.draws import write_draws
from detkit.record.figures import write_figure
from detkit.record.files import read_json, write_json, write_json_gz
from detkit.record.layout import RunLayout
from detkit.record.streams import StreamWriter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: progress.json is written at most so often.
PROGRESS_INTERVAL_S = 0.25


class Recorder(Protocol):
    """What the loop tells about its run."""

    def start(self, run: RunInfo, facts: Mapping[str, Any]) -> None: ...
    def step(
        self,
        epoch: int,
        step: int,
        losses: Mapping[str, float],
        rate: float,
        measured: Mapping[str, float],
        *,
        skipped: bool = False,
    ) -> None: ...
    def epoch(
        self, epoch: int, step: int, values: Mapping[str, float | None], measured: Mapping[str, float]
    ) -> None: ...
    def predictions(self, epoch: int | str, step: int, predictions: Sequence[Prediction]) -> None: ...
    def results(self, epoch: int | str, step: int, results: Mapping[str, MetricResult]) -> None: ...
    def progress(self, **values: Any) -> None: ...
    def draws(self, columns: Mapping[str, NDArray[np.float64]], values: Mapping[str, float | int | None]) -> None: ...
    def sync(self) -> dict[str, int]: ...
    def cut(self, lengths: Mapping[str, int]) -> None: ...
    def summary(self, content: Mapping[str, Any]) -> None: ...
    def pruned(self, content: Mapping[str, Any]) -> None: ...
    def close(self, outcome: Outcome) -> None: ...


class SilentRecorder:
    """Of the processes beside the first: they train along and write nothing."""

    def start(self, run: RunInfo, facts: Mapping[str, Any]) -> None:
        pass

    def step(
        self,
        epoch: int,
        step: int,
        losses: Mapping[str, float],
        rate: float,
        measured: Mapping[str, float],
        *,
        skipped: bool = False,
    ) -> None:
        pass

    def epoch(self, epoch: int, step: int, values: Mapping[str, float | None], measured: Mapping[str, float]) -> None:
        pass

    def predictions(self, epoch: int | str, step: int, predictions: Sequence[Prediction]) -> None:
        pass

    def results(self, epoch: int | str, step: int, results: Mapping[str, MetricResult]) -> None:
        pass

    def progress(self, **values: Any) -> None:
        pass

    def draws(self, columns: Mapping[str, NDArray[np.float64]], values: Mapping[str, float | int | None]) -> None:
        pass

    def sync(self) -> dict[str, int]:
        return {}

    def cut(self, lengths: Mapping[str, int]) -> None:
        pass

    def summary(self, content: Mapping[str, Any]) -> None:
        pass

    def pruned(self, content: Mapping[str, Any]) -> None:
        pass

    def close(self, outcome: Outcome) -> None:
        pass


class RunRecorder:
    """Of the first process."""

    def __init__(self, layout: RunLayout, loggers: Loggers, *, log_every_steps: int, keep_predictions: str) -> None:
        self._layout = layout
        self._loggers = loggers
        self._log_every_steps = log_every_steps
        self._keep_predictions = keep_predictions
        self._streams = {"steps": StreamWriter(layout.steps), "metrics": StreamWriter(layout.metrics)}
        self._system = SystemSampler(StreamWriter(layout.system))
        self._progress_written = 0.0
        self._lost_before: dict[str, str] = {}
        self._selected = 0

    def start(self, run: RunInfo, facts: Mapping[str, Any]) -> None:
        if run.start_step:
            self._lost_before = lost_before(self._layout, self._loggers.keys)
        self._layout.loggers.unlink(missing_ok=True)
        write_json(self._layout.run, facts)
        self._system.start()
        self._loggers.start(run)
        self._loggers.log_parameters(run.parameters)
        self._loggers.log_file(self._layout.model, name="model.txt")

    def step(
        self,
        epoch: int,
        step: int,
        losses: Mapping[str, float],
        rate: float,
        measured: Mapping[str, float],
        *,
        skipped: bool = False,
    ) -> None:
        terms = {name: _finite(value) for name, value in losses.items()}
        row: dict[str, Any] = {"epoch": epoch, "step": step, "loss": _finite(sum(losses.values())), "losses": terms}
        row |= {"lr": rate, **({"skipped": True} if skipped else {})}
        self._streams["steps"].append({**row, "measured": dict(measured)})
        if is_logged(step, self._log_every_steps):
            self._loggers.log_metrics(step_values(row, measured), step=step, epoch=epoch)

    def epoch(self, epoch: int, step: int, values: Mapping[str, float | None], measured: Mapping[str, float]) -> None:
        self._streams["metrics"].append(
            {"epoch": epoch, "step": step, "values": dict(values), "measured": dict(measured)}
        )
        self._loggers.log_metrics(epoch_values(values, measured), step=step, epoch=epoch)

    def predictions(self, epoch: int | str, step: int, predictions: Sequence[Prediction]) -> None:
        file = self._layout.predictions(epoch)
        write_json_gz(file, predictions_json(predictions))
        if isinstance(epoch, int):
            self._loggers.log_predictions(file, step=step, epoch=epoch)

    def results(self, epoch: int | str, step: int, results: Mapping[str, MetricResult]) -> None:
        for metric, result in results.items():
            for name, table in result.tables.items():
                write_figure(self._layout.table(metric, name, epoch), metric, name, table)
                if isinstance(epoch, int):
                    self._loggers.log_table(f"{metric}/{name}", table, step=step, epoch=epoch)
            for name, curve in result.curves.items():
                write_figure(self._layout.curve(metric, name, epoch), metric, name, curve)
                if isinstance(epoch, int):
                    self._loggers.log_curve(f"{metric}/{name}", curve, step=step, epoch=epoch)
            for name, matrix in result.matrices.items():
                write_figure(self._layout.matrix(metric, name, epoch), metric, name, matrix)
                if isinstance(epoch, int):
                    self._loggers.log_confusion_matrix(f"{metric}/{name}", matrix, step=step, epoch=epoch)

    def progress(self, **values: Any) -> None:
        now = time.monotonic()
        if now - self._progress_written >= PROGRESS_INTERVAL_S or values.get("done") == values.get("total"):
            self._progress_written = now
            with suppress(RecordError):  # it only tells how far the run is: no reason to end it
                write_json(self._layout.progress, values, durable=False)

    def draws(self, columns: Mapping[str, NDArray[np.float64]], values: Mapping[str, float | int | None]) -> None:
        if columns:
            write_draws(self._layout, columns, values)

    def sync(self) -> dict[str, int]:
        return {name: stream.sync() for name, stream in self._streams.items()}

    def cut(self, lengths: Mapping[str, int]) -> None:
        for name, length in lengths.items():
            self._streams[name].cut(length)

    def summary(self, content: Mapping[str, Any]) -> None:
        self.sync()
        self._selected = int(content["selected"]["epoch"])
        write_json(self._layout.summary, content)

    def pruned(self, content: Mapping[str, Any]) -> None:
        self.sync()
        write_json(self._layout.pruned, content)

    def close(self, outcome: Outcome) -> None:
        self._system.stop()
        if outcome.state != "interrupted":  # it goes on, and whoever stopped it wants to have it stopped
            log_files(self._layout, self._loggers)
        troubles = {key: self._lost_before.get(key) or now for key, now in self._loggers.close(outcome).items()}
        write_json(self._layout.loggers, {"loggers": logger_states(troubles)})
        # Not before: paths of predictions wait in the loggers' queues. What a logger has lost is sent later with them.
        if outcome.state == "finished" and not any(troubles.values()):
            self._prune_predictions(self._selected)
        for stream in self._streams.values():
            stream.close()

    def _prune_predictions(self, selected: int) -> None:
        files = sorted((self._layout.folder / "predictions").glob("epoch-*.json.gz"))
        kept = {
            "all": set(files),
            "best": {self._layout.predictions(selected)},
            "last": set(files[-1:]),
        }[self._keep_predictions]
        for file in set(files) - kept:
            file.unlink()


def is_logged(step: int, every: int) -> bool:
    """Whether loggers get this step: the first one, and then every so many."""
    return step == 1 or step % every == 0


def step_values(row: Mapping[str, Any], measured: Mapping[str, float]) -> dict[str, float | None]:
    """A row of steps.jsonl under the names that loggers get."""
    losses = {f"train/{name}": value for name, value in row["losses"].items()}
    # Names of their own: an epoch's measurements come at the step of its end.
    own = {name if name.startswith("step_") else f"step_{name}": value for name, value in measured.items()}
    return {"train/loss": row["loss"], **losses, "train/lr": row["lr"], **_measured(own)}


def epoch_values(values: Mapping[str, float | None], measured: Mapping[str, float]) -> dict[str, float | None]:
    """A row of metrics.jsonl under the names that loggers get."""
    return {**values, **_measured(measured)}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _measured(measured: Mapping[str, float]) -> dict[str, float]:
    return {f"measured/{name}": value for name, value in measured.items()}


def logger_states(troubles: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Of loggers.json: whether each logger has the whole run, and why not."""
    return {key: {"complete": not trouble, "trouble": trouble} for key, trouble in troubles.items()}


def lost_before(layout: RunLayout, keys: Sequence[str]) -> dict[str, str]:
    """What loggers may have lost before a resume: a run that was killed has not closed them."""
    if not layout.loggers.exists():
        return dict.fromkeys(keys, "the run was killed before, and what had not reached its destination is lost there")
    states = read_json(layout.loggers)["loggers"]
    return {key: state["trouble"] for key, state in states.items() if not state["complete"]}


def log_files(layout: RunLayout, loggers: Logger | Loggers) -> None:
    """Hand over the files of a run that has ended: all of a finished one, of others those that are there."""
    files = {
        "spec.toml": layout.own_spec,
        "system.jsonl": layout.system,
        "messages.jsonl": layout.messages,
        "console.log": layout.console,
        "last.pt": layout.last,
        "best.pt": layout.best,
        "summary.json": layout.summary,
    }
    for name, file in files.items():
        if file.exists():
            loggers.log_file(file, name=name)
