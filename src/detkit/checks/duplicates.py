"""The same image twice, in one split or in two."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path

from detkit.checks.finding import Check, Finding, Where
from detkit.components import Dataset, Messages
from detkit.data.digests import ImageDigest, digest_files, digest_images
from detkit.data.types import ImageInfo

DUPLICATE = Check(
    "duplicate-image",
    "warning",
    "an image that is in the dataset twice, byte for byte, under two names",
    "take one of them out; are the objects of both the same?",
)
LEAK = Check(
    "split-leak",
    "error",
    "the same image, byte for byte, in two splits: figures on what was trained on are too good",
    "take it out of one of them, or have detkit divide the images with `group` in [dataset.split]",
)
CHECKS = (DUPLICATE, LEAK)

#: The label of images that no split has; see `detkit.data.fingerprint.split_labels`.
UNUSED = "none"
#: Files of one size are compared by so many bytes of their ends first, before whole ones are read.
TAIL = 4096


def same_contents(digests: Sequence[ImageDigest]) -> list[list[int]]:
    """Groups of images that have the same digest, each in the order of the dataset."""
    return _together({index: digest.content for index, digest in enumerate(digests) if digest.content})


def same_files(infos: Sequence[ImageInfo | None], *, cache_folder: Path, messages: Messages) -> list[list[int]]:
    """Groups of images whose files have the same bytes, each in the order of the dataset.

    Only files of one size and one end are read whole. Images that are no files are left out; see `same_pictures`.
    """
    paths = {
        index: Path(os.path.abspath(info.path))
        for index, info in enumerate(infos)
        if info is not None and info.path is not None
    }
    by_size = _together({index: path.stat().st_size for index, path in paths.items()})
    by_tail = [group for some in by_size for group in _together({index: _tail(paths[index]) for index in some})]
    candidates = sorted(index for group in by_tail for index in group)
    if not candidates:
        return []
    digests = digest_files([paths[index] for index in candidates], cache_folder=cache_folder, messages=messages)
    return _together({index: digests[paths[index]].sha256 for index in candidates})


def same_pictures(
    dataset: Dataset, infos: Sequence[ImageInfo | None], *, cache_folder: Path, messages: Messages
) -> list[list[int]]:
    """The same for images that are no files, by their pixels: decodes them."""
    found = {index: info for index, info in enumerate(infos) if info is not None and info.path is None}
    readable = [found.get(index) or ImageInfo(index, None, 0, 0) for index in range(len(infos))]
    digests = digest_images(dataset, readable, cache_folder=cache_folder, messages=messages, only=list(found))
    return _together({index: digest.content for index, digest in digests.items() if digest.content})


def duplicate_findings(
    groups: Sequence[Sequence[int]], infos: Sequence[ImageInfo | None], splits: Sequence[str]
) -> Iterator[Finding]:
    """Of every image but the first of a group of equal files.

    Args:
        infos: of every image that is in a group. splits: of each image; all the same where there are none.
    """
    for group in groups:
        there = [(info, splits[index]) for index in group if (info := infos[index]) is not None]
        yield from _of_group(there)


def _of_group(group: Sequence[tuple[ImageInfo, str]]) -> Iterator[Finding]:
    """Each but the first of its split is a duplicate; the first of each further split is a leak.

    What no split uses leaks nowhere.
    """
    first: dict[str, ImageInfo] = {}
    for info, split in group:
        where, what = Where(info.label, info.path, None), "file" if info.path is not None else "picture"
        other_split = next((name for name in first if name != UNUSED), None)
        if first and (split in first or split == UNUSED or other_split is None):
            other = first.get(split) or next(iter(first.values()))
            yield where.found(DUPLICATE, f"is the same {what} as {other.label}")
        elif other_split is not None:
            other = first[other_split]
            yield where.found(LEAK, f"is in {split}, and the same {what} is in {other_split} as {other.label}")
        first.setdefault(split, info)


def _together(keys: Mapping[int, Hashable]) -> list[list[int]]:
    """The indices of which several have the same key."""
    groups: dict[Hashable, list[int]] = {}
    for index, key in keys.items():
        groups.setdefault(key, []).append(index)
    return [group for group in groups.values() if len(group) > 1]


def _tail(path: Path) -> bytes:
    with path.open("rb") as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - TAIL))
        return stream.read()
