"""Which images stay in a repaired copy, in which split, and under which id."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from detkit.checks import duplicates, images, splits
from detkit.checks.finding import SEVERITIES, Finding
from detkit.checks.images import Seen
from detkit.components import Dataset, Messages
from detkit.data.types import ImageInfo
from detkit.doctor.repair_objects import Repair, repaired_objects
from detkit.errors import DataError

#: Images in which these find something are left out.
LEFT_OUT = (images.UNREADABLE, images.TOO_LARGE, images.CUT, images.MISFIT)
CHECKS = (*LEFT_OUT, images.REPEATED_ID, splits.IMPOSSIBLE, *duplicates.CHECKS)

#: Of several splits that have an image, the last one keeps it, so that the images of the figures stay.
RANKS: Mapping[str, int] = {"train": 0, "valid": 1, "val": 1, "validation": 1, "test": 2}
#: Of images that are in none of these, while others are.
UNRANKED = -1
#: So many images that cannot be written are named; more are counted.
LISTED = 10

GONE = "the image and its objects are left out"


def repaired_images(
    dataset: Dataset, wanted: Collection[str], messages: Messages, *, decode: bool
) -> tuple[list[Seen], dict[int, ImageInfo], list[Repair]]:
    """Every image by itself.

    Args:
        wanted: ids of the checks whose findings are repaired. decode: look for damage inside the files.

    Returns:
        What is known of each image of the dataset; those that stay, by index, without a path where the copy's picture
        is to be drawn; and what was done.

    Raises:
        DataError: an image can only be left out, and `wanted` does not have that.
    """
    seen: list[Seen] = []
    kept: dict[int, ImageInfo] = {}
    repairs: list[Repair] = []
    stuck: list[Finding] = []
    for index, (one, findings) in enumerate(images.look_at_all(dataset, messages, pixels=decode)):
        seen.append(one)
        acted = [found for found in findings if found.check in LEFT_OUT]
        outs = [found for found in acted if found.check.id in wanted and found.severity == SEVERITIES[0]]
        if one.info is None and not outs:
            stuck += acted
        elif outs or one.info is None:
            repairs += (Repair(found, GONE) for found in outs)
        else:
            info, done = repaired_objects(one.where, one.info, dataset.class_names, wanted)
            repairs += done
            # What is still a finding is filled with grey by the dataset.
            filled = [found for found in acted if found.check == images.CUT and found.check.id in wanted]
            repairs += (Repair(found, "what there is of it is written anew, as a PNG") for found in filled)
            kept[index] = replace(info, path=None, name=info.label) if filled else info
    if stuck:
        listed = "\n  ".join(f"{found} ({found.check.id})" for found in stuck[:LISTED])
        more = f"\n  and {len(stuck) - LISTED} more" if len(stuck) > LISTED else ""
        raise DataError(
            "these images cannot be copied, and --only, --skip or skip_checks keeps them from being left out; no copy"
            " is written:"
            f"\n  {listed}{more}"
        )
    return seen, kept, repairs


def with_own_ids(seen: Sequence[Seen], kept: Mapping[int, ImageInfo]) -> tuple[dict[int, ImageInfo], list[Repair]]:
    """The images, each but the first of an id under a new one, above all others."""
    ids = [info.image_id for info in kept.values()]
    next_id = max(ids, default=0) + 1
    first: dict[int, ImageInfo] = {}
    repaired: dict[int, ImageInfo] = {}
    repairs: list[Repair] = []
    for index, info in kept.items():
        before = first.setdefault(info.image_id, info)
        repaired[index] = info
        if before is not info:
            repaired[index] = replace(info, image_id=next_id)
            text = f"image id {info.image_id} is that of {before.label} too"
            repairs.append(Repair(seen[index].where.stated(images.REPEATED_ID, text), f"its id is now {next_id}"))
            next_id += 1
    return repaired, repairs


# --- splits ----------------------------------------------------------------------------------------------------------


def without_shared(
    brought: Mapping[str, Sequence[int]], seen: Sequence[Seen], kept: Collection[int]
) -> tuple[dict[str, list[int]], list[Repair]]:
    """The data's own splits, each image in the last one of them that it is in."""
    names: dict[int, list[str]] = {}
    for name in sorted(brought, key=lambda name: RANKS.get(name, UNRANKED)):
        for index in brought[name] if name in RANKS else ():
            names.setdefault(index, []).append(name)
    repairs = [
        Repair(
            seen[index].where.found(splits.IMPOSSIBLE, f"is in {' and in '.join(of)}, of the data's own splits"),
            f"it stays in {of[-1]} alone",
        )
        for index, of in sorted(names.items())
        if len(of) > 1 and index in kept
    ]
    own = {
        name: [index for index in indices if name not in RANKS or names[index][-1] == name]
        for name, indices in brought.items()
    }
    return own, repairs


# --- the same image twice --------------------------------------------------------------------------------------------


def without_duplicates(
    groups: Sequence[Sequence[int]],
    seen: Sequence[Seen],
    kept: Mapping[int, ImageInfo],
    brought: Mapping[str, Sequence[int]] | None,
    labels: Sequence[str],
    wanted: Collection[str],
) -> tuple[set[int], list[Repair]]:
    """The images to leave out of groups of equal files, so that each picture is there once.

    Of several splits of the data's own the last one keeps it: test, then validation, then train. Within one, or where
    there are none, the first image keeps it, if the objects are the same; if not, both stay, for people to decide.

    Args:
        kept: images that stay so far, repaired. brought: the data's own splits.
        labels: of each image, the split that a run would have it in.
    """
    ranks = _ranks(brought or {})
    gone: set[int] = set()
    repairs: list[Repair] = []
    for group in groups:
        stays: list[int] = []
        # The order of the dataset within a rank; the best rank first.
        for index in sorted((index for index in group if index in kept), key=lambda index: -ranks.get(index, UNRANKED)):
            other = _takes_its_place(index, stays, ranks, kept)
            finding = None if other is None else _finding(index, other, seen, labels)
            if finding is None or finding.check.id not in wanted:
                stays.append(index)
                continue
            gone.add(index)
            assert other is not None
            repairs.append(Repair(finding, f"left out; {seen[other].where.image} stays"))
    return gone, repairs


def _ranks(brought: Mapping[str, Sequence[int]]) -> dict[int, int]:
    ranks: dict[int, int] = {}
    for name, members in brought.items():
        for index in members:
            ranks[index] = max(ranks.get(index, UNRANKED), RANKS.get(name, UNRANKED))
    return ranks


def _takes_its_place(
    index: int, stays: Sequence[int], ranks: Mapping[int, int], kept: Mapping[int, ImageInfo]
) -> int | None:
    for other in stays:
        if ranks.get(other, UNRANKED) > ranks.get(index, UNRANKED) or _objects(kept[other]) == _objects(kept[index]):
            return other
    return None


def _finding(index: int, other: int, seen: Sequence[Seen], labels: Sequence[str]) -> Finding:
    where, name = seen[index].where, seen[other].where.image
    if labels[index] == labels[other] or duplicates.UNUSED in (labels[index], labels[other]):
        return where.found(duplicates.DUPLICATE, f"is the same file as {name}")
    return where.found(duplicates.LEAK, f"is in {labels[index]}, and the same file is in {labels[other]} as {name}")


def _objects(info: ImageInfo) -> Counter[tuple[object, ...]]:
    return Counter((item.label, item.iscrowd, item.box, item.mask and item.mask["counts"]) for item in info.annotations)
