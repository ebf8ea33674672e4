"""The resolved spec: complete, writable, equal when read again; the origin of each value."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tomli_w

from detkit.spec.explain import explain, origin_words, value_words
from detkit.spec.loader import load_spec
from detkit.spec.model import ExperimentSpec
from detkit.spec.resolve import leaves
from detkit.spec.scanner import format_key

WriteFile = Callable[[str, str], Path]

BASE = """
    [train]
    epochs = 7

    [models.fcos]
    file = "weights.pth"
"""
SPEC = """
    extends = "base/base.toml"
    plugins = ["toys.py"]
    [experiment]
    seeds = [3, 1]
    [dataset]
    use = "shapes"
    images = 9
    masks = true
    [dataset.split]
    validation = 0.25
    [input]
    min_size = 100
    [models.fcos]
    anchors = { ratio = inf }
    [models.fcos.train]
    gamma = 0.2
    [models.second]
    use = "retinanet"
    enabled = false
    [metrics.coco]
    [loggers.comet]
    project = 'quo"ted'
    enabled = false
    [callbacks.early_stop]
"""


def spec_of(write: WriteFile) -> ExperimentSpec:
    write("base/base.toml", BASE)
    return load_spec(write("a.toml", SPEC), set={"train.lr": 0.3, "experiment.output": "out"}, enable_loggers=["comet"])


def essence(spec: ExperimentSpec) -> Any:
    """Everything of a spec but where it was written."""
    return (
        spec.plugin_files,
        spec.experiment,
        spec.dataset,
        spec.split,
        spec.degenerate,
        spec.compute,
        spec.training_step,
        dict(spec.models),
        list(spec.models),
        dict(spec.metrics),
        dict(spec.loggers),
        dict(spec.callbacks),
        spec.resolved,
    )


def test_what_is_resolved(toys: Path, write: WriteFile, tmp_path: Path) -> None:
    resolved = spec_of(write).resolved
    assert resolved["plugins"] == [str(tmp_path / "toys.py")]
    assert resolved["experiment"] | {"keep_predictions": "all"} == resolved["experiment"]
    assert resolved["experiment"]["name"] == "a"
    assert resolved["experiment"]["seeds"] == [3, 1]
    assert resolved["experiment"]["output"] == str(tmp_path / "out")
    assert resolved["dataset"] == {
        "use": "shapes",
        "images": 9,
        "masks": True,
        "degenerate": "error",
        "skip_checks": [],
        "split": {"validation": 0.25, "seed": 0},
    }
    assert resolved["training_step"] == {"use": "standard"}
    fcos = resolved["models"]["fcos"]
    assert fcos["use"] == "fcos"
    assert fcos["enabled"] is True
    assert fcos["file"] == str(tmp_path / "base" / "weights.pth")
    assert fcos["anchors"] == {"sizes": [32, 64], "ratio": float("inf")}
    assert (fcos["train"]["lr"], fcos["train"]["epochs"], fcos["train"]["gamma"]) == (0.3, 7, 0.2)
    assert "clip_norm" not in fcos["train"]  # the recipe's None, which TOML cannot state
    assert fcos["input"] == {"min_size": 100, "max_size": 1333}
    assert resolved["models"]["second"]["train"]["clip_norm"] == 10.0
    assert resolved["loggers"]["comet"] == {"use": "comet", "project": 'quo"ted', "enabled": True}
    # A model's own tables are what they come to.
    assert "train" not in resolved
    assert "input" not in resolved


def test_a_resolved_spec_reads_as_the_same_spec(toys: Path, write: WriteFile, tmp_path: Path) -> None:
    spec = spec_of(write)
    record = tmp_path / "elsewhere" / "spec.toml"
    record.parent.mkdir()
    record.write_text(tomli_w.dumps(spec.resolved), encoding="utf-8")
    again = load_spec(record)
    assert essence(again) == essence(spec)
    assert essence(again) != essence(load_spec(tmp_path / "a.toml"))


def test_the_smallest_spec_reads_as_the_same_spec(toys: Path, write: WriteFile, tmp_path: Path) -> None:
    spec = load_spec(write("a.toml", 'plugins = ["toys.py"]\n[dataset]\nuse = "penn_fudan"\n[models.fcos]'))
    again = load_spec(write("sub/spec.toml", tomli_w.dumps(spec.resolved)))
    assert essence(again) == essence(spec)


def test_every_value_has_its_origin(toys: Path, write: WriteFile) -> None:
    spec = spec_of(write)
    assert set(spec.provenance) == {format_key(path) for path, _ in leaves(spec.resolved)}
    words = {row.key: origin_words(row.origin) for row in explain(spec)}
    folder = f"{spec.folder}/"
    assert {
        key: words[key].replace(folder, "")
        for key in (
            "plugins",
            "experiment.name",
            "experiment.seeds",
            "experiment.output",
            "dataset.images",
            "dataset.split.validation",
            "dataset.split.seed",
            "training_step.use",
            "models.fcos.use",
            "models.fcos.file",
            "models.fcos.anchors.ratio",
            "models.fcos.anchors.sizes",
            "models.fcos.train.lr",
            "models.fcos.train.epochs",
            "models.fcos.train.gamma",
            "models.fcos.train.momentum",
            "models.fcos.input.min_size",
            "models.second.use",
            "loggers.comet.enabled",
            "callbacks.early_stop.patience",
        )
    } == {
        "plugins": "spec a.toml:2",
        "experiment.name": "default",
        "experiment.seeds": "spec a.toml:4",
        "experiment.output": "command line --set experiment.output=out",
        "dataset.images": "spec a.toml:7",
        "dataset.split.validation": "spec a.toml:10",
        "dataset.split.seed": "default",
        "training_step.use": "default",
        "models.fcos.use": "default",
        "models.fcos.file": "base file base/base.toml:5",
        "models.fcos.anchors.ratio": "spec a.toml:14",
        "models.fcos.anchors.sizes": "default",
        "models.fcos.train.lr": "command line --set train.lr=0.3",
        "models.fcos.train.epochs": "base file base/base.toml:2",
        "models.fcos.train.gamma": "spec a.toml:16",
        "models.fcos.train.momentum": "default",
        "models.fcos.input.min_size": "spec a.toml:12",
        "models.second.use": "spec a.toml:18",
        "loggers.comet.enabled": "command line --enable-logger comet",
        "callbacks.early_stop.patience": "default",
    }


def test_a_recipe_is_an_origin(toys: Path, write: WriteFile) -> None:
    spec = load_spec(write("a.toml", 'plugins = ["toys.py"]\n[dataset]\nuse = "penn_fudan"\n[models.x]\nuse = "fcos"'))
    assert origin_words(spec.provenance["models.x.train.lr"]) == "recipe of model x"
    assert origin_words(spec.provenance["models.x.train.momentum"]) == "default"


def test_values_in_toml() -> None:
    value = {"a": [True, 'x"y', 1.5], "b c": {}}
    assert value_words(value) == '{a = [true, "x\\"y", 1.5], "b c" = {}}'
