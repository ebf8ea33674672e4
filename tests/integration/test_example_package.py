"""The example of a package: detectors of another convention, installed by pip, beside the bundled five."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.ops import box_convert

import detkit
from detkit.cli.main import run as command_line
from detkit.data.types import Batch
from detkit.engine.display import SilentDisplay
from detkit.engine.optim import build_optimizer, set_learning_rate
from detkit.engine.strategy import plan_strategy
from detkit.plugins import collect, load_file
from detkit.record.reader import ExperimentRecord, RunRecord
from detkit.spec.model import TrainTable
from detkit.testing import ModelConformance
from detkit.testing.rule import rules_of
from detkit.testing.runner import judge
from detkit.testing.subject import Subject
from integration.experiments import write_spec
from integration.test_resume import SABOTEUR, deterministic_part

pytest.importorskip("transformers", reason="the example's detectors come from transformers")
pytest.importorskip("hatchling", reason="the build backend of the example is not installed")

PACKAGE = Path(__file__).parents[2] / "examples" / "plugin_as_package"
BUNDLED = ("fast_rcnn", "faster_rcnn", "mask_rcnn", "retinanet", "fcos")
TINY: Mapping[str, Any] = {"size": "tiny"}


@pytest.fixture(scope="module", autouse=True)
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The package in a folder of its own, where this process and its children find it."""
    site = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", str(site), str(PACKAGE)], check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])]))
        patch.syspath_prepend(str(site))
        yield site


def spec_of(folder: Path, models: Mapping[str, Any], **changes: Any) -> Path:
    spec: dict[str, Any] = {
        "experiment": {"name": "beside", "output": str(folder / "runs"), "log_every_steps": 1},
        "dataset": {"use": "synthetic", "images": 8, "width": 96, "height": 64, "split": {"validation": 2}},
        "input": {"min_size": 64, "max_size": 96},
        "compute": {"device": "cpu", "precision": "fp32", "threads": 1, "offline": True},
        "train": {"epochs": 1, "batch_size": 2},
        "models": models,
        "metrics": {"coco": {}},
    }
    return write_spec(folder / "spec.toml", {**spec, **changes})


# --- as an installed plugin ------------------------------------------------------------------------------------------


def test_installed_it_is_a_plugin_like_the_bundled_ones(installed: Path) -> None:
    registry = collect()
    (plugin,) = [plugin for plugin in registry.plugins if plugin.name == "transformers_detectors"]
    assert (plugin.distribution, plugin.state) == ("detkit-transformers-detectors", "loaded")
    assert plugin.offers == {"model": ("detr", "rt_detr", "rt_detr_v2"), "training_step": ("set_losses",)}
    for name in plugin.offers["model"]:
        described = registry.find("model", name).component.options.model_json_schema()["properties"]
        assert all("description" in option for option in described.values())


def test_its_spec_is_valid() -> None:
    spec = detkit.load_spec(PACKAGE / "experiment.toml")
    assert list(spec.models) == ["rt_detr", "faster_rcnn", "fcos"]


@pytest.mark.parametrize("name", ["detr", "rt_detr", "rt_detr_v2"])
def test_its_loss_falls_on_the_drawn_scenes(name: str) -> None:
    """With the engine's own parts: strategy, optimizer, the model's recipe; one batch, again and again."""
    registry = collect()
    scenes = registry.find("dataset", "synthetic").component
    dataset = scenes.build(
        scenes.options.model_validate({"images": 4, "width": 96, "height": 64}), detkit.BuildContext()
    )
    component: Any = registry.find("model", name).component
    options = component.options.model_validate(TINY)
    context = detkit.BuildContext(class_names=dataset.class_names, min_size=64, max_size=96, offline=True)
    model: nn.Module = component.build(options, context)
    train = TrainTable(**component.recipe(options))
    strategy = plan_strategy(model, train)
    optimizer = build_optimizer(strategy, train)
    set_learning_rate(optimizer, 0.002)
    samples = [dataset[index] for index in range(2)]
    batch = Batch([image.float() / 255 for image, _ in samples], [target for _, target in samples])
    step = registry.find("training_step", "standard").component
    compute: Any = step.build(step.options(), detkit.BuildContext())

    torch.manual_seed(0)
    model.train()
    losses = []
    for _ in range(25):
        loss = torch.stack(list(compute(model, batch).values())).sum()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), train.clip_norm or math.inf)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    # Denoising draws anew in each step, so that single losses go up and down.
    assert sum(losses[-5:]) < 0.85 * sum(losses[:5]), losses


def test_the_recipe_leaves_strategies_to_the_user(tmp_path: Path) -> None:
    """Whatever the user's strategy, what the package recommends does not stand in its way."""
    pretrained = {"rt_detr": {"pretrained": "PekingU/rtdetr_r50vd"}}
    for strategy in ("transfer", "finetune", "gradual"):
        spec = detkit.load_spec(spec_of(tmp_path, pretrained, train={"strategy": strategy}))
        train = spec.models["rt_detr"].train
        assert (train.strategy, train.optimizer, train.lr) == (strategy, "adamw", 0.0001)
    with pytest.raises(detkit.SpecError, match="starts from nothing"):
        detkit.load_spec(spec_of(tmp_path, {"rt_detr": dict(TINY)}, train={"strategy": "transfer"}))


def test_weights_that_cannot_be_had_are_refused_before_anything_runs(tmp_path: Path) -> None:
    file = spec_of(tmp_path, {"rt_detr": {"pretrained": "PekingU/rtdetr_r50vd"}})
    with pytest.raises(detkit.UserError, match="hf download PekingU/rtdetr_r50vd"):
        detkit.run(file, display=SilentDisplay())
    assert not list((tmp_path / "runs").rglob("*.pt"))


# --- in an experiment ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def record(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> ExperimentRecord:
    folder = tmp_path_factory.mktemp("beside")
    models: dict[str, Any] = {name: {"backbone": "tiny_fpn", "score_threshold": 0.0} for name in BUNDLED}
    models["rt_detr"] = dict(TINY)
    step = {"use": "set_losses", "denoising": 0.5}
    return detkit.run(spec_of(folder, models, training_step=step), display=SilentDisplay())


@pytest.mark.slow
def test_six_models_stand_on_one_leaderboard(record: ExperimentRecord) -> None:
    assert {run.model: run.state for run in record.runs} == dict.fromkeys((*BUNDLED, "rt_detr"), "finished")
    board = record.leaderboard
    assert board is not None
    text = json.dumps(board)
    assert all(name in text for name in (*BUNDLED, "rt_detr"))
    run = record.run("rt_detr-seed1")
    (epoch,) = run.epochs()
    assert math.isfinite(epoch["values"]["validation/loss"])
    assert "coco/ap" in epoch["values"]
    steps = list(run.steps())
    assert set(steps[0]["losses"]) == {
        "loss_classes",
        "loss_boxes",
        "loss_overlaps",
        "loss_auxiliary",
        "loss_denoising",
    }
    # Those who know nothing of sets have their own losses under the package's training step.
    assert "loss_mask" in next(iter(record.run("mask_rcnn-seed1").steps()))["losses"]
    facts = run.facts
    assert facts["weights_origin"] == {"source": "none"}
    assert "transformers_detectors" in {plugin["name"] for plugin in facts["plugins"]}
    summary = run.summary
    assert summary is not None
    assert summary["costs"]["flops"] > 0


@pytest.mark.slow
def test_its_checkpoint_predicts_and_is_evaluated_as_it_was(
    record: ExperimentRecord, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = record.run("rt_detr-seed1")
    assert run.files.best.exists()
    image = tmp_path / "image.png"
    Image.new("RGB", (110, 70), (90, 120, 90)).save(image)
    where = tmp_path / "found"
    predict = ["predict", str(run.files.folder), str(image), "--output", str(where), "--threshold", "0"]
    assert command_line(predict) == 0
    found = json.loads((where / "predictions.json").read_text())
    rows = found if isinstance(found, list) else found["annotations"]
    assert 0 < len(rows) <= 100
    for row in rows:
        x, y, width, height = row["bbox"]
        assert min(x, y) >= 0
        assert x + width <= 110 + 1e-3
        assert y + height <= 70 + 1e-3
    capsys.readouterr()

    evaluated = ["eval", str(run.files.folder), "--output", str(tmp_path / "again"), "--resamples", "0", "--json"]
    assert command_line(evaluated) == 0
    again = capsys.readouterr().out
    summary = run.summary
    assert summary is not None
    assert json.dumps(summary["scored"]["values"]["coco/ap"]) in again


# --- exact resume ----------------------------------------------------------------------------------------------------


def finished(folder: Path, point: str, *, resume: bool) -> RunRecord:
    file = spec_of(
        folder,
        {"rt_detr": dict(TINY)},
        plugins=[str(SABOTEUR)],
        train={"epochs": 2, "batch_size": 2, "checkpoint_every_steps": 1, "ema_decay": 0.9},
        callbacks={"saboteur": {"point": point, "marker": str(folder / "struck"), "step": 4}},
        training_step={"use": "set_losses"},
    )
    run = detkit.run(file, display=SilentDisplay()).runs[0]
    if resume:
        assert run.state == "failed"
        assert "SIGKILL" in (run.failure or {})["message"]
        detkit.run(file, resume=True, display=SilentDisplay())
    assert run.state == "finished"
    return run


@pytest.mark.slow
def test_killed_and_resumed_equals_never_killed(tmp_path: Path) -> None:
    """Its denoising draws labels and boxes in every step, so that a generator that is not put back would show."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    cut.mkdir()
    (whole / "struck").touch()
    wanted = deterministic_part(finished(whole, "nowhere", resume=False))
    resumed = deterministic_part(finished(cut, "step", resume=True))
    for part, value in wanted.items():
        assert resumed[part] == value, part


# --- as its own project ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_its_own_tests_pass_where_it_is_installed(installed: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(PACKAGE / "tests")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=PACKAGE)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.slow
def test_it_keeps_the_contract_by_the_command_too(installed: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "detkit", "plugins", "test", "transformers_detectors", "--set", "size=tiny"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


# --- the how-to page -------------------------------------------------------------------------------------------------

PAGE = PACKAGE.parents[1] / "docs" / "how-to" / "bring-a-model.md"


@pytest.fixture(scope="module")
def page_detr(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The model of the page, as its reader writes it down."""
    found = re.search(r"```python\n(# my_detr\.py\n.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    file = tmp_path_factory.mktemp("page") / "my_detr.py"
    file.write_text(found[1], encoding="utf-8")
    return load_file(file)


class TestMyDetrOfThePage(ModelConformance):
    @pytest.fixture
    def component(self, page_detr: Any) -> Any:
        return page_detr.MY_DETR


Outputs = list[dict[str, torch.Tensor]]


def _widths(found: Outputs, _images: list[torch.Tensor]) -> Outputs:
    return [{**one, "boxes": box_convert(one["boxes"], "xyxy", "xywh")} for one in found]


def _shares(found: Outputs, images: list[torch.Tensor]) -> Outputs:
    sizes = [torch.tensor([image.shape[2], image.shape[1]] * 2) for image in images]
    return [{**one, "boxes": one["boxes"] / size} for one, size in zip(found, sizes, strict=True)]


def _resized(found: Outputs, _images: list[torch.Tensor]) -> Outputs:
    return [{**one, "boxes": one["boxes"] * 4} for one in found]


def _from_0(found: Outputs, _images: list[torch.Tensor]) -> Outputs:
    return [{**one, "labels": one["labels"] - 1} for one in found]


def _normalised(found: Outputs, images: list[torch.Tensor]) -> Outputs:
    for image in images:
        image.sub_(0.45).div_(0.225)
    return found


@pytest.mark.parametrize(
    ("mistake", "rule", "said"),
    [
        (_widths, "model-output-boxes", "expected: finite, x0 <= x1 and y0 <= y1"),
        (_shares, "model-output-boxes", "boxes lie in 0..1, as shares of the image"),
        (_resized, "model-output-boxes", "the image is 128 x 96"),
        (_from_0, "model-output-labels", "has the label 0; there are 2 classes"),
        (_normalised, "model-inputs-untouched", "in evaluation, it changes image 0"),
    ],
)
def test_the_kit_says_of_common_mistakes_what_the_page_says(
    mistake: Callable[[Outputs, list[torch.Tensor]], Outputs], rule: str, said: str, page_detr: Any
) -> None:
    component = page_detr.MY_DETR

    class Mistaken(nn.Module):
        def __init__(self, options: Any, context: detkit.BuildContext) -> None:
            super().__init__()
            self.inner = component.build(options, context)

        def forward(self, images: list[torch.Tensor], targets: Any = None) -> Any:
            found = self.inner(images, targets)
            return found if self.training else mistake(found, images)

    wrong = detkit.ModelComponent("mistaken", component.options, Mistaken)
    (asked,) = [one for one in rules_of("model") if one.id == rule]
    verdict = judge(asked, Subject("model", wrong))
    assert verdict.state == "broken"
    assert said in verdict.message
    assert rule in PAGE.read_text(encoding="utf-8")
    assert said.removeprefix("expected: ") in PAGE.read_text(encoding="utf-8")
