"""All checks over one dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detkit.checks import duplicates, reading, similar
from detkit.checks.catalogue import CHECKS
from detkit.checks.finding import SEVERITIES, Finding
from detkit.checks.looking import Looked, in_order, look
from detkit.components import BuildContext, Dataset, Messages
from detkit.doctor.opening import open_dataset
from detkit.engine.prepare import sights
from detkit.spec.parts import DataTables


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
    dataset, findings = open_dataset(tables.dataset, context)
    looked = Looked([], [], [], None)
    if dataset is not None:
        models = sights(tables.models)
        looked = look(dataset, tables.split, tables.degenerate, messages, pixels=decode, models=models)
        findings += [*looked.findings, *_of_pairs(looked, dataset if decode else None, context, checks)]
    return Checkup(
        tables.dataset.key,
        len(looked.seen),
        sum(len(one.info.annotations) for one in looked.seen if one.info is not None),
        None if dataset is None else dataset.class_names,
        tuple(in_order(one for one in findings if one.check.id in checks or one.check == reading.UNREADABLE)),
        checks,
    )


def _of_pairs(looked: Looked, decoded: Dataset | None, context: BuildContext, checks: Collection[str]) -> list[Finding]:
    """Images that are there twice; where somebody wants to know, since files are read for it.

    Args:
        decoded: the dataset, where images may be decoded.
    """
    folder, messages = context.cache_folder, context.messages
    seen, splits = looked.seen, looked.splits
    groups: list[list[int]] = []
    if any(check.id in checks for check in (*duplicates.CHECKS, *similar.CHECKS)):
        groups = duplicates.same_files(looked.infos, cache_folder=folder, messages=messages)
        if decoded is not None:
            groups += duplicates.same_pictures(decoded, looked.infos, cache_folder=folder, messages=messages)
    hashes = {index: one.hash for index, one in enumerate(seen) if one.hash is not None}
    known = {index for group in groups for index in group[1:]}
    return [
        *duplicates.duplicate_findings(groups, looked.infos, splits),
        *similar.similar_findings(hashes, seen, splits, known),
    ]
