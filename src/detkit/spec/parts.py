"""Single tables of a spec file: its data, or its metrics, for an experiment that is there already, or for none.

The rest of the file is not looked at: it may be a whole spec, or hold nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from detkit.data.degenerate import Degenerate
from detkit.errors import SpecError
from detkit.plugins import Registry, collect
from detkit.spec.document import COMMAND_LINE, Document, Place, read_document
from detkit.spec.loader import SpecReader
from detkit.spec.model import ExperimentSpec, InputTable, ModelUse, SplitTable, TrainTable, Use
from detkit.spec.overrides import COMMAND_LINE_RANK, apply_overrides


def with_dataset_of(spec: ExperimentSpec, file: Path, *, set: Mapping[str, Any]) -> ExperimentSpec:
    """The spec with [dataset] and [dataset.split] of another file, and that file's folder.

    Args:
        set: dotted keys to values that win over the file's.

    Raises:
        SpecError: every problem of these tables. PluginError: as for `load_spec`.
    """
    document = read_document(file)
    reader, registry = _reader(document, file, set, spec.blocked)
    dataset = reader.dataset(registry)
    split = reader.options(("dataset", "split"), SplitTable)
    degenerate, skip_checks = reader.degenerate(), reader.skip_checks()
    problems = reader.all_problems()
    if problems or not (dataset and split and degenerate):
        raise SpecError(problems)
    folder = document.root.folder
    read: dict[str, Any] = {"split": split, "degenerate": degenerate, "skip_checks": skip_checks}
    return replace(spec, path=file, folder=folder, dataset=dataset, **read)


def load_dataset(file: Path | None, *, set: Mapping[str, Any], blocked: Sequence[str] = ()) -> tuple[Use, Registry]:
    """The dataset of a file's [dataset], as it is before boxes without area are treated.

    Args:
        file: None stands for one without any: `set` says everything, and paths are relative to the working directory.
        set: dotted keys to values that win over the file's. blocked: names of plugins not to load.

    Raises:
        SpecError: every problem of this table. PluginError: as for `load_spec`.
    """
    place = Place("command line", COMMAND_LINE, None, Path.cwd(), COMMAND_LINE_RANK)
    document = read_document(file) if file else Document(place)
    reader, registry = _reader(document, file or Path(COMMAND_LINE), set, blocked)
    dataset = reader.dataset(registry)
    problems = reader.all_problems()
    if problems or dataset is None:
        raise SpecError(problems)
    return dataset, registry


@dataclass(frozen=True, slots=True)
class DataTables:
    """[dataset] and [dataset.split] of a file.

    Attributes:
        skip_checks: ids of checks that it does without.
        models: the enabled models with their input sizes; none where the file has none, or they cannot be resolved.
    """

    dataset: Use
    split: SplitTable
    degenerate: Degenerate
    skip_checks: tuple[str, ...] = ()
    models: tuple[ModelUse, ...] = ()


def load_data(file: Path | None, *, set: Mapping[str, Any], blocked: Sequence[str] = ()) -> DataTables:
    """All that a file says of data, and the models that it is for; what is wrong with those is left to others.

    Args:
        file: None stands for one without any: `set` says everything, and paths are relative to the working directory.
        set: dotted keys to values that win over the file's. blocked: names of plugins not to load.

    Raises:
        SpecError: every problem of these tables. PluginError: as for `load_spec`.
    """
    reader, registry = _reader(_document(file), file or Path(COMMAND_LINE), set, blocked)
    dataset = reader.dataset(registry)
    split = reader.options(("dataset", "split"), SplitTable)
    degenerate, skip_checks = reader.degenerate(), reader.skip_checks()
    problems = reader.all_problems()
    if problems or not (dataset and split and degenerate):
        raise SpecError(problems)
    return DataTables(dataset, split, degenerate, skip_checks, _models(reader, registry))


def _models(reader: SpecReader, registry: Registry) -> tuple[ModelUse, ...]:
    """Those that can be resolved. A reader of their own keeps what is wrong with the others."""
    own = SpecReader(reader.document, reader.path, [])
    own.shared_table("input", InputTable)
    own.shared_table("train", TrainTable)
    return tuple(use for use in own.uses("models", registry) if isinstance(use, ModelUse) and use.enabled)


def load_input(file: Path | None, *, set: Mapping[str, Any]) -> InputTable:
    """[input] of a file; nothing else in it is looked at. The arguments are those of `load_data`.

    Raises:
        SpecError: every problem of this table.
    """
    document = _document(file)
    reader = SpecReader(document, file or Path(COMMAND_LINE), apply_overrides(document, set, Path.cwd()))
    found = reader.options(("input",), InputTable)
    problems = reader.all_problems()
    if problems or found is None:
        raise SpecError(problems)
    return found


def load_metrics(
    file: Path | None, *, names: Sequence[str] = (), set: Mapping[str, Any], blocked: Sequence[str] = ()
) -> dict[str, Use]:
    """The metrics that a file's [metrics] enables, by key.

    Args:
        file: None stands for one without any.
        names: take these instead, in this order: keys of the file, or names of metrics, with their default options.
        set: dotted keys to values that win over the file's. blocked: names of plugins not to load.

    Raises:
        SpecError: every problem of this table. PluginError: as for `load_spec`.
    """
    place = Place("command line", COMMAND_LINE, None, Path.cwd(), COMMAND_LINE_RANK)
    document = read_document(file) if file else Document(place)
    for name in names:
        document.put(("metrics", name, "enabled"), True, replace(place, text=f"--metric {name}"))
    reader, registry = _reader(document, file or Path(COMMAND_LINE), set, blocked)
    uses = {use.key: use for use in reader.uses("metrics", registry)}
    if problems := reader.all_problems():
        raise SpecError(problems)
    return {name: uses[name] for name in names or uses if uses[name].enabled}


def _document(file: Path | None) -> Document:
    place = Place("command line", COMMAND_LINE, None, Path.cwd(), COMMAND_LINE_RANK)
    return read_document(file) if file else Document(place)


def _reader(
    document: Document, file: Path, changes: Mapping[str, Any], blocked: Sequence[str]
) -> tuple[SpecReader, Registry]:
    reader = SpecReader(document, file, apply_overrides(document, changes, Path.cwd()))
    reader.refuse_secrets()
    files = reader.plugin_files()
    registry = collect(files, blocked=blocked)
    reader.refuse_failed_files(registry, files)
    return reader, registry
