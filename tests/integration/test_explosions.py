"""Losses that are not finite or explode: what stops, what is skipped, what goes back, and what replays it."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import detkit
from detkit.cli.main import run as command_line
from detkit.record.reader import RunRecord, open_run
from integration.experiments import EVERY_HOOK, RecordingDisplay, squares_spec, write_spec
from integration.test_resume import deterministic_part

EXPLODING = Path(__file__).with_name("exploding.py")
SABOTEUR = Path(__file__).with_name("saboteur.py")
#: Of the squares' training images, twelve in six steps an epoch: in step 5 of epoch 1 and in step 10, of epoch 2.
IMAGE = 1
STEPS = (5, 10)
FIRST_OF_EPOCH_3 = 3


def run(
    folder: Path,
    model: Mapping[str, Any],
    display: RecordingDisplay | None = None,
    *,
    resume: bool = False,
    extend: bool = False,
    **changes: Any,
) -> RunRecord:
    spec = squares_spec(folder / "runs", plugins=[str(EVERY_HOOK), str(EXPLODING), str(SABOTEUR)], **changes)
    spec["models"] = {"explosive": model}
    file = write_spec(folder / "spec.toml", spec)
    return detkit.run(file, resume=resume, extend=extend, display=display or RecordingDisplay()).runs[0]


def weights(run: RunRecord) -> dict[str, torch.Tensor]:
    return dict(torch.load(run.files.last, weights_only=True)["model"])


def replayed(run: RunRecord, capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    capsys.readouterr()
    assert command_line(["replay", str(run.files.folder), "--json", *arguments]) == 0
    return dict(json.loads(capsys.readouterr().out))


class TestStop:
    @pytest.fixture(scope="class")
    @classmethod
    def exploded(cls, tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
        """A finite loss, far above the median of ten steps and more."""
        model = {"image": IMAGE, "factor": 1e6, "calm_steps": 11}
        return run(tmp_path_factory.mktemp("stop"), model, train={"epochs": 3})

    def test_it_names_step_epoch_images_and_term_and_how_to_look_closer(self, exploded: RunRecord) -> None:
        message = (exploded.failure or {})["message"]
        assert exploded.state == "failed"
        assert (exploded.failure or {})["kind"] == "NonFiniteLoss"
        for part in (
            "times the median of the steps before it (",
            "; loss_heat is ",
            " in step 14, epoch 3; the images are image 9, image 1; lower [models.explosive.train] lr (now 0.01)",
        ):
            assert part in message
        assert message.endswith(f"; look closer with: detkit replay {exploded.files.folder} --step 14")
        assert len(list(exploded.steps())) == 13

    def test_its_replay_computes_the_recorded_losses_exactly(
        self, exploded: RunRecord, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The model has dropout, a norm and a counter: generators and buffers must be those of before the step."""
        found = replayed(exploded, capsys)["replay"]
        assert found["replayed"] == found["recorded"]
        assert found["recorded"]["loss_heat"] > 1e4
        assert found["first_bad"] is None
        assert [image["name"] for image in found["images"]] == ["image 9", "image 1"]
        calm, loud = (image["losses"]["loss_heat"] for image in found["images"])
        assert loud > 1e4 * calm
        assert set(found["gradient_norms"]) == {"body", "heat", "sides"}
        assert command_line(["replay", str(exploded.experiment / "expl")]) == 0  # by a beginning of its name
        said = capsys.readouterr().out
        assert "step 14, epoch 3: the loss is " in said
        assert "the output of every module is finite" in said

    def test_an_incident_is_read_without_executing_anything(self, exploded: RunRecord) -> None:
        incident = torch.load(exploded.files.incident(14), weights_only=True)
        (one,) = incident["passes"]
        assert one["names"] == ["image 9", "image 1"]
        assert [image.dtype for image in one["images"]] == [torch.float32] * 2
        assert (incident["step"], incident["epoch"], incident["precision"]) == (14, 3, "fp32")
        assert int(incident["model"]["passes"]) == 13

    def test_a_step_that_is_not_there_names_those_that_are(
        self, exploded: RunRecord, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert command_line(["replay", str(exploded.files.folder), "--step", "3"]) == 2
        assert "explosive-seed1 has no incident in step 3; there are: 14" in capsys.readouterr().err

    def test_a_folder_put_aside_is_a_run_too(self, exploded: RunRecord) -> None:
        assert open_run(exploded.files.folder) == exploded
        assert open_run(exploded.experiment) == exploded

    def test_replay_and_predict_take_the_same_forms_of_a_run(self, exploded: RunRecord, tmp_path: Path) -> None:
        copied = Path(shutil.copytree(exploded.experiment, tmp_path / "copied"))
        aside = Path(shutil.copytree(exploded.files.folder, copied / f"{exploded.run_id}.failed-1"))
        inside = copied / exploded.run_id / "checkpoints" / ".."
        for form in (copied / exploded.run_id, copied, copied / "expl", inside, aside):
            run = open_run(form)
            assert run.files.incident(14).exists()
            assert detkit.load_detector(form, device="cpu").run_id == run.run_id


class TestSkip:
    @pytest.fixture(scope="class")
    @classmethod
    def skipped(cls, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunRecord, RecordingDisplay]:
        display = RecordingDisplay()
        folder = tmp_path_factory.mktemp("skip")
        return run(folder, {"image": IMAGE}, display, train={"on_nonfinite": "skip"}), display

    def test_the_step_is_not_taken_and_the_run_goes_on(self, skipped: tuple[RunRecord, RecordingDisplay]) -> None:
        run, display = skipped
        assert run.state == "finished"
        assert (run.summary or {})["guard"] == {"skipped": 2, "rollbacks": 0, "lr_scale": 1.0}
        said = [text for text in display.warnings if "is skipped" in text]
        assert len(said) == 2
        assert "loss_heat is nan in step 5, epoch 1; the images are image 1, image 3; the step is skipped" in said[0]
        assert "(1 of at most 20); look closer with: detkit replay " in said[0]

    def test_the_record_has_every_step_and_marks_those(self, skipped: tuple[RunRecord, RecordingDisplay]) -> None:
        run, _ = skipped
        rows = list(run.steps())
        assert [row["step"] for row in rows] == list(range(1, 13))
        assert tuple(row["step"] for row in rows if row.get("skipped")) == STEPS
        assert [rows[4]["loss"], rows[4]["losses"]["loss_heat"]] == [None, None]
        assert rows[4]["losses"]["loss_sides"] > 0
        first = run.epochs()[0]["values"]["train/epoch_loss"]
        taken = [row["loss"] for row in rows[:6] if row["loss"] is not None]
        assert first == pytest.approx(sum(taken) / 5)

    def test_what_the_forward_pass_changed_is_put_back(self, skipped: tuple[RunRecord, RecordingDisplay]) -> None:
        run, _ = skipped
        assert int(weights(run)["passes"]) == 10
        assert all(bool(torch.isfinite(value).all()) for value in weights(run).values())

    def test_replay_lists_them_and_finds_where_it_began(
        self, skipped: tuple[RunRecord, RecordingDisplay], capsys: pytest.CaptureFixture[str]
    ) -> None:
        run, _ = skipped
        assert command_line(["replay", str(run.files.folder)]) == 0
        said = capsys.readouterr().out
        assert "5     1      loss_heat is nan" in said
        assert f"replay one with: detkit replay {run.files.folder} --step 10" in said
        found = replayed(run, capsys, "--step", "10")["replay"]
        assert found["replayed"] == found["recorded"]  # NaN is text in JSON
        assert found["recorded"]["loss_heat"] == "nan"
        assert found["first_bad"] == {"module": "the model", "kind": "Explosive", "count": 1, "total": 2}
        assert [image["losses"]["loss_heat"] == "nan" for image in found["images"]] == [True, False]

    def test_listing_them_leaves_their_tensors_on_the_disk(
        self, skipped: tuple[RunRecord, RecordingDisplay], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run, _ = skipped
        load, mapped = torch.load, []

        def watched(*of: Any, **how: Any) -> Any:
            mapped.append(how.get("mmap"))
            return load(*of, **how)

        monkeypatch.setattr(torch, "load", watched)
        assert command_line(["replay", str(run.files.folder)]) == 0
        assert mapped == [True, True]

    def test_more_than_enough_stop_the_run(self, tmp_path: Path) -> None:
        failed = run(tmp_path, {"image": IMAGE}, train={"on_nonfinite": "skip", "max_skips": 1})
        assert failed.state == "failed"
        assert "loss_heat is nan in step 10, epoch 2" in (failed.failure or {})["message"]
        assert "max_skips = 1 is used up" in (failed.failure or {})["message"]


ROLLBACK = {"on_nonfinite": "rollback", "checkpoint_every_steps": 3}


class TestRollback:
    def test_in_the_first_epoch_it_goes_back_to_the_beginning(self, tmp_path: Path) -> None:
        display = RecordingDisplay()
        model = {"image": IMAGE, "marker": str(tmp_path / "once")}
        back = run(
            tmp_path, model, display, train={"on_nonfinite": "rollback", "rollback_lr_scale": 0.25}, loggers={"csv": {}}
        )
        assert back.state == "finished"
        assert (back.summary or {})["guard"] == {"skipped": 0, "rollbacks": 1, "lr_scale": 0.25}
        rows = list(back.steps())
        assert [row["step"] for row in rows] == list(range(1, 13))
        assert max(row["lr"] for row in rows) == pytest.approx(0.0025)
        assert [row["epoch"] for row in back.epochs()] == [1, 2]
        assert any("goes back to an earlier checkpoint (1 of at most 3)" in text for text in display.warnings)
        assert any("back after step 0, in epoch 1; from here the learning" in text for text in display.infos)
        table = (back.files.folder / "csv" / "steps.csv").read_text().splitlines()
        steps = [int(line.split(",")[table[0].split(",").index("step")]) for line in table[1:]]
        assert steps == list(range(1, 13))

    @pytest.mark.parametrize(
        ("step", "every", "back_to"),
        [
            # Nothing is saved between going back and the kill, but by going back itself.
            pytest.param(10, 100, 6, id="before the next checkpoint"),
            # From the checkpoint of step 9 step 10 would come out the same: the run goes back to 6.
            pytest.param(12, 3, 6, id="checkpoint just before", marks=pytest.mark.slow),
        ],
    )
    def test_killed_after_it_went_back_and_resumed_equals_never_killed(
        self, step: int, every: int, back_to: int, tmp_path: Path
    ) -> None:
        """Step 10 explodes, once; it is taken after going back. Killed then, the old rate must not come back."""
        whole, other = tmp_path / "whole", tmp_path / "other"
        whole.mkdir()
        (whole / "struck").touch()
        never = resumable(whole, step, every)
        assert never.state == "finished"
        assert (never.summary or {})["guard"]["rollbacks"] == 1
        assert not never.files.previous.exists()
        rates = [row["lr"] for row in never.steps()]
        assert rates[back_to] < 0.6 * rates[back_to - 1]

        killed = resumable(other, step, every)
        assert killed.state == "failed"
        assert (other / "struck").exists()
        resumed = resumable(other, step, every, resume=True)
        assert resumed.state == "finished"
        expected, found = deterministic_part(never), deterministic_part(resumed)
        for part, value in expected.items():
            assert found[part] == value, part

    def test_before_the_best_epoch_the_best_of_before_is_back(self, tmp_path: Path) -> None:
        """Step 13, the first of epoch 3, explodes when epoch 2 is the best, as every one of the first two is."""
        whole, other = tmp_path / "whole", tmp_path / "other"
        whole.mkdir()
        (whole / "struck").touch()
        never = back_before_best(whole)
        assert never.state == "finished"
        assert (never.summary or {})["guard"]["rollbacks"] == 1
        assert sorted(file.name for file in never.files.best.parent.iterdir()) == ["best.pt", "last.pt"]

        killed = back_before_best(other)
        assert killed.state == "failed"
        best = torch.load(killed.files.best, weights_only=True)["selected"]
        state = torch.load(killed.files.last, weights_only=True)["state"]
        assert (state["step"], state["rollbacks"]) == (6, 1)
        assert (best["epoch"], state["best_epoch"]) == (1, 1)
        assert best["value"] == state["best_value"]
        resumed = back_before_best(other, resume=True)
        expected, found = deterministic_part(never), deterministic_part(resumed)
        for part, value in expected.items():
            assert found[part] == value, part

    def test_more_than_enough_stop_the_run(self, tmp_path: Path) -> None:
        failed = run(tmp_path, {"image": IMAGE}, train={**ROLLBACK, "max_rollbacks": 2})
        assert failed.state == "failed"
        assert "max_rollbacks = 2 is used up" in (failed.failure or {})["message"]
        last = torch.load(failed.files.last, weights_only=True)["state"]
        assert (last["rollbacks"], last["lr_scale"], last["step"]) == (2, 0.25, 3)
        assert [file.name for file in failed.files.incidents.iterdir()] == ["step-000005.pt"]

    def test_a_first_step_that_cannot_come_out_otherwise_stops_at_once(self, tmp_path: Path) -> None:
        failed = run(tmp_path, {"image": 15}, train={**ROLLBACK, "epochs": 1, "batch_size": 12})
        assert "there is no earlier checkpoint to go back to" in (failed.failure or {})["message"]

    @pytest.mark.parametrize(
        ("devices", "rank"), [(1, 0), pytest.param(2, 1, marks=pytest.mark.slow, id="in one of two processes")]
    )
    def test_predictions_that_are_not_finite(self, devices: int, rank: int, tmp_path: Path) -> None:
        """The weights are finite, and so large that what they give is not."""
        display = RecordingDisplay()
        model = {"last_weight": 3e38, "marker": str(tmp_path / "once"), "rank": rank}
        train = {"on_nonfinite": "rollback"}
        back = run(tmp_path, model, display, train=train, compute={"devices": devices})
        assert back.state == "finished", back.failure
        assert (back.summary or {})["guard"]["rollbacks"] == 1
        assert [row["epoch"] for row in back.epochs()] == [1, 2]
        (said,) = (text for text in display.warnings if "goes back" in text)
        assert "predicted boxes or scores that are not finite for image " in said
        assert (
            "after step 6, at the end of epoch 1; the run goes back to an earlier checkpoint (1 of at most 3)" in said
        )

    def test_predictions_that_are_not_finite_cannot_be_skipped(self, tmp_path: Path) -> None:
        failed = run(tmp_path, {"last_weight": 3e38}, train={"on_nonfinite": "skip", "epochs": 1})
        assert (failed.failure or {})["kind"] == "NonFiniteLoss"
        message = (failed.failure or {})["message"]
        assert "it has diverged after step 6, at the end of epoch 1; lower [models.explosive.train] lr" in message

    def test_weights_that_are_not_finite_are_never_saved(self, tmp_path: Path) -> None:
        """They count in no loss, so only a look at the weights themselves finds them."""
        failed = run(tmp_path, {"last_weight": math.inf}, train={**ROLLBACK, "max_rollbacks": 1})
        assert failed.state == "failed"
        assert "the weights are not finite after step 6, at the end of epoch 1" in (failed.failure or {})["message"]
        last = torch.load(failed.files.last, weights_only=True)
        assert last["state"]["step"] == 0
        assert last["state"]["rollbacks"] == 1
        assert all(bool(torch.isfinite(value).all()) for value in last["model"].values())


def test_an_extension_that_goes_back_to_its_beginning_goes_on_from_there(tmp_path: Path) -> None:
    """Its beginning is the end of the run that was extended."""
    model = {"image": IMAGE, "calm_steps": 12, "marker": str(tmp_path / "once")}
    train = {"on_nonfinite": "rollback", "epochs": 2}
    ended = run(tmp_path, model, train=train)
    assert (ended.summary or {})["guard"]["rollbacks"] == 0
    display = RecordingDisplay()
    extended = run(tmp_path, model, display, extend=True, train={**train, "epochs": 3})
    assert any("back after step 12, in epoch 3" in text for text in display.infos)
    summary = extended.summary or {}
    assert (summary["epochs"], summary["ended"]) == (3, "all 3 epochs trained")
    assert summary["guard"]["rollbacks"] == 1
    assert [row["step"] for row in extended.steps()] == list(range(1, 19))


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["skip", "rollback"])
def test_two_processes_answer_alike(policy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The image is in the batch of one of them."""
    model = {"image": IMAGE, "calm_steps": 4}
    train = {"on_nonfinite": policy, "ema_decay": 0.9, "max_rollbacks": 1, "checkpoint_every_steps": 3}
    both = run(tmp_path, model, train=train, compute={"devices": 2})
    assert both.files.incident(5).exists(), both.failure
    incident = torch.load(both.files.incident(5), weights_only=True)
    assert [one["names"] for one in incident["passes"]] == [["image 1"], ["image 3"]]
    found = replayed(both, capsys, "--step", "5")["replay"]
    assert found["recorded"]["loss_heat"] == found["replayed"]["loss_heat"] == "nan"
    assert found["replayed"]["loss_sides"] == pytest.approx(found["recorded"]["loss_sides"], rel=1e-6)
    if policy == "skip":
        assert both.state == "finished"
        assert (both.summary or {})["guard"]["skipped"] == 2
    else:
        assert both.state == "failed"
        assert "in step 5, epoch 1" in (both.failure or {})["message"]
        assert "max_rollbacks = 1 is used up" in (both.failure or {})["message"]


def resumable(folder: Path, step: int, every: int, *, resume: bool = False) -> RunRecord:
    """Explodes once, in step 10, where the image is in the batch of the second epoch; killed after `step`."""
    return run(
        folder,
        {"image": IMAGE, "calm_steps": 8, "marker": str(folder / "once")},
        resume=resume,
        train={"on_nonfinite": "rollback", "checkpoint_every_steps": every, "ema_decay": 0.9},
        experiment={"name": "killed"},
        callbacks={
            "saboteur": {"point": "step", "step": step, "marker": str(folder / "struck")},
            "early_stop": {"metric": "validation/loss", "patience": 5},
        },
    )


def back_before_best(folder: Path, *, resume: bool = False) -> RunRecord:
    """Explodes once, in step 13, and goes back to the end of epoch 1; killed in the step after that."""
    return run(
        folder,
        {"image": FIRST_OF_EPOCH_3, "calm_steps": 12, "marker": str(folder / "once")},
        resume=resume,
        train={"on_nonfinite": "rollback", "epochs": 3, "skip_best_epochs": 2},
        experiment={"name": "killed"},
        callbacks={"saboteur": {"point": "second_time", "step": 7, "marker": str(folder / "struck")}},
    )
