"""Datasets in YOLO's form: a text file an image, a line an object. https://docs.ultralytics.com/datasets/detect/

A line is `class cx cy width height`, or `class x y x y x y ...` for a polygon; the class is a number from 0, the others
are shares of the image's width and height, which is that of the image turned upright (Ultralytics' `exif_size`).
"""

from __future__ import annotations

import os
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from detkit import BOXES, BOXES_AND_MASKS, DataError, Dataset, Messages
from detkit.data.boxes import convert_boxes
from detkit.data.classes import chosen_classes, labels_by_name, unlisted
from detkit.data.coco import as_rle
from detkit.data.faults import Fault, settle_faults
from detkit.data.file_dataset import (
    FileDataset,
    ImageFile,
    Reading,
    files_ending,
    image_files_in,
    image_ids,
    is_file,
    is_there,
    missing_file,
    printable,
)
from detkit.data.remarks import Remark
from detkit.data.targets import mask_areas
from detkit.data.types import Annotation
from detkit_formats import YoloOptions
from detkit_formats.common import LeaveOut, plain_number, reading_of, refuse_not_text, tell_left_out, with_bar

SPLITS = ("train", "validation", "test")
#: A split's names in YAML files and of folders.
SPLIT_NAMES: Mapping[str, Sequence[str]] = {
    "train": ("train",),
    "validation": ("val", "valid", "validation"),
    "test": ("test",),
}
YAML_NAMES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
#: Text files beside labels that are none.
NO_LABELS = frozenset({"classes.txt", "labels.txt", "obj.names", "readme.txt", "README.txt"})
#: How far a share may lie outside 0..1: tools round.
SLACK = 0.01
BOX, POLYGON = 4, 6
#: Of a wrong value so much is shown.
SHOWN = 80
#: Beyond any list of classes, and digits that any of their numbers has.
MOST_CLASSES, LONGEST_NUMBER = 1_000_000, 8


@dataclass(frozen=True, slots=True)
class Labelled:
    """An object as its line states it: line from 1, class number, 4 numbers of a box or 6 and more of a polygon."""

    line: int
    number: int
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """An image and its label file, which need not be there. `split` is "" where there are none."""

    split: str
    image: Path
    labels: Path


@dataclass(frozen=True, slots=True)
class Layout:
    """What a YAML file, or a folder without one, says. `names`: class number to name, None where nothing says."""

    root: Path
    parts: Sequence[tuple[str, Sequence[Path]]]
    names: Mapping[int, str] | None
    named_by: Path


def open_yolo(options: YoloOptions, messages: Messages, leave_out: LeaveOut = None) -> Dataset:
    """Read all files.

    Raises:
        DataError: a file or image is missing, or something in the files is wrong; everything at once.
    """
    layout = _layout(options, messages)
    faults: list[Fault] = []
    found = _images(layout, options, messages, faults)
    faults += _repeated(found, layout.named_by)
    lines = [_read_labels(one.labels, faults) for one in with_bar(messages, "Reading labels", found)]
    numbers = _class_names(layout, options, found, lines, faults)
    names = chosen_classes(list(numbers.values()), options.classes, f"{layout.named_by}: names")
    own = {number: labels_by_name(names).get(name) for number, name in numbers.items()}
    if options.unlisted == "error":
        faults += (
            Fault(one.labels, f"line {item.line}", unlisted(numbers[item.number], names))
            for one, items in zip(found, lines, strict=True)
            for item in items
            if item.number in own and own[item.number] is None
        )
    faults += (Fault(one.image, "", trouble, "image") for one in found if (trouble := missing_file(one.image)))
    gone = settle_faults(faults, leave_out)
    lines = [items for one, items in zip(found, lines, strict=True) if gone.isdisjoint((one.image, one.labels))]
    found = [one for one in found if gone.isdisjoint((one.image, one.labels))]
    keys = _keys(found, layout.root)
    files = [
        ImageFile(one.image, key, image_id) for one, key, image_id in zip(found, keys, image_ids(keys), strict=True)
    ]
    kept = [[item for item in items if own[item.number] is not None] for items in lines]
    tell_left_out(messages, sum(map(len, lines)) - sum(map(len, kept)), sum(map(len, lines)))
    _tell_strays(found, messages)
    masks = options.masks == "auto" and _all_polygons(kept, found, messages)
    labels = {number: label for number, label in own.items() if label is not None}
    return Yolo(names, files, found, kept, labels, masks=masks, reading=reading_of(options), splits=_splits(found))


class Yolo(FileDataset):
    """Args:
    found: each file's label file. lines: its objects. labels: of class numbers. masks: whether polygons are masks.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        files: Sequence[ImageFile],
        found: Sequence[Found],
        lines: Sequence[Sequence[Labelled]],
        labels: Mapping[int, int],
        *,
        masks: bool,
        reading: Reading,
        splits: Mapping[str, Sequence[int]] | None,
    ) -> None:
        provides = BOXES_AND_MASKS if masks else BOXES
        super().__init__(class_names, files, reading=reading, provides=provides, splits=splits)
        self._found, self._lines, self._labels, self._with_masks = tuple(found), tuple(lines), labels, masks

    def annotations(self, index: int, width: int, height: int) -> tuple[Annotation, ...]:
        items, name = self._lines[index], printable(self._found[index].labels.name)
        shares = [item.values if len(item.values) == BOX else (0.0,) * BOX for item in items]
        boxes = convert_boxes(shares, from_="yolo", to="pascal_voc", size=(height, width)).tolist()
        return tuple(
            self._boxed(item, box, name) if len(item.values) == BOX else self._outlined(item, name, width, height)
            for item, box in zip(items, boxes, strict=True)
        )

    def _boxed(self, item: Labelled, box: Sequence[float], name: str) -> Annotation:
        x0, y0, x1, y1 = box
        area = max(0.0, x1 - x0) * max(0.0, y1 - y0)
        return Annotation(self._labels[item.number], (x0, y0, x1, y1), area, source=f"{name} line {item.line}")

    def _outlined(self, item: Labelled, name: str, width: int, height: int) -> Annotation:
        points = [value * (height if place % 2 else width) for place, value in enumerate(item.values)]
        xs, ys = points[::2], points[1::2]
        boxed = self._boxed(item, (min(xs), min(ys), max(xs), max(ys)), name)
        if not self._with_masks:
            return boxed
        mask = as_rle([points], height, width)
        return replace(boxed, area=float(mask_areas([mask])[0]), mask=mask)


# --- where images are ------------------------------------------------------------------------------------------------


def _layout(options: YoloOptions, messages: Messages) -> Layout:
    file = options.data or (_yaml_in(options.root) if options.root is not None else None)
    if file is not None:
        layout = _of_yaml(file, messages)
    else:
        folder = options.root
        layout = Layout(folder or Path(), _parts_in(folder) if folder else (), None, folder or Path())
    given = [(split, [path]) for split in SPLITS if (path := getattr(options, split)) is not None]
    if given:
        root = layout.root if file or options.root else Path(os.path.commonpath([path for _, (path,) in given]))
        layout = Layout(root, given, layout.names, layout.named_by if file or options.root else root)
    if not layout.parts:
        raise DataError(f"{layout.named_by}: names no images; train and val must be folders or lists of images")
    return layout


def _yaml_in(root: Path) -> Path | None:
    if not root.is_dir():
        raise DataError(f"there is no folder {root}")
    named = [file for name in YAML_NAMES if (file := root / name).is_file()]
    others = files_ending(root, ".yaml", ".yml")
    if named or len(others) == 1:
        return (named or others)[0]
    if others:
        listed = ", ".join(file.name for file in others)
        raise DataError(f'{root} holds several YAML files, {listed}; name the one that is meant: data = "..."')
    return None


def _of_yaml(file: Path, messages: Messages) -> Layout:
    content = _read_yaml(file)
    text = content.get("path") or "."
    if not isinstance(text, str):
        raise DataError(f"{file}: path must be a folder, not {_short(text)}")
    stated = _expanded(text)
    root = file.parent / stated
    if not (is_there(root) and root.is_dir()):
        # Ultralytics resolves it against a folder of its own settings; who moves a dataset seldom changes the file.
        messages.info(f"{file}: its path {stated} is no folder here; that of the file is taken")
        root = file.parent
    root = Path(os.path.normpath(root))
    parts = []
    for split in SPLITS:
        value = next((content[name] for name in SPLIT_NAMES[split] if content.get(name)), None)
        if value is None:
            continue
        values = value if isinstance(value, list) else [value]
        if not all(isinstance(item, str) for item in values):
            raise DataError(f"{file}: {SPLIT_NAMES[split][0]} must be a path or a list of paths, not {_short(value)}")
        parts.append((split, [_resolved(root, file.parent, item) for item in values]))
    if parts and parts[0][0] != "train":
        raise DataError(f"{file} has no train: it must say where the training images are")
    return Layout(root, parts or _parts_in(root), _names_of(content, file), file)


def _short(value: Any) -> str:
    """A value for people, cut; a few lines of YAML can stand for a thousand million of them."""
    brief = reprlib.Repr()
    brief.maxlevel = 2
    return brief.repr(value)[:SHOWN]


def _expanded(text: str) -> Path:
    """A path with ~ for the home folder; as it is where there is no such home."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


def _read_yaml(file: Path) -> Mapping[str, Any]:
    import yaml

    try:
        # Every scalar is text: to YAML 1.1 a class named "no" would be false, and "1.0" a number.
        text = file.read_text(encoding="utf-8-sig")
        _refuse_repeated_keys(yaml.compose(text, Loader=yaml.BaseLoader), file)
        content = yaml.load(text, Loader=yaml.BaseLoader)
    except FileNotFoundError:
        raise DataError(f"there is no file {file}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise refuse_not_text(file, error) from error
    except yaml.YAMLError as error:
        raise DataError(f"{file} is no YAML: {' '.join(str(error).split())}") from error
    except RecursionError:
        raise DataError(f"{file} is no YAML of a dataset: it is nested too deep") from None
    if not isinstance(content, dict):
        raise DataError(f"{file}: must hold train, val and names, not {_short(content)}")
    return content


def _refuse_repeated_keys(document: Any, file: Path) -> None:
    """A key that comes twice, as YAML forbids it; PyYAML takes the last one and says nothing.

    Args:
        document: a node of PyYAML's. Its own keys are looked at, and those of the tables in it.
    """
    tables = [document, *(value for _, value in document.value)] if _is_table(document) else []
    for table in filter(_is_table, tables):
        seen: set[str] = set()
        for key, _ in table.value:
            if isinstance(key.value, str) and key.value in seen:
                raise DataError(f"{file}:{key.start_mark.line + 1}: {key.value!r} is there twice: which is meant?")
            seen.add(key.value if isinstance(key.value, str) else "")


def _is_table(node: Any) -> bool:
    return getattr(node, "id", "") == "mapping"


def _names_of(content: Mapping[str, Any], file: Path) -> Mapping[int, str] | None:
    names, count = content.get("names"), content.get("nc")
    if not names:
        return None
    if isinstance(names, list):
        names = {str(number): name for number, name in enumerate(names)}
    numbered = isinstance(names, dict) and all(
        isinstance(key, str) and key.isdecimal() and len(key) < LONGEST_NUMBER for key in names
    )
    if not numbered or not all(isinstance(name, str) for name in names.values()):
        raise DataError(f"{file}: names must be a list of class names, or number: name, not {_short(names)}")
    if isinstance(count, str) and count.isdecimal() and count.lstrip("0") != str(len(names)):
        raise DataError(f"{file}: nc says {count[:40]} classes, names has {len(names)}: which is right?")
    return {int(key): names[key].strip() for key in sorted(names, key=int)}


def _resolved(root: Path, beside: Path, text: str) -> Path:
    """A path of a YAML file: to its root; else beside it, without the ../ that some exports begin with."""
    path = _expanded(text)
    candidates = [root / path, beside / path, root / text.removeprefix("../"), beside / text.removeprefix("../")]
    return Path(os.path.normpath(next((one for one in candidates if is_there(one)), candidates[0])))


def _parts_in(root: Path) -> list[tuple[str, list[Path]]]:
    """Folders of images in a folder without YAML: images/train or train/images; else images, or the folder itself."""
    parts = []
    for split in SPLITS:
        folders = [
            folder
            for name in SPLIT_NAMES[split]
            for folder in (root / "images" / name, root / name / "images", root / name)
            if folder.is_dir()
        ]
        if folders:
            parts.append((split, folders[:1]))
    if parts and parts[0][0] == "train":
        return parts
    return [("", [root / "images" if (root / "images").is_dir() else root])]


def _images(layout: Layout, options: YoloOptions, messages: Messages, faults: list[Fault]) -> list[Found]:
    found = []
    for split, paths in layout.parts:
        for path in paths:
            images = _listed(path, layout.root, faults) if is_file(path) else _in_folder(path, layout, faults)
            found += [Found(split, image, _label_file(image)) for image in images]
    for split, paths in layout.parts:
        if not faults and split != "test" and not any(one.split == split for one in found):
            raise DataError(f"{', '.join(map(str, paths))}: no images are there" + f" for {split}" * bool(split))
    without = [one for one in found if not os.path.lexists(one.labels)]
    if options.unlabelled == "error":
        faults += (
            Fault(
                one.labels,
                "",
                f'does not exist, as the label file of {one.image}; unlabelled = "empty" takes such'
                " images as without objects",
                "image",
            )
            for one in without
        )
    if without:
        what = "are left out" if options.unlabelled == "leave_out" else "are without objects"
        text = f"{len(without)} of {len(found)} images have no label file ({without[0].image} is one): they {what}"
        messages.info(Remark("image-without-label-file", text))
    if options.unlabelled != "leave_out":
        return found
    kept = [one for one in found if os.path.lexists(one.labels)]
    for split in {one.split for one in found} - {one.split for one in kept}:
        messages.warning(f"no image of {split or 'all'} has a label file; without it detkit divides the others")
    return kept


def _repeated(found: Sequence[Found], named_by: Path) -> Iterator[Fault]:
    """Images that are there twice: evaluated on what was trained on, or counted double."""
    first: dict[Path, Found] = {}
    for one in found:
        before = first.setdefault(one.image, one)
        if before is not one:
            where = f"in {before.split} and in {one.split}" if before.split != one.split else f"twice in {one.split}"
            yield Fault(named_by, "", f"names {one.image} {where}")


def _in_folder(folder: Path, layout: Layout, faults: list[Fault]) -> Iterable[Path]:
    if is_there(folder) and folder.is_dir():
        return image_files_in(folder)
    faults.append(Fault(layout.named_by, "", f"there is no folder {str(folder)[:200]}, nor a list of images"))
    return ()


def _listed(file: Path, root: Path, faults: list[Fault]) -> Iterator[Path]:
    """The images that a text file names, a line each; relative paths are to the file's folder, else to the root."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        faults.append(Fault(file, "", f"cannot be read ({error})"))
        return
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        path = Path(line.strip())
        there = next((one for one in (file.parent / path, root / path) if is_file(one)), None)
        if there is None:
            faults.append(
                Fault(
                    file,
                    f"line {number}",
                    f"names {line.strip()[:200]}, which is in neither {file.parent} nor {root}",
                    "object",
                )
            )
        else:
            yield Path(os.path.normpath(there))


def label_file(image: Path) -> Path:
    """Where an image's labels are: the last folder named images becomes labels; without one, beside the image."""
    parts = list(image.with_suffix(".txt").parts)
    for place in range(len(parts) - 2, -1, -1):
        if parts[place] == "images":
            parts[place] = "labels"
            break
    return Path(*parts)


def _label_file(image: Path) -> Path:
    """As `label_file`; where its ending is in capitals, as Windows' tools may write it, that one."""
    file = label_file(image)
    capitals = file.with_suffix(".TXT")
    return capitals if not os.path.lexists(file) and os.path.lexists(capitals) else file


def _keys(found: Sequence[Found], root: Path) -> list[str]:
    """What images are called: their path below the root, without the folder images where they still differ then."""
    paths = [one.image.relative_to(root) if one.image.is_relative_to(root) else one.image for one in found]
    short = [Path(*(part for part in path.parts if part != "images")).as_posix() for path in paths]
    return short if len(set(short)) == len(short) else [path.as_posix() for path in paths]


def _splits(found: Sequence[Found]) -> dict[str, list[int]] | None:
    splits: dict[str, list[int]] = {}
    for index, one in enumerate(found):
        if one.split:
            splits.setdefault(one.split, []).append(index)
    return splits or None


def _tell_strays(found: Sequence[Found], messages: Messages) -> None:
    """Say which label files have no image."""
    known = {one.labels for one in found}
    folders = {one.labels.parent for one in found}
    strays = sorted(
        file
        for folder in folders
        if folder.is_dir()
        for file in files_ending(folder, ".txt")
        if file not in known and file.name not in NO_LABELS
    )
    if strays:
        text = f"{len(strays)} label files have no image ({strays[0]} is one)"
        messages.warning(Remark("label-file-without-image", text))


# --- what is in label files ------------------------------------------------------------------------------------------


def _read_labels(file: Path, faults: list[Fault]) -> list[Labelled]:
    """The objects of a label file; none where there is no file."""
    if not os.path.lexists(file):
        return []
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        faults.append(Fault(file, "", missing_file(file), "image"))
        return []
    except (OSError, UnicodeDecodeError) as error:
        faults.append(Fault(file, "", f"cannot be read as text ({error})", "image"))
        return []
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        item = _labelled(line.split(), number)
        if isinstance(item, Labelled):
            found.append(item)
        else:
            faults.append(Fault(file, f"line {number}", item, "object"))
    return found


def _labelled(words: Sequence[str], line: int) -> Labelled | str:
    """The object of a line, or what is wrong with it."""
    read = [plain_number(word) for word in words]
    known = tuple(value for value in read if value is not None)
    if len(known) < len(words):
        return f"{words[read.index(None)][:40]!r} is no number"
    number, values = known[0], known[1:]  # some tools write 0.0
    if number != int(number) or not 0 <= number < MOST_CLASSES:
        return f"its class is {words[0][:40]}; it must be a whole number from 0"
    if len(values) == BOX + 1:
        return "has 6 numbers; a box has 5 (class cx cy width height). Is the last one a score, of predictions?"
    if len(values) != BOX and (len(values) < POLYGON or len(values) % 2):
        return f"has {len(words)} numbers; a box has 5 (class cx cy width height), a polygon 7, 9, 11 ..."
    far = [value for value in values if not -SLACK <= value <= 1 + SLACK]
    if far:
        return f"{far[0]:g} is not in 0..1: numbers are shares of the image's width and height, not pixels"
    return Labelled(line, int(number), values)


def _class_names(
    layout: Layout,
    options: YoloOptions,
    found: Sequence[Found],
    lines: Sequence[Sequence[Labelled]],
    faults: list[Fault],
) -> dict[int, str]:
    """Class number to name: of the YAML file, else of classes.txt, else of the option."""
    names = layout.names or _classes_txt(layout, found)
    if names is None and options.classes is not None:
        names = dict(enumerate(options.classes))
    if names is None:
        raise DataError(
            f"{layout.named_by}: nothing names the classes: give classes = [...] in the order of their numbers, or"
            " names in a YAML file"
        )
    listed = ", ".join(f"{number} {name}" for number, name in list(names.items())[:10])
    for one, items in zip(found, lines, strict=True):
        faults += (
            Fault(one.labels, f"line {item.line}", f"its class is {item.number}; the classes are {listed}")
            for item in items
            if item.number not in names
        )
    return dict(names)


def _classes_txt(layout: Layout, found: Sequence[Found]) -> dict[int, str] | None:
    """labelImg's list of classes, beside the labels or in the root."""
    for folder in dict.fromkeys([layout.root, layout.root / "labels", *(one.labels.parent for one in found[:1])]):
        file = folder / "classes.txt"
        if file.is_file():
            try:
                lines = file.read_text(encoding="utf-8-sig").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise refuse_not_text(file, error) from error
            return {number: line.strip() for number, line in enumerate(lines) if line.strip()}
    return None


def _all_polygons(lines: Sequence[Sequence[Labelled]], found: Sequence[Found], messages: Messages) -> bool:
    total = sum(map(len, lines))
    polygons = sum(len(item.values) >= POLYGON for items in lines for item in items)
    if polygons and polygons < total:
        file, item = next(
            (one.labels, item)
            for one, items in zip(found, lines, strict=True)
            for item in items
            if len(item.values) == BOX
        )
        messages.warning(
            f"{polygons} of {total} objects are polygons, the others boxes ({file}, line {item.line} is one): the"
            " dataset gives boxes only"
        )
    return bool(total) and polygons == total
