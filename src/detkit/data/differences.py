"""What differs between two states of a dataset: images, their bytes, their splits, their objects, and the classes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from detkit.data.fingerprint import canonical_object
from detkit.data.types import Annotation, ImageInfo

#: Boxes of different classes that overlap by more than this are one object whose class has changed.
SAME_OBJECT_IOU = 0.5
#: So many names stand in a summary.
SHOWN = 3

Change = Literal["added", "removed", "class", "box", "mask", "area", "crowd"]


@dataclass(frozen=True, slots=True)
class ImageState:
    """One image.

    Attributes:
        name: wherever the data lies, see `image_names`. content: see `ImageDigest`; empty where it is not known.
        split: see `split_labels`. info: its size and objects.
    """

    name: str
    content: str
    split: str
    info: ImageInfo


@dataclass(frozen=True, slots=True)
class DataState:
    """Attributes: title: what it is called in messages. folded: whether its splits are those of several folds."""

    title: str
    class_names: tuple[str, ...]
    images: Sequence[ImageState]
    folded: bool = False


@dataclass(frozen=True, slots=True)
class ObjectChange:
    """One object of an image.

    Attributes:
        changes: what of it changed; "added" or "removed" where there is no counterpart.
        before, after: class, box (x0, y0, x1, y1) in pixels and area; None where there is none.
    """

    changes: tuple[Change, ...]
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class ImageChange:
    """An image that both states have.

    Attributes:
        name: in the first. new_name: in the second, where it differs. content: whether its bytes (or pixels) changed.
        size, split: before and after, where they differ; width and height in pixels.
        objects: that changed.
    """

    name: str
    new_name: str | None = None
    content: bool = False
    size: tuple[tuple[int, int], tuple[int, int]] | None = None
    split: tuple[str, str] | None = None
    objects: tuple[ObjectChange, ...] = ()


@dataclass(frozen=True, slots=True)
class ClassChanges:
    """Attributes: renamed: pairs that stand in the same place. reordered: whether those of both have other numbers."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    reordered: bool = False

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.renamed or self.reordered)


@dataclass(frozen=True, slots=True)
class Differences:
    """Attributes: changed: images of both. notes: what could not be compared. images: how many both have."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[ImageChange, ...]
    classes: ClassChanges
    images: int
    notes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed or self.classes)

    def summary(self) -> str:
        """As one line: what differs, how often, and some names."""
        parts = [
            _counted(self.added, "{} added"),
            _counted(self.removed, "{} removed"),
            _counted([change.name for change in self.changed if change.new_name], "{} renamed"),
            _counted([change.name for change in self.changed if change.content], "{} with other bytes"),
            _counted([change.name for change in self.changed if change.objects], "{} with other objects"),
            _counted([change.name for change in self.changed if change.size], "{} of another size"),
            _counted([change.name for change in self.changed if change.split], "{} in another split"),
            "other classes" if self.classes else "",
        ]
        return "; ".join(filter(None, parts))


def _counted(names: Sequence[str], text: str) -> str:
    if not names:
        return ""
    shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
    images = f"{len(names)} image{'s' * (len(names) > 1)}"
    return f"{text.format(images)} ({shown})"


def compare(a: DataState, b: DataState) -> Differences:
    """What must be done to `a` to make it `b`.

    Images are the same by name; else, where that is unambiguous, by content (renamed files), else by their labels.
    """
    classes = compare_classes(a.class_names, b.class_names)
    renamed = dict(classes.renamed)
    names_a = tuple(renamed.get(name, name) for name in a.class_names)
    pairs, removed, added = _paired(a.images, b.images)
    notes = []
    if a.folded != b.folded:
        notes.append("splits are not compared: one of the two has folds")
    unknown = sum(not one.content or not other.content for one, other in pairs)
    if unknown:
        notes.append(f"the bytes of {unknown} images are not compared: not both sides know them")
    splits = a.folded == b.folded
    changes = [_compare_images(one, other, names_a, b.class_names, splits=splits) for one, other in pairs]
    return Differences(
        added=tuple(image.name for image in added),
        removed=tuple(image.name for image in removed),
        changed=tuple(change for change in changes if change != ImageChange(change.name)),
        classes=classes,
        images=len(pairs),
        notes=tuple(notes),
    )


def compare_classes(before: Sequence[str], after: Sequence[str]) -> ClassChanges:
    """A name that took another one's place, both of which are in one list alone, is a new name for it."""
    old, new = set(before), set(after)
    renamed = tuple(
        (one, other) for one, other in zip(before, after, strict=False) if one not in new and other not in old
    )
    gone, come = {one for one, _ in renamed}, {other for _, other in renamed}
    mapped = [dict(renamed).get(name, name) for name in before]
    return ClassChanges(
        added=tuple(name for name in after if name not in old and name not in come),
        removed=tuple(name for name in before if name not in new and name not in gone),
        renamed=renamed,
        reordered=[name for name in mapped if name in new] != [name for name in after if name in mapped],
    )


# --- images ----------------------------------------------------------------------------------------------------------


def _paired(
    ours: Sequence[ImageState], theirs: Sequence[ImageState]
) -> tuple[list[tuple[ImageState, ImageState]], list[ImageState], list[ImageState]]:
    """Pairs, and what is of one alone."""
    pairs: list[tuple[ImageState, ImageState]] = []
    left, right = list(ours), list(theirs)
    keys: tuple[Callable[[ImageState], Hashable], ...] = (
        lambda image: (image.name, image.info.image_id),  # names may repeat, as in archives; ids do not
        lambda image: image.name,
        lambda image: image.content or None,
        lambda image: image.info.label,
    )
    for key in keys:
        found = list(_unambiguous(left, right, key))
        pairs += found
        taken = {id(image) for pair in found for image in pair}
        left = [image for image in left if id(image) not in taken]
        right = [image for image in right if id(image) not in taken]
    order = {id(image): number for number, image in enumerate(ours)}
    pairs.sort(key=lambda pair: order[id(pair[0])])
    return pairs, left, right


def _unambiguous(
    left: Sequence[ImageState], right: Sequence[ImageState], key: Callable[[ImageState], Hashable]
) -> Iterator[tuple[ImageState, ImageState]]:
    ours, theirs = Counter(map(key, left)), Counter(map(key, right))
    by_key = {key(image): image for image in right}
    for image in left:
        value = key(image)
        if value is not None and ours[value] == theirs[value] == 1:
            yield image, by_key[value]


def _compare_images(
    one: ImageState, other: ImageState, names: Sequence[str], other_names: Sequence[str], *, splits: bool
) -> ImageChange:
    """Args: names: of the first one's classes, as the second calls them."""
    size, other_size = (one.info.width, one.info.height), (other.info.width, other.info.height)
    return ImageChange(
        name=one.name,
        new_name=other.name if other.name != one.name else None,
        content=bool(one.content and other.content) and one.content != other.content,
        size=(size, other_size) if size != other_size else None,
        split=(one.split, other.split) if splits and one.split != other.split else None,
        objects=tuple(_compare_objects(one.info.annotations, other.info.annotations, names, other_names)),
    )


# --- objects ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Object:
    """In plain values, with numbers as exact floats."""

    name: str
    box: tuple[float, float, float, float]
    area: float
    crowd: bool
    mask: tuple[Any, ...] | None

    def said(self) -> dict[str, Any]:
        return {"class": self.name, "box": list(self.box), "area": self.area, "crowd": self.crowd}


def _object(item: Annotation, names: Sequence[str]) -> _Object:
    name, x0, y0, x1, y1, area, crowd, mask = canonical_object(item, names)
    return _Object(name, (x0, y0, x1, y1), area, crowd, None if mask is None else (*mask[0], mask[1]))


def _compare_objects(
    before: Sequence[Annotation], after: Sequence[Annotation], names: Sequence[str], other_names: Sequence[str]
) -> Iterator[ObjectChange]:
    left, right = _unequal([_object(item, names) for item in before], [_object(item, other_names) for item in after])
    if not left and not right:
        return
    # The surest first: the same box, then the same class nearby, then another class in nearly the same place.
    for fits in (_same_box, _same_class, _same_place):
        ranked = sorted(
            ((fits(one, other), i, j) for i, one in enumerate(left) for j, other in enumerate(right)),
            key=lambda row: (-row[0], row[1], row[2]),
        )
        used_left: set[int] = set()
        used_right: set[int] = set()
        for fit, i, j in ranked:
            if fit > 0 and i not in used_left and j not in used_right:
                used_left.add(i)
                used_right.add(j)
                yield ObjectChange(_changes(left[i], right[j]), left[i].said(), right[j].said())
        left = [one for i, one in enumerate(left) if i not in used_left]
        right = [other for j, other in enumerate(right) if j not in used_right]
    yield from (ObjectChange(("removed",), one.said(), None) for one in left)
    yield from (ObjectChange(("added",), None, other.said()) for other in right)


def _unequal(before: Sequence[_Object], after: Sequence[_Object]) -> tuple[list[_Object], list[_Object]]:
    """Those without an equal in the other list, each in their order."""
    spare: dict[_Object, int] = defaultdict(int, Counter(after))
    left = []
    for item in before:
        if spare[item]:
            spare[item] -= 1
        else:
            left.append(item)
    right = []
    for item in after:
        if spare[item]:
            spare[item] -= 1
            right.append(item)
    return left, right


def _changes(one: _Object, other: _Object) -> tuple[Change, ...]:
    found: list[Change] = []
    if one.name != other.name:
        found.append("class")
    if one.box != other.box:
        found.append("box")
    if one.mask != other.mask:
        found.append("mask")
    if one.crowd != other.crowd:
        found.append("crowd")
    if not found:
        found.append("area")
    return tuple(found)


def _same_box(one: _Object, other: _Object) -> float:
    return 1.0 if one.box == other.box else 0.0


def _same_class(one: _Object, other: _Object) -> float:
    return _iou(one.box, other.box) if one.name == other.name else 0.0


def _same_place(one: _Object, other: _Object) -> float:
    iou = _iou(one.box, other.box)
    return iou if iou > SAME_OBJECT_IOU else 0.0


def _iou(a: Sequence[float], b: Sequence[float]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)
