"""The numbers of a dataset as lines of text, in 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from detkit.survey.counts import COCO_AREAS, Bar, Counts, Part, Range

WIDTH = 80
#: The longest name that is shown whole, letters.
NAME = 28
#: The shortest bar that is worth its place, letters.
SHORTEST_BAR = 6
#: A table: columns, rows, and which columns are aligned to the right.
Table = tuple[Sequence[str], Sequence[Sequence[str]], Sequence[str]]
#: Between columns, as a terminal draws them.
GAP = 3


def tables(counts: Counts, *, fill: str = "\u2588") -> Iterator[tuple[str, Table]]:
    """Each table with its heading.

    Args:
        fill: of what bars are made.
    """
    if counts.parts:
        yield "splits", _splits(counts)
    yield from _classes(counts, fill)
    if counts.per_image is not None:
        yield _size_heading(counts), _sizes(counts)
        yield "objects in an image", _histogram("objects", "images", counts.boxes_per_image, fill)
    if counts.box_width is not None:
        small, large = (round(limit**0.5) for limit in COCO_AREAS)
        at = f"shorter side {counts.input_size[0]}, longer at most {counts.input_size[1]}"
        yield (
            f"sizes of objects, as COCO's: small under {small} x {small} pixels, large from {large} x {large};\n"
            f"in the files, and as models see them: {at}",
            _box_sizes(counts, fill),
        )
        yield (
            "shapes of boxes: the longer side over the shorter",
            _histogram("shape", "boxes", counts.box_aspects, fill),
        )


def shown_name(name: str, most: int = NAME) -> str:
    """A name that people gave, on one line and without control characters, shortened where it is long."""
    plain = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in name)
    return plain if len(plain) <= most else plain[: most - 1] + "\u2026"


def _splits(counts: Counts) -> Table:
    unread = any(part.unreadable for part in (counts.everything, *counts.parts))
    head = ("split", "images", "no objects", *(["unreadable"] if unread else []), "objects", "an image")

    def row(part: Part) -> Sequence[str]:
        readable = part.images - part.unreadable
        mean = f"{part.objects / readable:.1f}" if readable else ""
        middle = [str(part.unreadable)] if unread else []
        return (part.title, str(part.images), str(part.without_objects), *middle, str(part.objects), mean)

    return head, [row(part) for part in (*counts.parts, counts.everything)], head[1:]


def _classes(counts: Counts, fill: str) -> Iterator[tuple[str, Table]]:
    """One table, or as many as it takes for each to fit. Of folds the validation parts: together they are all."""
    folded = any(part.fold is not None for part in counts.parts)
    whole = [part for part in counts.parts if part.fold is None]
    parts = [*whole, *(part for part in counts.parts if part.fold is not None and part.name == "validation")]
    titles = [part.title if part.fold is None else f"fold {part.fold}" for part in parts]
    classes = counts.everything.classes
    fixed = [(shown_name(one.name), str(one.images), str(one.objects)) for one in classes]
    of_parts = [[str(one.objects) for one in part.classes] for part in parts]
    amounts = [one.objects for one in classes]
    heading = "objects of each class" + "; of folds those that are validated" * folded
    for group in _that_fit(("class", "images", "objects"), fixed, titles, of_parts):
        head = ("class", "images", "objects", *(titles[place] for place in group))
        rows = [(*row, *(of_parts[place][number] for place in group)) for number, row in enumerate(fixed)]
        yield heading, _with_bars(head, rows, head[1:], amounts, fill)


def _that_fit(
    head: Sequence[str], rows: Sequence[Sequence[str]], titles: Sequence[str], columns: Sequence[Sequence[str]]
) -> list[list[int]]:
    """Places of the columns that go into each table beside the first ones; at least one table."""
    taken = sum(_width(column) for column in zip(head, *rows, strict=True))
    groups: list[list[int]] = [[]]
    room = WIDTH - taken
    for place, (title, column) in enumerate(zip(titles, columns, strict=True)):
        width = _width((title, *column))
        if width > room and groups[-1]:
            groups.append([])
            room = WIDTH - taken
        groups[-1].append(place)
        room -= width
    return groups


def _width(column: Sequence[str]) -> int:
    return max(map(len, column)) + GAP


def _size_heading(counts: Counts) -> str:
    common = ", ".join(f"{size.width} x {size.height} ({size.images})" for size in counts.common_sizes[:3])
    many = counts.distinct_sizes
    if many > 1 and counts.common_sizes[0].images == 1:
        return f"sizes in pixels; each of {many} images has another"
    if many <= 1:
        return f"sizes in pixels; all images have the same: {common}"
    return f"sizes in pixels; images have {many} different ones, most often\n{common}"


def _sizes(counts: Counts) -> Table:
    named = {
        "width of images": counts.image_width,
        "height of images": counts.image_height,
        "width of boxes": counts.box_width,
        "height of boxes": counts.box_height,
    }
    head = ("", "min", "median", "mean", "max")
    return head, [(name, *_figures(one)) for name, one in named.items() if one is not None], head[1:]


def _figures(found: Range) -> Iterator[str]:
    for value in (found.min, found.median, found.mean, found.max):
        yield f"{value:.0f}" if value == round(value) or value >= 100 else f"{value:.1f}"


def _box_sizes(counts: Counts, fill: str) -> Table:
    rows = [
        (bar.name, str(bar.count), str(resized.count))
        for bar, resized in zip(counts.box_sizes, counts.input_box_sizes, strict=True)
    ]
    head = ("size", "in the files", "as models see them")
    return _with_bars(head, rows, head[1:], [bar.count for bar in counts.input_box_sizes], fill)


def _histogram(what: str, of: str, found: Sequence[Bar], fill: str) -> Table:
    head = (what, of)
    rows = [(bar.name, str(bar.count)) for bar in found]
    return _with_bars(head, rows, head[1:], [bar.count for bar in found], fill)


def _with_bars(
    head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str], amounts: Sequence[int], fill: str
) -> Table:
    """The table with a column of bars, as wide as there is room."""
    taken = sum(_width(column) for column in zip(head, *rows, strict=True))
    room, most = min(WIDTH - GAP - taken, 40), max(amounts, default=0)
    if room < SHORTEST_BAR or not most:
        return head, rows, right
    lengths = [max(round(room * amount / most), 1 if amount else 0) for amount in amounts]
    drawn = [(*row, fill * length) for row, length in zip(rows, lengths, strict=True)]
    return (*head, ""), drawn, right
