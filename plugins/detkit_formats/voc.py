"""Datasets in the form of PASCAL VOC: an XML file an image. http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/

The XML of the challenge counts pixels from 1 and its boxes include both ends. Labelling tools write edges, from 0 to
the image's width and height; labelImg writes an edge at 0 as 1. `boxes` chooses; nothing in a file tells which it is.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from xml.parsers import expat

import numpy as np

from detkit import BOXES, BOXES_AND_MASKS, DataError, Dataset, Messages
from detkit.data.classes import chosen_classes, labels_by_name, unlisted
from detkit.data.faults import Fault, settle_faults
from detkit.data.file_dataset import (
    FileDataset,
    ImageFile,
    Reading,
    files_ending,
    image_ids,
    images_by_stem,
    missing_file,
    printable,
)
from detkit.data.images import read_ids
from detkit.data.targets import instances
from detkit.data.types import Annotation
from detkit_formats import VocOptions
from detkit_formats.common import (
    FARTHEST_PX,
    LeaveOut,
    plain_number,
    reading_of,
    refuse_not_text,
    stated_size,
    tell_left_out,
    tell_unnamed,
    with_bar,
)

CORNERS = ("xmin", "ymin", "xmax", "ymax")
#: Pixels of SegmentationObject that are of no object: VOC's seams around objects.
VOID = 255
#: The lists in ImageSets that are splits, and the names that they get.
SETS: Mapping[str, str] = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
#: What is read of objects; and what stands in the rest where nothing is stated.
READ = ("name", "bndbox", "difficult")
CORNER_PATHS = tuple(f"bndbox/{key}" for key in CORNERS)
#: What a file states once.
ONCE = ("filename", "size", "size/width", "size/height")
UNSTATED = frozenset({"", "0", "unspecified"})
SPLIT_FOLDERS = ("train", "valid", "val", "validation", "test")


@dataclass(frozen=True, slots=True)
class Folders:
    """Where one set of XML files and their images are. `split`: all of them are of that one, "" where lists say it."""

    xml: Path
    images: Path
    root: Path
    split: str = ""


@dataclass(frozen=True, slots=True)
class VocObject:
    """One object as its file states it: its number there, from 0; the four numbers of its bndbox.

    `beside`: what else it states, that no annotation holds.
    """

    number: int
    name: str
    corners: tuple[float, float, float, float]
    difficult: bool
    beside: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VocFile:
    """One XML file; `size` is (width, height) where it states one."""

    path: Path
    filename: str
    size: tuple[int, int] | None
    objects: tuple[VocObject, ...]


def open_voc(options: VocOptions, messages: Messages, leave_out: LeaveOut = None) -> Dataset:
    """Read all files.

    Raises:
        DataError: a file or image is missing, or something in the files is wrong; everything at once.
    """
    folders = _folders(options.root)
    faults: list[Fault] = []
    read = [(part, file) for part in folders for file in _read_files(part, options, messages, faults)]
    found = sorted({item.name for _, file in read for item in file.objects})
    names = chosen_classes(
        _listed_classes(folders[0].root, found, messages), options.classes, f"{options.root}: the classes"
    )
    drop = options.classes is not None and options.unlisted == "drop"
    if not drop:
        for _, file in read:
            for item in file.objects:
                if item.name not in names:
                    faults.append(Fault(file.path, place(file.path, item.number), unlisted(item.name, names)))
    images = _images(read, faults)
    gone = settle_faults(faults, leave_out)
    images = [image for (_, file), image in zip(read, images, strict=True) if file.path not in gone]
    read = [(part, file) for part, file in read if file.path not in gone]
    objects = [_annotations(file, names, options) for _, file in read]
    tell_left_out(
        messages,
        sum(item.name not in names for _, file in read for item in file.objects),
        sum(len(file.objects) for _, file in read),
    )
    several = len(folders) > 1
    names_of_images = [
        f"{part.root.name}/{image.name}" if several else image.name
        for (part, _), image in zip(read, images, strict=True)
    ]
    files = [
        ImageFile(image, name, image_id, file.size if options.stated_size == "check" else None, file.path)
        for (_, file), image, name, image_id in zip(
            read, images, names_of_images, image_ids(names_of_images), strict=True
        )
    ]
    if options.image_sets == "Main":
        tell_unnamed(files, messages, "an XML file without <object> takes an image without objects in")
    masks = _mask_files(read, messages) if options.masks == "auto" else None
    splits = _splits(folders, read, options, gone, leave_out)
    return Voc(names, files, objects, masks, reading=reading_of(options), splits=splits, unread=_unread(read, options))


def _unread(read: Sequence[tuple[Folders, VocFile]], options: VocOptions) -> Counter[str]:
    """What the files state beside, by how many objects do."""
    items = [item for _, file in read for item in file.objects]
    unread = Counter(f"{name} of objects" for item in items for name in item.beside)
    if options.difficult == "keep" and (flags := sum(item.difficult for item in items)):
        unread["difficult of objects"] = flags
    return unread


class Voc(FileDataset):
    """Args:
    objects: of each file. masks: the picture of instances of each file, None for one without objects; None: none.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        files: Sequence[ImageFile],
        objects: Sequence[tuple[Annotation, ...]],
        masks: Sequence[Path | None] | None,
        *,
        reading: Reading,
        splits: Mapping[str, Sequence[int]] | None,
        unread: Mapping[str, int],
    ) -> None:
        provides = BOXES if masks is None else BOXES_AND_MASKS
        super().__init__(class_names, files, reading=reading, provides=provides, splits=splits, unread=unread)
        self._objects = tuple(objects)
        self._masks = masks

    def annotations(self, index: int, width: int, height: int) -> tuple[Annotation, ...]:
        mask = self._masks[index] if self._masks is not None else None
        if mask is None or not self._objects[index]:
            return self._objects[index]
        return _masked(self._objects[index], mask, width, height, self.reading.max_pixels)


# --- folders ---------------------------------------------------------------------------------------------------------


def _folders(root: Path) -> list[Folders]:
    """The folders that a root stands for; see the documentation of the layouts."""
    if not root.is_dir():
        raise DataError(f"there is no folder {root}")
    if (found := _folder(root)) is not None:
        return [found]
    parts = [replace(part, split=SETS[name]) for name in SPLIT_FOLDERS if (part := _folder(root / name)) is not None]
    if parts:
        return parts
    inside = [part for folder in sorted(root.glob("[!.]*/")) if (part := _folder(folder)) is not None]
    if len(inside) == 1:
        return inside
    if inside:
        listed = ", ".join(part.root.name for part in inside)
        raise DataError(f"{root} holds several VOC folders, {listed}; name one of them as root")
    raise DataError(
        f"{root} is no VOC folder: it has no folder Annotations with XML files, no folders train and valid, and no XML"
        " files beside images"
    )


def _folder(folder: Path) -> Folders | None:
    if (folder / "Annotations").is_dir():
        images = folder / "JPEGImages" if (folder / "JPEGImages").is_dir() else folder / "images"
        return Folders(folder / "Annotations", images if images.is_dir() else folder / "JPEGImages", folder)
    if files_ending(folder, ".xml"):
        return Folders(folder, folder, folder)
    return None


def _read_files(part: Folders, options: VocOptions, messages: Messages, faults: list[Fault]) -> list[VocFile]:
    files = files_ending(part.xml, ".xml")
    if options.image_sets != "Main":
        listed = {name for _, _, line in _set_lines(part, options) for name in _meant(line)}
        files = [file for file in files if _stripped(file.stem) in listed]
    if not files:
        raise DataError(
            f"{part.xml}: holds no XML files"
            + f" of ImageSets/{options.image_sets}" * bool(options.image_sets != "Main")
        )
    check_size = options.stated_size == "check"
    return [read_xml(file, faults, check_size=check_size) for file in with_bar(messages, "Reading annotations", files)]


def _images(read: Sequence[tuple[Folders, VocFile]], faults: list[Fault]) -> list[Path]:
    """Each file's image: of the XML file's own name, else of the name that it states."""
    by_folder = {folder: images_by_stem(folder) for folder in {part.images for part, _ in read}}
    images = []
    first: dict[Path, Path] = {}
    for part, file in read:
        image: Path | None
        of_name = by_folder[part.images].get(file.path.stem, [])
        stated = part.images / Path(file.filename.replace("\\", "/")).name if file.filename else None
        if len(of_name) > 1:
            image = stated if stated in of_name else of_name[0]
            if stated not in of_name:
                names = ", ".join(one.name for one in of_name)
                faults.append(
                    Fault(file.path, "", f"which is its image: {names}? its filename names none of them", "image")
                )
        else:
            image = of_name[0] if of_name else stated
        if image is None or (trouble := missing_file(image)):
            wanted = f"{part.images / file.path.stem}.jpg" if image is None else str(image)
            trouble = "does not exist" if image is None else trouble
            told = f"its image {wanted} {trouble}; bring it, or remove the XML file"
            faults.append(Fault(file.path, "", told, "image"))
        elif (other := first.setdefault(image, file.path)) != file.path:
            told = f"its image {image} is that of {other.name} too; objects of an image are in one XML file"
            faults.append(Fault(file.path, "", told, "image"))
        images.append(image or part.images)
    return images


def _listed_classes(root: Path, found: Sequence[str], messages: Messages) -> Sequence[str]:
    """The order of labels.txt, which some tools write, where it names every class; else by the alphabet."""
    file = root / "labels.txt"
    if not file.is_file():
        return found
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise refuse_not_text(file, error) from error
    listed = [line.strip() for line in lines if line.strip()]
    missing = [name for name in found if name not in listed]
    if missing:
        messages.info(
            f"{file}: does not name {missing[0]!r}, a class of the data: the classes are in alphabetical order"
        )
    return found if missing else listed


# --- XML -------------------------------------------------------------------------------------------------------------


def read_xml(file: Path, faults: list[Fault], *, check_size: bool = True) -> VocFile:
    """One file; what is wrong with it is added to the faults.

    Args:
        check_size: whether a size that is none is wrong.
    """
    empty = VocFile(file, "", None, ())
    try:
        root = ET.parse(file).getroot()
    except ET.ParseError as error:
        line, column = error.position
        reason = "is empty" if not file.stat().st_size else f"is no XML: {expat.errors.messages.get(error.code, error)}"
        at = f"line {line}, column {column}" if file.stat().st_size else ""
        faults.append(Fault(file, at, reason, "image"))
        return empty
    except (OSError, ValueError, LookupError) as error:  # LookupError: an encoding that nobody knows
        faults.append(Fault(file, "", f"cannot be read: {getattr(error, 'strerror', None) or error}", "image"))
        return empty
    if root.tag != "annotation":
        told = f"is no annotation of PASCAL VOC: it holds <{root.tag}>, not <annotation>"
        faults.append(Fault(file, "", told, "image"))
        return empty
    objects = []
    for number, node in enumerate(root.findall("object")):
        found = _object(node, number)
        if isinstance(found, VocObject):
            objects.append(found)
        else:
            faults.append(Fault(file, place(file, number), found, "object"))
    size = stated_size(*((root.findtext(f"size/{side}") or "") for side in ("width", "height")))
    told = next((text for key in ONCE if (text := _not_once(root, key))), size if isinstance(size, str) else "")
    for child in root:
        if child.tag != "object" and child.tag.lower() in ("object", "objects"):
            told = f"holds <{child.tag}>, which is not read; objects are each in an <object> of their own"
    if told and (check_size or told != size):
        faults.append(Fault(file, "", told, "image"))
    stated = None if isinstance(size, str) else size
    return VocFile(file, (root.findtext("filename") or "").strip(), stated, tuple(objects))


def _not_once(node: ET.Element, key: str) -> str:
    """What is wrong where something is stated several times: nothing says which is meant."""
    many = len(node.findall(key))
    return f"has {many} times <{key}>: which is meant?" if many > 1 else ""


def place(file: Path, number: int) -> str:
    """The object's number and the line where it begins, for people."""
    line = _line(file, number)
    return f"object {number} (line {line})" if line else f"object {number}"


def _line(file: Path, number: int) -> int:
    """Where the object begins; ElementTree does not say, so the file is read again."""
    lines: list[int] = []
    depth = 0

    def start(tag: str, _attributes: object) -> None:
        nonlocal depth
        depth += 1
        if tag == "object" and depth == 2:
            lines.append(parser.CurrentLineNumber)

    def end(_tag: str) -> None:
        nonlocal depth
        depth -= 1

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, end
    try:
        parser.Parse(file.read_bytes(), True)
    except (expat.ExpatError, OSError):
        return 0
    return lines[number] if number < len(lines) else 0


def _object(node: ET.Element, number: int) -> VocObject | str:
    """The object, or what is wrong with it."""
    if told := next((text for key in (*READ, *CORNER_PATHS) if (text := _not_once(node, key))), ""):
        return told
    name = (node.findtext("name") or "").strip()
    if not name:
        return "has no <name>: every object must have its class there"
    box = node.find("bndbox")
    if box is None:
        return "has no <bndbox> with xmin, ymin, xmax and ymax"
    corners = []
    for key in CORNERS:
        text = (box.findtext(key) or "").strip()
        value = plain_number(text)
        if value is None or abs(value) > FARTHEST_PX:
            what = f"is {text[:40]!r}; it must be a number of pixels" if text else "is missing"
            return f"its <{key}> {what}"
        corners.append(value)
    flag = (node.findtext("difficult") or "0").strip()
    if flag not in ("0", "1"):
        return f"its <difficult> is {flag!r}; it must be 0 or 1"
    beside = tuple(
        child.tag
        for child in node
        if child.tag not in READ and (len(child) or (child.text or "").strip().lower() not in UNSTATED)
    )
    return VocObject(number, name, (corners[0], corners[1], corners[2], corners[3]), flag == "1", beside)


def _annotations(file: VocFile, names: Sequence[str], options: VocOptions) -> tuple[Annotation, ...]:
    labels = labels_by_name(names)
    first = 1.0 if options.boxes == "pixels" else 0.0
    found = []
    for item in file.objects:
        if item.name not in labels or (item.difficult and options.difficult == "drop"):
            continue
        x0, y0, x1, y1 = item.corners
        box = (x0 - first, y0 - first, x1, y1)
        found.append(
            Annotation(
                label=labels[item.name],
                box=box,
                area=max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1]),
                iscrowd=item.difficult and options.difficult == "crowd",
                source=f"{printable(file.path.name)} object {item.number}",
            )
        )
    return tuple(found)


# --- splits ----------------------------------------------------------------------------------------------------------


def _set_lines(part: Folders, options: VocOptions) -> Iterator[tuple[Path, int, str]]:
    """File, line and image name of the lists that are splits; VOC's lists of one class have other names."""
    for file in _set_files(part, options):
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise refuse_not_text(file, error) from error
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield file, number, line.strip()


def _set_files(part: Folders, options: VocOptions) -> list[Path]:
    folder = part.root / "ImageSets" / options.image_sets
    names = [*SETS, "trainval"]
    files = [file for name in names if (file := folder / f"{name}.txt").is_file()]
    if options.image_sets != "Main" and not files:
        raise DataError(f"{folder} holds none of {', '.join(f'{name}.txt' for name in names)}")
    return files


def _splits(
    folders: Sequence[Folders],
    read: Sequence[tuple[Folders, VocFile]],
    options: VocOptions,
    gone: Collection[Path],
    leave_out: LeaveOut,
) -> dict[str, list[int]] | None:
    splits: dict[str, list[int]] = {}
    if folders[0].split:
        for index, (part, _) in enumerate(read):
            splits.setdefault(part.split, []).append(index)
        return splits
    places = {_stripped(file.path.stem): index for index, (_, file) in enumerate(read)}
    left_out = {_stripped(path.stem) for path in gone}
    faults: list[Fault] = []
    lists: dict[str, dict[int, None]] = {}
    for file, number, line in _set_lines(folders[0], options):
        found = next((places[name] for name in _meant(line) if name in places), None)
        if found is not None:
            lists.setdefault(file.stem, {})[found] = None
        elif left_out.isdisjoint(_meant(line)):
            told = f"names {line[:200]!r}, of which {folders[0].xml} has no XML file"
            faults.append(Fault(file, f"line {number}", told, "object"))
    settle_faults(faults, leave_out)
    if not {"train", "val", "valid", "validation"} & lists.keys() and "trainval" in lists:
        splits["train"] = list(lists["trainval"])
    for file in _set_files(folders[0], options):
        if file.stem not in lists and SETS.get(file.stem) in ("train", "validation") and not left_out:
            raise DataError(f"{file}: names no image; fill it, or remove it to have detkit divide the images")
    splits |= {SETS[name]: list(members) for name, members in lists.items() if name in SETS}
    return splits or None


def _meant(line: str) -> tuple[str, ...]:
    """The image names that a line of a list may mean: it, the end of a path, or the first of two columns."""
    whole, first = _stripped(Path(line.replace("\\", "/")).name), _stripped(line.split()[0])
    return (_stripped(line), whole, first)


def _stripped(name: str) -> str:
    """Without an image's ending: some tools list file names."""
    return name.rsplit(".", 1)[0] if name.lower().endswith((".jpg", ".jpeg", ".png", ".xml")) else name


# --- masks -----------------------------------------------------------------------------------------------------------


def _mask_files(read: Sequence[tuple[Folders, VocFile]], messages: Messages) -> list[Path | None] | None:
    """The picture of instances of every image with objects; None where there are not all of them."""
    files = [
        part.root / "SegmentationObject" / f"{file.path.stem}.png" if file.objects else None for part, file in read
    ]
    wanted = [file for file in files if file is not None]
    there = sum(file.is_file() for file in wanted)
    if wanted and there == len(wanted):
        return files
    if there:
        messages.info(
            f"{there} of {len(wanted)} images with objects have a picture in SegmentationObject: the dataset gives"
            ' boxes only; image_sets = "Segmentation" takes the images that have one'
        )
    return None


def _masked(
    items: tuple[Annotation, ...], mask: Path, width: int, height: int, max_pixels: int | None
) -> tuple[Annotation, ...]:
    """The objects with their masks: VOC numbers those of a picture as the XML file orders its objects, from 1."""
    ids = read_ids(mask, max_pixels=max_pixels)
    if ids.shape != (height, width):
        raise DataError(
            f"{mask}: is {ids.shape[1]} x {ids.shape[0]} pixels, its image {width} x {height};"
            " a mask must be of its image's size"
        )
    try:
        found = instances(np.where(ids == VOID, 0, ids))
    except ValueError as error:
        raise DataError(f"{mask}: {error}") from None
    masked = []
    for item in items:
        number = int(item.source.split()[-1]) + 1
        if number not in found:
            raise DataError(
                f"{mask}: no pixel is {number}, which {item.source} of its XML file must have (objects are numbered"
                ' from 1 in the file\'s order); mend it, or set masks = "off"'
            )
        masked.append(replace(item, mask=found[number].mask, area=found[number].area))
    return tuple(masked)
