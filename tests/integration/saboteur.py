"""A plugin for tests: kills its process at a chosen point, once; and data with random numbers of its own.

A marker file says that it has struck, so that the resumed run, under the very same spec, goes through.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field

import detkit.engine.loop
import detkit.engine.saving
from detkit import BuildContext, CallbackComponent, DatasetComponent, OptionPath, Options, hookimpl
from detkit.data.types import Target
from detkit.plugins import load_file

every_hook: Any = load_file(Path(__file__).parents[2] / "examples" / "plugin_in_one_file" / "every_hook.py")

Point = Literal["nowhere", "step", "checkpoint", "before_checkpoint", "after_best", "evaluation", "second_time"]


class NoisySquares(every_hook.Squares):  # type: ignore[misc]  # a module that is loaded by its path
    """Squares whose pixels change from epoch to epoch: a resume must draw the same noise again."""

    def __getitem__(self, index: int, /) -> tuple[Any, Target]:
        image, target = super().__getitem__(index)
        noise = torch.randint(0, 32, image.shape, dtype=torch.uint8)
        return type(image)(image // 2 + noise), target


NOISY_SQUARES = DatasetComponent[Any](
    "noisy_squares", every_hook.SquaresOptions, lambda options, context: NoisySquares(options)
)


class SaboteurOptions(Options):
    point: Point = Field("nowhere", description="where to kill the process")
    marker: OptionPath = Field(description="exists once it has struck")
    pause_s: float = Field(0.0, description="after each step, so that a test has the time to do something to the run")
    step: int = Field(
        9, description="at `step`, `second_time`: the optimizer step; otherwise the number of the checkpoint is 2"
    )


class Saboteur:
    """Installs the chosen death when the run starts."""

    def __init__(self, options: SaboteurOptions) -> None:
        self._options = options
        self._times = 0

    def strike(self) -> None:
        if not self._options.marker.exists():
            self._options.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    @hookimpl
    def run_started(self) -> None:
        point = self._options.point
        if self._options.marker.exists():
            return
        if point == "checkpoint":
            setattr(torch, "save", self._half_written(torch.save))  # noqa: B010 - mypy knows it as a constant
        elif point == "before_checkpoint":
            _wrap("save_checkpoint", lambda file: file.name == "last.pt", self.strike, before=True)
        elif point == "after_best":
            _wrap("save_checkpoint", lambda file: file.name == "best.pt", self.strike, before=False)
        elif point == "evaluation":
            _wrap_evaluation(self.strike)

    @hookimpl
    def step_ended(self, step: int) -> None:
        time.sleep(self._options.pause_s)
        self._times += step == self._options.step
        if step == self._options.step and self._times == {"step": 1, "second_time": 2}.get(self._options.point):
            self.strike()

    def _half_written(self, save: Callable[..., None]) -> Callable[..., None]:
        written = []

        def half(content: Mapping[str, Any], stream: Any) -> None:
            written.append(content)
            if "optimizer" in content and sum("optimizer" in earlier for earlier in written) == 2:
                stream.write(b"half a checkpoint")
                stream.flush()
                self.strike()
            save(content, stream)

        return half


def _wrap(name: str, chosen: Callable[[Path], bool], strike: Callable[[], None], *, before: bool) -> None:
    """Strike at the second chosen call."""
    original = getattr(detkit.engine.saving, name)
    calls = []

    def wrapped(file: Path, content: Any) -> None:
        second = chosen(file) and (calls.append(file) or len(calls) == 2)  # type: ignore[func-returns-value]
        if second and before:
            strike()
        original(file, content)
        if second and not before:
            strike()

    setattr(detkit.engine.saving, name, wrapped)


def _wrap_evaluation(strike: Callable[[], None]) -> None:
    """Strike in the middle of the second epoch's evaluation."""
    original: Callable[..., Any] = getattr(detkit.engine.loop, "evaluate")  # noqa: B009 - a name it imports

    def wrapped(run: Any, indices: Any, *, name: str, epoch: int, losses: bool) -> Any:
        if epoch == 2:
            original(run, indices[:2], name=name, epoch=epoch, losses=losses)
            strike()
        return original(run, indices, name=name, epoch=epoch, losses=losses)

    setattr(detkit.engine.loop, "evaluate", wrapped)  # noqa: B010 - as above


def build_saboteur(options: SaboteurOptions, context: BuildContext) -> Saboteur:
    return Saboteur(options)


SABOTEUR = CallbackComponent("saboteur", SaboteurOptions, build_saboteur)


@hookimpl
def detkit_datasets() -> list[DatasetComponent[Any]]:
    return [NOISY_SQUARES]


@hookimpl
def detkit_callbacks() -> list[CallbackComponent[Any]]:
    return [SABOTEUR]
