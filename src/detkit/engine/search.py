"""A search: values are proposed, tried as runs one after another, and told to the searcher. The parent's side."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from detkit.components import ParetoSearcher, Searcher, Stateful
from detkit.data.seeds import derive_seed
from detkit.engine.attribution import attributed
from detkit.engine.display import Display
from detkit.engine.launch import failure_of
from detkit.engine.prepare import build_context
from detkit.engine.rerun import PlannedRun, changes_of, run_spec
from detkit.engine.search_book import SearchBook
from detkit.engine.search_pruning import Pruning, median_pruning
from detkit.errors import CannotWrite, ComponentError, RecordError, SearchRefused, SpecError
from detkit.record.reader import RunRecord
from detkit.record.search import Trial, TrialState, pareto_front
from detkit.search_space import Objective, Proposal, SearchSpace, Value
from detkit.spec.explain import value_words
from detkit.spec.model import ExperimentSpec
from detkit.spec.trials import trial_spec

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TrialRun:
    """One run of a trial, ready to be begun.

    Attributes:
        spec: of the trial: the experiment's with its values. facts: for the run's run.json.
    """

    plan: PlannedRun
    spec: ExperimentSpec
    facts: Mapping[str, Any]


#: Runs it, and puts it into the list of the experiment's runs before.
RunTrial = Callable[[TrialRun], None]


def refuse_search(spec: ExperimentSpec, book: SearchBook, *, resume: bool, extend: bool) -> None:
    """Look whether the search that is recorded can go on under this spec.

    Raises:
        RecordError: a change in the spec would change the numbers of a trial that is there; a trial was cut short and
            nobody said what to do about it; or trials were to get more epochs.
    """
    assert spec.search is not None
    if extend:
        raise RecordError("--extend goes with no search: its trials would have unequal epochs; raise [search] trials")
    changes: list[str] = []
    for model in spec.search.models:
        for trial in book.trials(model):
            for run in book.runs_of(trial):
                if run.state == "running":
                    raise RecordError(f"{run.run_id} is still running in another process; try again when it has ended")
                if run.state not in ("pending", "failed"):
                    changes += changes_of(run, run_spec(trial_spec(spec, model, trial.values), model), model)
    if changes:
        listed = "\n  ".join(sorted(set(changes)))
        raise RecordError(
            f"{spec.record_folder} holds trials whose numbers these changes would alter:\n  {listed}\n"
            "put the values back, or start afresh with --name NEW or --fresh"
        )
    unfinished = [
        str(run)
        for model in spec.search.models
        if (out := book.out(model)) is not None
        for run in book.runs_of(out)
        if run.state == "interrupted" or _of_the_disk(run)
    ]
    if unfinished and not resume:
        raise RecordError(
            f"{spec.record_folder} holds a search that was stopped in the middle of a trial: {', '.join(unfinished)};"
            " go on with --resume, or start afresh with --name NEW"
        )


def search_model(spec: ExperimentSpec, book: SearchBook, model: str, display: Display, run_trial: RunTrial) -> None:
    """Search one model to the end: go on with the trial that is out, then with others.

    Raises:
        ComponentError, DetkitError: the searcher failed, or proposed what was not asked for. Interrupted: stopped.
    """
    if book.over(model):
        return
    searching = _Searching(spec, book, model, display, run_trial)
    try:
        searching.begin()
        # More than one may be out: failed trials whose runs were removed are tried again.
        while (trial := book.out(model) or searching.propose()) is not None:
            searching.try_out(trial)
    finally:
        searching.close()


class _Searching:
    """One model's search, while it goes on."""

    def __init__(
        self, spec: ExperimentSpec, book: SearchBook, model: str, display: Display, run_trial: RunTrial
    ) -> None:
        assert spec.search is not None
        self._spec, self._search, self._book, self._model = spec, spec.search, book, model
        self._display, self._run_trial = display, run_trial
        self._space: SearchSpace = book.space(model)
        self._total = self._search.trials(model)
        seed = derive_seed(spec.experiment.seeds[0], "search", model)
        context = build_context(spec, self._search.use, messages=display, seed=seed)
        self._searcher: Searcher = self._asked(
            "being built", lambda: self._search.use.offered.component.build(self._search.use.options, context)
        )

    def begin(self) -> None:
        """Tell the searcher what is searched, and what it knew before."""
        state, searcher, objectives = self._book.state(self._model), self._searcher, self._book.objectives
        if self._book.trials(self._model) and state is None:
            raise RecordError(
                f"{self._search.use.title} cannot go on with a search, since it has no state; start afresh with --name"
                " NEW or --fresh"
            )
        if state is not None and isinstance(searcher, Stateful):
            self._asked("taking back its state", lambda: searcher.load_state_dict(state))
        if len(objectives) == 1:
            self._asked(
                "beginning", lambda: searcher.begin(self._space, objectives[0], max_trials=self._search.table.trials)
            )
        else:
            pareto = self._pareto()
            self._asked(
                "beginning",
                lambda: pareto.begin_pareto(self._space, objectives, max_trials=self._search.table.trials),
            )
        done = len(self._book.trials(self._model))
        named = " and ".join(f"{objective.metric} ({objective.direction})" for objective in objectives)
        goes_on = f", {done} of which have been begun" if done else ""
        self._display.info(
            f"search of {self._model} by {self._search.use.key}: {self._total} trials{goes_on}, for {named} over"
            f" {', '.join(self._space.parameters)}"
        )

    def propose(self) -> Trial | None:
        """The next trial, written down; None: there is no other."""
        if self._book.over(self._model):
            return None
        proposal = self._asked("proposing values", self._searcher.propose)
        if proposal is None:
            self._book.exhaust(self._model, self._state())
            if (done := len(self._book.trials(self._model))) < self._total:
                self._display.info(f"{self._search.use.key} has nothing more to try after {done} trials")
            return None
        self._refuse_foreign(proposal)
        return self._book.propose(proposal, self._model, self._state())

    def _refuse_foreign(self, proposal: Proposal) -> None:
        due = len(self._book.trials(self._model)) + 1
        try:
            if proposal.number != due:
                raise ValueError(f"trial {proposal.number} where {due} is due")
            self._space.check(proposal.values)
        except ValueError as error:
            raise ComponentError(
                f"{self._search.use.title} proposes what was not asked for: {error}; use another searcher, and tell its"
                " author"
            ) from None

    def try_out(self, trial: Trial) -> None:
        """Run the trial, and tell the searcher what it gave."""
        reason = ""
        try:
            spec = trial_spec(self._spec, self._model, trial.values)
        except SpecError as error:
            reason = str(error)
        else:
            self._display.info(f"trial {trial.number} of {self._total}: {values_words(trial.values)}")
            self._run_all(trial, spec)
        state, values, reason = ("failed", None, reason) if reason else _outcome(self._book.runs_of(trial))
        self._tell(trial, values)
        ended = self._book.end(trial, state, values, reason, self._state())
        self._display.info(f"trial {trial.number} {outcome_words(ended, self._book.objectives)}{self._best()}")

    def _run_all(self, trial: Trial, spec: ExperimentSpec) -> None:
        """All runs of a trial, up to one that fails or is pruned."""
        runs = self._book.runs_of(trial)
        facts: dict[str, Any] = {
            "trial": {
                "number": trial.number,
                "values": dict(trial.values),
                "about": dict(trial.about),
                "objectives": [
                    {"metric": objective.metric, "direction": objective.direction}
                    for objective in self._book.objectives
                ],
            }
        }
        pruning = self._pruning()
        for place, run in enumerate(runs):
            if run.state == "pruned" or (run.state == "failed" and not _of_the_disk(run)):
                return
            if run.state == "finished":
                continue
            # The first run decides for the others, which others of their kind have not all seen.
            of_run = facts | ({"prune": pruning.to_dict()} if pruning is not None and place == 0 else {})
            plan = PlannedRun(run, "start" if run.state == "pending" else "resume")
            self._run_trial(TrialRun(plan, spec, of_run))
            if run.state == "failed" and (failure := failure_of(run))["kind"] == SearchRefused.__name__:
                raise SearchRefused(failure["message"])  # as every other trial would be
            if _of_the_disk(run):
                raise CannotWrite(failure_of(run)["message"])  # so would all others fail: this one goes on later

    def _pruning(self) -> Pruning | None:
        """What the next trial is compared with; None while too few have finished, or without pruning."""
        table = self._search.table
        finished = [trial for trial in self._book.trials(self._model) if trial.state == "finished"]
        if table.prune == "off" or len(finished) < table.prune_after_trials:
            return None
        others = [self._book.runs_of(trial)[0].epochs() for trial in finished]
        return median_pruning(others, self._book.objectives[0], table.prune_after_epochs)

    def _tell(self, trial: Trial, values: Sequence[float] | None) -> None:
        proposal = Proposal(trial.number, trial.values, trial.about)
        searcher = self._searcher
        if len(self._book.objectives) == 1:
            value = values[0] if values else None
            self._asked("being told a value", lambda: searcher.tell(proposal, value))
        else:
            pareto = self._pareto()
            self._asked("being told values", lambda: pareto.tell_pareto(proposal, values))

    def _best(self) -> str:
        """The best trial so far, to be said after another one."""
        front = pareto_front(self._book.trials(self._model), self._book.objectives)
        if not front:
            return ""
        if len(self._book.objectives) > 1:
            return f"; none better in both: {', '.join(str(trial.number) for trial in front)}"
        return f"; best so far: trial {front[0].number}, {objectives_words(front[0], self._book.objectives)}"

    def _pareto(self) -> ParetoSearcher:
        if not isinstance(self._searcher, ParetoSearcher):
            raise ComponentError(f"{self._search.use.title} says that it takes two objectives, and does not")
        return self._searcher

    def _state(self) -> dict[str, Any] | None:
        searcher = self._searcher
        return self._asked("giving its state", searcher.state_dict) if isinstance(searcher, Stateful) else None

    def _asked(self, doing: str, call: Callable[[], T]) -> T:
        with attributed(self._search.use, doing):
            return call()

    def close(self) -> None:
        """Whatever ended it."""
        self._asked("being closed", self._searcher.close)


def _of_the_disk(run: RunRecord) -> bool:
    """Whether the run failed since its record could not be written: that says nothing of its values."""
    return run.state == "failed" and failure_of(run)["kind"] == CannotWrite.__name__


def _outcome(runs: Sequence[RunRecord]) -> tuple[TrialState, list[float] | None, str]:
    """How a trial ended, what it gave, and why not more."""
    failed = next((run for run in runs if run.state == "failed"), None)
    if failed is not None:
        return "failed", None, str(failure_of(failed)["message"])
    pruned = next((run for run in runs if run.state == "pruned"), None)
    if pruned is not None:
        return "pruned", _means([pruned]), str((pruned.pruned or {})["reason"])
    values = _means(runs)
    return "finished", values, "" if values else "an objective has no value"


def _means(runs: Sequence[RunRecord]) -> list[float] | None:
    """Each objective's mean over the runs; None where one has no value."""
    rows = [list(run.objective_values().values()) for run in runs]
    if any(value is None for row in rows for value in row):
        return None
    return [statistics.fmean(value for value in column if value is not None) for column in zip(*rows, strict=True)]


# --- words -----------------------------------------------------------------------------------------------------------


def values_words(values: Mapping[str, Value]) -> str:
    """As "train.lr = 0.01, train.batch_size = 4"."""
    return ", ".join(f"{key} = {value_words(value)}" for key, value in values.items())


def objectives_words(trial: Trial, objectives: Sequence[Objective]) -> str:
    """As "coco/ap 0.412, latency_ms_median 31.2"."""
    values = trial.objectives or (None,) * len(objectives)
    return ", ".join(
        f"{objective.metric} {'-' if value is None else f'{value:.4g}'}"
        for objective, value in zip(objectives, values, strict=True)
    )


def outcome_words(trial: Trial, objectives: Sequence[Objective]) -> str:
    """As "gave coco/ap 0.412", or why it gave nothing."""
    if trial.state == "finished":
        return f"gave {objectives_words(trial, objectives)}"
    return trial.reason if trial.state == "pruned" else f"{trial.state}: {trial.reason}"
