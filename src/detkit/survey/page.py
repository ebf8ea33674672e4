"""The page of a dataset: one file with plots and images that needs no network."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from detkit import __version__
from detkit.components import Messages
from detkit.errors import DataError, UserError
from detkit.page.document import Part, asset, document, text
from detkit.page.libraries import plotly_script
from detkit.record.files import write_atomically
from detkit.survey.collect import Collected
from detkit.survey.counts import Counts
from detkit.survey.pictures import Shown, Training, shown_images
from detkit.survey.plots import plot_data
from detkit.survey.selection import in_turn
from detkit.survey.source import Source

STYLES = ("survey.css",)
SCRIPTS = ("dom.js", "state.js", "canvas.js", "viewer.js", "gallery.js", "plots.js", "survey.js")
#: Bytes that are left for what there is to say of the images.
FOR_NOTES = 4000
#: So many images that cannot be shown are named.
NAMED = 5


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the page is to show.

    Attributes:
        images: how many. size: the longest side of a picture, pixels.
        epoch: the first that is shown of the augmentation. draws: how many epochs.
        run_seed: of the run; None: the spec's first. fold: of the run; None: the first, where there are folds.
        seed: of the choice of images. max_bytes: what the page may have.
    """

    images: int = 48
    size: int = 640
    epoch: int = 1
    draws: int = 3
    run_seed: int | None = None
    fold: int | None = None
    seed: int = 0
    max_bytes: int = 30_000_000


@dataclass(frozen=True, slots=True)
class Written:
    """A page that was written. Attributes: notes: what people should know of it."""

    file: Path
    bytes: int
    images: int
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"file": str(self.file), "bytes": self.bytes, "images": self.images, "notes": list(self.notes)}


def write_page(
    file: Path, source: Source, data: Collected, counts: Counts, wanted: Wanted, messages: Messages
) -> Written:
    """Write the page; where it fails there is none, or the one of before.

    Raises:
        UserError: a fold that there is not. RecordError: the file cannot be written. ComponentError: a transform fails.
    """
    fold = _fold(data, wanted.fold)
    training = _training(source, data, fold, wanted, messages)
    content = _content(source, data, counts, training, fold)
    empty = _page(source, data, counts, content)
    shown, notes = _gallery(data, fold, wanted, training, len(empty.encode("utf-8")) + FOR_NOTES, messages)
    content |= {"images": [one.to_dict() for one in shown], "notes": [*notes, *content["notes"]]}
    encoded = _page(source, data, counts, content).encode("utf-8")
    write_atomically(file, lambda stream: stream.write(encoded), durable=False)
    return Written(file, len(encoded), len(shown), tuple(notes))


def _fold(data: Collected, fold: int | None) -> int | None:
    division = data.division
    if division is None or not division.folded:
        if fold is not None:
            raise UserError("--fold: the spec divides the images into no folds; see [dataset.split] folds")
        return None
    if fold is not None and fold > len(division.folds):
        raise UserError(f"--fold: there are {len(division.folds)} folds, counted from 1; there is no fold {fold}")
    return fold or 1


def _training(source: Source, data: Collected, fold: int | None, wanted: Wanted, messages: Messages) -> Training | None:
    """None where nothing changes the images, or nobody knows which images train."""
    spec, model = source.spec, source.model
    if spec is None or model is None or data.division is None or not any(use.enabled for use in model.augment.values()):
        return None
    seed = spec.experiment.seeds[0] if wanted.run_seed is None else wanted.run_seed
    epochs = range(wanted.epoch, wanted.epoch + wanted.draws)
    return Training(spec, model, seed, data.division.of(fold), epochs, messages)


def _gallery(
    data: Collected,
    fold: int | None,
    wanted: Wanted,
    training: Training | None,
    taken: int,
    messages: Messages,
) -> tuple[list[Shown], list[str]]:
    """The images, as many as are wanted and fit; and what there is to say of them."""
    readable = sum(info is not None for info in data.infos)
    most = min(wanted.images, readable)
    order = in_turn(data.infos, {index: str(part) for index, part in data.part_of(fold).items()}, wanted.seed)
    shown: list[Shown] = []
    broken: list[str] = []
    notes: list[str] = []
    if most == 0:
        return shown, notes
    with messages.progress("drawing images for the page", most, "images") as bar:
        for one in shown_images(data, order, fold=fold, size=wanted.size, training=training):
            if isinstance(one, DataError):
                broken.append(str(one))
                continue
            taken += one.bytes
            if taken > wanted.max_bytes:
                notes.append(
                    f"{len(shown)} of {most} images are shown: more would make the page larger than"
                    f" {wanted.max_bytes / 1e6:.0f} MB; a smaller --size, fewer --draws or a higher --max-mb shows more"
                )
                break
            shown.append(one)
            bar.advance()
            if len(shown) == most:
                break
    if broken:
        more = f", and {len(broken) - NAMED} more" if len(broken) > NAMED else ""
        notes.append(
            f"{len(broken)} image{'s' * (len(broken) != 1)} could not be shown: {'; '.join(broken[:NAMED])}{more}."
            " `detkit data check --decode` finds all of them"
        )
    return shown, notes


def _content(
    source: Source, data: Collected, counts: Counts, training: Training | None, fold: int | None
) -> dict[str, Any]:
    """What the page's scripts show; without the images."""
    return {
        "classes": list(data.dataset.class_names),
        "counts": counts.to_dict(),
        "plots": plot_data(data),
        "images": [],
        "training": training and _told(training, fold),
        "without": "" if training else _without(source, data),
        "notes": _data_notes(source, data, counts),
    }


def _page(source: Source, data: Collected, counts: Counts, content: dict[str, Any]) -> str:
    styles = [Part(asset("base.css")), *(Part(_own(name)) for name in STYLES)]
    scripts = [Part(plotly_script()), Part(asset("objects.js")), *(Part(_own(name)) for name in SCRIPTS)]
    body = _own("survey.html")
    for name, value in {"TITLE": source.title, "LEAD": _lead(source, data, counts), "FOOT": _foot(source)}.items():
        body = body.replace(f"{{{{{name}}}}}", text(value))
    title = f"{source.title}: {source.use.key}"
    return document(title=title, body=body, styles=styles, scripts=scripts, data={"survey": content}, plots=True)


def _own(name: str) -> str:
    return files("detkit.survey").joinpath("assets", name).read_text(encoding="utf-8")


def _lead(source: Source, data: Collected, counts: Counts) -> str:
    total, many = counts.everything, len(data.dataset.class_names)
    return f"{source.use.key}: {total.images} images, {total.objects} objects, {many} class{'es' * (many != 1)}"


def _foot(source: Source) -> str:
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    plugin = source.use.offered.plugin.title
    return f"{source.title}, read on {now} by detkit {__version__}; dataset {source.use.key} ({plugin})"


def _told(training: Training, fold: int | None) -> dict[str, Any]:
    return {
        "model": training.model.key,
        "seed": training.seed,
        "fold": fold,
        "epochs": list(training.epochs),
        "transforms": [key for key, use in training.model.augment.items() if use.enabled],
    }


def _without(source: Source, data: Collected) -> str:
    """Why there are no augmented images."""
    if source.model is None:
        return "The spec has no model, so images are shown as they are."
    if data.division is None:
        return "The images cannot be divided, so nobody knows which of them train; they are shown as they are."
    return f"The spec augments no images of {source.model.key}: [augment] has no transform. They train as they are."


def _data_notes(source: Source, data: Collected, counts: Counts) -> list[str]:
    notes: list[str] = []
    if data.undivided:
        notes.append(f"There are no splits: {data.undivided}")
    many = len(data.unreadable)
    if many:
        first = ", ".join(one.image for one in list(data.unreadable.values())[:NAMED])
        notes.append(
            f"{many} image{'s' * (many != 1)} could not be read ({first}{', ...' * (many > NAMED)});"
            f" {source.checked} says why"
        )
    if counts.boxes_without_area:
        notes.append(f"Boxes without area, or with NaN: {counts.boxes_without_area}; {source.checked} names them")
    if counts.left_out:
        notes.append(f"Without area, and left out as `degenerate` says: {counts.left_out} of the objects in the files")
    return notes
