"""All checks over one dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detkit.components import BuildContext, Dataset, Messages
from detkit.data.types import ImageInfo
from detkit.doctor import classes, duplicates, images, objects, opening, similar, splits
from detkit.doctor.finding import SEVERITIES, Check, Finding
from detkit.spec.parts import DataTables

#: Every check, in the order in which findings are told.
CHECKS: tuple[Check, ...] = (
    *opening.CHECKS,
    *images.CHECKS,
    *objects.CHECKS,
    *classes.CHECKS,
    *splits.CHECKS,
    *duplicates.CHECKS,
    *similar.CHECKS,
)


@dataclass(frozen=True, slots=True)
class Checkup:
    """What was found.

    Attributes:
        dataset: its component's name. images, objects: how many there are; objects of readable images.
        class_names: None where the dataset could not be opened.
        findings: errors first, then warnings, then notes; each in the order of checks and images.
        checks: the ids of those that were made.
    """

    dataset: str
    images: int
    objects: int
    class_names: tuple[str, ...] | None
    findings: tuple[Finding, ...]
    checks: tuple[str, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Findings of each severity."""
        found = Counter(finding.severity for finding in self.findings)
        return {severity: found[severity] for severity in SEVERITIES}

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "dataset": self.dataset,
            "images": self.images,
            "objects": self.objects,
            "class_names": None if self.class_names is None else list(self.class_names),
            "counts": self.counts,
            "checks": list(self.checks),
            "findings": [finding.to_dict() for finding in self.findings],
        }


def check_data(
    tables: DataTables, *, folder: Path, messages: Messages, wanted: Collection[str] | None = None, decode: bool = False
) -> Checkup:
    """Look at a dataset, image by image, from headers alone.

    Args:
        folder: of the spec. wanted: ids of checks; None: all. decode: decode every image too.

    Raises:
        PluginError: as for building the dataset. What is wrong with the data is not raised.
    """
    checks = tuple(
        check.id
        for check in CHECKS
        if (wanted is None or check.id in wanted) and (decode or check not in similar.CHECKS)
    )
    context = BuildContext(spec_folder=folder, messages=messages)
    dataset, findings = opening.open_dataset(tables.dataset, context)
    seen: list[images.Seen] = []
    if dataset is not None:
        for one, found in images.look_at_all(dataset, messages, pixels=decode):
            seen.append(one)
            findings += found
            if one.info is not None:
                findings += objects.object_findings(one.where, one.info, dataset.class_names, tables.degenerate)
        findings += _of_all(dataset, seen, tables, context, checks)
    infos = _infos(seen)
    return Checkup(
        tables.dataset.key,
        len(seen),
        sum(len(info.annotations) for info in infos),
        None if dataset is None else dataset.class_names,
        tuple(_sorted(one for one in findings if one.check.id in checks or one.check == opening.UNREADABLE)),
        checks,
    )


def _infos(seen: list[images.Seen]) -> list[ImageInfo]:
    return [one.info for one in seen if one.info is not None]


def _of_all(
    dataset: Dataset, seen: list[images.Seen], tables: DataTables, context: BuildContext, checks: Collection[str]
) -> list[Finding]:
    """What only the images together can tell."""
    infos = _infos(seen)
    findings = [
        *images.empty(dataset),
        *images.repeated_ids(seen),
        *classes.class_findings(dataset.class_names, infos, complete=len(infos) == len(seen)),
    ]
    if not seen:
        return findings
    division, found = splits.divided(dataset, seen, tables.split)
    return [*findings, *found, *_of_pairs(seen, splits.labels(division, len(seen)), context, checks)]


def _of_pairs(
    seen: list[images.Seen], labels: Sequence[str], context: BuildContext, checks: Collection[str]
) -> list[Finding]:
    """Images that are there twice; where somebody wants to know, since files are read for it."""
    groups: list[list[int]] = []
    if any(check.id in checks for check in (*duplicates.CHECKS, *similar.CHECKS)):
        groups = duplicates.same_files(seen, cache_folder=context.cache_folder, messages=context.messages)
    hashes = {index: one.hash for index, one in enumerate(seen) if one.hash is not None}
    known = {index for group in groups for index in group[1:]}
    return [
        *duplicates.duplicate_findings(groups, seen, labels),
        *similar.similar_findings(hashes, seen, labels, known),
    ]


def _sorted(findings: Iterable[Finding]) -> list[Finding]:
    places = {check.id: place for place, check in enumerate(CHECKS)}
    return sorted(findings, key=lambda one: (SEVERITIES.index(one.severity), places[one.check.id]))
