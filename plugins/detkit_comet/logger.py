"""The logger: the values of the record, in Comet's calls."""

from __future__ import annotations

import csv
import io
import json
import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detkit import BuildContext, Curve, Logger, Matrix, Outcome, RunInfo, Table
from detkit_comet import CometOptions
from detkit_comet.client import ErrorLog
from detkit_comet.experiment import Opened, open_experiment

if TYPE_CHECKING:
    from comet_ml import CometExperiment

CHECKPOINT_SUFFIX = ".pt"


class CometLogger(Logger):
    """One experiment in Comet for one run.

    Names in Comet are the record's: metrics `coco/ap50`, parameters `train.lr`. What the client reports as an error
    becomes a warning, once; the run goes on.
    """

    def __init__(self, options: CometOptions, context: BuildContext) -> None:
        self._options = options
        self._messages = context.messages
        self._offline = context.offline
        self._errors = ErrorLog()
        self._run: RunInfo
        self._opened: Opened | None = None
        self._archives: list[str] = []

    def start(self, run: RunInfo) -> None:
        """Open the experiment.

        Raises:
            LoggerRefused: see `open_experiment`.
        """
        self._run = run
        self._errors.attach()
        try:
            self._opened = opened = open_experiment(
                self._options, run, self._errors, self._messages, offline=self._offline
            )
        except Exception:  # whatever it was: the watch on the client's log must not outlive it
            self._errors.detach()
            raise
        # Told at the end where an archive was written: always offline, online where the server was lost on the way.
        opened.experiment.set_offline_zip_uploader(self._archives.append)
        if opened.online and opened.experiment.alive:
            self._messages.info(f"comet: logging to {opened.experiment.url}")
        opened.experiment.log_others(
            {
                "experiment": run.experiment,
                "run": run.run_id,
                "model": run.model,
                "seed": run.seed,
                "device": run.device,
                "precision": run.precision,
            }
        )
        if run.start_step > 0:
            opened.experiment.log_other("resumed_at_step", run.start_step)
        self._report()

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        self._experiment.log_parameters(flatten(parameters), nested_support=False)
        self._report()

    def log_metrics(self, values: Mapping[str, float], *, step: int, epoch: int) -> None:
        # The client would send infinities and NaN as text, after which the curve is no longer a number's.
        finite = {name: float(value) for name, value in values.items() if math.isfinite(value)}
        self._experiment.log_metrics(finite, step=step, epoch=epoch)
        self._report()

    def log_table(self, name: str, table: Table, *, step: int, epoch: int) -> None:
        self._experiment.log_asset_data(
            to_csv(table), name=f"{name}-step-{step:06d}.csv", step=step, epoch=epoch, metadata={"table": name}
        )
        self._report()

    def log_curve(self, name: str, curve: Curve, *, step: int, epoch: int) -> None:
        self._experiment.log_curve(
            name,
            list(curve.x),
            list(curve.y),
            step=step,
            metadata={"x": curve.x_name, "y": curve.y_name, "epoch": epoch},
        )
        self._report()

    def log_confusion_matrix(self, name: str, matrix: Matrix, *, step: int, epoch: int) -> None:
        self._experiment.log_confusion_matrix(
            matrix=[list(row) for row in matrix.counts],
            labels=list(matrix.labels),
            title=name,
            row_label="true class",
            column_label="predicted class",
            file_name=f"{name}-step-{step:06d}.json",
            step=step,
            epoch=epoch,
        )
        self._report()

    def log_file(self, file: Path, *, name: str) -> None:
        if not name.endswith(CHECKPOINT_SUFFIX):
            self._experiment.log_asset(str(file), file_name=name)
        elif Path(name).stem in self._options.checkpoints:
            self._experiment.log_model(self._run.model, str(file), file_name=name)
        self._report()

    def close(self, outcome: Outcome) -> None:
        """Send what is left, or write the archive, and say where it is."""
        opened = self._opened
        if opened is None:
            return
        opened.experiment.log_other("outcome", outcome.state)
        if outcome.reason:
            opened.experiment.log_other("outcome_reason", outcome.reason)
        self._report()
        self._opened = None
        opened.experiment.end()
        self._errors.detach()
        self._tell_end(opened)

    @property
    def _experiment(self) -> CometExperiment:
        if self._opened is None:
            raise RuntimeError("the Comet logger was used before its start or after its close")
        return self._opened.experiment

    def _report(self) -> None:
        for error in self._errors.take():
            self._messages.warning(f"comet: {error.text}")

    def _tell_end(self, opened: Opened) -> None:
        errors = "; ".join(error.text for error in self._errors.take())
        upload = f"comet upload {' '.join(map(shlex.quote, self._archives))}" if self._archives else ""
        if not opened.online:
            if errors:
                self._messages.warning(f"comet: {errors}")
            if upload:
                self._messages.info(f"comet: the run is archived; `{upload}` sends it")
        elif upload:
            self._messages.warning(
                f"comet: not everything reached the server ({errors or 'the connection was lost'}); the whole run is"
                f" archived: `{upload} --force-upload` sends it, as a new experiment if the server has this one already"
            )
        elif errors:
            self._messages.warning(f"comet: not everything reached the server: {errors}; the run's folder holds it all")


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str | int | float | bool]:
    """Nested values under dotted names, as `--set` and the spec's messages name them; lists as JSON text."""
    flat: dict[str, str | int | float | bool] = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{key}.")
        elif isinstance(value, str | int | float):
            flat[key] = value
        else:
            flat[key] = json.dumps(value, default=str)
    return flat


def to_csv(table: Table) -> str:
    """The table as CSV with a header; values that do not apply are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(table.rows)
    return text.getvalue()
