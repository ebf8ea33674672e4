"""A dataset from one format into another: written into a folder of its own, or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from detkit.components import BuildContext, Dataset, DatasetComponent, ImageTransfer, Messages, Written
from detkit.engine.attribution import attributed
from detkit.errors import DataError, UserError, did_you_mean
from detkit.plugins import Offered, Registry
from detkit.spec.model import Use


@dataclass(frozen=True, slots=True)
class Converted:
    """A dataset that was written.

    Attributes:
        source, target: names of the formats' components. folder: where it is.
        splits: that the data brings, as name to number of images. written: what is in the folder.
    """

    source: str
    target: str
    folder: Path
    class_names: tuple[str, ...]
    splits: dict[str, int]
    written: Written

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "from": self.source,
            "to": self.target,
            "output": str(self.folder),
            "images": self.written.images,
            "objects": self.written.objects,
            "class_names": list(self.class_names),
            "splits": self.splits,
            "losses": [asdict(loss) for loss in self.written.losses],
        }


def convert(
    use: Use,
    registry: Registry,
    target: str,
    folder: Path,
    *,
    transfer: ImageTransfer,
    offline: bool = False,
    spec_folder: Path,
    messages: Messages,
) -> Converted:
    """Write the dataset of `use` into a folder, in the format of the component named `target`.

    Raises:
        UserError: the folder is there and not empty, or the format cannot be written.
        DataError: something in the dataset cannot be read, or not be put into the format; the folder is not made.
    """
    writer = _writer(registry, target)
    refuse_taken(folder)
    context = BuildContext(spec_folder=spec_folder, offline=offline, messages=messages)
    dataset = built(use, context)
    write = _of(registry, target).write
    assert write is not None
    goal = Use(key=target, kind="dataset", offered=writer, options=use.options)
    with _whole(folder) as unfinished, attributed(goal, "writing the dataset"):
        written = write(dataset, unfinished, transfer, messages)
    splits = {name: len(indices) for name, indices in (dataset.splits or {}).items()}
    return Converted(use.key, target, folder, dataset.class_names, splits, written)


def _writer(registry: Registry, target: str) -> Offered:
    can = [name for name in registry.names("dataset") if _of(registry, name).write is not None]
    if target in registry.names("dataset") and target not in can:
        raise UserError(f"{target} is a dataset that is only read; these formats can be written: {', '.join(can)}")
    if target not in can:
        raise UserError(f"no format named {target!r} can be written{did_you_mean(target, can)}")
    return registry.find("dataset", target)


def _of(registry: Registry, name: str) -> DatasetComponent[Any]:
    component = registry.find("dataset", name).component
    assert isinstance(component, DatasetComponent)
    return component


def refuse_taken(folder: Path) -> None:
    """Refuse to write into what is there.

    Raises:
        UserError: the path is a file, or a folder that is not empty.
    """
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if os.path.lexists(folder):
        what = "is not empty" if folder.is_dir() else "is there and is no folder"
        raise UserError(f"{folder} {what}: nothing is overwritten; name a folder that is not there")


def built(use: Use, context: BuildContext) -> Dataset:
    """The dataset by itself, checked by its component, as it is before boxes without area are treated.

    Raises:
        DataError: something in it cannot be read. ComponentError: its component failed.
    """
    component = use.offered.component
    if component.check is not None:
        with attributed(use, "checking its options"):
            component.check(use.options, context)
    with attributed(use, "building the dataset"):
        dataset = component.build(use.options, context)
    if not isinstance(dataset, Dataset):
        raise DataError(f"{use.title} built a {type(dataset).__name__}; it must be a detkit.Dataset")
    return dataset


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """A folder beside the one that is wanted, that takes its place when all is in it, and is gone otherwise."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        inner = unfinished / folder.name
        inner.mkdir()  # with the permissions that people's folders have; mkdtemp's can be entered by its owner only
        yield inner
        inner.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
