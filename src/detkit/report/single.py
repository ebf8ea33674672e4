"""The report as one file, to be sent: everything lies in the page, as much of it as the limit on its size allows."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detkit.components import Messages, Silent
from detkit.errors import RecordError
from detkit.page.document import Part, json_text
from detkit.page.libraries import plotly_script, tables_script, tables_style
from detkit.record.files import write_atomically
from detkit.record.images import RecordedImage
from detkit.record.reader import ExperimentRecord, RunRecord
from detkit.report.content import experiment_content, private_folders
from detkit.report.evaluations import Evaluation, evaluations, read_detections, read_figures
from detkit.report.pictures import picture_file, pictures_content, read_pictures, truth_masks, verify_names
from detkit.report.portable import portable_text
from detkit.report.view import own_script, own_style, page_html

#: Of the room that data has, what images may take: detections tell more.
IMAGES_SHARE = 0.7


@dataclass(frozen=True, slots=True)
class SingleFile:
    """What was written.

    Attributes:
        left_out: a sentence; empty where everything is in the page. troubles: files that are damaged, and so left out.
    """

    page: Path
    bytes: int
    left_out: str
    troubles: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        return {"page": str(self.page), "bytes": self.bytes, "left_out": self.left_out, "troubles": list(self.troubles)}


class _Room:
    """Data of the page, as long as there is room for it."""

    def __init__(self, limit: int) -> None:
        self.left = limit
        self.data: dict[str, Any] = {}

    def take(self, name: str, content: Any, *, always: bool = False) -> bool:
        """Whether it was taken."""
        need = len(json_text(content).encode()) + len(name) + 64
        if need > self.left and not always:
            return False
        self.left -= need
        self.data[f"data/{name}"] = content
        return True


def write_single_file(
    record: ExperimentRecord, file: Path, *, limit_bytes: int, messages: Messages | None = None
) -> SingleFile:
    """Write the page.

    Final evaluations come first, then images spread over the dataset's order, then the other epochs from the last one
    back. The runs, their curves and the comparison are always in it.

    Args:
        limit_bytes: of the whole page; scripts take some 6 MB of it.

    Raises:
        RecordError: a file of the record is damaged, or the page cannot be written.
    """
    verify_names(record)
    styles = [Part(tables_style()), Part(own_style())]
    scripts = [
        Part(plotly_script(), later="lib/plotly.js"),
        Part(tables_script(), later="lib/tables.js"),
        Part(own_script()),
    ]
    room = _Room(limit_bytes - sum(len(part.text.encode()) for part in (*styles, *scripts)) - 10_000)
    pictures = read_pictures(record)
    found = {run.run_id: evaluations(run.files) for run in record.runs}
    content = experiment_content(record, found, ended=True, messages=messages)
    folders = private_folders(record)
    shown_pictures = pictures_content(pictures)
    room.take("experiment", content, always=True)
    room.take("images", shown_pictures, always=True)
    if shown_pictures["masks"] and not room.take("masks", truth_masks(pictures)):
        shown_pictures["masks"] = False
    kept, dropped, damaged = _evaluations(
        record.runs, found, room, pictures.positions, messages or Silent(), shown_pictures, pictures.images
    )
    for run in content["runs"]:
        run["damaged"] = [portable_text(trouble, folders) for trouble in damaged.get(run["id"], ())]
        run["evaluations"] = [
            kept[run["id"], one["key"]] for one in run["evaluations"] if (run["id"], one["key"]) in kept
        ]
    images = sum(copy is not None for copy in shown_pictures["copies"])
    of = sum(image.copy is not None for image in pictures.images)
    left_out = _left_out(images, of, dropped, sum(map(len, found.values())), limit_bytes)
    content["left_out"] = left_out
    page = page_html(record.name, styles=styles, scripts=scripts, data=room.data)
    data = page.encode()
    write_atomically(file, lambda stream: stream.write(data), durable=False)
    return SingleFile(file, len(data), left_out, [trouble for of_run in damaged.values() for trouble in of_run])


def _evaluations(
    runs: Sequence[RunRecord],
    found: Mapping[str, Sequence[Evaluation]],
    room: _Room,
    positions: Mapping[int, int],
    messages: Messages,
    shown_pictures: dict[str, Any],
    images: Sequence[RecordedImage],
) -> tuple[dict[tuple[str, str], dict[str, Any]], int, dict[str, list[str]]]:
    """What is kept of each evaluation, of how many there was no room for all, and what of each run is damaged."""
    wanted = [(run.run_id, one) for run in runs for one in reversed(found[run.run_id])]
    # The final evaluation of every run, else its last epoch, before any other.
    first = {run.run_id: found[run.run_id][-1].key for run in runs if found[run.run_id]}
    wanted.sort(key=lambda pair: (pair[1].key != first[pair[0]], pair[1].epoch is not None, -(pair[1].epoch or 0)))
    kept: dict[tuple[str, str], dict[str, Any]] = {}
    damaged: dict[str, list[str]] = {}
    dropped, pictures_done = 0, False
    with messages.progress("single file", len(wanted), "evaluations") as bar:
        for run, one in wanted:
            if not pictures_done and one.key != first[run]:
                _pictures(room, images, shown_pictures)
                pictures_done = True
            entry = {"key": one.key, "epoch": one.epoch, "split": one.split, "predictions": False, "figures": False}
            name, fits = f"{run}/{one.key}", True
            try:
                if one.predictions is not None:
                    content, masks = read_detections(one.predictions, positions)
                    entry["predictions"] = fits = room.take(name, content)
                    if masks is not None and not (fits and room.take(f"{name}.masks", masks)):
                        content["masks"] = fits = False
                if one.figures:
                    entry["figures"] = figures = room.take(f"{name}.figures", read_figures(one.figures))
                    fits = fits and figures
            except RecordError as error:
                damaged.setdefault(run, []).append(str(error))
            dropped += not fits
            if entry["predictions"] or entry["figures"]:
                kept[run, one.key] = entry
            bar.advance()
    if not pictures_done:
        _pictures(room, images, shown_pictures)
    return kept, dropped, damaged


def _pictures(room: _Room, images: Sequence[RecordedImage], content: dict[str, Any]) -> None:
    """As many copies as have room, spread over the dataset; the others count as not kept."""
    there = [(place, image) for place, image in enumerate(images) if image.copy is not None and image.copy.is_file()]
    limit = int(room.left * IMAGES_SHARE)
    sizes = {place: image.copy.stat().st_size * 4 // 3 + 60 for place, image in there if image.copy is not None}
    chosen: dict[str, str] = {}
    used = 0
    for place in spread_first(list(sizes)):
        if used + sizes[place] > limit:
            continue
        used += sizes[place]
        name, copy = picture_file(images[place]), images[place].copy
        assert name is not None
        assert copy is not None
        chosen[name] = "data:image/jpeg;base64," + base64.b64encode(copy.read_bytes()).decode("ascii")
    room.take("pictures", chosen, always=True)
    content["copies"] = [name if name in chosen else None for name in content["copies"]]


def spread_first(places: Sequence[int]) -> Iterable[int]:
    """All of them, in an order whose every beginning is spread over the whole: halves, then quarters, and so on."""
    step = 1
    while step < len(places):
        step *= 2
    seen: set[int] = set()
    while step:
        for at in range(0, len(places), step):
            if at not in seen:
                seen.add(at)
                yield places[at]
        step //= 2


def _left_out(images: int, of: int, dropped: int, total: int, limit: int) -> str:
    parts = []
    if images < of:
        parts.append(f"the pictures of {of - images} of {of} images")
    if dropped:
        parts.append(f"detections, masks or figures of {dropped} of {total} evaluations")
    if not parts:
        return ""
    what = " and ".join(parts)
    return f"For a page of {limit / 1e6:g} MB these were left out: {what}; the folder of the report has all."
