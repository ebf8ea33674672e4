"""Datasets into the formats: each function writes any dataset into an empty folder and says what the format lost."""

from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from detkit import DataError, Dataset, ImageTransfer, Messages, Written
from detkit.data.boxes import convert_boxes
from detkit.data.coco import ground_truth_json
from detkit.data.targets import decode_masks
from detkit.data.types import Annotation
from detkit_formats.writing import REST, Item, Ledger, Writing, place_of, whole_pixels, without_masks

#: The splits as each format's tools call them.
SHORT: Mapping[str, str] = {"train": "train", "validation": "val", "test": "test", "": REST}


# --- coco ------------------------------------------------------------------------------------------------------------


def write_coco(dataset: Dataset, folder: Path, transfer: ImageTransfer, messages: Messages) -> Written:
    """`images/` and `annotations/instances_SPLIT.json`, or `instances.json` where there are no splits."""
    writing = Writing(dataset, transfer, messages, flat=False)
    for item in writing.each():
        writing.place(item, folder / "images" / item.name)
    (folder / "annotations").mkdir()
    parts: dict[str, list[Item]] = {}
    for item in writing.items:
        parts.setdefault(item.split, []).append(item)
    first = 0
    for split, items in parts.items():
        name = f"instances_{SHORT[split]}.json" if writing.has_splits else "instances.json"
        content = _coco_json(items, dataset.class_names, first)
        first += len(content["annotations"])
        (folder / "annotations" / name).write_text(json.dumps(content), encoding="utf-8")
    return writing.written()


def _coco_json(items: Sequence[Item], class_names: Sequence[str], first: int) -> dict[str, Any]:
    content = ground_truth_json((replace(item.info, name=item.name) for item in items), class_names)
    for row in content["annotations"]:
        row["id"] += first  # unique over all splits
        row.pop("corners", None)  # detkit's own, to the last bit of a double
        row.setdefault("segmentation", [])
    return content


# --- voc -------------------------------------------------------------------------------------------------------------


def write_voc(dataset: Dataset, folder: Path, transfer: ImageTransfer, messages: Messages) -> Written:
    """`JPEGImages/`, `Annotations/`, `ImageSets/Main/` where there are splits; `labels.txt`, the order of classes.

    Boxes are edges, rounded to whole pixels; a crowd is marked difficult.
    """
    writing = Writing(dataset, transfer, messages, flat=True)
    for name in ("Annotations", "JPEGImages"):
        (folder / name).mkdir()
    for item in writing.each():
        writing.place(item, folder / "JPEGImages" / item.name)
        tree = ET.ElementTree(_voc_xml(item, dataset.class_names, writing.ledger))
        ET.indent(tree, "\t")
        tree.write(folder / "Annotations" / f"{item.stem}.xml", encoding="utf-8")
    if writing.has_splits:
        _write_sets(writing.items, folder / "ImageSets" / "Main")
    (folder / "labels.txt").write_text("".join(f"{name}\n" for name in dataset.class_names), encoding="utf-8")
    writing.tell_ids()
    if any(annotation.iscrowd for item in writing.items for annotation in item.info.annotations):
        return writing.written(difficult="crowd")
    return writing.written()


def _voc_xml(item: Item, class_names: Sequence[str], ledger: Ledger) -> ET.Element:
    info = item.info
    root = ET.Element("annotation")
    _text(root, "folder", "JPEGImages")
    _text(root, "filename", item.name)
    size = ET.SubElement(root, "size")
    for key, value in (("width", info.width), ("height", info.height), ("depth", 3)):
        _text(size, key, str(value))
    _text(root, "segmented", "0")
    for number, full in enumerate(info.annotations):
        where = place_of(item, full, number)
        annotation = without_masks(full, ledger, where)
        box = whole_pixels(annotation.box)
        if box != annotation.box:
            ledger.add("fractions of pixels", "are rounded: edges move by half a pixel at most", where)
        if annotation.iscrowd:
            ledger.add("crowds", "become difficult objects", where)
        node = ET.SubElement(root, "object")
        _text(node, "name", class_names[annotation.label - 1])
        _text(node, "pose", "Unspecified")
        _text(node, "truncated", "0")
        _text(node, "difficult", str(int(annotation.iscrowd)))
        bndbox = ET.SubElement(node, "bndbox")
        for key, edge in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True):
            _text(bndbox, key, f"{edge:.10g}")
    return root


def _text(parent: ET.Element, name: str, text: str) -> None:
    ET.SubElement(parent, name).text = text


def _write_sets(items: Sequence[Item], folder: Path) -> None:
    folder.mkdir(parents=True)
    for split, name in (("train", "train"), ("validation", "val"), ("test", "test")):
        members = [item.stem for item in items if item.split == split]
        if members:
            (folder / f"{name}.txt").write_text("".join(f"{member}\n" for member in members), encoding="utf-8")


# --- yolo ------------------------------------------------------------------------------------------------------------


def write_yolo(dataset: Dataset, folder: Path, transfer: ImageTransfer, messages: Messages) -> Written:
    """`images/SPLIT/`, `labels/SPLIT/` and `data.yaml`; without splits `images/` and `labels/`.

    Boxes are clipped to the image, as readers of YOLO want them; what lies outside of it is left out. Crowds are left
    out too, as Ultralytics' own converter does, for YOLO would take each for one object.
    """
    import yaml

    writing = Writing(dataset, transfer, messages, flat=True)
    objects = 0
    for item in writing.each():
        inner = Path(SHORT[item.split]) if writing.has_splits else Path()
        writing.place(item, folder / "images" / inner / item.name)
        lines = _yolo_lines(item, writing.ledger)
        objects += len(lines)
        labels = folder / "labels" / inner
        labels.mkdir(parents=True, exist_ok=True)
        (labels / f"{item.stem}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    there = {item.split for item in writing.items} if writing.has_splits else set()
    # No path: without one Ultralytics takes the file's own folder; "." would be that in which it is started.
    content: dict[str, Any] = {
        SHORT[split]: f"images/{SHORT[split]}" for split in ("train", "validation", "test") if split in there
    }
    content["names"] = dict(enumerate(dataset.class_names))
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    (folder / "data.yaml").write_text(text, encoding="utf-8")
    if not writing.has_splits:
        writing.ledger.add("splits", "there are none: add train and val to data.yaml before others train on it")
    writing.tell_ids()
    return writing.written(objects)


def _yolo_lines(item: Item, ledger: Ledger) -> list[str]:
    width, height = item.info.width, item.info.height
    labels, boxes = [], []
    for number, full in enumerate(item.info.annotations):
        where = place_of(item, full, number)
        if full.iscrowd:
            ledger.add("crowds", "are left out", where)
            continue
        annotation = without_masks(full, ledger, where)
        x0, y0, x1, y1 = annotation.box
        box = (_within(x0, width), _within(y0, height), _within(x1, width), _within(y1, height))
        if annotation.area and not (box[2] > box[0] and box[3] > box[1]):
            ledger.add("objects outside of the image", "are left out", where)
            continue
        if box != annotation.box:
            ledger.add("boxes that reach out of the image", "are clipped to it", where)
        labels.append(annotation.label - 1)
        boxes.append(box)
    shares = convert_boxes(boxes, from_="pascal_voc", to="yolo", size=(height, width)).tolist()
    return [
        " ".join([str(label), *(f"{share:.10g}" for share in row)]) for label, row in zip(labels, shares, strict=True)
    ]


def _within(value: float, limit: int) -> float:
    return min(max(value, 0.0), float(limit))


# --- csv -------------------------------------------------------------------------------------------------------------


def write_csv(dataset: Dataset, folder: Path, transfer: ImageTransfer, messages: Messages) -> Written:
    """`images/` and `labels.csv`, a row an object, with a column of splits where there are some; edges in pixels."""
    writing = Writing(dataset, transfer, messages, flat=False)
    columns = ["filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax"]
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow([*columns, "split"] if writing.has_splits else columns)
        for item in writing.each():
            writing.place(item, folder / "images" / item.name)
            split = [SHORT[item.split]] if writing.has_splits else []
            image = [item.name, item.info.width, item.info.height]
            table.writerows([*image, *row, *split] for row in _csv_rows(item, dataset.class_names, writing.ledger))
    writing.tell_ids()
    used = {item.label for one in writing.items for item in one.info.annotations}
    unused = [name for number, name in enumerate(dataset.class_names, 1) if number not in used]
    writing.ledger.add("classes", "that no object has are not kept", ", ".join(unused), count=len(unused))
    if list(dataset.class_names) != sorted(dataset.class_names):
        writing.ledger.add("the order of classes", 'is the alphabet\'s; "classes" in the spec restores it')
    elif not unused:
        return writing.written()
    return writing.written(classes=list(dataset.class_names))


def _csv_rows(item: Item, class_names: Sequence[str], ledger: Ledger) -> list[list[str | float]]:
    """Class and box of each object; one row of empty cells where there is none."""
    rows: list[list[str | float]] = []
    for number, full in enumerate(item.info.annotations):
        where = place_of(item, full, number)
        if full.iscrowd:
            ledger.add("crowds", "become single objects", where)
        annotation = without_masks(full, ledger, where)
        rows.append([class_names[annotation.label - 1], *annotation.box])
    return rows or [["", "", "", "", ""]]


# --- masks -----------------------------------------------------------------------------------------------------------


def write_masks(dataset: Dataset, folder: Path, transfer: ImageTransfer, messages: Messages) -> Written:
    """`images/`, `masks/` and `objects.json` with the classes; with splits `SPLIT/images/` and `SPLIT/masks/`.

    Raises:
        DataError: the dataset has no masks.
    """
    if "masks" not in dataset.provides:
        raise DataError("the dataset has boxes and no masks: pictures of masks cannot be made of it")
    writing = Writing(dataset, transfer, messages, flat=True)
    mapping: dict[str, dict[str, str]] = {}
    for item in writing.each():
        inner = Path(SHORT[item.split]) if writing.has_splits else Path()
        writing.place(item, folder / inner / "images" / item.name)
        painted = _paint(item, folder / inner / "masks" / f"{item.stem}.png", writing.ledger)
        names = {str(number): dataset.class_names[annotation.label - 1] for number, annotation in painted.items()}
        mapping[(inner / item.name).as_posix()] = names
    content = {"classes": list(dataset.class_names), "objects": mapping}
    (folder / "objects.json").write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
    writing.tell_ids()
    return writing.written(sum(map(len, mapping.values())))


def _paint(item: Item, file: Path, ledger: Ledger) -> dict[int, Annotation]:
    """The picture of an image's objects; gives the numbers of those that can be seen in it."""
    from PIL import Image

    info = item.info
    ids = np.zeros((info.height, info.width), np.uint16)
    painted = {}
    for number, annotation in enumerate(info.annotations, 1):
        if annotation.mask is not None:
            (mask,) = decode_masks([annotation.mask], info.height, info.width)
            ids[mask != 0] = number
            painted[number] = annotation
    left = np.bincount(ids.ravel(), minlength=len(info.annotations) + 1)
    for number, annotation in list(painted.items()):
        where = place_of(item, annotation, number - 1)
        if not left[number]:
            ledger.add("objects", "have no pixel that others do not hide, and are left out", where)
            del painted[number]
            continue
        (mask,) = decode_masks([annotation.mask], info.height, info.width) if annotation.mask else (ids,)
        if left[number] < np.count_nonzero(mask):
            ledger.add("masks", "lose pixels to others that lie over them", where)
        if annotation.iscrowd:
            ledger.add("crowds", "become single objects", where)
        if not _is_around(annotation, ids == number):
            ledger.add("boxes", "become those around the masks", where)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(ids if len(info.annotations) > np.iinfo(np.uint8).max else ids.astype(np.uint8)).save(file)
    return painted


def _is_around(annotation: Annotation, mask: Any) -> bool:
    """Whether the object's box is that around its mask, to half a pixel."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    around = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    return all(abs(value - edge) <= 0.5 for value, edge in zip(annotation.box, around, strict=True))
