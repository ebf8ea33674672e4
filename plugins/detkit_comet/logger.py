"""The logger: the values of the record, in Comet's calls."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detkit import BuildContext, Curve, Logger, Matrix, Outcome, RunInfo, RunRecord, Table, open_run
from detkit_comet import CometOptions
from detkit_comet.client import ErrorLog
from detkit_comet.confusion import log_matrix
from detkit_comet.curves import Curves
from detkit_comet.dataset import DatasetVersion
from detkit_comet.experiment import Opened, open_experiment
from detkit_comet.files import log_code, log_file, register
from detkit_comet.names import Context, by_context, dotted_parameters
from detkit_comet.pictures import Pictures
from detkit_comet.tables import all_epochs, to_csv

if TYPE_CHECKING:
    from comet_ml import CometExperiment


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
        self._record: RunRecord
        self._curves: Curves
        self._pictures: Pictures | None = None
        self._tables: dict[str, int] = {}
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
        self._record = open_run(run.folder)
        done = len([row for row in self._record.epochs() if row["step"] <= run.start_step])
        self._curves = Curves(run, self._messages, done=done)
        if self._options.images:
            self._pictures = Pictures(self._options, run, self._messages)
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
        with self._sending() as experiment:
            experiment.log_parameters(dotted_parameters(parameters), nested_support=False)
            experiment.log_asset(str(self._record.files.run), file_name="run.json")
            if self._options.code:
                log_code(experiment, self._run)
            DatasetVersion(self._options, self._run, self._messages).log(experiment, self._is_online)

    def log_metrics(self, values: Mapping[str, float], *, step: int, epoch: int) -> None:
        with self._sending() as experiment:
            # An epoch's curves have all come when its metrics do.
            self._curves.send(experiment)
            for context, named in by_context(values).items():
                log_metrics(experiment, context, named, step=step, epoch=epoch)

    def log_predictions(self, file: Path, *, step: int, epoch: int) -> None:
        if self._pictures is not None:
            with self._sending() as experiment:
                self._pictures.log(experiment, file, step=step, epoch=epoch)

    def log_table(self, name: str, table: Table, *, step: int, epoch: int) -> None:
        if self._options.tables:
            self._tables[name] = step
            with self._sending() as experiment:
                experiment.log_asset_data(
                    to_csv(table),
                    name=f"{name}-step-{step:06d}.csv",
                    step=step,
                    epoch=epoch,
                    metadata={"table": name},
                )

    def log_curve(self, name: str, curve: Curve, *, step: int, epoch: int) -> None:
        if self._options.curves:
            self._curves.add(name, curve, step=step, epoch=epoch)

    def log_confusion_matrix(self, name: str, matrix: Matrix, *, step: int, epoch: int) -> None:
        if self._options.confusion_matrix:
            with self._sending() as experiment:
                log_matrix(experiment, name, matrix, step=step, epoch=epoch, pictures=self._pictures)

    def log_file(self, file: Path, *, name: str) -> None:
        with self._sending() as experiment:
            log_file(experiment, self._options, self._run, file, name)

    def close(self, outcome: Outcome) -> None:
        """Send what is left, or write the archive, and say where it is."""
        opened = self._opened
        if opened is None:
            return
        self._log_whole_tables(opened.experiment)
        self._log_selected_curves(opened.experiment)
        if outcome.state == "finished":
            register(opened.experiment, self._options, self._run)
        opened.experiment.log_other("outcome", outcome.state)
        if outcome.reason:
            opened.experiment.log_other("outcome_reason", outcome.reason)
        self._report()
        self._opened = None
        opened.experiment.end()
        self._errors.detach()
        self._tell_end(opened)

    def _log_whole_tables(self, experiment: CometExperiment) -> None:
        """The tables of all epochs, those before a resume too: they are read from the record."""
        for name, step in self._tables.items():
            whole = all_epochs(self._record.tables(name))
            if whole.rows:
                experiment.log_asset_data(to_csv(whole), name=f"{name}.csv", step=step, metadata={"table": name})

    def _log_selected_curves(self, experiment: CometExperiment) -> None:
        self._curves.send(experiment)  # of an epoch that was cut short
        summary = self._record.summary
        if self._options.curves and summary is not None:
            selected = summary["selected"]
            curves = self._record.curves(selected["epoch"])
            self._curves.send_selected(experiment, curves, step=selected["step"], epoch=selected["epoch"])

    @property
    def _is_online(self) -> bool:
        return self._opened is not None and self._opened.online

    @contextmanager
    def _sending(self) -> Iterator[CometExperiment]:
        if self._opened is None:
            raise RuntimeError("the Comet logger was used before its start or after its close")
        yield self._opened.experiment
        self._report()

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


def log_metrics(
    experiment: CometExperiment, context: Context, values: Mapping[str, float], *, step: int, epoch: int
) -> None:
    """Send metrics in a context of Comet; "" is none."""
    if not context:
        experiment.log_metrics(dict(values), step=step, epoch=epoch)
        return
    with experiment.context_manager(context):
        experiment.log_metrics(dict(values), step=step, epoch=epoch)
