"""The spec with which a recorded run was made."""

from __future__ import annotations

from detkit.errors import RecordError, SpecError
from detkit.record.reader import RunRecord, open_record
from detkit.spec.loader import load_spec
from detkit.spec.model import ExperimentSpec


def recorded_spec(run: RunRecord) -> ExperimentSpec:
    """The resolved spec of the run's experiment, with the plugins that made it.

    Raises:
        RecordError: it does not load here: a plugin is gone.
    """
    experiment = open_record(run.experiment)
    try:
        return load_spec(run.files.own_spec, blocked=experiment.facts["blocked"])
    except SpecError as error:
        raise RecordError(
            f"{run.run_id} cannot be built again, for its spec does not load here:\n{error}\n"
            f"bring back the plugins it was trained with, or write where they are now into {run.files.own_spec}"
        ) from error
