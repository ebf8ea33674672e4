"""The logger: the values of the record, in Comet's calls."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detkit import BuildContext, Curve, Logger, Matrix, Outcome, RunInfo, RunRecord, Table, open_run
from detkit_comet import CometOptions
from detkit_comet.confusion import log_matrix
from detkit_comet.curves import Curves
from detkit_comet.dataset import DatasetVersion
from detkit_comet.delivery import Delivery
from detkit_comet.files import log_code, log_file, register
from detkit_comet.names import Context, by_context, dotted_parameters
from detkit_comet.pictures import Pictures
from detkit_comet.search import log_trial
from detkit_comet.sent import SentBook
from detkit_comet.tables import all_epochs, to_csv

if TYPE_CHECKING:
    from comet_ml import CometExperiment


class CometLogger(Logger):
    """One experiment in Comet for one run.

    Names in Comet are the record's: metrics `coco/ap50`, parameters `train.lr`. What becomes of it all is `Delivery`'s.
    """

    def __init__(self, options: CometOptions, context: BuildContext, delivery: Delivery | None = None) -> None:
        """Args: delivery: of an upload."""
        self._options = options
        self._messages = context.messages
        self._delivery = delivery or Delivery(options, context.messages, offline=context.offline)
        self._run: RunInfo
        self._record: RunRecord
        self._curves: Curves
        self._pictures: Pictures | None = None
        self._tables: dict[str, int] = {}

    def start(self, run: RunInfo) -> None:
        """Open the experiment.

        Raises:
            LoggerRefused: see `Delivery.open`.
        """
        self._run = run
        experiment = self._delivery.open(run)
        self._record = open_run(run.folder)
        sent = SentBook(run.folder, str(experiment.get_key()))
        done = len([row for row in self._record.epochs() if row["step"] <= run.start_step])
        self._curves = Curves(run, self._messages, sent, done=done)
        if self._options.images and not experiment.disabled:
            self._pictures = Pictures(self._options, run, self._messages, sent)
        experiment.log_others(
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
            experiment.log_other("resumed_at_step", run.start_step)

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        with self._delivery.sending() as experiment:
            experiment.log_parameters(dotted_parameters(parameters), nested_support=False)
            experiment.log_asset(str(self._record.files.run), file_name="run.json", overwrite=True)
            if self._options.code:
                log_code(experiment, self._run)
            DatasetVersion(self._options, self._run, self._messages, self._delivery.fail).log(
                experiment, self._delivery.is_online
            )

    def log_metrics(self, values: Mapping[str, float], *, step: int, epoch: int) -> None:
        with self._delivery.sending() as experiment:
            # An epoch's curves have all come when its metrics do.
            self._curves.send(experiment)
            for context, named in by_context(values).items():
                log_metrics(experiment, context, named, step=step, epoch=epoch)

    def log_predictions(self, file: Path, *, step: int, epoch: int) -> None:
        if self._pictures is not None:
            with self._delivery.sending() as experiment:
                self._pictures.log(experiment, file, step=step, epoch=epoch)

    def log_table(self, name: str, table: Table, *, step: int, epoch: int) -> None:
        if self._options.tables:
            self._tables[name] = step
            with self._delivery.sending() as experiment:
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
            with self._delivery.sending() as experiment:
                log_matrix(experiment, name, matrix, step=step, epoch=epoch, pictures=self._pictures)

    def log_file(self, file: Path, *, name: str) -> None:
        with self._delivery.sending() as experiment:
            log_file(experiment, self._options, self._run, file, name)

    def close(self, outcome: Outcome) -> None:
        """Send what is left, or write the archive. Where it was closed before, or never started, nothing is done.

        Raises:
            NotDelivered: not everything arrived, or not in time.
        """
        if not self._delivery.is_open:
            return
        with self._delivery.sending() as experiment:
            if self._pictures is not None and outcome.state == "finished":
                self._pictures.finish(experiment)
            self._log_whole_tables(experiment)
            self._log_selected_curves(experiment)
            self._log_trial(experiment)
            if outcome.state == "finished":
                register(experiment, self._options, self._run)
            experiment.log_other("outcome", outcome.state)
            if outcome.reason:
                experiment.log_other("outcome_reason", outcome.reason)
        self._delivery.close(outcome)

    def _log_trial(self, experiment: CometExperiment) -> None:
        """Of a trial of Comet's Optimizer: which one it was, and what it gave."""
        trial = self._run.parameters.get("trial", {})
        about = trial.get("about", {})
        if "optimizer_id" in about:
            values = self._record.objective_values()
            log_trial(experiment, about, trial["values"], values.get(about["optimizer_metric"]))

    def _log_whole_tables(self, experiment: CometExperiment) -> None:
        """The tables of all epochs, those before a resume too: they are read from the record."""
        for name, step in self._tables.items():
            whole = all_epochs(self._record.tables(name))
            if whole.rows:
                experiment.log_asset_data(
                    to_csv(whole), name=f"{name}.csv", step=step, overwrite=True, metadata={"table": name}
                )

    def _log_selected_curves(self, experiment: CometExperiment) -> None:
        self._curves.send(experiment)  # of an epoch that was cut short
        summary = self._record.summary
        if self._options.curves and summary is not None:
            selected = summary["selected"]
            curves = self._record.curves(selected["epoch"])
            self._curves.send_selected(experiment, curves, step=selected["step"], epoch=selected["epoch"])


def log_metrics(
    experiment: CometExperiment, context: Context, values: Mapping[str, float], *, step: int, epoch: int
) -> None:
    """Send metrics in a context of Comet; "" is none."""
    if not context:
        experiment.log_metrics(dict(values), step=step, epoch=epoch)
        return
    with experiment.context_manager(context):
        experiment.log_metrics(dict(values), step=step, epoch=epoch)
