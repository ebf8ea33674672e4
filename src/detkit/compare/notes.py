"""What must be said wherever the numbers of a comparison are shown."""

from __future__ import annotations

from collections.abc import Sequence

from detkit.compare.alike import chosen_trials, folds_left_out, rare_classes, warnings
from detkit.compare.contenders import Contender
from detkit.compare.leaderboard import SAME_IMAGES
from detkit.compare.pairs import Pair, images_of
from detkit.record.reader import RunRecord
from detkit.resampling import FEWEST_IMAGES, rough


def images_behind(rows: Sequence[Contender]) -> int:
    """The first model's numbers."""
    return next((images_of(row) for row in rows if row.finished), 0)


def notes_on(rows: Sequence[Contender], members: Sequence[RunRecord]) -> list[str]:
    """Where the numbers come from, and what that does to them.

    Args:
        members: all runs, with those that no row counts.

    Raises:
        RecordError: a file of the record is missing or damaged.
    """
    images = images_behind(rows)
    same = [one for row in rows for one in row.finished if one.summary["scored"]["same_images"]]
    return [
        *([f"{SAME_IMAGES}, so all numbers are a little too good"] if same else []),
        *([f"{rough(images)}: fewer than {FEWEST_IMAGES} say little"] if rough(images) else []),
        *folds_left_out(rows, members),
        *rare_classes(rows),
        *chosen_trials(rows),
        *warnings(rows),
    ]


def notes_on_pairs(pairs: Sequence[Pair]) -> list[str]:
    """What pairs of single trainings do not tell."""
    if all(pair.seeds_a > 1 and pair.seeds_b > 1 for pair in pairs):
        return []
    if any(pair.seeds_a > 1 or pair.seeds_b > 1 for pair in pairs):
        return ["of a model with one seed, pairs speak of that one training: another may come out otherwise"]
    which = "these two trained models" if len(pairs) == 1 else "these trained models"
    return [f"one seed each: this is about {which} on these images; another training may come out otherwise"]


def unfinished(rows: Sequence[Contender]) -> list[str]:
    """What has not finished, and why."""
    return [
        f"{run} {state}" + (f": {cause}" if (cause := row.causes.get(run)) else "")
        for row in rows
        for run, state in row.states.items()
        if state != "finished"
    ]
