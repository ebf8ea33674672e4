"""Whether models can be compared: scored on the same images by the same metric; and what else differs between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from detkit.compare.contenders import Contender, Finished
from detkit.errors import RecordError
from detkit.record.layout import ExperimentLayout
from detkit.record.reader import ExperimentRecord, RunRecord
from detkit.record.scored import ScoredImages, read_scored_truths, unlike

#: So many names stand in a note.
SHOWN = 4
#: A class with fewer objects than this among the scored images makes intervals too narrow: of a mean over four classes,
#: of which one has about four objects, they held the true difference in 89 to 93 % of simulated samples, by how the
#: simulation was made (benchmarks/interval_coverage.py).
FEW_OBJECTS = 10


@dataclass(frozen=True, slots=True)
class Likeness:
    """Which of the models can be compared with which.

    Attributes:
        groups: names of models; those of one group were scored on the same images. One group where all were.
        differs: a sentence for each group after the first: what differs from the first.
    """

    groups: Sequence[Sequence[str]]
    differs: Sequence[str] = ()


def likeness(rows: Sequence[Contender], quantities: Sequence[str]) -> Likeness:
    """By the images of the final figures, their objects, the folds, and the options of the quantities' metrics.

    Raises:
        RecordError: a file of a record is missing or damaged.
    """
    metrics = list(dict.fromkeys(name.partition("/")[0] for name in quantities if "/" in name))
    groups: list[list[Contender]] = []
    differs: list[str] = []
    read: dict[tuple[str, int | None], ScoredImages] = {}
    for row in (row for row in rows if row.finished):
        reasons = [_difference(group[0], row, metrics, read) for group in groups]
        place = next((number for number, reason in enumerate(reasons) if not reason), None)
        if place is not None:
            groups[place].append(row)
            continue
        if groups:
            differs.append(f"{groups[0][0].name} and {row.name} {reasons[0]}")
        groups.append([row])
    return Likeness([[row.name for row in group] for group in groups], differs)


def refuse(found: Likeness) -> None:
    """Raises:
    RecordError: not all models can be compared; says what differs, and how to go on.
    """
    if found.differs:
        listed = "\n".join(f"  {sentence}" for sentence in found.differs)
        raise RecordError(
            f"these models cannot be compared as they are:\n{listed}\n"
            "name models of the same data and splits, or add --anyway: it puts the numbers side by side and compares"
            " what can be compared"
        )


def _difference(
    one: Contender, other: Contender, metrics: Sequence[str], read: dict[tuple[str, int | None], ScoredImages]
) -> str:
    """What keeps two models from being compared, as the end of a sentence; empty where nothing does.

    Args:
        read: what was read already, by experiment and fold: of very many images that takes a while.
    """
    if one.folds != other.folds:
        return f"have not finished the same folds ({_listed(one.folds)}; {_listed(other.folds)})"
    split, others = one.finished[0].summary["scored"]["split"], other.finished[0].summary["scored"]["split"]
    if split != others:
        return f"were scored on other splits ({split}; {others})"
    if _folder(one) != _folder(other):
        for fold in one.folds or (None,):
            of_both = [(_folder(row), fold) for row in (one, other)]
            read |= {key: _truths(row, fold) for key, row in zip(of_both, (one, other), strict=True) if key not in read}
            reason = unlike(read[of_both[0]], read[of_both[1]])
            if reason:
                return f"were not scored on the same images{f' of fold {fold}' if fold else ''}: {reason}"
    of_one, of_other = (row.finished[0].run.facts.get("spec", {}).get("metrics", {}) for row in (one, other))
    for metric in metrics:
        a, b = of_one.get(metric), of_other.get(metric)
        if a != b:
            said = f"{a} and {b}" if a and b else f"{other.name if a else one.name} by no {metric}"
            return f"were not scored by the same metric: {said}"
    return ""


def _truths(row: Contender, fold: int | None) -> ScoredImages:
    return read_scored_truths(next(one.run for one in row.finished if one.run.fold == fold))


def _folder(row: Contender) -> str:
    return str(row.finished[0].run.experiment.resolve())


def _listed(folds: Sequence[int]) -> str:
    return ", ".join(map(str, folds)) or "none"


# --- what must be said, though they can be compared ------------------------------------------------------------------


def warnings(rows: Sequence[Contender]) -> list[str]:
    """Sentences about finished models: where they were trained on other images, in another precision, elsewhere."""
    done = [row for row in rows if row.finished]
    return list(
        filter(
            None,
            (
                _trained_on(done),
                _apart(done, "they compute in different precisions", lambda one: one.summary.get("precision")),
                _apart(done, "their costs were measured on different hardware", _hardware),
            ),
        )
    )


def folds_left_out(rows: Sequence[Contender], members: Sequence[RunRecord]) -> list[str]:
    """Which folds do not count, since not all models have finished them; and which runs of seeds that lack a fold."""
    counted = {fold for row in rows for fold in row.folds}
    if not counted:
        return []
    folded = [run for run in members if run.fold is not None and run.state == "finished"]
    others = sorted({run.fold for run in folded if run.fold is not None} - counted)
    shown = {_key(one.run) for row in rows for one in row.finished}
    of_rows = {run for row in rows for run in row.states}
    lacking = [run.run_id for run in folded if run.fold in counted and _key(run) not in shown and run.run_id in of_rows]
    return [
        *([f"without fold {_listed(others)}, which not all models have finished"] if others else []),
        *([f"without {_names(lacking)}: the seed has not finished all folds, and others have"] if lacking else []),
    ]


def _key(run: RunRecord) -> tuple[str, str]:
    return str(run.experiment.resolve()), run.run_id


def chosen_trials(rows: Sequence[Contender]) -> list[str]:
    """Models that are the best trial of a search on the very images that score them.

    Raises:
        RecordError: search.json is damaged.
    """
    found = []
    for row in rows:
        one = row.finished[0] if row.finished else None
        if one is None or one.run.trial is None or not one.summary["scored"]["same_images"]:
            continue
        search = ExperimentRecord(one.run.experiment).search
        trials = search.models[one.run.model].trials if search and one.run.model in search.models else ()
        if len(trials) > 1:
            found.append(f"{row.name} is one of {len(trials)} trials")
    if not found:
        return []
    return [
        f"{'; '.join(found)}: chosen on the scored images, so luck is in the number, and in its difference to others;"
        " no interval allows for it"
    ]


def rare_classes(rows: Sequence[Contender]) -> list[str]:
    """Classes with few objects among the images of the first model's numbers.

    Raises:
        RecordError: a file of the record is missing or damaged.
    """
    row = next((row for row in rows if row.finished), None)
    if row is None:
        return []
    counts: Counter[int] = Counter()
    names: tuple[str, ...] = ()
    of_test = row.finished[0].summary["scored"]["split"] == "test"
    for fold in (row.folds[:1] if of_test else row.folds) or (None,):
        scored = _truths(row, fold)
        names = scored.class_names
        counts.update(one.label for truth in scored.truths for one in truth.annotations if not one.iscrowd)
    few = [f"{name} ({counts[label]})" for label, name in enumerate(names, 1) if 0 < counts[label] < FEW_OBJECTS]
    if not few:
        return []
    return [
        f"few objects of {_names(few)} among the scored images: numbers that count each class alike hang on them, and"
        " their intervals are too narrow"
    ]


def hardware_of(row: Contender) -> set[str | None]:
    """On what the costs of a model's runs were measured."""
    return {_hardware(one) for one in row.finished}


def _hardware(one: Finished) -> str | None:
    costs: Mapping[str, Any] = one.summary.get("costs", {})
    device = costs.get("device_name") or one.summary.get("device")
    threads = costs.get("threads")
    return f"{device}, {threads} thread{'' if threads == 1 else 's'}" if device and threads else device


def _trained_on(rows: Sequence[Contender]) -> str:
    """Experiments that score on the same images may train on others."""
    folders = {_folder(row): row for row in rows}
    if len(folders) < 2:
        return ""
    found: dict[Any, list[str]] = {}
    for row in folders.values():
        record = ExperimentRecord(row.finished[0].run.experiment)
        if not ExperimentLayout(record.folder).fingerprint.exists():
            continue
        fingerprint = record.fingerprint
        key = (fingerprint.get("sha256"), fingerprint.get("splits_sha256"))
        images = fingerprint.get("split_sizes", {}).get("train")
        found.setdefault(key, []).append(f"{row.experiment} ({images} images)" if images else row.experiment)
    if len(found) < 2:
        return ""
    return f"they were trained on different images: {'; '.join(', '.join(names) for names in found.values())}"


def _apart(rows: Sequence[Contender], what: str, read: Callable[[Finished], Any]) -> str:
    """The models by a fact of their runs; empty where all share it, or it is not known."""
    found: dict[str, list[str]] = {}
    for row in rows:
        for fact in dict.fromkeys(str(value) for one in row.finished if (value := read(one)) is not None):
            found.setdefault(fact, []).append(row.name)
    if len(found) < 2:
        return ""
    listed = "; ".join(f"{fact}: {_names(names)}" for fact, names in found.items())
    return f"{what} ({listed})"


def _names(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
