"""The data of a run, an experiment or a spec, to be compared with another state of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from detkit.components import Messages
from detkit.data.differences import DataState
from detkit.engine.experiment import data_state as state_of_prepared
from detkit.engine.prepare import digest_data, prepare_data
from detkit.errors import RecordError
from detkit.record.data_state import read_data_state
from detkit.record.layout import ExperimentLayout
from detkit.record.reader import RunRecord, find
from detkit.spec.loader import load_spec


def data_state(path: Path, messages: Messages, *, blocked: Sequence[str] = ()) -> DataState:
    """Of a spec, the data as it is now; of a run or an experiment, what it was trained on, with the run's own splits.

    Args:
        path: a spec file, or what `find` takes. blocked: plugins that a spec is to do without.

    Raises:
        UserError: there is nothing of the kind, or the data cannot be read.
    """
    if path.is_file():
        spec = load_spec(path, blocked=blocked)
        data = prepare_data(spec, messages, training=False)
        return state_of_prepared(str(path), data, digest_data(data, messages))
    found = find(path)
    folder, fold = (found.experiment, found.fold) if isinstance(found, RunRecord) else (found.folder, None)
    layout = ExperimentLayout(folder)
    if not layout.ground_truth.exists():
        raise RecordError(f"{layout.folder} has no data yet: its spec was never run so far")
    return read_data_state(layout, str(path), fold)
