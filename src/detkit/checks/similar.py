"""Images that look alike though their bytes differ: the same picture saved again, or made smaller."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from detkit.checks.finding import Check, Finding
from detkit.checks.hashes import BITS
from detkit.checks.images import Seen

SIMILAR = Check(
    "near-duplicate",
    "note",
    "two images of one split that look the same; found with --decode only",
    "look at both: the same picture saved twice, or neighbouring frames of a video, teach nothing new",
)
SIMILAR_LEAK = Check(
    "split-near-leak",
    "warning",
    "two images of different splits that look the same; found with --decode only",
    "look at both; keep frames of one video in one split with `group` in [dataset.split]",
)
CHECKS = (SIMILAR, SIMILAR_LEAK)

#: So many of the 64 bits may differ. Below BANDS, so that at least one band of two such hashes is the same.
FARTHEST = 2
BANDS, BAND_BITS = 4, 16
#: Pictures with fewer edges than this are too plain to be told apart.
FEWEST_BITS = 6


def similar_findings(
    hashes: Mapping[int, int], seen: Sequence[Seen], splits: Sequence[str], known: Collection[int]
) -> Iterator[Finding]:
    """One for each image that looks like an earlier one; one in another split is told rather than one in its own.

    Args:
        hashes: of each decoded image. splits: of each image. known: images that are told to be duplicates already.
    """
    bands: dict[tuple[int, int], list[int]] = {}
    for index, own in hashes.items():
        if index in known or not FEWEST_BITS <= own.bit_count() <= BITS - FEWEST_BITS:
            continue
        keys = [(band, own >> (band * BAND_BITS) & (1 << BAND_BITS) - 1) for band in range(BANDS)]
        near = sorted(
            {other for key in keys for other in bands.get(key, ()) if (own ^ hashes[other]).bit_count() <= FARTHEST},
            key=lambda other: (splits[other] == splits[index], other),
        )
        if near:
            yield _found(seen, splits, index, near[0])
        for key in keys:
            bands.setdefault(key, []).append(index)


def _found(seen: Sequence[Seen], splits: Sequence[str], index: int, other: int) -> Finding:
    where, name = seen[index].where, seen[other].where.image
    if splits[index] == splits[other]:
        return where.found(SIMILAR, f"looks like {name}")
    return where.found(SIMILAR_LEAK, f"is in {splits[index]}, and looks like {name} in {splits[other]}")
