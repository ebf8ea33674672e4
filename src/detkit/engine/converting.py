"""A dataset from one format into another."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from detkit.components import BuildContext, Dataset, ImageTransfer, Messages, Written
from detkit.engine.attribution import attributed
from detkit.engine.writing import find_writer, refuse_taken, write_dataset
from detkit.errors import DataError
from detkit.plugins import Registry
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
    writer = find_writer(registry, target)
    refuse_taken(folder)
    context = BuildContext(spec_folder=spec_folder, offline=offline, messages=messages)
    dataset = built(use, context)
    written = write_dataset(dataset, writer, folder, transfer=transfer, messages=messages)
    splits = {name: len(indices) for name, indices in (dataset.splits or {}).items()}
    return Converted(use.key, target, folder, dataset.class_names, splits, written)


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
