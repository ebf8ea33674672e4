"""The dataset as its reader opens it: what it cannot read, and what it says."""

from __future__ import annotations

from dataclasses import replace

from detkit.checks.finding import Finding
from detkit.checks.reading import Heard, said, unreadable
from detkit.components import BuildContext, Dataset
from detkit.engine.converting import built
from detkit.errors import DataError, RunFailed
from detkit.spec.model import Use


def open_dataset(use: Use, context: BuildContext) -> tuple[Dataset | None, list[Finding]]:
    """The dataset, None where it cannot be opened; and what there is to say of it."""
    heard = Heard(context.messages)
    dataset: Dataset | None = None
    findings: list[Finding] = []
    try:
        dataset = built(use, replace(context, messages=heard))
    except (DataError, RunFailed) as error:
        findings += unreadable(error)
    return dataset, [*findings, *said(heard, dataset)]
