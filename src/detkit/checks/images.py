"""Images one by one: whether they can be read, whether they are whole, and their sizes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from detkit.checks.finding import Check, Finding, Where
from detkit.components import Dataset, Messages, Silent
from detkit.data.file_dataset import FileDataset, printable
from detkit.data.images import UnreadableImage, read_header
from detkit.data.types import ImageInfo
from detkit.errors import DetkitError

UNREADABLE = Check(
    "image-unreadable",
    "error",
    "an image file that is missing, empty, damaged, or no picture; damage inside it shows with --decode only",
    "bring the file again, or take the image out of the dataset",
    vital=True,
)
TOO_LARGE = Check(
    "image-too-large",
    "error",
    "an image of more pixels than may be decoded",
    "cut it into tiles, make it smaller, or raise max_pixels in [dataset]",
    vital=True,
)
CUT = Check(
    "image-cut",
    "error",
    "a JPEG or PNG file that ends too early, as after a copy that was interrupted",
    'bring the file again; cut = "fill" in [dataset] fills what is missing of a JPEG with grey',
)
MISFIT = Check(
    "annotation-misfit",
    "error",
    "what is stated of an image does not fit it: another size, a mask of another size, an object that its mask lacks",
    "see the text",
    vital=True,
)
EMPTY = Check(
    "dataset-empty", "error", "a dataset without images", "look at `root` and the lists of images", vital=True
)
REPEATED_ID = Check(
    "image-id-repeated",
    "error",
    "two images of the same id: evaluation would take them for one",
    "give each image of the dataset an id of its own",
    vital=True,
)
EXTREME_SIZE = Check(
    "image-size-extreme",
    "warning",
    "an image whose shorter side is under 16 pixels, whose longer is over 8 times that, or of over 50 million pixels",
    "look at it: thumbnails and strips teach nothing; cut very large ones into tiles",
)
WITHOUT_OBJECTS = Check(
    "image-without-objects",
    "note",
    "an image without objects: the detector learns from it what is none",
    "nothing needs to be done if nothing is to be found in it; otherwise label it",
)
CHECKS = (EMPTY, UNREADABLE, TOO_LARGE, CUT, MISFIT, REPEATED_ID, EXTREME_SIZE, WITHOUT_OBJECTS)

SHORTEST_SIDE = 16
GREATEST_RATIO = 8
MOST_PIXELS = 50_000_000
#: Fewer images take no time worth a bar: their headers, or all of their pixels.
UNNOTICED, UNNOTICED_DECODED = 2000, 100


@dataclass(frozen=True, slots=True)
class Seen:
    """One image of the dataset.

    Attributes:
        where: for findings. info: as far as it could be read; None otherwise.
        image_id: of an image that could not be read, where its dataset knows it.
        hash: of its pixels, where it was decoded; see `detkit.checks.similar`.
    """

    where: Where
    info: ImageInfo | None
    image_id: int | None = None
    hash: int | None = None


def look_at(dataset: Dataset, index: int, *, pixels: bool) -> tuple[Seen, list[Finding]]:
    """One image, from its header alone, or decoded.

    Args:
        pixels: decode it.
    """
    where, image_id = _where(dataset, index)
    try:
        info = dataset.info(index)
    except UnreadableImage as error:
        return Seen(where, None, image_id), [_unreadable(where, error)]
    except DetkitError as error:
        return Seen(where, None, image_id), [where.stated(MISFIT, str(error))]
    except Exception as error:  # noqa: BLE001 - the dataset is foreign code; the others are looked at all the same
        return Seen(where, None, image_id), [where.stated(MISFIT, f"cannot be read: {type(error).__name__}: {error}")]
    where = Where(info.label, info.path, where.source)
    try:
        cut = list(_cut(dataset, index, where))
    except UnreadableImage as error:
        return Seen(where, None, info.image_id), [_unreadable(where, error)]
    decoded, broken = _decoded(dataset, index, where) if pixels and not cut else (None, [])
    return Seen(where, info, hash=decoded), [*cut, *broken, *_of_size(where, info)]


def repeated_ids(seen: Sequence[Seen]) -> Iterator[Finding]:
    """Images whose id another one has."""
    first: dict[int, ImageInfo] = {}
    for one in seen:
        if one.info is not None and (before := first.setdefault(one.info.image_id, one.info)) is not one.info:
            yield one.where.stated(REPEATED_ID, f"image id {one.info.image_id} is that of {before.label} too")


def empty(dataset: Dataset) -> Iterator[Finding]:
    """Whether there is no image at all."""
    if not len(dataset):
        yield Finding(EMPTY, EMPTY.severity, "the dataset has no images")


def look_at_all(dataset: Dataset, messages: Messages, *, pixels: bool) -> Iterator[tuple[Seen, list[Finding]]]:
    """Every image, with a bar where it takes long."""
    doing = "decoding images" if pixels else "checking images"
    shown = messages if len(dataset) >= (UNNOTICED_DECODED if pixels else UNNOTICED) else Silent()
    with shown.progress(doing, len(dataset), "images") as bar:
        for index in range(len(dataset)):
            yield look_at(dataset, index, pixels=pixels)
            bar.advance()


def _where(dataset: Dataset, index: int) -> tuple[Where, int | None]:
    """The image before it is read, and its id, where the dataset knows them."""
    if isinstance(dataset, FileDataset):
        file = dataset.files[index]
        return Where(printable(file.name), file.path, file.source), file.image_id
    return Where(f"image {index}", None, None), None


def _unreadable(where: Where, error: UnreadableImage) -> Finding:
    if where.path is not None and error.file != where.path:  # a picture of masks
        return where.stated(MISFIT, str(error))
    return where.found(TOO_LARGE if error.trouble == "too large" else UNREADABLE, error.cause or str(error))


def _cut(dataset: Dataset, index: int, where: Where) -> Iterator[Finding]:
    """Raises `UnreadableImage` where a dataset of another kind states an image whose file it did not look at."""
    if where.path is None:
        return
    if isinstance(dataset, FileDataset):
        header = dataset.header(index)
        filled = dataset.reading.cut == "fill" and header.format != "PNG"
    else:
        header, filled = read_header(where.path, rotate=False), False
    if header.cut and filled:
        yield where.found(CUT, 'ends too early; what is missing is filled with grey (cut = "fill")', severity="warning")
    elif header.cut:
        yield where.found(CUT, "ends too early: the rest of the picture is missing")


def _decoded(dataset: Dataset, index: int, where: Where) -> tuple[int | None, list[Finding]]:
    """The hash of its pixels, or why there are none."""
    from detkit.checks.hashes import difference_hash

    try:
        return difference_hash(dataset[index][0]), []
    except UnreadableImage as error:
        return None, [_unreadable(where, error)]
    except Exception as error:  # noqa: BLE001 - decoders and datasets of others; the rest is looked at all the same
        text = str(error) if isinstance(error, DetkitError) else f"{type(error).__name__}: {error}"
        return None, [where.found(UNREADABLE, text)]


def _of_size(where: Where, info: ImageInfo) -> Iterator[Finding]:
    short, long = sorted((info.width, info.height))
    if short < SHORTEST_SIDE or long > GREATEST_RATIO * short or short * long > MOST_PIXELS:
        yield where.found(EXTREME_SIZE, f"is {info.width} x {info.height} pixels")
    if not info.annotations:
        yield where.found(WITHOUT_OBJECTS, "has no objects")
