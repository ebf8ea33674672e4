"""The same image twice, in one split or in two."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path

from detkit.checks.finding import Check, Finding
from detkit.checks.images import Seen
from detkit.components import Messages
from detkit.data.digests import digest_files

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

#: Files of one size are compared by so many bytes of their ends first, before whole ones are read.
TAIL = 4096


def same_files(seen: Sequence[Seen], *, cache_folder: Path, messages: Messages) -> list[list[int]]:
    """Groups of images whose files have the same bytes, each in the order of the dataset.

    Only files of one size and one end are read whole. Images that are no files are not compared.
    """
    paths = {
        index: Path(os.path.abspath(one.info.path))
        for index, one in enumerate(seen)
        if one.info is not None and one.info.path is not None
    }
    by_size = _together({index: path.stat().st_size for index, path in paths.items()})
    by_tail = [group for some in by_size for group in _together({index: _tail(paths[index]) for index in some})]
    candidates = sorted(index for group in by_tail for index in group)
    if not candidates:
        return []
    digests = digest_files([paths[index] for index in candidates], cache_folder=cache_folder, messages=messages)
    return _together({index: digests[paths[index]].sha256 for index in candidates})


def duplicate_findings(
    groups: Sequence[Sequence[int]], seen: Sequence[Seen], splits: Sequence[str]
) -> Iterator[Finding]:
    """Of every image but the first of a group of equal files.

    Args:
        splits: of each image; all the same where there are none.
    """
    for group in groups:
        yield from _of_group(group, seen, splits)


def _of_group(group: Sequence[int], seen: Sequence[Seen], splits: Sequence[str]) -> Iterator[Finding]:
    """Each but the first of its split is a duplicate; the first of each further split is a leak."""
    first: dict[str, int] = {}
    for index in group:
        where, split = seen[index].where, splits[index]
        if split in first:
            yield where.found(DUPLICATE, f"is the same file as {seen[first[split]].where.image}")
            continue
        if first:
            other_split, other = next(iter(first.items()))
            yield where.found(
                LEAK, f"is in {split}, and the same file is in {other_split} as {seen[other].where.image}"
            )
        first[split] = index


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
