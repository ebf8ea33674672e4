"""splits.json: which images train, which select, which score; in an experiment with folds, of each of them.

Without folds there is a list for each split. With folds there is the test split, and for each fold its validation
split, `folds`: what a fold trains on is the validation splits of the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

from detkit.data.splits import Division
from detkit.data.types import ImageInfo
from detkit.errors import RecordError
from detkit.record.files import read_json
from detkit.record.layout import ExperimentLayout

SplitName = Literal["train", "validation", "test"]
SPLIT_NAMES: tuple[SplitName, ...] = ("train", "validation", "test")


def as_split(name: str) -> SplitName:
    """A name that a file of the record has.

    Raises:
        ValueError: there is no such split.
    """
    for known in SPLIT_NAMES:
        if name == known:
            return known
    raise ValueError(f"no split is named {name!r}")


class SplitRow(TypedDict):
    """One image: its place in the dataset, and its id."""

    index: int
    image_id: int


def splits_content(division: Division, infos: Sequence[ImageInfo]) -> dict[str, Any]:
    """Plain values of splits.json."""

    def rows(indices: Sequence[int]) -> list[SplitRow]:
        return [SplitRow(index=index, image_id=infos[index].image_id) for index in indices]

    if not division.folded:
        (splits,) = division.folds
        return {name: rows(getattr(splits, name)) for name in SPLIT_NAMES}
    folds = [{"validation": rows(splits.validation)} for splits in division.folds]
    return {"test": rows(division.test), "folds": folds}


def read_split_rows(layout: ExperimentLayout, fold: int | None) -> dict[SplitName, list[SplitRow]]:
    """The images of each split, as a run sees them.

    Args:
        fold: of the run, counted from 1; None in an experiment without folds.

    Raises:
        RecordError: the file is missing or damaged, or has no such fold.
    """
    content = read_json(layout.splits)
    try:
        if "folds" not in content:
            if fold is not None:
                raise RecordError(f"{layout.splits} has no folds, and fold {fold} is asked for: it was changed since")
            return {name: list(content[name]) for name in SPLIT_NAMES}
        folds = [fold_rows["validation"] for fold_rows in content["folds"]]
        if fold is None:
            raise RecordError(f"{layout.folder} has {len(folds)} folds, each with splits of its own: name a run of it")
        if not 1 <= fold <= len(folds):
            raise RecordError(f"{layout.splits} has folds 1 to {len(folds)}, and not {fold}: it was changed since")
        others = [row for number, rows in enumerate(folds, 1) if number != fold for row in rows]
        return {
            "train": sorted(others, key=lambda row: int(row["index"])),
            "validation": list(folds[fold - 1]),
            "test": list(content["test"]),
        }
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(f"{layout.splits} is damaged: {type(error).__name__}: {error}") from error


def read_folds(layout: ExperimentLayout) -> dict[int, int] | None:
    """Image id to the fold that validates it, without the images of the test split; None without folds.

    Raises:
        RecordError: the file is missing or damaged.
    """
    content: Mapping[str, Any] = read_json(layout.splits)
    if "folds" not in content:
        return None
    try:
        return {
            row["image_id"]: number for number, rows in enumerate(content["folds"], 1) for row in rows["validation"]
        }
    except (KeyError, TypeError) as error:
        raise RecordError(f"{layout.splits} is damaged: {type(error).__name__}: {error}") from error
