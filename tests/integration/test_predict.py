"""A trained detector, loaded from its record and called on images."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import detkit
from detkit.data.coco_form import predictions_json
from detkit.engine.checkpoint import load_checkpoint, save_checkpoint
from detkit.engine.compute import has_bf16
from detkit.errors import ComputeError, DataError, DetkitError, RecordError, UserError, WeightsError
from detkit.predict.detector import Detector
from detkit.record.files import read_json, read_json_gz
from detkit.record.lock import exclusive
from detkit.record.reader import ExperimentRecord
from detkit.spec.loader import load_spec
from integration.experiments import EVERY_HOOK

ROOT = Path(__file__).parents[2]
RUN = "centre_point-seed1"


@pytest.fixture
def copied(small: ExperimentRecord, tmp_path: Path) -> ExperimentRecord:
    """The experiment, to be damaged."""
    return detkit.open_record(shutil.copytree(small.folder, tmp_path / "small"))


@pytest.fixture(scope="module")
def detector(small: ExperimentRecord) -> Detector:
    return detkit.load_detector(small.run(RUN), score_threshold=0.0)


@pytest.fixture(scope="module")
def squares(small: ExperimentRecord) -> dict[int, torch.Tensor]:
    """The validation images: id to pixels."""
    spec = load_spec(small.files.spec)
    dataset = spec.dataset.offered.component.build(spec.dataset.options, detkit.BuildContext())
    rows = sorted(read_json(small.files.splits)["validation"], key=lambda row: row["image_id"])
    return {row["image_id"]: dataset[row["index"]][0] for row in rows}


def change(file: Path, **changes: Any) -> None:
    """Alter values of a JSON file."""
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


# --- what it finds ---------------------------------------------------------------------------------------------------


def test_it_finds_on_files_what_the_record_says(
    small: ExperimentRecord, detector: Detector, squares: dict[int, torch.Tensor], tmp_path: Path
) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the run did: sums depend on it in the last bit
    rows = []
    for image_id, pixels in squares.items():
        file = tmp_path / f"{image_id}.png"
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(file)
        rows += predictions_json([detector(file).prediction(image_id)])
    torch.set_num_threads(threads)
    recorded = read_json_gz(small.run(RUN).files.predictions("validation"))
    assert len(recorded) == 20
    assert rows == recorded


def test_images_of_every_type_one_by_one_and_as_a_list(detector: Detector, squares: dict[int, torch.Tensor]) -> None:
    pixels = next(iter(squares.values())).as_subclass(torch.Tensor)
    array = pixels.permute(1, 2, 0).numpy()
    wanted = detector(pixels)
    assert (wanted.width, wanted.height, len(wanted)) == (64, 64, 5)
    assert set(wanted.names) == {"square"}
    assert wanted.masks is None
    assert detector.draw(array, wanted).size == (512, 512)
    for image in (array, Image.fromarray(array), pixels.float() / 255, array.astype(np.uint16) * 257):
        assert np.allclose(detector(image).boxes, wanted.boxes, atol=1e-4)
    sizes = [pixels, pixels[:, :40], pixels[:, :, :24]]
    for batch_size in (1, 2, 8):
        found = detector(sizes, batch_size=batch_size)
        assert [(one.width, one.height) for one in found] == [(64, 64), (64, 40), (24, 64)]
        assert np.array_equal(found[0].boxes, wanted.boxes)
    assert detector([]) == []


def test_an_image_that_is_none_is_refused(detector: Detector) -> None:
    with pytest.raises(DataError, match="not a dict"):
        detector({"image": 1})  # type: ignore[call-overload]  # on purpose
    with pytest.raises(DataError, match="there is no image"):
        detector(["nowhere.png"])
    with pytest.raises(UserError, match="at least one image, not 0"):
        detector([np.zeros((8, 8), np.uint8)], batch_size=0)


def test_the_callers_generators_stay_as_they_are(small: ExperimentRecord) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    detkit.load_detector(small.run(RUN))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_model_is_given_its_weights_when_it_is_built(copied: ExperimentRecord, tmp_path: Path) -> None:
    """So that a plugin needs neither the weight file that the training began with nor a network."""
    plugin = tmp_path / "asking.py"
    text = EVERY_HOOK.read_text(encoding="utf-8")
    build = "    return CentrePoint(len(context.class_names), options.width)\n"
    assert text.count(build) == 1
    plugin.write_text(text.replace(build, f"    assert context.weights is not None\n{build}"), encoding="utf-8")
    spec = copied.files.spec
    spec.write_text(spec.read_text().replace(str(EVERY_HOOK), str(plugin)))
    assert len(detkit.load_detector(copied.run(RUN), score_threshold=0)(np.zeros((64, 64), np.uint8))) == 5


@pytest.mark.parametrize("page", ["README.md", "docs/how-to/predict.md"])
def test_the_example_of_the_docs_works(
    copied: ExperimentRecord,
    squares: dict[int, torch.Tensor],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    page: str,
) -> None:
    (example,) = re.findall(r"```python\n([^`]*load_detector[^`]*)```", (ROOT / page).read_text(encoding="utf-8"))
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "quickstart").symlink_to(copied.folder)
    with_thresholds(copied, {"count_error": {"": 0.0}})
    pixels = next(iter(squares.values())).permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(tmp_path / "street.jpg")
    monkeypatch.chdir(tmp_path)
    exec(compile(example, page, "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert re.fullmatch(r"square \d\.\d\d \[( *-?\d+\.){4}\]", lines[0])


def test_of_the_last_checkpoint_the_averaged_weights_are_taken(copied: ExperimentRecord) -> None:
    file = copied.run(RUN).files.last
    content = load_checkpoint(file)
    averaged = {name: value / 2 for name, value in content["model"].items()}
    for ema, wanted in ((None, content["model"]), ({"model": averaged, "updates": 9}, averaged)):
        save_checkpoint(file, {**content, "ema": ema})
        loaded = detkit.load_detector(copied, checkpoint="last").model.state_dict()
        assert all(torch.equal(loaded[name], value) for name, value in wanted.items())


# --- thresholds ------------------------------------------------------------------------------------------------------


def with_thresholds(record: ExperimentRecord, thresholds: dict[str, dict[str, float]]) -> None:
    file = record.run(RUN).files.best
    save_checkpoint(file, {**load_checkpoint(file), "thresholds": thresholds})


def test_a_threshold_is_given_or_chosen_or_a_half(copied: ExperimentRecord, squares: dict[int, torch.Tensor]) -> None:
    images = list(squares.values())
    run = copied.run(RUN)
    scores = np.concatenate([one.scores for one in detkit.load_detector(run, score_threshold=0)(images)])
    middle = float(np.sort(scores)[10])  # of 20: ten are as high

    def kept(**options: Any) -> tuple[int, str]:
        detector = detkit.load_detector(run, **options)
        return sum(map(len, detector(images))), str(detector.thresholds)

    assert kept() == (int((scores >= 0.5).sum()), "0.5 (default)")
    with_thresholds(copied, {"first": {}, "second": {"square": middle}, "third": {"": 0.9}})
    assert kept() == (10, f"{middle:.3g} (chosen by second)")
    assert kept(score_threshold=0) == (20, "0 (given)")
    with_thresholds(copied, {"first": {"": middle}})
    assert kept() == (10, f"{middle:.3g} (chosen by first)")


@pytest.mark.parametrize("threshold", [-0.1, 1.5, float("nan")])
def test_a_threshold_that_is_no_score_is_refused(small: ExperimentRecord, threshold: float) -> None:
    with pytest.raises(UserError, match="a threshold is a score from 0 to 1"):
        detkit.load_detector(small.run(RUN), score_threshold=threshold)


# --- which run -------------------------------------------------------------------------------------------------------


def test_a_run_is_named_in_many_ways(small: ExperimentRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = small.folder
    for run in (small, folder, str(folder), folder / RUN, folder / "cen", small.run(RUN)):
        assert detkit.load_detector(run).run_id == RUN
    monkeypatch.chdir(folder / RUN)
    assert detkit.load_detector(".").run_id == RUN
    with pytest.raises(RecordError, match="has no run 'fcos'; there are: centre_point-seed1"):
        detkit.load_detector(folder / "fcos")
    with pytest.raises(RecordError, match="holds the experiments small: name one"):
        detkit.load_detector(folder.parent)
    with pytest.raises(RecordError, match="there is no folder"):
        detkit.load_detector(folder / "no" / "where")


def add_run(record: ExperimentRecord, run_id: str, model: str, seed: int, *, scored: float, selected: float) -> None:
    """A further finished run: a copy of the one there is, under another name and with other figures."""
    there = record.run(RUN).files
    shutil.copytree(there.folder, record.folder / run_id)
    files = record.files.run(run_id)
    summary = json.loads(there.summary.read_text())
    summary["selected"]["value"] = selected
    summary["scored"]["values"][summary["primary"]] = scored
    change(files.summary, **summary)
    change(files.run, run_id=run_id)
    save_checkpoint(files.best, {**load_checkpoint(files.best), "run_id": run_id})
    rows = json.loads(record.files.experiment.read_text())["runs"]
    change(record.files.experiment, runs=[*rows, {"run_id": run_id, "model": model, "seed": seed}])


def test_of_an_experiment_the_winner_is_taken(copied: ExperimentRecord) -> None:
    """By count_error, of which lower is better; of the winner's seeds the one that was best where it was selected."""
    scored = json.loads(copied.run(RUN).files.summary.read_text())["scored"]
    change(copied.run(RUN).files.summary, scored={**scored, "values": {"count_error/mean": 0.5}})
    add_run(copied, "other-seed1", "other", 1, scored=3.0, selected=0.0)
    assert detkit.load_detector(copied.folder).run_id == RUN
    add_run(copied, "centre_point-seed2", "centre_point", 2, scored=0.6, selected=-1.0)
    assert detkit.load_detector(copied.folder).run_id == "centre_point-seed2"


def test_without_a_clear_winner_the_runs_are_listed(copied: ExperimentRecord) -> None:
    value = json.loads(copied.run(RUN).files.summary.read_text())["scored"]["values"]["count_error/mean"]
    add_run(copied, "other-seed1", "other", 1, scored=value, selected=0.0)
    with pytest.raises(RecordError, match=r"no clear winner; name a run, as .*/centre_point-seed1; runs: .*other"):
        detkit.load_detector(copied.folder)


# --- what cannot be loaded -------------------------------------------------------------------------------------------


def test_an_unfinished_run_with_a_checkpoint_works_with_a_warning(
    copied: ExperimentRecord, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copied.run(RUN)
    run.files.summary.unlink()
    assert detkit.load_detector(run).run_id == RUN
    assert "interrupted before its end; this is its best checkpoint until then" in capsys.readouterr().err
    run.files.failure.write_text(json.dumps({"format_version": 1, "message": "the loss is not finite"}))
    assert detkit.load_detector(run, checkpoint="last").epoch is None
    assert "failed before its end: the loss is not finite; this is its last" in capsys.readouterr().err
    with exclusive(run.files.lock, "the run"):
        detkit.load_detector(copied.folder)
    assert "still running: this is its best checkpoint so far" in capsys.readouterr().err


def test_a_run_without_a_checkpoint_is_refused_with_the_reason(copied: ExperimentRecord) -> None:
    run = copied.run(RUN)
    run.files.best.unlink()

    def refusal() -> str:
        with pytest.raises(RecordError) as caught:
            detkit.load_detector(run)
        return str(caught.value)

    assert "has no best.pt: somebody has removed it; the checkpoint 'last' is there" in refusal()
    run.files.summary.unlink()
    assert "interrupted before its first evaluation; go on with: detkit run SPEC --resume" in refusal()
    run.files.failure.write_text(json.dumps({"format_version": 1, "message": "out of memory"}))
    assert "it failed (out of memory); mend that and run its spec again" in refusal()
    with exclusive(run.files.lock, "the run"):
        assert "no epoch has been evaluated yet" in refusal()
    shutil.rmtree(run.files.folder)
    assert "it has not begun; run its spec" in refusal()
    with pytest.raises(RecordError, match="no run has a detector yet; runs: centre_point-seed1"):
        detkit.load_detector(copied.folder)


def _of_the_future(record: ExperimentRecord) -> None:
    file = record.run(RUN).files.best
    torch.save({**load_checkpoint(file), "format_version": 99}, file)


def _cut(record: ExperimentRecord) -> None:
    file = record.run(RUN).files.best
    file.write_bytes(file.read_bytes()[:500])


def _of_another_model(record: ExperimentRecord) -> None:
    record.files.spec.write_text(record.files.spec.read_text().replace("width = 16", "width = 8"))


def _plugin_gone(record: ExperimentRecord) -> None:
    record.files.spec.write_text(record.files.spec.read_text().replace(str(EVERY_HOOK), "/nowhere/every_hook.py"))


def _experiment_of_the_future(record: ExperimentRecord) -> None:
    change(record.files.experiment, format_version=99)


@pytest.mark.parametrize(
    ("damage", "kind", "complaint"),
    [
        (_of_the_future, WeightsError, r"best\.pt has format version 99; this detkit reads 2; update detkit"),
        (_experiment_of_the_future, RecordError, r"experiment\.json has format version 99.*update detkit"),
        (_cut, WeightsError, r"best\.pt is cut or no checkpoint of detkit"),
        (_of_another_model, WeightsError, r"best\.pt is of another model"),
        (_plugin_gone, RecordError, r"(?s)spec does not load here:.*/nowhere/every_hook\.py.*bring back the plugins"),
    ],
)
def test_damage_is_named_with_what_to_do(
    copied: ExperimentRecord, damage: Callable[[ExperimentRecord], None], kind: type[DetkitError], complaint: str
) -> None:
    damage(copied)
    with pytest.raises(kind, match=complaint):
        detkit.load_detector(copied.folder / RUN)


# --- where and how it computes ---------------------------------------------------------------------------------------


def test_a_device_that_is_not_there_is_refused(small: ExperimentRecord) -> None:
    with pytest.raises(ComputeError, match="no device is called 'gpu'; there are: auto, cpu, cuda, cuda:N, mps"):
        detkit.load_detector(small.run(RUN), device="gpu")
    if not torch.cuda.is_available():
        with pytest.raises(ComputeError, match=r"^device: there is no cuda device"):
            detkit.load_detector(small.run(RUN), device="cuda:1")


def test_the_precision_is_the_runs_own_where_the_device_has_it(
    copied: ExperimentRecord, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copied.run(RUN)
    assert detkit.load_detector(run, device="cpu").precision == "fp32"
    assert detkit.load_detector(run, device="cpu", precision="bf16").precision == "bf16"
    with pytest.raises(ComputeError, match=r"^precision: fp16 does not work on a CPU"):
        detkit.load_detector(run, device="cpu", precision="fp16")
    change(run.files.run, compute={**run.facts["compute"], "precision": "bf16"})
    assert detkit.load_detector(run, device="cpu").precision == ("bf16" if has_bf16("cpu") else "fp32")
    capsys.readouterr()
    change(run.files.run, compute={**run.facts["compute"], "precision": "fp16"})
    assert detkit.load_detector(run, device="cpu").precision == "fp32"
    assert "trained in fp16, which cpu does not have: predicts in fp32" in capsys.readouterr().err
