"""The doctor at the gate: what is wrong with the data stops a run before it begins, what is doubtful is counted."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from detkit.checks.duplicates import CHECKS as OF_PAIRS
from detkit.checks.finding import Finding
from detkit.checks.looking import in_order
from detkit.components import Messages
from detkit.errors import DataError
from detkit.spec.model import ExperimentSpec
from detkit.spec.resolve import leaves
from detkit.spec.scanner import format_key

#: So many findings of a check are listed; more are counted.
LISTED = 10


class UnsoundData(DataError):
    """What the doctor found in the data and nobody can, or should, train on.

    Attributes:
        findings: all of it; the message lists the first of each check.
    """

    def __init__(self, message: str, findings: Sequence[Finding] = ()) -> None:
        super().__init__(message)
        self.findings = tuple(findings)


def let_through(spec: ExperimentSpec, findings: Iterable[Finding], messages: Messages) -> None:
    """Before a training: errors stop it, of warnings there is a line for each check, and notes are not told.

    Checks that the spec skips count for nothing.

    Raises:
        UnsoundData: there are errors.
    """
    told = [one for one in in_order(findings) if one.check.id not in spec.skip_checks]
    refuse(spec, [one for one in told if one.severity == "error"])
    for text in _counted([one for one in told if one.severity == "warning"], spec):
        messages.warning(text)


def refuse_vital(spec: ExperimentSpec, findings: Iterable[Finding]) -> None:
    """Where nothing is trained: only what makes the data useless stops, and nothing else is told.

    Raises:
        UnsoundData: there is such a thing.
    """
    refuse(spec, [one for one in in_order(findings) if one.check.vital and one.severity == "error"])


def refuse(spec: ExperimentSpec, errors: Sequence[Finding]) -> None:
    """End here if there is any.

    Raises:
        UnsoundData: lists them, with what to do.
    """
    if errors:
        raise UnsoundData("\n".join(_refusal(errors, spec)), errors)


def _refusal(errors: Sequence[Finding], spec: ExperimentSpec) -> Iterator[str]:
    yield f"the dataset has {len(errors)} fault{'s' * (len(errors) != 1)}:"
    optional: list[str] = []
    for check, group in groupby(errors, key=lambda one: one.check):
        found = list(group)
        yield f"  {check.id} ({len(found)}): {check.summary}"
        yield from (f"    {one}" for one in found[:LISTED])
        if len(found) > LISTED:
            yield f"    and {len(found) - LISTED} more: {_command(spec, found)} --limit {len(found)}"
        yield f"    to do: {check.remedy}"
        optional += [check.id] * (not check.vital)
    yield f"  {_command(spec)} tells all that is wrong with the data"
    if optional:
        ids = ", ".join(f'"{name}"' for name in optional)
        yield f"  to go on all the same: skip_checks = [{ids}] in [dataset]"


def _counted(warnings: Sequence[Finding], spec: ExperimentSpec) -> Iterator[str]:
    for check, group in groupby(warnings, key=lambda one: one.check):
        found = list(group)
        if len(found) == 1:
            yield f"[dataset] {check.id}: {found[0]}; what to do: {_command(spec, found)}"
        else:
            yield (
                f"[dataset] {check.id}: {len(found)} warnings, as {found[0]};"
                f" all of them: {_command(spec, found)} --limit {len(found)}"
            )


def _command(spec: ExperimentSpec, found: Sequence[Finding] = ()) -> str:
    """What tells all findings, or those of one check, with what the command line changed in the data's tables."""
    words = ["detkit", "data", "check", str(spec.path)]
    for path, value in leaves({"dataset": spec.resolved["dataset"]}):
        origin = spec.provenance.get(format_key(path))
        if origin is not None and origin.origin == "command line" and path[-1] != "use":
            words += ["--set", f"{format_key(path)}={json.dumps(value)}"]
    for name in spec.blocked:
        words += ["--no-plugin", name]
    if found:
        words += ["--only", found[0].check.id]
        # Only where it decodes them, the doctor compares pictures that are no files.
        words += ["--decode"] * (found[0].check in OF_PAIRS and any(one.file is None for one in found))
    return shlex.join(words)
