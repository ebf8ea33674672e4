"""One frame of the live table, for any width and height: a pure function of what is known and of the time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.text import Text

from detkit.cli.live.course import BEFORE, TRAINING, VALIDATION, WAITING, ExperimentCourse, RunCourse, done_share
from detkit.cli.live.forecast import run_seconds_left, seconds_left
from detkit.cli.live.sparkline import Glyphs, bar, sparkline
from detkit.cli.words import duration, figure, roughly, three_digits
from detkit.record.course import Best, Quantity

if TYPE_CHECKING:
    from collections.abc import Iterable

STYLES = {
    "finished": "green",
    "pruned": "dim",
    "failed": "red",
    "interrupted": "yellow",
    "running": "bold",
    WAITING: "dim",
}
#: The order of the states in the counts; others come after them.
COUNTED = ("running", "finished", "pruned", "failed", "interrupted", WAITING)

GAP = 2
BEST, LOSS, TIME = 12, 7, 15
#: From these widths on there is room for the curve, for the loss, and for the time.
SPARK_FROM, LOSS_FROM, TIME_FROM = 50, 76, 92
WIDEST_SPARK = 40
WIDEST_PROGRESS = 44
#: So many lines are left to what stands above the table.
MARGIN = 3


@dataclass(frozen=True, slots=True)
class Widths:
    """Of the columns, in cells; 0 where a column is left out."""

    run: int
    progress: int
    spark: int
    best: int
    loss: int
    time: int


def widths_for(width: int, longest_name: int, epochs: int) -> Widths:
    """How a line of `width` is shared out.

    Args:
        longest_name: of the runs. epochs: of the longest run.
    """
    loss = LOSS if width >= LOSS_FROM else 0
    time = TIME if width >= TIME_FROM else 0
    rest = width - BEST - sum(part + GAP for part in (loss, time) if part) - 3 * GAP
    run = min(longest_name, max(rest * 2 // 5, min(20, rest - 24), 8))
    spark = min(max(epochs, 8), WIDEST_SPARK, max(6, (rest - run) // 3)) if width >= SPARK_FROM else 0
    progress = min(WIDEST_PROGRESS, max(0, rest - run - spark))
    return Widths(run, progress, spark, BEST, loss, time)


def frame(course: ExperimentCourse, *, width: int, height: int, now: float, glyphs: Glyphs) -> list[Text]:
    """The lines to show: never more than `height`, none wider than `width`."""
    runs = list(course.runs.values())
    painter = _Painter(course, runs, width, now, glyphs)
    lines = [*painter.header(), painter.heads()]
    lines += _visible(painter, runs, max(1, height - MARGIN - len(lines)))
    for line in lines:
        line.truncate(width, overflow="ellipsis" if glyphs.ellipsis == "…" else "crop")
    return lines[: max(1, height)]


def _visible(painter: _Painter, runs: Sequence[RunCourse], room: int) -> list[Text]:
    """As many rows as there is room for: those that run, and their neighbours; the others are counted.

    The second line of a running run is the first to go.
    """
    running = [number for number, run in enumerate(runs) if run.state == "running"]
    if len(runs) + len(running) <= room:
        return [line for run in runs for line in painter.rows(run, detail=True)]
    if len(runs) <= room:
        return [line for run in runs for line in painter.rows(run, detail=False)]
    shown = room - 2 if room > 2 else room  # the lines that count those above and below
    middle = running[0] if running else next((n for n, run in enumerate(runs) if run.state == WAITING), len(runs) - 1)
    first = max(0, min(middle - shown // 2, len(runs) - shown))
    last = first + shown
    lines = [line for run in runs[first:last] for line in painter.rows(run, detail=False)]
    above, below = runs[:first], runs[last:]
    if above and room > 2:
        lines.insert(0, painter.counted(above, "above"))
    if below and room > 2:
        lines.append(painter.counted(below, "below"))
    return lines


class _Painter:
    """Draws the lines of one frame."""

    def __init__(
        self, course: ExperimentCourse, runs: Sequence[RunCourse], width: int, now: float, glyphs: Glyphs
    ) -> None:
        self._course = course
        self._width = width
        self._now = now
        self._glyphs = glyphs
        self._quantities = {run.quantity for run in runs if run.quantity is not None}
        self._quantity = next(iter(self._quantities)) if len(self._quantities) == 1 else None
        epochs = max((run.epochs for run in runs), default=0)
        self._names = {run.run_id: run.run_id for run in runs}
        longest = max(map(cell_len, self._names), default=0)
        self._widths = widths_for(width, longest, epochs)
        if longest > self._widths.run:  # what all have in common goes first: of trials the number tells them apart
            common = _common_seed(list(self._names))
            self._names = {name: name.removesuffix(common) for name in self._names}
            self._widths = widths_for(width, max(map(cell_len, self._names.values())), epochs)
        values = [point.value for run in runs for point in run.values]
        self._range = (min(values), max(values)) if values else (0.0, 0.0)
        self._leader = _leader(runs, self._quantity)

    def header(self) -> list[Text]:
        """What the experiment is, how far, how long; on two lines where one is too narrow."""
        course = self._course
        counts = Counter(course.counts())
        pruned = f" ({counts['pruned']} pruned)" if counts["pruned"] else ""
        done = counts["finished"] + counts["pruned"]
        told = [f"{done} of {len(course.runs) + course.to_come} runs done{pruned}"]
        others = [state for state in counts if state not in ("running", "finished", "pruned", WAITING)]
        told += [f"{counts[state]} {state}" for state in sorted(others, key=_order)]
        if course.warnings:
            told.append(f"{course.warnings} warning{'s' if course.warnings > 1 else ''}")
        left = seconds_left(course, self._now)
        clock = duration(self._now - course.began)
        clock += f", about {roughly(left)} left" if left is not None and left >= 1 else ""
        what = Text.assemble((course.name, "bold"), "  ", ", ".join(told))
        if what.cell_len + GAP + cell_len(clock) <= self._width:
            what.append(" " * (self._width - what.cell_len - cell_len(clock)) + clock)
            return [what]
        return [what, Text(clock)]

    def heads(self) -> Text:
        w = self._widths
        name = self._quantity.name if self._quantity else "figure"
        last = name.rsplit("/", 1)[-1]
        titles = (f"{name} by epoch", f"{last} by epoch", name, last)
        by_epoch = next((title for title in titles if cell_len(title) <= w.spark), last)
        cells = [
            (_fit("run", w.run, self._glyphs), "dim"),
            (_fit("progress", w.progress, self._glyphs), "dim"),
            (_fit(by_epoch, w.spark, self._glyphs), "dim"),
            (_right("best (epoch)", w.best), "dim"),
            (_right("loss", w.loss), "dim"),
            (_right("time", w.time), "dim"),
        ]
        return _line(cells)

    def rows(self, run: RunCourse, *, detail: bool) -> list[Text]:
        """The line of a run; of one that runs a second one with its steps, where there is room."""
        w, style = self._widths, STYLES.get(run.state, "")
        name = (
            _fit(self._names[run.run_id], w.run, self._glyphs, middle=True),
            "bold" if run.state == "running" else style,
        )
        if run.state == "failed" and run.cause:
            room = self._width - w.run - GAP
            return [_line([name, (_fit(f"failed: {run.cause}", room, self._glyphs), style)])]
        leads = run is self._leader
        curve = sparkline([p.value for p in run.values], w.spark, *self._range, self._glyphs)
        cells = [
            name,
            *self._progress(run),
            (_fit(curve, w.spark, self._glyphs), "green" if leads else "cyan"),
            (_right(_best(run.best), w.best), "bold green" if leads else ""),
            (_right("" if run.loss is None else three_digits(run.loss), w.loss), ""),
            (_right(self._time(run), w.time), "dim" if run.state == WAITING else ""),
        ]
        lines = [_line(cells)]
        if detail and run.state == "running":
            lines.append(self._steps(run))
        return lines

    def counted(self, runs: Iterable[RunCourse], where: str) -> Text:
        counts = Counter(run.state for run in runs)
        listed = [f"{counts[state]} {state}" for state in sorted(counts, key=_order)]
        return Text(f"{self._glyphs.ellipsis} {where}: {', '.join(listed)}", style="dim")

    def _progress(self, run: RunCourse) -> list[tuple[str | Text, str]]:
        width = self._widths.progress
        if run.state == "running":
            words = f"epoch {min(run.epochs_done + 1, run.epochs or 1)}/{run.epochs or '?'}"
            if not run.progress or run.progress.get("phase") in BEFORE:
                words = "starting"
            elif run.epochs and run.epochs_done >= run.epochs:
                words = f"epoch {run.epochs}/{run.epochs}"
            return [(self._bar(words, run, run.share), "")]
        epochs = f"{run.epochs_done}/{run.epochs}" if run.epochs else f"{run.epochs_done}"
        words = {
            WAITING: f"{WAITING} at {epochs}" if run.rows else WAITING,
            "finished": f"finished {epochs}",
        }.get(run.state, f"{run.state} at {epochs}")
        return [(_fit(words, width, self._glyphs), STYLES.get(run.state, ""))]

    def _steps(self, run: RunCourse) -> Text:
        """Where in the epoch, or in what comes before and after the epochs."""
        progress, w = run.progress, self._widths
        phase = str(progress.get("phase", "loading"))
        words = {VALIDATION: "evaluating"}.get(phase, phase)
        done = f"{progress['done']}/{progress['total']}" if progress.get("total") else ""
        detail = f"{done}  lr {progress['lr']:.2g}  {progress['images_per_s']:.1f} img/s" if phase == TRAINING else done
        cells: list[tuple[str | Text, str]] = [
            (" " * w.run, ""),
            (self._bar(words, run, done_share(progress)), "dim"),
            (_fit(detail, self._width - w.run - w.progress - 2 * GAP, self._glyphs), "dim"),
        ]
        return _line(cells)

    def _bar(self, words: str, run: RunCourse, share: float) -> Text:
        """As wide as the column, after words that are as wide in all frames."""
        width = self._widths.progress
        words = _fit(words, min(width, max(11, len(f"epoch {run.epochs}/{run.epochs}"))), self._glyphs)
        room = width - cell_len(words) - 1
        if room < 4:
            return Text(_fit(words.rstrip(), width, self._glyphs))
        filled, empty = bar(room, share, self._glyphs)
        return Text.assemble(words, " ", (filled, "cyan"), (empty, "dim"))

    def _time(self, run: RunCourse) -> str:
        if run.state == "running":
            left = run_seconds_left(self._course, run, self._now)
            return "" if left is None else f"{roughly(left)} left"
        took = run.took(self._now) if run.state != WAITING else None
        return "" if took is None else duration(took)


def _common_seed(names: Sequence[str]) -> str:
    """The end that tells the seed, where all runs have the same one; else nothing."""
    ends = {name[name.rfind("-seed") :] if "-seed" in name else "" for name in names}
    return ends.pop() if len(ends) == 1 else ""


def _leader(runs: Sequence[RunCourse], quantity: Quantity | None) -> RunCourse | None:
    """The run with the best value so far, where all have the same quantity and two have values."""
    found: RunCourse | None = None
    valued = [run for run in runs if run.best is not None]
    if quantity is None or len(valued) < 2:
        return None
    for run in valued:
        if found is None or quantity.is_better(run.best.value, found.best.value):  # type: ignore[union-attr]  # valued
            found = run
    return found


def _order(state: str) -> tuple[int, str]:
    return (COUNTED.index(state) if state in COUNTED else len(COUNTED), state)


def _best(best: Best | None) -> str:
    return "" if best is None else f"{figure(best.value)} ({best.epoch})"


def _line(cells: Sequence[tuple[str | Text, str]]) -> Text:
    line = Text(no_wrap=True)
    for cell, style in cells:
        content = cell if isinstance(cell, Text) else Text(cell)
        if not content.cell_len:  # a column that is left out
            continue
        if style:
            content.stylize(style)
        if line.cell_len:
            line.append(" " * GAP)
        line.append_text(content)
    return line


def _fit(text: str, width: int, glyphs: Glyphs, *, middle: bool = False) -> str:
    """Exactly `width` cells: filled with blanks, or cut; in the middle where the end tells more."""
    if width <= 0:
        return ""
    if cell_len(text) <= width:
        return text + " " * (width - cell_len(text))
    mark = glyphs.ellipsis
    room = width - len(mark)
    if room <= 0:
        return _cut(text, width)
    if not middle:
        return _padded(_cut(text, room) + mark, width)
    tail = text[-(room - room // 2) :]
    return _padded(_cut(text, max(0, room - cell_len(tail))) + mark + tail, width)


def _cut(text: str, width: int) -> str:
    while text and cell_len(text) > width:
        text = text[:-1]
    return text


def _padded(text: str, width: int) -> str:
    return _cut(text, width) + " " * max(0, width - cell_len(text))


def _right(text: str, width: int) -> str:
    return text.rjust(width)[:width] if width else ""
