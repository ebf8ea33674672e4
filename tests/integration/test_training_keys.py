"""Keys of [train] in real runs: the moving average, its exact resume, what selects the best epoch, schedules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import detkit
from detkit.engine.display import SilentDisplay
from detkit.record.reader import RunRecord
from integration.experiments import EVERY_HOOK, squares_spec, write_spec
from integration.test_resume import deterministic_part

EXPLODING = Path(__file__).with_name("exploding.py")
SABOTEUR = Path(__file__).with_name("saboteur.py")


def spec_file(folder: Path, train: dict[str, Any], **changes: Any) -> Path:
    plugins = [str(EVERY_HOOK), str(EXPLODING), str(SABOTEUR)]
    spec = squares_spec(folder / "runs", plugins=plugins, train=train, **changes)
    spec["models"] = {"explosive": {}}  # calm as it is here: a small detector with norms and dropout
    return write_spec(folder / "spec.toml", spec)


def run(folder: Path, train: dict[str, Any], **changes: Any) -> RunRecord:
    return detkit.run(spec_file(folder, train, **changes), display=SilentDisplay()).runs[0]


class TestAverage:
    # The last epoch is the best one: so long none is judged by its figures.
    TRAIN: dict[str, Any] = {  # noqa: RUF012
        "ema_decay": 0.9,
        "checkpoint_every_steps": 3,
        "schedule": "onecycle",
        "skip_best_epochs": 2,
    }

    def killed_at(self, folder: Path, point: str) -> Path:
        saboteur = {"point": point, "step": 8, "marker": str(folder / "struck")}
        return spec_file(folder, self.TRAIN, callbacks={"saboteur": saboteur})

    @pytest.fixture(scope="class")
    @classmethod
    def whole(cls, tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
        folder = tmp_path_factory.mktemp("whole")
        (folder / "struck").touch()
        return detkit.run(cls().killed_at(folder, "step"), display=SilentDisplay()).runs[0]

    def test_the_average_is_evaluated_and_kept_and_the_last_checkpoint_has_both(self, whole: RunRecord) -> None:
        last = torch.load(whole.files.last, weights_only=True)
        best = torch.load(whole.files.best, weights_only=True)
        assert last["ema"]["updates"] == 12
        assert not torch.equal(last["ema"]["model"]["heat.weight"], last["model"]["heat.weight"])
        assert int(last["ema"]["model"]["passes"]) == 12
        assert best["selected"]["epoch"] == 2
        assert torch.equal(best["model"]["heat.weight"], last["ema"]["model"]["heat.weight"])

    def test_the_figures_of_an_epoch_are_those_of_the_average(self, tmp_path: Path, whole: RunRecord) -> None:
        """Without it the very same training has other figures, and the same weights."""
        plain = run(tmp_path, {**self.TRAIN, "ema_decay": 0.001})  # the average is, all but, the weights themselves
        before = torch.load(plain.files.last, weights_only=True)
        averaged = torch.load(whole.files.last, weights_only=True)
        assert torch.equal(before["model"]["heat.weight"], averaged["model"]["heat.weight"])
        first, second = (one.epochs()[-1]["values"]["validation/loss"] for one in (plain, whole))
        assert first != second

    @pytest.mark.parametrize("point", ["step", pytest.param("evaluation", marks=pytest.mark.slow)])
    def test_killed_and_resumed_equals_never_killed(self, point: str, whole: RunRecord, tmp_path: Path) -> None:
        file = self.killed_at(tmp_path, point)
        killed = detkit.run(file, display=SilentDisplay()).runs[0]
        assert killed.state == "failed"
        resumed = detkit.run(file, resume=True, display=SilentDisplay()).runs[0]
        assert resumed.state == "finished"
        expected, found = deterministic_part(whole), deterministic_part(resumed)
        for part, value in expected.items():
            assert found[part] == value, part


def test_best_by_and_skip_best_epochs_select(tmp_path: Path) -> None:
    best = run(tmp_path, {"epochs": 3, "best_by": "validation/loss", "skip_best_epochs": 1})
    selected = (best.summary or {})["selected"]
    losses = {row["epoch"]: row["values"]["validation/loss"] for row in best.epochs()}
    expected = min((2, 3), key=losses.__getitem__)
    assert (selected["by"], selected["epoch"], selected["value"]) == ("validation/loss", expected, losses[expected])
    assert (best.summary or {})["primary"] == "count_error/mean"  # the table is ordered as ever


def test_a_best_by_that_names_nothing_is_refused_before_the_training(tmp_path: Path) -> None:
    failed = run(tmp_path, {"best_by": "count_error/meen"})
    assert (failed.failure or {})["message"] == (
        "[models.explosive.train] best_by: the evaluation has no 'count_error/meen'; did you mean 'count_error/mean'?;"
        " there are: count_error/mean, validation/loss, validation/loss_heat, validation/loss_sides"
    )
    assert list(failed.steps()) == []


def test_one_cycle_is_planned_anew_when_a_run_is_extended(tmp_path: Path) -> None:
    file = spec_file(tmp_path, {"schedule": "onecycle", "lr": 0.01})
    detkit.run(file, display=SilentDisplay())
    longer = detkit.run(file, set={"train.epochs": 3}, extend=True, display=SilentDisplay()).runs[0]
    rates = [row["lr"] for row in longer.steps()]
    assert rates[0] == pytest.approx(0.01 / 25)
    assert rates[11] == pytest.approx(1e-6)
    assert rates[12] == pytest.approx(0.01 / 25)  # rise = 0.3 of six steps: the highest rate comes with the next one
    assert rates[17] == pytest.approx(1e-6)
