"""A repaired copy of a dataset: what the checks find and nobody has to decide is put right; the original stays."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from detkit.checks import duplicates, images, reading, splits
from detkit.checks.finding import Finding
from detkit.checks.images import Seen
from detkit.components import BuildContext, Dataset, ImageTransfer, Messages, PathBase, Written
from detkit.data.degenerate import cleaned
from detkit.data.faults import Extent, Fault
from detkit.data.file_dataset import FileDataset
from detkit.data.images import is_large
from detkit.data.types import ImageInfo
from detkit.doctor import repair_images, repair_objects
from detkit.doctor.checkup import Checkup, check_data
from detkit.doctor.opening import open_dataset
from detkit.doctor.repair_images import repaired_images, with_own_ids, without_duplicates, without_shared
from detkit.doctor.repair_objects import Repair
from detkit.doctor.repair_view import RepairedDataset
from detkit.engine.writing import dataset_component, refuse_taken, write_dataset
from detkit.errors import DataError, UserError
from detkit.plugins import Offered
from detkit.spec.model import Use
from detkit.spec.parts import DataTables

#: The ids of the checks whose findings can be repaired.
REPAIRABLE = frozenset(check.id for check in (reading.UNREADABLE, *repair_objects.CHECKS, *repair_images.CHECKS))


#: What becomes of what a reader can do without.
LEFT_OUT: Mapping[Extent, str] = {
    "id": "it has an id of its own",
    "object": "what stands there is left out",
    "image": repair_images.GONE,
}


@dataclass(frozen=True, slots=True)
class RepairedCopy:
    """A repaired copy of a dataset.

    Attributes:
        folder: where it is. table: the [dataset] that reads it.
        repairs: what was done, in the order of checks and images. written: what is in the folder.
        splits: that the data brings, as name to number of images.
        after: what the checks find in the copy: what is left for people to mend.
    """

    folder: Path
    table: Mapping[str, Any]
    repairs: tuple[Repair, ...]
    written: Written
    splits: Mapping[str, int]
    after: Checkup

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "output": str(self.folder),
            "dataset": dict(self.table),
            "images": self.written.images,
            "objects": self.written.objects,
            "splits": dict(self.splits),
            "repairs": [repair.to_dict() for repair in self.repairs],
            "losses": [asdict(loss) for loss in self.written.losses],
            "left": self.after.to_dict(),
        }


def repair_data(
    tables: DataTables,
    writer: Offered,
    folder: Path,
    *,
    spec_folder: Path,
    transfer: ImageTransfer,
    messages: Messages,
    wanted: Collection[str] | None = None,
    decode: bool = False,
) -> RepairedCopy:
    """Write a repaired copy of a dataset into a new folder, and check it.

    Args:
        writer: the component in whose format it is written; see `detkit.engine.writing.find_writer`.
        wanted: ids of the checks whose findings are repaired, and that are made of the copy; None: all.
        decode: look for damage inside of image files.

    Raises:
        UserError: as `refuse_folder`.
        DataError: the dataset cannot be opened, also without what can be left out of it; nothing of it is left; or it
            cannot be put into the format. There is no folder then.
    """
    refuse_folder(folder, tables)
    ids = REPAIRABLE if wanted is None else REPAIRABLE & frozenset(wanted)
    context = BuildContext(spec_folder=spec_folder, messages=messages)
    dataset, repairs = _opened(tables, context, ids)
    seen, kept, done = repaired_images(dataset, ids, messages, decode=decode)
    repairs += done
    view, done = _together(dataset, seen, kept, tables, context, ids)
    repairs += done
    _refuse_nothing(dataset, view)
    written = write_dataset(view, writer, folder, transfer=transfer, messages=messages)
    options = {"root": _named_from(spec_folder, folder), **written.options}
    options |= _still_needed(dataset, view, writer, ids)
    kept_keys: dict[str, Any] = {} if tables.degenerate == "error" else {"degenerate": tables.degenerate}
    if tables.skip_checks:
        kept_keys["skip_checks"] = list(tables.skip_checks)
    after = check_data(
        replace(tables, dataset=_use(writer, options, spec_folder)),
        folder=spec_folder,
        messages=messages,
        wanted=wanted,
        decode=decode,
    )
    order = {check: place for place, check in enumerate(dict.fromkeys(repair.finding.check.id for repair in repairs))}
    repairs.sort(key=lambda repair: order[repair.finding.check.id])
    sizes = {name: len(indices) for name, indices in (view.splits or {}).items()}
    table = {"use": writer.component.name, **options, **kept_keys}
    return RepairedCopy(folder, table, tuple(repairs), written, sizes, after)


def refuse_folder(folder: Path, tables: DataTables) -> None:
    """Refuse a folder for the copy in which something is, or that is the dataset's own.

    Raises:
        UserError: it is such a folder.
    """
    refuse_taken(folder)
    own = Path(os.path.abspath(folder)).resolve()
    for name, value in tables.dataset.options:
        if isinstance(value, Path) and value.is_dir() and own.is_relative_to(value.resolve()):
            raise UserError(
                f"{folder} lies in {value}, the dataset's own folder ([dataset] {name}): the copy would be read as a"
                " part of it; name a folder outside of it"
            )


def _opened(tables: DataTables, context: BuildContext, ids: Collection[str]) -> tuple[Dataset, list[Repair]]:
    """The dataset without what keeps it from being opened, as far as its reader can do without."""
    told: list[Fault] = []
    lenient = reading.UNREADABLE.id in ids
    dataset, found = open_dataset(tables.dataset, replace(context, leave_out=told.append if lenient else None))
    if dataset is None:
        stays = [str(finding) for finding in found if finding.check == reading.UNREADABLE]
        why = "" if lenient else f"; --only, --skip or skip_checks leaves {reading.UNREADABLE.id} out of the repairs"
        raise DataError(
            "no copy is written: the dataset cannot be opened, and this can be mended in its files only"
            f"{why}:\n  " + "\n  ".join(stays[: repair_images.LISTED])
        )
    return dataset, [_left_out(fault) for fault in dict.fromkeys(told)]


def _left_out(fault: Fault) -> Repair:
    check = reading.UNREADABLE
    finding = Finding(check, check.severity, fault.text, fault.file, place=fault.place)
    return Repair(finding, LEFT_OUT[fault.extent])


def _together(
    dataset: Dataset,
    seen: Sequence[Seen],
    kept: dict[int, ImageInfo],
    tables: DataTables,
    context: BuildContext,
    ids: Collection[str],
) -> tuple[RepairedDataset, list[Repair]]:
    """What only the images together can tell: ids, splits, the same image twice."""
    repairs: list[Repair] = []
    own = dataset.splits
    if own is not None and splits.IMPOSSIBLE.id in ids:
        own, done = without_shared(own, seen, kept)
        repairs += done
    if any(check.id in ids for check in duplicates.CHECKS):
        infos = [one.info and cleaned(one.info, tables.degenerate) for one in seen]
        groups = duplicates.same_files(infos, cache_folder=context.cache_folder, messages=context.messages)
        division, _ = splits.divided(dataset, seen, infos, tables.split)
        gone, done = without_duplicates(groups, seen, kept, own, splits.labels(division, len(seen)), ids)
        kept = {index: info for index, info in kept.items() if index not in gone}
        repairs += done
    if images.REPEATED_ID.id in ids:
        kept, done = with_own_ids(seen, kept)
        repairs += done
    if own is not None:
        own = {name: [index for index in indices if index in kept] for name, indices in own.items()}
    return RepairedDataset(dataset, kept, own), repairs


def _refuse_nothing(dataset: Dataset, view: RepairedDataset) -> None:
    if not len(view):
        raise DataError("no image is left: each has something for which it is left out; no copy is written")
    if (dataset.splits or {}).get("train") and view.splits is not None and not view.splits.get("train"):
        raise DataError(
            "no image is left in train: each has something for which it is left out, or is in a later split too; no"
            " copy is written"
        )


# --- how the copy is read --------------------------------------------------------------------------------------------


def _still_needed(dataset: Dataset, view: RepairedDataset, writer: Offered, ids: Collection[str]) -> dict[str, Any]:
    """How the spec has images read, where the copy's want it too."""
    if not isinstance(dataset, FileDataset):
        return {}
    needed: dict[str, Any] = {}
    infos = [view.info(index) for index in range(len(view))]
    if any(is_large(info.width, info.height) for info in infos):
        needed["max_pixels"] = dataset.reading.max_pixels
    if dataset.reading.cut == "fill" and images.CUT.id not in ids:
        needed["cut"] = "fill"
    return {name: value for name, value in needed.items() if name in writer.component.options.model_fields}


def _named_from(spec_folder: Path, folder: Path) -> str:
    """The copy's folder as the spec can name it: relative to the spec where it lies below."""
    own, base = Path(os.path.abspath(folder)), Path(os.path.abspath(spec_folder))
    return (own.relative_to(base) if own.is_relative_to(base) else own).as_posix()


def _use(writer: Offered, options: Mapping[str, Any], spec_folder: Path) -> Use:
    component = dataset_component(writer)
    base = PathBase(Path(os.path.abspath(spec_folder)))
    validated = component.options.model_validate(options, strict=False, context=base)
    return Use(key=component.name, kind="dataset", offered=writer, options=validated)
