"""search.json, written by its only writer: what each model's search has proposed and was told, its searcher's state.

Each change is one file, written atomically: a trial and the state of the searcher that proposed it, a value and the
state of the searcher that was told it. So a search that is killed anywhere has neither lost a trial nor has one twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from detkit.engine.search_importance import importances
from detkit.errors import RecordError
from detkit.record.files import read_json, write_json
from detkit.record.layout import ExperimentLayout, run_id
from detkit.record.reader import RunRecord
from detkit.record.search import Trial, TrialState, is_removed, space_of_plain
from detkit.search_space import Objective, Proposal, SearchSpace
from detkit.spec.model import ExperimentSpec
from detkit.spec.resolve import plain
from detkit.spec.search import SearchUse


class SearchBook:
    """The search of an experiment, in memory and in its file."""

    def __init__(self, spec: ExperimentSpec) -> None:
        """Read what is there.

        Raises:
            RecordError: the file is damaged, or is of another search than the spec's; says in what they differ.
        """
        assert spec.search is not None
        self._spec = spec
        self._search: SearchUse = spec.search
        self._folder = spec.record_folder
        self._file = ExperimentLayout(self._folder).search
        self._content: dict[str, Any] = read_json(self._file) if self._file.exists() else {"models": {}}
        if self._file.exists():
            self._refuse_changes()
            self._ask_again()

    # --- what is in it ---

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """None before the search has begun."""
        return tuple(Objective(**row) for row in self._content.get("objectives", ()))

    def space(self, model: str) -> SearchSpace:
        """What is searched, in the order in which it was begun: the record's copy of the spec may have another."""
        space = self._content["models"][model]["space"]
        return SearchSpace({key: space_of_plain(value) for key, value in space.items()})

    def trials(self, model: str) -> list[Trial]:
        """Those of a model, in their order."""
        return [self._trial(model, row) for row in self._rows(model)]

    def out(self, model: str) -> Trial | None:
        """The trial that was begun and has not been told yet."""
        return next((trial for trial in self.trials(model) if trial.state == "running"), None)

    def state(self, model: str) -> dict[str, Any] | None:
        """Of the searcher; None where it has none, or has not begun."""
        found = self._content["models"].get(model, {}).get("state")
        return None if found is None else dict(found)

    def over(self, model: str) -> bool:
        """Whether there is nothing to do for the model."""
        rows = self._rows(model)
        ended = all(row["state"] != "running" for row in rows)
        exhausted = self._content["models"].get(model, {}).get("exhausted", False)
        return ended and (exhausted or len(rows) >= self._search.trials(model))

    def runs_to_come(self, model: str) -> int:
        """How many runs of a model have not ended yet, of trials that are out or still to be proposed; at most."""
        rows, found = self._rows(model), self._content["models"].get(model, {})
        more = 0 if found.get("exhausted") else max(0, self._search.trials(model) - len(rows))
        out = [run for row in rows if row["state"] == "running" for run in self.runs_of(self._trial(model, row))]
        a_trial = (self._spec.split.folds or 1) * len(self._spec.experiment.seeds)
        return more * a_trial + sum(run.state not in ("finished", "pruned") for run in out)

    def runs(self) -> list[RunRecord]:
        """Of all trials of all models, also of models that the spec no longer searches: those that have begun."""
        runs = [run for model in self._content["models"] for trial in self.trials(model) for run in self.runs_of(trial)]
        return [run for run in runs if run.state != "pending"]

    def begun(self) -> list[RunRecord]:
        """The runs of the trials that are out, as far as they have begun."""
        return [run for run in self.runs() if run.state == "interrupted"]

    def ended(self) -> list[RunRecord]:
        """The runs that have ended well enough to be sent to loggers."""
        return [run for run in self.runs() if run.state in ("finished", "pruned")]

    def runs_of(self, trial: Trial) -> list[RunRecord]:
        """The runs of a trial: folds outside, seeds inside."""
        split = self._spec.split
        folds: Sequence[int | None] = [None] if split.folds is None else range(1, split.folds + 1)
        return [
            RunRecord(
                self._folder, run_id(trial.model, seed, fold, trial.number), trial.model, seed, fold, trial.number
            )
            for fold in folds
            for seed in self._spec.experiment.seeds
        ]

    # --- what comes into it ---

    def begin(self, objectives: Sequence[Objective]) -> None:
        """Note what is searched; of a search that goes on, how many trials are wanted now."""
        self._content["objectives"] = [asdict(objective) for objective in objectives]
        self._content |= self._stated()
        for model in self._search.models:
            row = self._content["models"].setdefault(model, {"state": None, "exhausted": False, "trials": []})
            row.setdefault("space", self._space(model))
            row["wanted"] = self._search.trials(model)
        self._write()

    def propose(self, proposal: Proposal, model: str, state: Mapping[str, Any] | None) -> Trial:
        """Note a trial before its runs begin."""
        runs = self.runs_of(Trial(model, proposal.number, proposal.values, "running"))
        row = {
            "number": proposal.number,
            "values": dict(proposal.values),
            "about": dict(proposal.about),
            "state": "running",
            "objectives": None,
            "runs": [run.run_id for run in runs],
            "reason": "",
        }
        self._content["models"][model]["trials"].append(row)
        self._content["models"][model]["state"] = state
        self._write()
        return self._trial(model, row)

    def end(
        self,
        trial: Trial,
        trial_state: TrialState,
        objectives: Sequence[float] | None,
        reason: str,
        state: Mapping[str, Any] | None,
    ) -> Trial:
        """Note how a trial ended, when its searcher was told."""
        found = self._content["models"][trial.model]
        row = next(row for row in found["trials"] if row["number"] == trial.number)
        if all(run.state == "pending" for run in self.runs_of(trial)):
            row["runs"] = []  # its values do not go together: none was begun
        row |= {"state": trial_state, "objectives": None if objectives is None else list(objectives), "reason": reason}
        found["state"] = state
        space = {key: space_of_plain(value) for key, value in found["space"].items()}
        # What a trial gave before its run was removed is as true as it was.
        tried = [replace(self._trial(trial.model, row), state=row["state"]) for row in found["trials"]]
        shares, note = importances(tried, space, self.objectives[0])
        found |= {"importances": shares, "importances_note": note}
        self._write()
        return self._trial(trial.model, row)

    def exhaust(self, model: str, state: Mapping[str, Any] | None) -> None:
        """Note that the searcher has nothing more to propose."""
        self._content["models"][model] |= {"exhausted": True, "state": state}
        self._write()

    # --- inside ---

    def _write(self) -> None:
        write_json(self._file, self._content)

    def _rows(self, model: str) -> list[dict[str, Any]]:
        return list(self._content["models"].get(model, {}).get("trials", ()))

    def _trial(self, model: str, row: Mapping[str, Any]) -> Trial:
        values = {key: row[key] for key in ("number", "values", "state", "reason", "about")}
        if row["state"] in ("finished", "pruned") and is_removed(row, self._state_of):
            values["state"] = "removed"
        found = row["objectives"]
        return Trial(model=model, objectives=None if found is None else tuple(found), runs=tuple(row["runs"]), **values)

    def _state_of(self, run: str) -> str:
        return RunRecord(self._folder, run, "", 0).state

    def _stated(self) -> dict[str, Any]:
        """What of the spec makes a search another one, beside its space and its objectives."""
        search, table = self._search, self._search.table
        return {
            "use": search.use.key,
            "options": plain(search.use.options),
            "prune": table.prune,
            "prune_after_trials": table.prune_after_trials,
            "prune_after_epochs": table.prune_after_epochs,
            "seeds": list(self._spec.experiment.seeds),
        }

    def _ask_again(self) -> None:
        """A failed trial whose runs were removed is tried again, with the values that it had."""
        for model in self._search.models:
            for row in self._rows(model):
                if row["state"] == "failed" and row["runs"] and set(map(self._state_of, row["runs"])) == {"pending"}:
                    row |= {"state": "running", "reason": ""}

    def _space(self, model: str) -> dict[str, Any]:
        return {key: parameter.plain() for key, parameter in self._search.of_model(model).items()}

    def _refuse_changes(self) -> None:
        """A search goes on as it was begun: values that were found in another one say little of this one."""
        changed = [
            f"{'experiment.seeds' if key == 'seeds' else f'search.{key}'}: {self._content[key]!r} before, {now!r} now"
            for key, now in self._stated().items()
            if self._content[key] != now
        ]
        named = self._search.table.objectives
        before = tuple(objective.metric for objective in self.objectives)
        if named and named != before:
            changed.append(f"search.objective: {list(before)} before, {list(named)} now")
        for model in self._search.models:
            if model in self._content["models"]:
                changed += _space_changes(self._content["models"][model]["space"], self._space(model))
        if changed:
            listed = "\n  ".join(dict.fromkeys(changed))
            raise RecordError(
                f"{self._folder} holds a search that was begun otherwise:\n  {listed}\n"
                "put the values back (only `trials` may change), or start afresh with --name NEW or --fresh"
            )


def _space_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for key in dict.fromkeys([*before, *now]):
        if before.get(key) != now.get(key):
            was, is_now = (str(values.get(key, "not searched")) for values in (before, now))
            yield f"search.space.{key!r}: {was} before, {is_now} now"


def book_of(spec: ExperimentSpec) -> SearchBook | None:
    """The search of a spec; None where it has none.

    Raises:
        RecordError: as `SearchBook`.
    """
    return None if spec.search is None else SearchBook(spec)
