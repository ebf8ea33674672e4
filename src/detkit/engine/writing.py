"""A dataset into a folder of its own, in a format that can be written: whole, or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from detkit.components import Dataset, DatasetComponent, ImageTransfer, Messages, Options, Written
from detkit.engine.attribution import attributed
from detkit.errors import UserError, did_you_mean
from detkit.plugins import Offered, Registry
from detkit.spec.model import Use


def write_dataset(
    dataset: Dataset, writer: Offered, folder: Path, *, transfer: ImageTransfer, messages: Messages
) -> Written:
    """Write a dataset into a folder that is not there, or empty.

    Args:
        writer: as `find_writer` gives it.

    Raises:
        UserError: the folder is there and not empty.
        DataError: something in the dataset cannot be read, or not be put into the format; the folder is not made.
    """
    refuse_taken(folder)
    component = dataset_component(writer)
    assert component.write is not None
    goal = Use(key=component.name, kind="dataset", offered=writer, options=Options())
    with whole_folder(folder) as unfinished, attributed(goal, "writing the dataset"):
        return component.write(dataset, unfinished, transfer, messages)


def find_writer(registry: Registry, target: str) -> Offered:
    """The component of this name, which can write.

    Raises:
        UserError: there is none, or it only reads; names those that can.
    """
    can = writable(registry)
    if target in registry.names("dataset") and target not in can:
        raise UserError(f"{target} is a dataset that is only read; these formats can be written: {', '.join(can)}")
    if target not in can:
        raise UserError(f"no format named {target!r} can be written{did_you_mean(target, can)}")
    return registry.find("dataset", target)


def writable(registry: Registry) -> list[str]:
    """The formats that can be written."""
    names = registry.names("dataset")
    return [name for name in names if dataset_component(registry.find("dataset", name)).write is not None]


def dataset_component(offered: Offered) -> DatasetComponent[Any]:
    """The component, which is a dataset's."""
    component = offered.component
    assert isinstance(component, DatasetComponent)
    return component


def refuse_taken(folder: Path) -> None:
    """Refuse to write into what is there.

    Raises:
        UserError: the path is a file, a folder that is not empty, or where nothing can be made.
    """
    if os.path.lexists(folder) and not (folder.is_dir() and not any(folder.iterdir())):
        what = "is not empty" if folder.is_dir() else "is there and is no folder"
        raise UserError(f"{folder} {what}: nothing is overwritten; name a folder that is not there")
    above = next(path for path in Path(os.path.abspath(folder)).parents if os.path.lexists(path))
    if not above.is_dir():
        raise UserError(f"{folder} cannot be made: {above} is no folder")
    if not os.access(above, os.W_OK | os.X_OK):
        raise UserError(f"{folder} cannot be made: nobody lets you write in {above}")


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A folder beside the one that is wanted, that takes its place when all is in it, and is gone otherwise.

    Raises:
        UserError: no folder can be made there.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise UserError(f"{folder} cannot be made: {error.strerror}") from error
    try:
        inner = unfinished / folder.name
        inner.mkdir()  # with the permissions that people's folders have; mkdtemp's can be entered by its owner only
        yield inner
        inner.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
