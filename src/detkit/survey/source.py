"""What is surveyed: a dataset, how it is divided, and what trains on it as far as the spec says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detkit.data.degenerate import Degenerate
from detkit.errors import UserError, did_you_mean
from detkit.spec.document import read_document
from detkit.spec.model import ExperimentSpec, InputTable, ModelUse, SplitTable, Use
from detkit.spec.parts import load_data, load_input


@dataclass(frozen=True, slots=True)
class Source:
    """A dataset and its setting.

    Attributes:
        title: how people know it: the spec file's name, else the dataset's.
        folder: of the spec. use: the dataset.
        input_size: to which images are resized.
        is_file: whether a spec names it.
        spec: the whole of it, where it was read.
        model: that is asked for; None where the spec was not read, or has no model.
    """

    title: str
    folder: Path
    use: Use
    split: SplitTable
    degenerate: Degenerate
    input_size: InputTable
    is_file: bool = True
    offline: bool = False
    spec: ExperimentSpec | None = None
    model: ModelUse | None = None

    @property
    def checked(self) -> str:
        """The command that says what is wrong with the data."""
        return f"`detkit data check {self.title}`" if self.is_file else "`detkit data check` of a spec that names it"


def data_of(file: Path | None, *, set: Mapping[str, Any], blocked: Sequence[str] = ()) -> Source:
    """From [dataset], [dataset.split] and [input]; nothing else of the file is looked at.

    Args:
        file: None stands for one without any: `set` says everything. set, blocked: as for `load_data`.

    Raises:
        SpecError, PluginError: as `load_data`.
    """
    tables = load_data(file, set=set, blocked=blocked)
    size = load_input(file, set=set)
    title, folder = (file.name, file.parent) if file else (tables.dataset.key, Path())
    return Source(title, folder, tables.dataset, tables.split, tables.degenerate, size, file is not None)


def whole(spec: ExperimentSpec, model: str | None) -> Source:
    """From a spec, with the model of that key; the first enabled one where it is None.

    Raises:
        UserError: there is no such model.
    """
    if model is not None and model not in spec.models:
        raise UserError(f"--model: the spec has no model {model!r}{did_you_mean(model, spec.models)}")
    enabled = [key for key, use in spec.models.items() if use.enabled] or list(spec.models)
    key = model or (enabled[0] if enabled else None)
    use = None if key is None else spec.models[key]
    return Source(
        spec.path.name,
        spec.folder,
        spec.dataset,
        spec.split,
        spec.degenerate,
        use.input if use else InputTable(),
        True,
        spec.compute.offline,
        spec,
        use,
    )


def has_models(file: Path) -> bool:
    """Whether the file, or one that it extends, has a table [models].

    Raises:
        SpecError: it cannot be read.
    """
    return bool(read_document(file).get(("models",)))
