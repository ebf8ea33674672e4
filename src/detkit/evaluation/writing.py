"""The folder that an evaluation writes.

evaluation.json            what was evaluated, every number, thresholds, warnings, versions
predictions.json.gz        of a run's model, in COCO's results form
tables/ curves/ matrices/  what metrics gave beside numbers, as in a record
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from detkit.data.coco_form import predictions_json
from detkit.errors import RecordError
from detkit.evaluation.report import EvaluationReport
from detkit.predict.results import cannot_write
from detkit.record.figures import write_figure
from detkit.record.files import write_json, write_json_gz
from detkit.record.folders import ResultsKind, take_folder
from detkit.record.layout import figure_name

EVALUATION, PREDICTIONS = "evaluation.json", "predictions.json.gz"
TABLES, CURVES, MATRICES = "tables", "curves", "matrices"
RESULTS = ResultsKind("an evaluation's", (EVALUATION,), (EVALUATION, PREDICTIONS, TABLES, CURVES, MATRICES))


class Job(Protocol):
    """An evaluation that is prepared: nothing that was asked is wrong any more.

    Attributes:
        name: of the folder where nobody names one.
    """

    @property
    def name(self) -> str: ...

    def evaluate(self) -> EvaluationReport: ...


def evaluate_into(job: Job, folder: Path | None, *, overwrite: bool) -> EvaluationReport:
    """Evaluate, and write the results; an evaluation that does not come to its end leaves what was there before.

    Args:
        folder: None: by the job's name in the working directory. overwrite: replace an evaluation of before instead of
            taking a numbered folder.

    Raises:
        UserError: the folder cannot be written. RunFailed: the evaluation failed, or the disk is full.
    """
    taken = take_folder(folder or Path(job.name), RESULTS, overwrite=overwrite)
    try:
        report = job.evaluate()
        with RESULTS.renewed(taken) as new, _told(taken):
            _write(report, new)
    finally:
        with suppress(OSError):  # only an empty folder goes: nothing came of it
            taken.rmdir()
    return replace(report, folder=taken)


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    """A disk that refuses a write in the middle, under the name of the folder that people know."""
    try:
        yield
    except RecordError as error:
        if isinstance(error.__cause__, OSError):
            raise cannot_write(folder, error.__cause__) from error
        raise


def _write(report: EvaluationReport, folder: Path) -> None:
    for key, result in report.results.items():
        for name, table in result.tables.items():
            write_figure(folder / TABLES / figure_name(key, name), key, name, table)
        for name, curve in result.curves.items():
            write_figure(folder / CURVES / figure_name(key, name), key, name, curve)
        for name, matrix in result.matrices.items():
            write_figure(folder / MATRICES / figure_name(key, name), key, name, matrix)
    if report.predictions:
        write_json_gz(folder / PREDICTIONS, predictions_json(report.predictions))
    write_json(folder / EVALUATION, report.to_dict())
