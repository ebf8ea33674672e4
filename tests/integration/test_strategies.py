"""Strategies in whole runs: what is frozen stays as it was, a resume needs no weight file, the table says it all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision import models

import detkit
from detkit.errors import SpecError
from detkit.record.reader import RunRecord
from integration.experiments import EVERY_HOOK, RecordingDisplay, write_spec


@pytest.fixture(scope="module")
def torch_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where TorchVision's ResNet-18 would be, with random weights in its place."""
    home = tmp_path_factory.mktemp("torch")
    (home / "hub" / "checkpoints").mkdir(parents=True)
    torch.manual_seed(0)
    torch.save(models.resnet18(weights=None).state_dict(), home / "hub" / "checkpoints" / "resnet18-f37072fd.pth")
    return home


def spec_file(folder: Path, train: dict[str, Any], **model: Any) -> Path:
    return write_spec(
        folder / "spec.toml",
        {
            "plugins": [str(EVERY_HOOK)],
            "experiment": {"name": "strategy", "output": str(folder / "runs")},
            "dataset": {"use": "squares", "images": 6, "split": {"validation": 2}},
            "input": {"min_size": 64, "max_size": 64},
            "compute": {"device": "cpu", "precision": "fp32", "threads": 1, "offline": True},
            "train": {"batch_size": 2, "validation_loss": False, **train},
            "models": {"retinanet": {"backbone": "resnet18_fpn", "weights": "imagenet", **model}},
            "metrics": {"coco": {}},
        },
    )


def weights(run: RunRecord) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(run.files.last, weights_only=True)["model"]
    return state


def test_transfer_leaves_the_backbone_and_tells_what_trains(
    torch_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(torch_home))
    display = RecordingDisplay()
    record = detkit.run(spec_file(tmp_path, {"epochs": 1, "strategy": "transfer"}), display=display)
    (run,) = record.runs
    assert run.state == "finished", run.failure
    published = torch.load(torch_home / "hub" / "checkpoints" / "resnet18-f37072fd.pth", weights_only=True)
    trained = weights(run)
    for name, value in published.items():
        if not name.startswith("fc.") and not name.endswith("num_batches_tracked"):
            assert torch.equal(trained[f"backbone.body.{name}"], value), name
    rows = {part: rest for part, *rest in display.tables[0][1]}
    weights_of, _, training, rate = rows["backbone layer4"]
    assert (weights_of, training, rate) == ("pretrained", "frozen", "-")
    assert rows["classification head"][2:] == ["trained", "0.0003"]
    parts = run.facts["parts"]
    assert sum(part["parameters"] for part in parts) == run.facts["parameters"]
    assert run.facts["trained_parameters"] == sum(p["parameters"] for p in parts if p["from_epoch"])


def test_gradual_frees_the_last_stage_in_its_epoch_and_resumes_without_the_weight_file(
    torch_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(torch_home))
    train: dict[str, Any] = {"epochs": 2, "strategy": "gradual", "unfreeze_epochs": [2], "schedule": "constant"}
    file = spec_file(tmp_path, train)
    display = RecordingDisplay()
    (run,) = detkit.run(file, display=display).runs
    assert run.state == "finished", run.failure
    assert f"{run.run_id}: epoch 2: trained from here on: backbone layer4" in display.infos
    published = torch.load(torch_home / "hub" / "checkpoints" / "resnet18-f37072fd.pth", weights_only=True)
    moved = {
        name.split(".")[0]
        for name, value in published.items()
        if f"backbone.body.{name}" in weights(run) and not torch.equal(weights(run)[f"backbone.body.{name}"], value)
    }
    assert moved == {"layer4"}

    # More epochs, on a machine that has only the record.
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "empty"))
    monkeypatch.setattr("detkit.engine.experiment.prepare", lambda *_: None)  # its check looks for the file
    (run,) = detkit.run(file, set={"train.epochs": 3}, extend=True, display=RecordingDisplay()).runs
    assert run.state == "finished", run.failure
    assert [row["epoch"] for row in run.epochs()] == [1, 2, 3]
    assert run.facts["weights_origin"]["file"] == "resnet18-f37072fd.pth"


@pytest.mark.parametrize(
    ("train", "model", "message"),
    [
        ({"strategy": "transfer"}, {"weights": "none"}, '[train] strategy: "transfer" keeps what was pretrained'),
        ({"strategy": "scratch"}, {}, '[train] strategy: "scratch" starts from nothing'),
        ({"trainable_layers": 6}, {}, "[train] trainable_layers: is 6, but the backbone of model 'retinanet'"),
        ({"trainable_layers": 2}, {"weights": "none"}, "[train] trainable_layers: would freeze layers"),
        (
            {"strategy": "gradual", "unfreeze_epochs": [3]},
            {},
            "[train] unfreeze_epochs: epoch 3 is never reached: epochs is 2",
        ),
        (
            {"epochs": 9, "strategy": "gradual", "unfreeze_epochs": [2, 3, 4, 5, 6, 7, 8]},
            {},
            "[train] unfreeze_epochs: lists 7 epochs, but model 'retinanet'",
        ),
        ({"strategy": "gradual", "unfreeze_epochs": []}, {}, "[train] unfreeze_epochs: must hold at least 1"),
        ({"backbone_lr_scale": 0.1}, {"weights": "none"}, "[train] backbone_lr_scale: is for pretrained weights"),
        ({"warmup_epochs": 2.0}, {}, "warmup_epochs is 2, so lr is never reached in 2 epochs"),
    ],
)
def test_a_strategy_that_does_not_fit_is_found_with_the_spec(
    tmp_path: Path, train: dict[str, Any], model: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError) as caught:
        detkit.load_spec(spec_file(tmp_path, {"epochs": 2, **train}, **model))
    assert message in str(caught.value)


def test_gradual_on_several_devices_is_found_with_the_spec(tmp_path: Path) -> None:
    file = spec_file(tmp_path, {"epochs": 2, "strategy": "gradual"})
    with pytest.raises(
        SpecError, match=r'\[train\] strategy: "gradual" works on one device, and \[compute\] devices is 2'
    ):
        detkit.load_spec(file, set={"compute.devices": 2})
