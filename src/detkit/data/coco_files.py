"""Files in COCO's form from anybody: ground truth ("instances") and results, verified, as evaluation wants them.

Boxes, areas and scores are float64 just as they were read, so that an evaluator computes what pycocotools computes of
the same files. pycocotools takes many mistakes for objects that are not there; here all of them are told at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from detkit.data.coco_json import described
from detkit.data.coco_regions import read_regions
from detkit.data.coco_rows import Faults, Floats, Integers, Rows
from detkit.data.faults import Fault
from detkit.data.targets import mask_areas
from detkit.data.types import Annotation, ImageInfo, Prediction
from detkit.errors import DataError

#: An image's side, pixels; more is a mistake, or would overflow pycocotools.
LONGEST_SIDE = 1_000_000
#: The lists that make ground truth.
TRUTH_KEYS = ("images", "annotations", "categories")


@dataclass(frozen=True, slots=True)
class CocoTruth:
    """Ground truth as a file in COCO's form states it.

    Attributes:
        class_names: in the order of the category ids. category_ids: int64 [K]; label k is `category_ids[k - 1]`.
        infos: the images in the order of the file, each under its own id, named by its `file_name`.
        remarks: what a person should know: what the file leaves out, and what was taken instead.
    """

    class_names: tuple[str, ...]
    category_ids: Integers
    infos: tuple[ImageInfo, ...]
    remarks: tuple[str, ...]


# --- ground truth ----------------------------------------------------------------------------------------------------


def parse_truth(
    content: Any,
    file: Path,
    *,
    masks: bool = True,
    all_masks: bool = False,
    leave_out: Callable[[Fault], None] | None = None,
) -> CocoTruth:
    """Ground truth from what its file holds.

    What pycocotools' users expect is filled in: without `iscrowd` an object is no crowd, without `area` it is that of
    its mask, else of its box, without `bbox` it is the one around its mask.

    Args:
        file: for messages.
        masks: make masks of segmentations; otherwise only where an area or a box is to be taken from them.
        all_masks: refuse objects without a mask, where others have one.
        leave_out: `BuildContext.leave_out`: annotations at fault are told there and left out, ids that repeat are told.

    Raises:
        DataError: it is not of that form; up to 20 faults, each with its entry.
    """
    lists = _truth_lists(content, file)
    faults = Faults(file)
    categories = Rows(lists["categories"], "categories", ("id",), faults)
    category_ids, names = _categories(categories)
    images = Rows(lists["images"], "images", ("id",), faults)
    infos = _images(images)
    faults.raise_any()  # what is wrong with the annotations may follow from it
    image_ids = np.array([info.image_id for info in infos], dtype=np.int64)
    rows = lists["annotations"]
    if leave_out is not None:
        faults = Faults(file, sys.maxsize)
        rows = _numbered(rows, file, leave_out)
    annotations = Rows(rows, "annotations", ("id",), faults)
    objects = _Objects(annotations, image_ids, category_ids, infos, masks=masks)
    if all_masks:
        objects.refuse_unmasked()
    if leave_out is None:
        faults.raise_any()
    else:
        for text in faults.texts():
            leave_out(Fault(file, "", text, "object"))
    order = np.argsort(category_ids, kind="stable")
    labels = np.argsort(order, kind="stable") + 1
    good = np.flatnonzero(annotations.good)
    items = objects.annotations(labels)
    by_image = _grouped([items[index] for index in good.tolist()], objects.images[good], len(infos))
    return CocoTruth(
        class_names=tuple(names[place] for place in order.tolist()),
        category_ids=category_ids[order],
        infos=tuple(
            ImageInfo(info.image_id, None, info.width, info.height, tuple(own), info.name)
            for info, own in zip(infos, by_image, strict=True)
        ),
        remarks=objects.remarks(),
    )


def _truth_lists(content: Any, file: Path) -> Mapping[str, list[Any]]:
    if _looks_like_results(content):
        raise DataError(
            f"{file} is a list of detections, as results are, and no ground truth: are the two files swapped?"
        )
    if not isinstance(content, dict):
        raise DataError(f"{file} is no ground truth in COCO's form: {described(content)}; {_TRUTH}")
    missing = [key for key in TRUTH_KEYS if not isinstance(content.get(key), list)]
    if missing:
        raise DataError(f"{file} has no list {', '.join(map(repr, missing))}: {described(content)}; {_TRUTH}")
    for key in ("images", "categories"):
        if not content[key]:
            raise DataError(f"{file} has no {key}: the list is empty")
    return content


_TRUTH = "it must be an object with the lists " + ", ".join(map(repr, TRUTH_KEYS))


def _numbered(rows: Sequence[Any], file: Path, leave_out: Callable[[Fault], None]) -> list[Any]:
    """The annotations, each but the first of an id under a new one."""
    first: dict[int, int] = {}
    numbered = list(rows)
    free = 1 + max((row["id"] for row in rows if isinstance(row, dict) and type(row.get("id")) is int), default=0)
    for index, row in enumerate(rows):
        if not isinstance(row, dict) or type(row.get("id")) is not int:
            continue  # a fault of its own
        before = first.setdefault(row["id"], index)
        if before != index:
            text = f"has the id {row['id']} of annotations[{before}] too; ids must differ"
            leave_out(Fault(file, f"annotations[{index}]", text, "id"))
            numbered[index] = {**row, "id": free}
            free += 1
    return numbered


def _categories(rows: Rows) -> tuple[Integers, list[str]]:
    ids = rows.integers("id")
    rows.refuse_repeated("id", ids)
    names = [_printable(name or "") for name in rows.values("name", str)]
    rows.refuse(np.array([not name.strip() for name in names]), lambda index: "has an empty 'name'")
    first = {name: index for index, name in reversed(list(enumerate(names)))}
    again = np.array([first[name] != index for index, name in enumerate(names)])
    rows.refuse(
        again,
        lambda index: f"has the name {names[index]!r} of categories[{first[names[index]]}] too; names must differ",
    )
    return ids, names


def _images(rows: Rows) -> list[ImageInfo]:
    ids = rows.integers("id")
    rows.refuse_repeated("id", ids)
    sides = [rows.integers(side) for side in ("width", "height")]
    for side, values in zip(("width", "height"), sides, strict=True):
        rows.refuse(
            (values < 1) | (values > LONGEST_SIDE),
            lambda index, side=side, values=values: (  # type: ignore[misc]  # bound per pass
                f"has {side!r} {values[index]}; it must be from 1 to {LONGEST_SIDE:,} pixels"
            ),
        )
    names = [_printable(name or "") for name in rows.values("file_name", str, optional=True)]
    columns = zip(ids.tolist(), *(side.tolist() for side in sides), names, strict=True)
    return [ImageInfo(image_id, None, width, height, name=name) for image_id, width, height, name in columns]


class _Objects:
    """The annotations of a ground truth as columns, checked; faults are with the rows.

    Args:
        masks: whether annotations get masks.

    Attributes:
        images: int64 [N], the place of each object's image.
    """

    def __init__(
        self, rows: Rows, image_ids: Integers, category_ids: Integers, infos: Sequence[ImageInfo], *, masks: bool
    ) -> None:
        self._rows = rows
        self._ids = rows.integers("id")
        rows.refuse_repeated("id", self._ids)
        self.images = rows.positions("image_id", image_ids, "images")
        self._categories = rows.positions("category_id", category_ids, "categories")
        self._crowds = np.array([flag or 0 for flag in rows.values("iscrowd", int, bool, optional=True)], dtype=object)
        rows.refuse(
            ~np.isin(self._crowds, (0, 1)), lambda index: f"has 'iscrowd' {self._crowds[index]}; it must be 0 or 1"
        )
        stated = rows.numbers("area", optional=True)
        rows.refuse(stated < 0, lambda index: f"has a negative 'area', {stated[index]}")
        self._unstated = np.isnan(stated)
        self._regions = read_regions(rows, self.images, infos, self._unstated | masks)
        self._areas = self._filled(stated)
        self._masks = self._regions.masks.tolist() if masks else [None] * len(rows)

    def refuse_unmasked(self) -> None:
        """Note a fault of each object without a mask, where others have one."""
        masked = self._regions.masked
        self._rows.refuse(
            ~masked & masked.any(),
            lambda _index: (
                "has no 'segmentation', which others have: give every object a mask, or evaluate boxes only"
                " (masks = 'off')"
            ),
        )

    def _filled(self, stated: Floats) -> Floats:
        """Every object's area: as stated, else of its mask, else of its box."""
        boxes, masked = self._regions.boxes, self._unstated & self._regions.masked
        with np.errstate(over="ignore", invalid="ignore"):  # of rows at fault
            areas = np.where(self._unstated, boxes[:, 2] * boxes[:, 3], stated)
        areas[masked] = mask_areas(self._regions.masks[masked].tolist())
        return areas

    def annotations(self, labels: Integers) -> list[Annotation]:
        """One each; `labels` is the label of each category, by its place in the file."""
        columns = zip(
            labels[self._categories].tolist(),
            self._regions.corners.tolist(),
            self._regions.boxes.tolist(),
            self._areas.tolist(),
            self._crowds.tolist(),
            self._masks,
            self._ids.tolist(),
            strict=True,
        )
        return [
            Annotation(
                label=label,
                box=(far[0], far[1], far[2], far[3]),
                area=area,
                iscrowd=bool(crowd),
                mask=mask,
                source=f"annotation {number}",
                bbox=(box[0], box[1], box[2], box[3]),
            )
            for label, far, box, area, crowd, mask, number in columns
        ]

    def remarks(self) -> tuple[str, ...]:
        """What the file leaves out, and what pycocotools would make of it."""
        remarks = []
        without = int(self._unstated.sum())
        if without:
            told = f"{without} of {len(self._unstated)} annotations state no 'area'"
            remarks.append(f"{told}: it is that of their mask where they have one, else of their box")
        if (self._ids == 0).any():
            remarks.append("an annotation has the id 0: pycocotools takes a match with it for none; here it counts")
        return tuple(remarks)


# --- results ---------------------------------------------------------------------------------------------------------


def parse_results(content: Any, file: Path, truth: CocoTruth) -> list[Prediction]:
    """Detections from what a file of results holds: one prediction for each image of `truth.infos`, in that order.

    Each detection has a box, a mask, or both; where it has no box, it is the one around its mask. Those of an image
    stay in the order of the file, which breaks ties between equal scores.

    Args:
        file: for messages. truth: the images and categories that the detections name.

    Raises:
        DataError: it is not of that form; up to 20 faults, each with its entry.
    """
    faults = Faults(file)
    rows = Rows(_result_list(content, file), "", ("image_id", "category_id"), faults)
    image_ids = np.array([info.image_id for info in truth.infos], dtype=np.int64)
    images = rows.positions("image_id", image_ids, "image ids of the ground truth")
    labels = rows.positions("category_id", truth.category_ids, "category ids of the ground truth") + 1
    scores = rows.numbers("score")
    rows.refuse(
        (scores < 0) | (scores > 1),
        lambda index: f"has 'score' {scores[index]}; scores lie in 0..1 (divide percentages by 100)",
    )
    masked = holds_masks(content)
    regions = read_regions(rows, images, truth.infos, np.full(len(rows), masked, np.bool_))
    if masked:
        rows.refuse(
            ~regions.masked,
            lambda _index: "has no 'segmentation', which others have: give all detections a mask, or none",
        )
    faults.raise_any()
    order = np.argsort(images, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(images, minlength=len(truth.infos)))[:-1])
    corners = regions.corners
    return [
        Prediction(
            image_id=info.image_id,
            boxes=corners[part],
            labels=labels[part],
            scores=scores[part],
            masks=regions.masks[part].tolist() if masked else None,
            bboxes=regions.boxes[part],
        )
        for info, part in zip(truth.infos, parts, strict=True)
    ]


def holds_masks(content: Any) -> bool:
    """Whether any of the results has a mask."""
    return isinstance(content, list) and any(isinstance(row, dict) and row.get("segmentation") for row in content)


def without_boxes(content: Sequence[Any]) -> int:
    """How many of the results state no box."""
    return sum(not row.get("bbox") for row in content)


def _result_list(content: Any, file: Path) -> list[Any]:
    if isinstance(content, dict) and content.keys() >= {"images", "annotations"}:
        raise DataError(
            f"{file} is a ground truth ({', '.join(content)}) and no list of detections: are the two files swapped?"
        )
    if not isinstance(content, list):
        raise DataError(
            f"{file} is no results file in COCO's form: {described(content)}; it must be a list of detections, each"
            " with 'image_id', 'category_id', 'score', and 'bbox' or 'segmentation'"
        )
    return content


# --- what both have --------------------------------------------------------------------------------------------------


def _grouped(items: Sequence[Annotation], images: Integers, count: int) -> list[list[Annotation]]:
    groups: list[list[Annotation]] = [[] for _ in range(count)]
    for item, image in zip(items, images.tolist(), strict=True):
        groups[image].append(item)
    return groups


def _looks_like_results(content: Any) -> bool:
    return isinstance(content, list) and bool(content) and isinstance(content[0], dict) and "score" in content[0]


def _printable(text: str) -> str:
    """Text as UTF-8 has it: JSON may name half of a character, and files may be named by bytes that are no text."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
