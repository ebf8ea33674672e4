"""A plugin of toys that needs no torch, and a way to write files beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

WriteFile = Callable[[str, str], Path]

TOYS = """
from pathlib import Path
from typing import Literal

import click
from pydantic import Field

from detkit import (
    BOXES, BOXES_AND_MASKS, CallbackComponent, Command, DatasetComponent, LoggerComponent, MetricComponent,
    ModelComponent, OptionPath, Options, TrainingStepComponent, hookimpl,
)


class PennFudanOptions(Options):
    root: OptionPath = Field(Path("data"), description="where the images lie")


class ShapesOptions(Options):
    images: int = Field(..., ge=1, description="how many")
    masks: bool = Field(False, description="with masks")


class Anchors(Options):
    sizes: tuple[int, ...] = Field((32, 64), description="pixels")
    ratio: float = Field(1.0, gt=0, description="width over height")


class FcosOptions(Options):
    backbone: Literal["resnet50_fpn", "mobilenet_v2"] = Field("resnet50_fpn", description="the body")
    file: OptionPath | None = Field(None, description="a weight file")
    files: list[OptionPath] = Field([], description="more of them")
    anchors: Anchors = Field(Anchors(), description="the anchors")
    score: float | None = Field(0.05, description="lowest score")


class NoOptions(Options):
    pass


class StopOptions(Options):
    patience: int = Field(3, ge=1, description="epochs")


class CometOptions(Options):
    project: str = Field("detkit", description="where it goes")
    workspace: str | None = Field(None, description="whose")


def build(options, context):
    raise AssertionError("nothing is built here")


PENN_FUDAN = DatasetComponent("penn_fudan", PennFudanOptions, build, may_provide=lambda o: BOXES_AND_MASKS)
SHAPES = DatasetComponent("shapes", ShapesOptions, build, may_provide=lambda o: BOXES_AND_MASKS if o.masks else BOXES)
FCOS = ModelComponent("fcos", FcosOptions, build, recipe=lambda o: {"lr": 0.001, "clip_norm": None, "epochs": 4})
RETINANET = ModelComponent("retinanet", NoOptions, build)
MASK_RCNN = ModelComponent("mask_rcnn", NoOptions, build, needs=lambda o: BOXES_AND_MASKS)
BAD_RECIPE = ModelComponent("bad_recipe", NoOptions, build, recipe=lambda o: {"lr": "fast", "epohcs": 3})
RAISING_RECIPE = ModelComponent("raising_recipe", NoOptions, build, recipe=lambda o: 1 / 0)


@hookimpl
def detkit_datasets():
    return [PENN_FUDAN, SHAPES]


@hookimpl
def detkit_models():
    return [FCOS, RETINANET, MASK_RCNN, BAD_RECIPE, RAISING_RECIPE]


@hookimpl
def detkit_training_steps():
    return [TrainingStepComponent("standard", NoOptions, build)]


@hookimpl
def detkit_metrics():
    return [
        MetricComponent("coco", NoOptions, build),
        MetricComponent("mask_ap", NoOptions, build, needs=lambda o: BOXES_AND_MASKS),
    ]


@hookimpl
def detkit_loggers():
    return [LoggerComponent("console", NoOptions, build), LoggerComponent("comet", CometOptions, build, single=True)]


@hookimpl
def detkit_callbacks():
    return [CallbackComponent("early_stop", StopOptions, build)]
"""


@pytest.fixture
def write(tmp_path: Path) -> WriteFile:
    """Write a text, without its common indentation, to a file in the test's folder."""

    def write(name: str, text: str) -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text).lstrip("\n"), encoding="utf-8")
        return file

    return write


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No installed plugins: only the files that a test names."""
    monkeypatch.setattr("detkit.plugins.entry_points", lambda **_: ())


@pytest.fixture
def toys(write: WriteFile, alone: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The plugin file `toys.py` in the test's folder, which is the working folder, and no installed plugins."""
    monkeypatch.chdir(tmp_path)
    return write("toys.py", TOYS)
