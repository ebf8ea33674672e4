"""Faults that components of every kind can have."""

from __future__ import annotations

import os
from typing import Any

import torch
from pydantic import BaseModel, Field, field_validator

from detkit import BuildContext, Options, TrainingStepComponent, UserError
from testing.wrong_form import NoOptions, Wrong, builds


def step(model: Any, batch: Any) -> Any:
    """An honest one."""
    return model(batch.images, batch.targets)


class Bare(Options):
    good: int = Field(1, description="fine")
    bad: int = 2


class Inner(BaseModel):
    size: int = 3


class Nested(Options):
    table: Inner = Field(Inner(), description="fine")


class Doubling(Options):
    value: int = Field(1, description="grows")

    @field_validator("value")
    @classmethod
    def _doubled(cls, value: int) -> int:
        return 2 * value


class Picky(Options):
    name: str = Field("a", description="becomes what it would not take", pattern="^[a-z]+$")

    @field_validator("name")
    @classmethod
    def _upper(cls, name: str) -> str:
        return name.upper()


def component(build: Any = None, options: Any = NoOptions, summary: str = "a step", **more: Any) -> Any:
    return TrainingStepComponent("wrong", options, build or builds(lambda: step), summary, **more)


def crash(_options: Any, _context: BuildContext) -> Any:
    return 1 // 0


def set_dtype(_options: Any, _context: BuildContext) -> Any:
    torch.set_default_dtype(torch.float64)
    return step


def set_variable(_options: Any, _context: BuildContext) -> Any:
    os.environ["CUDA_WRONG"] = "1"
    return step


def refuse(_options: Any, _context: BuildContext) -> None:
    raise UserError("I cannot do this")


WRONG = [
    Wrong("component-builds", "the build crashes", "ZeroDivisionError", component(crash)),
    Wrong("component-builds", "the build forgets to return", "returned None", component(builds(lambda: None))),
    Wrong("component-options-described", "an option without description", "bad", component(options=Bare)),
    Wrong("component-options-described", "one in a table", "table.size", component(options=Nested)),
    Wrong("component-summary", "no summary", "empty", component(summary="")),
    Wrong("component-summary", "two lines", "2 lines", component(summary="one\ntwo")),
    Wrong("component-options-round-trip", "a value that grows", "value", component(options=Doubling), {"value": 2}),
    Wrong("component-options-round-trip", "a value it would not take", "name", component(options=Picky), {"name": "b"}),
    Wrong("component-check", "check refuses what builds", "refuses what `build` takes", component(check=refuse)),
    Wrong("component-check", "check crashes", "ZeroDivisionError", component(check=crash)),
    Wrong("component-leaves-settings", "the build sets the default dtype", "default dtype", component(set_dtype)),
    Wrong("component-leaves-settings", "the build sets a variable", "CUDA_WRONG", component(set_variable)),
]
