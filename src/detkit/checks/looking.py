"""All images of a dataset looked at, one by one and together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from detkit.checks import classes, images, objects, splits
from detkit.checks.catalogue import CHECKS
from detkit.checks.finding import SEVERITIES, Finding
from detkit.checks.images import Seen
from detkit.checks.sight import Sight, small_objects
from detkit.components import Dataset, Messages
from detkit.data.degenerate import Degenerate, cleaned
from detkit.data.splits import Division, Wish
from detkit.data.types import ImageInfo


@dataclass(frozen=True, slots=True)
class Looked:
    """What was seen.

    Attributes:
        seen: every image as it is in its files, by index. findings: in no order.
        infos: of every image, with boxes without area treated as the spec says; None where it cannot be read.
        division: of the images; None where there are none, or they cannot be divided.
    """

    seen: Sequence[Seen]
    findings: Sequence[Finding]
    infos: Sequence[ImageInfo | None]
    division: Division | None

    @property
    def all_infos(self) -> tuple[ImageInfo, ...]:
        """Of data all of whose images could be read."""
        infos = tuple(info for info in self.infos if info is not None)
        assert len(infos) == len(self.seen)
        return infos

    @property
    def splits(self) -> list[str]:
        """The split of each image; the same for all where there are none."""
        return splits.labels(self.division, len(self.seen))


def look(
    dataset: Dataset,
    wish: Wish | None,
    degenerate: Degenerate,
    messages: Messages,
    *,
    pixels: bool,
    models: Sequence[Sight] = (),
) -> Looked:
    """Look at every image from its header alone, then at all of them together. Nothing of the data is raised.

    Args:
        wish: how the images are to be divided; None: they are not.
        degenerate: what the spec does with boxes without area; the dataset is as it is before that.
        pixels: decode every image too. models: that will be trained on it.
    """
    seen: list[Seen] = []
    findings: list[Finding] = []
    for one, found in images.look_at_all(dataset, messages, pixels=pixels):
        seen.append(one)
        findings += found
        if one.info is not None:
            findings += objects.object_findings(one.where, one.info, dataset.class_names, degenerate)
    infos = [one.info and cleaned(one.info, degenerate) for one in seen]
    findings += _together(dataset, seen, [info for info in infos if info is not None])
    findings += small_objects(infos, models)
    division = None
    if seen and wish is not None:
        division, found = splits.divided(dataset, seen, infos, wish)
        findings += found
    return Looked(seen, findings, infos, division)


def _together(dataset: Dataset, seen: Sequence[Seen], infos: Sequence[ImageInfo]) -> Iterator[Finding]:
    """What only the images together can tell."""
    yield from images.empty(dataset)
    yield from images.repeated_ids(seen)
    yield from classes.class_findings(dataset.class_names, infos, complete=len(infos) == len(seen))


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Errors first, then warnings, then notes; each in the order of checks."""
    places = {check.id: place for place, check in enumerate(CHECKS)}
    return sorted(findings, key=lambda one: (SEVERITIES.index(one.severity), places[one.check.id]))
