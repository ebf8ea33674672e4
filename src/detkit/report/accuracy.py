"""How well the models did: the last and the best epoch, the final figures, means over seeds, epoch by epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from detkit.compare.leaderboard import Leaderboard, interval_note, make_leaderboard
from detkit.record.reader import ExperimentRecord
from detkit.report.runs import ShownRun, ShownRuns, in_metrics
from detkit.report.say import better_end, names, shared
from detkit.report.text import MISSING, Column, code, escape, number_table, table
from detkit.resampling import Interval


def accuracy(runs: ShownRuns) -> list[str]:
    """The last epoch and the selected one, on the images that selected it."""
    if not runs.quantities:
        return []

    def columns(epoch: Callable[[ShownRun], int | None], *, final: bool = False) -> list[Column]:
        return [
            Column(
                code(name),
                [run.value(epoch(run), name) for run in runs.runs],
                best=None if runs.folded else better_end(runs, name),
                intervals=_intervals(runs, runs.runs, name) if final else (),
            )
            for name in runs.quantities
        ]

    same = any(run.summary["scored"]["same_images"] for run in runs.finished)
    last, selected = [run.last_epoch for run in runs.runs], [run.selected_epoch for run in runs.runs]
    numbers = number_table(
        "Run",
        names(runs, runs.runs),
        [
            Column("Last epoch", last, digits=0),
            *columns(lambda run: run.last_epoch),
            Column("Best epoch", selected, digits=0),
            *columns(lambda run: run.selected_epoch, final=same),
        ],
    )
    told = (_how_selected(runs), _where_from(runs), _brackets(runs) if same else "")
    return ["## Accuracy", numbers, " ".join(filter(None, told))]


def _intervals(runs: ShownRuns, shown: Sequence[ShownRun], name: str) -> list[Interval | None]:
    """Of the primary quantity, beside which alone there is room for them."""
    return [run.intervals.get(name) if name == runs.primary else None for run in shown]


def _brackets(runs: ShownRuns) -> str:
    """What the intervals are, where the table has some."""
    found = [run.intervals[runs.primary] for run in runs.finished if runs.primary in run.intervals]
    if not found:
        return ""
    images = int(runs.finished[0].summary["scored"]["images"])
    note = interval_note(found[0].level, images)
    return f"{note[0].upper()}{note[1:]}."


def _how_selected(runs: ShownRuns) -> str:
    def tell(run: ShownRun) -> str:
        if not run.selected_by:
            return ""
        return f"the {better_end(runs, run.selected_by) or 'best'} {code(run.selected_by)}"

    by = shared(runs, tell)
    return f"The best epoch is that of {by}." if by else ""


def _where_from(runs: ShownRuns) -> str:
    if not runs.finished:
        return ""
    scored = runs.finished[0].summary["scored"]
    images = f"{scored['images']} {escape(scored['split'])} images"
    if runs.folded and scored["same_images"]:
        images = "validation images of each run's own fold, so that only runs of one fold can be compared"
    if scored["same_images"]:
        return (
            f"All figures come from the {images}. The best epoch was selected on them, so its figures are a little too"
            " good."
        )
    own = " of each run's own fold, so that only runs of one fold can be compared" if runs.folded else ""
    return (
        f"These figures come from the validation images{own}. The best epoch was selected on them, so its figures are a"
        f" little too good; those on the {images}, below, are not."
    )


def final_figures(runs: ShownRuns) -> list[str]:
    """The selected epoch on images that selected nothing; where there are none the table above has all."""
    done = runs.finished
    if not done or done[0].summary["scored"]["same_images"]:
        return []
    scored = done[0].summary["scored"]
    quantities = [name for name in scored["values"] if in_metrics(name) in runs.quantities]
    quantities.sort(key=lambda name: runs.quantities.index(in_metrics(name)))
    columns = [
        Column(
            code(name),
            [run.summary["scored"]["values"].get(name) for run in done],
            best=better_end(runs, in_metrics(name)),
            intervals=_intervals(runs, done, in_metrics(name)),
        )
        for name in quantities
    ]
    epochs = Column("Epoch", [run.selected_epoch for run in done], digits=0)
    return [
        f"## On the {scored['images']} {escape(scored['split'])} images",
        number_table("Run", names(runs, done), [epochs, *columns]),
        _brackets(runs),
    ]


def means(record: ExperimentRecord, runs: ShownRuns) -> list[str]:
    """Over seeds and folds, where a model has several runs."""
    board = make_leaderboard(record)
    if not any(row.finished > 1 for row in board.rows):
        return []
    quantities = [name for name in board.columns if in_metrics(name) in runs.quantities]
    rows = [
        [
            code(row.model),
            f"{row.finished}/{len(row.states)}",
            *(str(row.values.get(name, MISSING)) for name in quantities),
        ]
        for row in board.rows
    ]
    return [
        f"## Means over {'folds' if board.folds else 'seeds'}",
        table(["Model", "Finished runs", *map(code, quantities)], rows, right=1 + len(quantities)),
        f"Of the final figures, on the {board.split} images: mean ± standard deviation{_of_folds(board)}.",
    ]


def _of_folds(board: Leaderboard) -> str:
    if not board.folds:
        return ""
    apart = "; the models have not finished the same folds, so that they cannot be compared"
    return " over the folds, each of which counts once" + ("" if board.is_comparable else apart)


def by_epoch(runs: ShownRuns) -> list[str]:
    """The primary quantity, epochs down and runs across; the selected epoch is bold."""
    name = runs.primary
    shown = [run for run in runs.runs if any(name in row["values"] for row in run.epochs)]
    if not name or not shown:
        return []

    def cell(run: ShownRun, epoch: int) -> str:
        value = run.value(epoch, name)
        text = MISSING if value is None else f"{value:.3f}"
        return f"**{text}**" if epoch == run.selected_epoch else text

    epochs = sorted({row["epoch"] for run in shown for row in run.epochs if name in row["values"]})
    rows = [[str(epoch), *(cell(run, epoch) for run in shown)] for epoch in epochs]
    return [
        f"## {code(name)} by epoch",
        table(["Epoch", *names(runs, shown)], rows, right=len(shown)),
        "On the validation images; the selected epoch is bold.",
    ]
