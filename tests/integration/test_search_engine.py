"""The course of a search, with runs that take no time: each "trains" by a formula of its values, in this process.

What is real: the spec, the data, the searchers, the record. What stands in for a child: `Children`, below.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import detkit
from detkit.cli.main import Commands, Settings
from detkit.compare.leaderboard import make_leaderboard
from detkit.engine import experiment
from detkit.engine.display import Display
from detkit.engine.search_book import SearchBook
from detkit.engine.search_pruning import Pruning
from detkit.errors import CannotWrite, ComponentError, Interrupted, RecordError, UserError
from detkit.record.files import write_json
from detkit.record.reader import ExperimentRecord, RunRecord, open_record
from detkit.record.removal import plan_run, remove
from detkit.record.streams import StreamWriter, read_stream
from detkit.search_space import Choices, Range
from integration.experiments import RecordingDisplay, merged, squares_spec, write_spec

EPOCHS = 4


def quality(values: Mapping[str, Any]) -> float:
    """Of a trial: best at a rate of 0.01 and a batch of 4."""
    return 1.0 + abs(math.log10(values["train.lr"]) + 2) + (0.0 if values.get("train.batch_size", 4) == 4 else 0.25)


class Children:
    """Stands in for the processes of runs: what the mean error of `count_error` becomes is a function of the values.

    Attributes:
        begun: the ids of runs, in the order in which they were begun, those again that went on.
        fails: numbers of trials whose runs fail. why: for what. kind: of the failure.
        stop_at: raises KeyboardInterrupt at that event, counted from 1; every epoch is one, and so is what `event` is
            called for by others.
    """

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.fails: set[int] = set()
        self.why, self.kind = "out of luck", "X"
        self.stop_at = 0
        self.events = 0

    def event(self) -> None:
        self.events += 1
        if self.events == self.stop_at:
            raise KeyboardInterrupt

    def __call__(self, run: RunRecord, display: Display) -> None:
        facts = run.facts
        self.begun.append(run.run_id)
        trial = facts.get("trial", {"number": 0, "values": {"train.lr": 0.1}})
        if trial["number"] in self.fails:
            write_json(run.files.failure, {"kind": self.kind, "message": self.why, "exit_code": 1})
            return
        run.files.failure.unlink(missing_ok=True)  # as the real one does before it begins
        stream = StreamWriter(run.files.metrics)
        pruning = Pruning.from_dict(facts["prune"]) if "prune" in facts else None
        done = len(list(read_stream(run.files.metrics)))
        for epoch in range(done + 1, EPOCHS + 1):
            self.event()
            error = quality(trial["values"]) * (1 + 1 / epoch) + 0.001 * run.seed
            stream.append({"epoch": epoch, "step": epoch, "values": {"count_error/mean": error}, "measured": {}})
            reason = pruning.reason(run.epochs()) if pruning and epoch < EPOCHS else ""
            if reason:
                write_json(run.files.pruned, {"epoch": epoch, "reason": reason})
                return
        self.event()
        write_json(run.files.summary, summary_of(run, run.epochs()[-1]["values"]["count_error/mean"]))
        self.event()


def summary_of(run: RunRecord, error: float) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "selected": {"epoch": EPOCHS, "by": "count_error/mean", "value": error},
        "scored": {"split": "validation", "images": 4, "same_images": True, "values": {"count_error/mean": error}},
        "primary": "count_error/mean",
        "higher_is_better": {"count_error/mean": False},
        "parameters": 10,
        "epochs": EPOCHS,
        "ended": "all epochs trained",
        "costs": {"flops": 100.0 * run.facts["spec"]["model"]["train"]["batch_size"], "measured": {}},
        "measured": {"train_s": 1.0, "peak_memory_bytes": 5.0},
    }


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> Children:
    children = Children()
    monkeypatch.setattr(experiment, "run_in_child", children)
    monkeypatch.setattr(os, "fsync", lambda _handle: None)  # nobody cuts the power here, and it takes its time
    return children


def spec_file(folder: Path, **search: Any) -> Path:
    table = {
        "use": "random",
        "trials": 6,
        "space": {"train.lr": {"low": 1e-4, "high": 1.0, "log": True}, "train.batch_size": [2, 4]},
    }
    changes = search.pop("spec", {})
    spec = squares_spec(folder / "runs", search=merged(table, search), train={"epochs": EPOCHS, "warmup_steps": 0})
    return write_spec(folder / "spec.toml", merged(spec, changes))


def run(file: Path, display: Display | None = None, **options: Any) -> ExperimentRecord:
    return detkit.run(file, display=display or RecordingDisplay(), **options)


def told(record: ExperimentRecord) -> list[dict[str, Any]]:
    """What search.json says of all trials, without what tells when."""
    content = json.loads(record.files.search.read_text())
    return [trial for model in content["models"].values() for trial in model["trials"]]


# --- a whole search --------------------------------------------------------------------------------------------------


def test_trials_are_runs_with_their_values_and_the_best_stands_for_its_model(
    tmp_path: Path, children: Children
) -> None:
    display = RecordingDisplay()
    record = run(spec_file(tmp_path), display)
    search = record.search
    assert search is not None
    assert search.use == "random"
    assert [(objective.metric, objective.direction) for objective in search.objectives] == [
        ("count_error/mean", "minimize")
    ]
    found = search.models["centre_point"]
    assert found.space == {"train.lr": Range(1e-4, 1.0, log=True), "train.batch_size": Choices((2, 4))}
    assert [trial.number for trial in record.trials()] == [1, 2, 3, 4, 5, 6]
    assert children.begun == [f"centre_point-trial{number:03d}-seed1" for number in range(1, 7)]
    assert [run.run_id for run in record.runs] == children.begun
    assert {trial.state for trial in found.trials} == {"finished"}
    wanted = [quality(trial.values) * 1.25 + 0.001 for trial in found.trials]
    assert [value for trial in found.trials for value in trial.objectives or ()] == pytest.approx(wanted)
    best = found.best
    assert best is not None
    assert best.number == 1 + wanted.index(min(wanted))
    # Each run's spec and record hold its values.
    for trial, of_trial in zip(found.trials, record.runs, strict=True):
        train = of_trial.facts["spec"]["model"]["train"]
        assert {"train.lr": train["lr"], "train.batch_size": train["batch_size"]} == trial.values
        assert of_trial.facts["trial"]["values"] == trial.values
        own = detkit.load_spec(of_trial.files.spec)
        assert (own.models["centre_point"].train.lr, own.search) == (train["lr"], None)
        assert detkit.open_run(of_trial.files.folder).trial == trial.number
    # The table of models has the best trial, and no other.
    assert [run.run_id for run in record.compared] == [f"centre_point-trial{best.number:03d}-seed1"]
    leaderboard = record.leaderboard
    assert leaderboard is not None
    (row,) = leaderboard["rows"]
    assert (row["model"], list(row["states"])) == (f"centre_point-trial{best.number:03d}", [record.compared[0].run_id])
    assert row["values"]["count_error/mean"]["mean"] == pytest.approx(min(wanted))
    # What was said meanwhile.
    assert display.infos[0].startswith(
        "search of centre_point by random: 6 trials, for count_error/mean (minimize) over train.batch_size, train.lr"
    )
    assert any(line.startswith("trial 6 gave count_error/mean ") for line in display.infos)
    assert f"best so far: trial {best.number}, " in display.infos[-1]


def test_a_failed_trial_gives_nothing_and_the_search_goes_on(tmp_path: Path, children: Children) -> None:
    children.fails = {2, 3}
    record = run(spec_file(tmp_path))
    states = [(trial.number, trial.state, trial.objectives is None, trial.reason) for trial in record.trials()]
    assert states[:4] == [
        (1, "finished", False, ""),
        (2, "failed", True, "out of luck"),
        (3, "failed", True, "out of luck"),
        (4, "finished", False, ""),
    ]
    assert run(spec_file(tmp_path), resume=True).search == record.search
    assert len(children.begun) == 6


def test_a_failed_trial_that_is_removed_is_tried_again(tmp_path: Path, children: Children) -> None:
    children.fails = {2, 3}
    file = spec_file(tmp_path, trials=4, use="tpe", startup_trials=2)
    before = run(file).trials()
    children.fails = set()
    for number in (2, 3):
        remove([plan_run(tmp_path / "runs" / "small", f"centre_point-trial{number:03d}-seed1")])
    record = run(file)
    assert [trial.state for trial in record.trials()] == ["finished"] * 4
    assert [trial.values for trial in record.trials()] == [trial.values for trial in before]
    assert children.begun[4:] == ["centre_point-trial002-seed1", "centre_point-trial003-seed1"]
    # The searcher knows of each what it gave at last, once.
    state = json.loads(record.files.search.read_text())["models"]["centre_point"]["state"]
    assert {row["number"]: row["objectives"][0] for row in state["told"]} == {
        trial.number: pytest.approx(trial.objectives[0]) for trial in record.trials() if trial.objectives
    }
    assert len(state["told"]) == 4
    run(file)
    assert len(children.begun) == 6


def test_a_full_disk_ends_the_search_and_costs_no_trial(tmp_path: Path, children: Children) -> None:
    """It would fail all the others, and says nothing of their values."""
    children.fails, children.kind, children.why = {2}, CannotWrite.__name__, "cannot write last.pt: no space left"
    file = spec_file(tmp_path, trials=4)
    with pytest.raises(CannotWrite, match="no space left"):
        run(file)
    assert len(children.begun) == 2
    children.fails = set()
    with pytest.raises(RecordError, match=r"stopped in the middle of a trial: centre_point-trial002-seed1 \(failed\)"):
        run(file)
    record = run(file, resume=True)
    assert [trial.state for trial in record.trials()] == ["finished"] * 4
    assert children.begun[1:3] == ["centre_point-trial002-seed1"] * 2


def test_a_removed_trial_is_no_longer_the_best(tmp_path: Path, children: Children) -> None:
    file = spec_file(tmp_path, trials=4)
    search = run(file).search
    assert search is not None
    best = search.models["centre_point"].best
    assert best is not None
    folder = tmp_path / "runs" / "small"
    remove([plan_run(folder, best.runs[0])])
    record = open_record(folder)
    search = record.search
    assert search is not None
    found = search.models["centre_point"]
    assert (found.trials[best.number - 1].state, found.trials[best.number - 1].objectives) == (
        "removed",
        best.objectives,
    )
    rest = [trial for trial in found.trials if trial.number != best.number and trial.objectives]
    assert found.best == min(rest, key=lambda trial: trial.objectives or ())
    assert [of_trial.trial for of_trial in record.compared] == [found.best.number]
    shown = command("show", str(folder))
    assert shown.exit_code == 0, shown.output
    assert f"# the best of 4 trials of centre_point: trial {found.best.number}," in shown.stdout
    assert "4 of 4 trials: 3 finished, 1 removed" in shown.stdout
    # It has been tried: no other takes its place, until more are asked for.
    run(file)
    assert len(children.begun) == 4
    display = RecordingDisplay()
    run(spec_file(tmp_path, trials=5), display)
    assert len(children.begun) == 5
    assert not any(f"best so far: trial {best.number}," in line for line in display.infos)


def test_all_trials_can_be_removed(tmp_path: Path, children: Children) -> None:
    run(spec_file(tmp_path, trials=2))
    folder = tmp_path / "runs" / "small"
    remove([plan_run(folder, of_trial.run_id) for of_trial in open_record(folder).runs])
    record = open_record(folder)
    assert (record.runs, record.compared) == ([], [])
    assert [trial.state for trial in record.trials()] == ["removed", "removed"]
    assert "2 of 2 trials: 2 removed" in command("show", str(folder)).stdout
    ended = command("run", str(spec_file(tmp_path, trials=3)))
    assert ended.return_value == 0, ended.output
    assert "centre_point-trial003" in ended.stdout


def test_values_that_do_not_go_together_fail_a_trial_without_a_run(tmp_path: Path, children: Children) -> None:
    space = {"train.schedule": ["cosine", "onecycle"], "train.warmup_epochs": [0.5], "train.lr": [0.1]}
    file = spec_file(tmp_path, use="grid", trials=9)
    spec = squares_spec(tmp_path / "runs", train={"epochs": EPOCHS, "warmup_steps": 0})
    record = run(write_spec(file, {**spec, "search": {"use": "grid", "space": space}}))
    first, second = record.trials()
    assert (first.state, second.state) == ("finished", "failed")
    assert "warmup_epochs does not go with schedule" in second.reason
    assert children.begun == ["centre_point-trial001-seed1"]
    assert [of_trial.run_id for of_trial in record.runs] == children.begun


def test_a_hopeless_trial_is_pruned_and_shows_as_such(tmp_path: Path, children: Children) -> None:
    file = spec_file(tmp_path, prune="median", prune_after_trials=2, prune_after_epochs=1)
    record = run(file)
    pruned = [trial for trial in record.trials() if trial.state == "pruned"]
    finished = [trial for trial in record.trials() if trial.state == "finished"]
    assert pruned
    for trial in record.trials():
        before = [other for other in finished if other.number < trial.number]
        assert ("prune" in record.run(trial.runs[0]).facts) == (len(before) >= 2), trial
    for trial in pruned:
        others = sorted(quality(other.values) for other in finished if other.number < trial.number)
        middle = len(others) // 2
        median = others[middle] if len(others) % 2 else (others[middle - 1] + others[middle]) / 2
        assert quality(trial.values) > median
        assert trial.reason.startswith("pruned after epoch 2: count_error/mean ")
        assert trial.objectives == pytest.approx((quality(trial.values) * 1.5 + 0.001,))
        of_trial = record.run(trial.runs[0])
        assert (of_trial.state, of_trial.summary) == ("pruned", None)
        assert len(of_trial.epochs()) == 2
    shown = command("show", str(record.folder))
    assert shown.exit_code == 0, shown.output
    assert f"6 of 6 trials: {len(finished)} finished, {len(pruned)} pruned" in shown.stdout
    assert shown.stdout.count("  pruned\n") == len(pruned)
    assert shown.stdout.count("finished, best\n") == 1


def test_several_seeds_are_one_trial_and_its_value_their_mean(tmp_path: Path, children: Children) -> None:
    file = spec_file(tmp_path, trials=2, spec={"experiment": {"seeds": [1, 3]}})
    record = run(file)
    first = record.trials()[0]
    assert first.runs == ("centre_point-trial001-seed1", "centre_point-trial001-seed3")
    assert first.objectives == pytest.approx((quality(first.values) * 1.25 + 0.002,))
    assert [run.seed for run in record.compared] == [1, 3]
    with pytest.raises(RecordError, match=r"experiment\.seeds: \[1, 3\] before, \[1\] now"):
        run(spec_file(tmp_path, trials=2))


def test_each_fold_is_a_run_of_each_trial(tmp_path: Path, children: Children) -> None:
    spec = squares_spec(tmp_path / "runs", train={"epochs": EPOCHS, "warmup_steps": 0})
    spec["dataset"]["split"] = {"folds": 2}
    spec["search"] = {"use": "grid", "space": {"train.lr": [0.1, 0.01]}}
    record = run(write_spec(tmp_path / "spec.toml", spec))
    assert record.trials()[1].runs == ("centre_point-fold1-trial002-seed1", "centre_point-fold2-trial002-seed1")
    assert [(run.fold, run.trial) for run in record.compared] == [(1, 2), (2, 2)]


def test_models_have_trials_of_their_own_and_others_are_trained_as_they_are(tmp_path: Path, children: Children) -> None:
    changes = {"models": {"other": {"use": "centre_point"}, "plain": {"use": "centre_point"}}}
    file = spec_file(tmp_path, trials=2, models=["centre_point", "other"], spec=changes)
    record = run(file)
    assert children.begun == [
        "plain-seed1",
        *(f"{model}-trial00{number}-seed1" for model in ("centre_point", "other") for number in (1, 2)),
    ]
    search = record.search
    assert search is not None
    first, second = search.models.values()
    assert first.trials[0].values != second.trials[0].values
    assert {run.model for run in record.compared} == {"centre_point", "other", "plain"}


class CountingDisplay(RecordingDisplay):
    """Keeps which of how many each run was said to be."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers: list[str] = []

    def run_started(self, run: RunRecord, number: int, total: int, resumed: bool) -> None:
        self.numbers.append(f"{number}/{total} {run.model}{' again' if resumed else ''}")


def test_runs_are_counted_over_all_models_with_those_that_are_to_come(tmp_path: Path, children: Children) -> None:
    """Two models are searched, with two and one trials of two seeds; one is trained as it is."""
    spec = squares_spec(
        tmp_path / "runs",
        experiment={"seeds": [1, 2]},
        train={"epochs": EPOCHS, "warmup_steps": 0},
        models={"as_it_is": {"use": "centre_point"}, "other": {"use": "centre_point"}},
        search={
            "use": "grid",
            "models": ["centre_point", "other"],
            "space": {"train.lr": [0.1], "models.other.train.batch_size": [2, 4]},
        },
    )
    file = write_spec(tmp_path / "spec.toml", spec)
    display = CountingDisplay()
    children.stop_at = 5 * (EPOCHS + 2) + 2  # in the sixth run, the last but two
    with pytest.raises(Interrupted):
        run(file, display)
    names = ["as_it_is"] * 2 + ["centre_point"] * 2 + ["other"] * 4
    assert display.numbers == [f"{number}/8 {name}" for number, name in enumerate(names[:6], 1)]
    display, children.stop_at = CountingDisplay(), 0
    run(file, display, resume=True)
    assert display.numbers == ["1/3 other again", "2/3 other", "3/3 other"]


def test_a_model_that_was_trained_as_it_is_stands_beside_its_best_trial(tmp_path: Path, children: Children) -> None:
    run(spec_file(tmp_path, trials=2, enabled=False))
    record = run(spec_file(tmp_path, trials=2))
    search = record.search
    assert search is not None
    assert children.begun == ["centre_point-seed1", "centre_point-trial001-seed1", "centre_point-trial002-seed1"]
    best = search.models["centre_point"].best
    assert best is not None
    board = make_leaderboard(record)
    assert [row.model for row in board.rows] == [f"centre_point-trial{best.number:03d}", "centre_point"]
    assert [row.finished for row in board.rows] == [1, 1]
    page = command("show", str(record.folder), "--markdown")
    assert page.exit_code == 0, page.output


def test_two_objectives_have_a_front(tmp_path: Path, children: Children) -> None:
    record = run(spec_file(tmp_path, trials=8, objective=["count_error/mean", "flops"]))
    search = record.search
    assert search is not None
    assert [objective.direction for objective in search.objectives] == ["minimize", "minimize"]
    found = search.models["centre_point"]
    for trial in found.trials:
        assert trial.objectives is not None
        assert trial.objectives[1] == 100.0 * float(trial.values["train.batch_size"])
        beaten = any(
            other.objectives is not None and all(a < b for a, b in zip(other.objectives, trial.objectives, strict=True))
            for other in found.trials
        )
        assert (trial.number in found.front) <= (not beaten)
    assert found.best is not None
    assert found.best.number == found.front[0]


# --- what is measured ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("objective", "complaint"),
    [
        ("count_error/maen", "no metric gives 'count_error/maen'; did you mean 'count_error/mean'?"),
        ("count_error/images", "no metric gives|neither more nor less is better"),
    ],
)
def test_an_objective_that_no_metric_gives_is_refused_before_the_first_trial(
    objective: str, complaint: str, tmp_path: Path, children: Children
) -> None:
    with pytest.raises(UserError, match=complaint):
        run(spec_file(tmp_path, objective=objective))
    assert children.begun == []


def test_the_objective_is_measured_on_the_validation_images(tmp_path: Path, children: Children) -> None:
    """The final figures of a test split do not count."""
    record = run(spec_file(tmp_path, trials=1))
    (of_trial,) = record.runs
    content = dict(of_trial.summary or {})
    content["scored"] = {**content["scored"], "split": "test", "values": {"count_error/mean": 99.0}}
    write_json(of_trial.files.summary, {k: v for k, v in content.items() if k != "format_version"})
    assert of_trial.objective_values() == {"count_error/mean": of_trial.epochs()[-1]["values"]["count_error/mean"]}


# --- stopped and gone on ---------------------------------------------------------------------------------------------


def stopped_everywhere(monkeypatch: pytest.MonkeyPatch, children: Children) -> None:
    """Before and after each writing of search.json is an event, too."""
    write = SearchBook._write

    def watched(book: SearchBook) -> None:
        children.event()
        write(book)
        children.event()

    monkeypatch.setattr(SearchBook, "_write", watched)


@pytest.mark.parametrize("use", ["random", "grid", "every"])
def test_stopped_anywhere_and_gone_on_no_trial_is_lost_and_none_doubled(
    use: str, tmp_path: Path, children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped_everywhere(monkeypatch, children)
    options: dict[str, Any] = {"use": use, "trials": 2, "prune": "median", "prune_after_trials": 1}
    whole = told(run(spec_file(tmp_path / "whole", **options)))
    assert [trial["number"] for trial in whole] == [1, 2]
    total = children.events
    assert total > 15
    for stop_at in range(1, total + 1, 1 if use == "random" else 5):
        children.begun, children.events, children.stop_at = [], 0, stop_at
        folder = tmp_path / f"stopped{stop_at}"
        file = spec_file(folder, **options)
        with pytest.raises(Interrupted):
            run(file)
        children.stop_at = 0
        record = run(file, resume=True)
        assert told(record) == whole, f"stopped at event {stop_at}"
        trials = [trial["number"] for trial in whole]
        assert sorted({record.run(name).trial or 0 for name in children.begun}) == trials
        assert len(children.begun) <= len(trials) + 1
        assert [run.trial for run in record.runs] == trials


def test_the_one_that_was_interrupted_needs_resume_and_goes_on_with_its_values(
    tmp_path: Path, children: Children
) -> None:
    children.stop_at = 3
    file = spec_file(tmp_path, trials=2)
    with pytest.raises(Interrupted, match=r"go on with: detkit run .*spec.toml --resume"):
        run(file)
    record = open_record(tmp_path / "runs" / "small")
    (trial,) = record.trials()
    assert trial.state == "interrupted"
    children.stop_at = 0
    with pytest.raises(RecordError, match=r"stopped in the middle of a trial: centre_point-trial001-seed1 \(interru"):
        run(file)
    # From the record's own copy of the spec, as the message says; its keys may stand in another order.
    record = run(record.files.spec, resume=True)
    assert record.trials()[0].values == trial.values
    assert [len(list(of_trial.epochs())) for of_trial in record.runs] == [EPOCHS, EPOCHS]


def test_a_grid_goes_on_in_the_order_in_which_it_was_begun(tmp_path: Path, children: Children) -> None:
    text = spec_file(tmp_path, trials=1).read_text()
    table = '[search]\nuse = "grid"\n[search.space]\n'
    table += '"train.lr" = { low = 0.01, high = 0.1, points = 2 }\n"train.batch_size" = [2, 4]\n'
    file = tmp_path / "grid.toml"
    file.write_text(f"{text[: text.index('[search]')]}{table}")
    children.stop_at = 8
    with pytest.raises(Interrupted):
        run(file)
    children.stop_at = 0
    copy = open_record(tmp_path / "runs" / "small").files.spec
    assert copy.read_text().index("batch_size") < copy.read_text().index("train.lr")
    record = run(copy, resume=True)
    assert [tuple(trial.values.values()) for trial in record.trials()] == [(0.01, 2), (0.01, 4), (0.1, 2), (0.1, 4)]


def test_raising_trials_goes_on(tmp_path: Path, children: Children) -> None:
    before = run(spec_file(tmp_path, trials=3)).trials()
    assert run(spec_file(tmp_path, trials=3)).trials() == before
    assert run(spec_file(tmp_path, trials=2)).trials() == before
    after = run(spec_file(tmp_path, trials=5))
    assert after.trials()[:3] == before
    assert [trial.number for trial in after.trials()] == [1, 2, 3, 4, 5]
    assert len(children.begun) == 5
    assert after.trials() == run(spec_file(tmp_path / "at-once", trials=5)).trials()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"space": {"train.batch_size": [2, 8]}}, r"search\.space\.'train\.batch_size': \[2, 4\] before, \[2, 8\] now"),
        ({"space": {"train.momentum": [0.5]}}, r"search\.space\.'train\.momentum': not searched before, \[0\.5\] now"),
        (
            {"objective": "validation/loss"},
            r"search\.objective: \['count_error/mean'\] before, \['validation/loss'\] n",
        ),
        ({"use": "grid"}, r"search\.use: 'random' before, 'grid' now"),
        ({"seed": 5}, r"search\.options: \{\} before, \{'seed': 5\} now"),
        ({"prune": "median"}, r"search\.prune: 'off' before, 'median' now"),
        ({"spec": {"train": {"momentum": 0.5}}}, r"models\.centre_point\.train\.momentum: 0\.9 before, 0\.5 now"),
    ],
)
def test_a_search_goes_on_as_it_was_begun(
    changes: dict[str, Any], words: str, tmp_path: Path, children: Children
) -> None:
    run(spec_file(tmp_path, trials=2))
    with pytest.raises(RecordError, match=words) as caught:
        run(spec_file(tmp_path, **{"trials": 3, **changes}), resume=True)
    assert "--fresh" in str(caught.value)
    assert len(children.begun) == 2


def test_trials_are_not_extended(tmp_path: Path, children: Children) -> None:
    run(spec_file(tmp_path, trials=1))
    with pytest.raises(RecordError, match="--extend goes with no search"):
        run(spec_file(tmp_path, trials=1), extend=True)


# --- searchers that break their contract -----------------------------------------------------------------------------

ROGUE = """
from detkit import Choices, Options, Proposal, SearcherComponent, hookimpl
from pydantic import Field

class RogueOptions(Options):
    fault: str = Field(description="what it does wrong")

class Rogue:
    def __init__(self, fault):
        self.fault, self.number = fault, 0
    def begin(self, space, objective, *, max_trials):
        if self.fault == "begin":
            raise RuntimeError("no mood")
    def propose(self):
        self.number += 1
        if self.fault == "nothing":
            return None
        rate = {"range": 5.0, "late": 5.0 if self.number == 3 else 0.1}.get(self.fault, 0.1)
        values = {"train.lr": rate} if self.fault == "missing" else {"train.lr": rate, "train.batch_size": 4}
        return Proposal(self.number + (self.fault == "number"), values, {"of": "mine"})
    def tell(self, proposal, value, /):
        assert proposal.about == {"of": "mine"}
    def close(self):
        pass

@hookimpl
def detkit_searchers():
    return [SearcherComponent("rogue", RogueOptions, lambda options, context: Rogue(options.fault))]
"""


@pytest.fixture
def rogue(tmp_path: Path) -> Callable[[str], Path]:
    (tmp_path / "rogue.py").write_text(ROGUE)

    def write(fault: str) -> Path:
        file = spec_file(tmp_path, use="rogue", fault=fault)
        text = file.read_text()
        file.write_text(text.replace("plugins = [\n", f'plugins = [\n    "{tmp_path / "rogue.py"}",\n', 1))
        return file

    return write


@pytest.mark.parametrize(
    ("fault", "words", "tried"),
    [
        ("begin", "searcher 'rogue' .* failed while beginning: RuntimeError: no mood", 0),
        ("range", r"proposes what was not asked for: train\.lr = 5\.0 is not between 0\.0001 and 1\.0; use another", 0),
        ("missing", r"train\.batch_size is missing", 0),
        ("number", "trial 2 where 1 is due", 0),
        ("late", r"train\.lr = 5\.0 is not between", 2),
    ],
)
def test_a_searcher_that_fails_ends_the_search_and_keeps_its_trials(
    fault: str, words: str, tried: int, rogue: Callable[[str], Path], tmp_path: Path, children: Children
) -> None:
    with pytest.raises(ComponentError, match=words):
        run(rogue(fault))
    record = open_record(tmp_path / "runs" / "small")
    assert [trial.state for trial in record.trials()] == ["finished"] * tried
    assert [trial.about for trial in record.trials()] == [{"of": "mine"}] * tried
    assert [of_trial.facts["trial"]["about"] for of_trial in record.runs] == [{"of": "mine"}] * tried


def test_a_searcher_without_a_state_cannot_go_on(rogue: Callable[[str], Path], children: Children) -> None:
    children.stop_at = 10
    with pytest.raises(Interrupted):
        run(rogue(""))
    children.stop_at = 0
    with pytest.raises(RecordError, match="cannot go on with a search, since it has no state; start afresh"):
        run(rogue(""), resume=True)


def test_a_searcher_that_has_nothing_to_propose(rogue: Callable[[str], Path], children: Children) -> None:
    display = RecordingDisplay()
    record = run(rogue("nothing"), display)
    assert record.trials() == []
    assert display.infos[-1] == "rogue has nothing more to try after 0 trials"
    assert run(rogue("nothing")).trials() == []


# --- the commands ----------------------------------------------------------------------------------------------------


def command(*words: str) -> Any:
    return CliRunner().invoke(
        Commands("detkit"), list(words), prog_name="detkit", obj=Settings(), standalone_mode=False
    )


def test_what_run_prints(tmp_path: Path, children: Children) -> None:
    children.fails = {2}
    ended = command("run", str(spec_file(tmp_path)))
    assert ended.return_value == 0, ended.output
    lines = ended.stdout.splitlines()
    assert lines[0] == "search of centre_point by random for count_error/mean (minimize) on the validation images"
    assert lines[1] == "6 of 6 trials: 5 finished, 1 failed"
    assert lines[2].split() == ["trial", "count_error/mean", "train.batch_size", "train.lr", "state"]
    assert lines[3].endswith("finished, best")
    assert "trial 2 failed: out of luck" in lines
    record = open_record(tmp_path / "runs" / "small")
    search = record.search
    assert search is not None
    best = search.models["centre_point"].best
    assert best is not None
    assert best.objectives is not None
    head = f"# the best of 6 trials of centre_point: trial {best.number}, count_error/mean {best.objectives[0]:.4g}"
    at = lines.index(head)
    assert lines[at + 1 : at + 4] == [
        "[models.centre_point.train]",
        f"batch_size = {best.values['train.batch_size']}",
        f"lr = {best.values['train.lr']}",
    ]


def test_a_reason_is_told_in_full_and_once(tmp_path: Path, children: Children) -> None:
    children.fails, children.why = {1, 3}, f"{'a long way to say it ' * 20}\nand the end"
    run(spec_file(tmp_path, trials=3))
    lines = command("show", str(tmp_path / "runs" / "small")).stdout.splitlines()
    at = lines.index(f"trials 1, 3 failed: {'a long way to say it ' * 20}")
    assert lines[at + 1] == "  and the end"


def test_json_of_run_and_show(tmp_path: Path, children: Children) -> None:
    ended = command("run", str(spec_file(tmp_path, trials=2)), "--json")
    search = json.loads(ended.stdout)["search"]
    found = search["models"]["centre_point"]
    assert [trial["number"] for trial in found["trials"]] == [1, 2]
    assert found["best"] in found["front"]
    shown = command("show", str(tmp_path / "runs" / "small"), "--json")
    assert json.loads(shown.stdout)["search"] == search


def test_a_search_in_which_all_fail_has_found_nothing(tmp_path: Path, children: Children) -> None:
    children.fails = {1, 2}
    ended = command("run", str(spec_file(tmp_path, trials=2)))
    assert ended.return_value == 1
    assert "the search of centre_point has found nothing: no trial has finished with a value" in ended.stderr


def test_check_says_how_many_trials(tmp_path: Path) -> None:
    checked = command("check", str(spec_file(tmp_path)))
    assert "ok: 1 model, 6 runs on squares" in checked.stdout
    assert "search by random: 6 trials of centre_point over train.batch_size, train.lr" in checked.stdout
    grid = spec_file(tmp_path, use="grid", trials=4, points=5)
    assert "search by grid: 4 trials of centre_point of 10 combinations over" in command("check", str(grid)).stdout
    assert json.loads(command("check", str(grid), "--json").stdout)["trials"] == {"centre_point": 4}
