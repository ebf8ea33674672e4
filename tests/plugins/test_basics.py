"""The standard training step, the loggers and the early-stop callback."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pluggy
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from detkit import BuildContext, Logger, LoggerRefused, Outcome, Progress, RunInfo, UserError
from detkit.components import Silent, Stateful
from detkit.data.types import Batch
from detkit.hookspecs import PROJECT, RunEvents
from detkit_basics import (
    CONSOLE,
    CSV,
    EARLY_STOP,
    STANDARD_STEP,
    ConsoleOptions,
    CsvOptions,
    EarlyStopOptions,
    StandardStepOptions,
)

STEP = {"train/loss": 0.75, "train/loss_box": 0.5, "train/lr": 0.01, "measured/images_per_s": 9.0}
EPOCH = {
    "train/epoch_loss": 0.51249,
    "coco/ap": 0.3124,
    "coco/ap75": 0.2,
    "coco/ap50": 0.6108,
    "validation/loss": 0.7,
    "measured/images_per_s": 12.34,
}


@pytest.fixture
def run(tmp_path: Path) -> RunInfo:
    return RunInfo(
        run_id="fcos-seed1",
        experiment="demo",
        model="fcos",
        seed=1,
        folder=tmp_path / "fcos-seed1",
        class_names=("pedestrian",),
        device="cpu",
        precision="fp32",
        epochs=10,
        steps_per_epoch=3,
    )


# --- the standard training step --------------------------------------------------------------------------------------


class Returns(nn.Module):
    """A model that returns what it was made with, and remembers what it got."""

    def __init__(self, value: object) -> None:
        super().__init__()
        self.value = value
        self.got: tuple[object, ...] = ()

    def forward(self, *arguments: object) -> object:
        self.got = arguments
        return self.value


def take_step(model: nn.Module) -> dict[str, Tensor]:
    return STANDARD_STEP.build(StandardStepOptions(), BuildContext())(model, Batch([torch.zeros(3, 4, 5)], []))


def test_the_step_is_the_models_own_losses() -> None:
    losses = {"a": torch.tensor(1.0), "b": torch.tensor(2.0)}
    model = Returns(losses)
    assert take_step(model) is losses
    images, targets = model.got
    assert isinstance(images, list)
    assert images[0].shape == (3, 4, 5)
    assert targets == []


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "the model returned list for images and targets; in training mode it must return a dict"),
        (torch.tensor(1.0), "the model returned Tensor for images and targets"),
        ({}, "the model returned no losses"),
        ({"a": torch.zeros(3)}, "the model's loss 'a' is a tensor of shape [3]; losses are scalar tensors"),
        ({"a": 1.0}, "the model's loss 'a' is float"),
        ({1: torch.tensor(1.0)}, "the model's loss 1 is a tensor of shape []; losses are scalar tensors under names"),
    ],
)
def test_a_model_that_returns_something_else(value: object, message: str) -> None:
    with pytest.raises(TypeError) as caught:
        take_step(Returns(value))
    assert message in str(caught.value)


# --- console ---------------------------------------------------------------------------------------------------------


@dataclass
class Told(Silent):
    """Messages that remember the warnings."""

    warnings: list[str] = field(default_factory=list)

    def warning(self, text: str) -> None:
        self.warnings.append(text)

    def progress(self, description: str, total: int | None, unit: str = "") -> AbstractContextManager[Progress]:
        pytest.fail("a logger shows no bar")


def console(run: RunInfo, told: Told | None = None, **options: Any) -> Logger:
    logger = CONSOLE.build(ConsoleOptions(**options), BuildContext(messages=told or Told()))
    logger.start(run)
    return logger


def test_one_line_an_epoch(run: RunInfo, capsys: pytest.CaptureFixture[str]) -> None:
    logger = console(run)
    logger.log_metrics(STEP, step=1, epoch=2)
    logger.log_metrics(EPOCH, step=6, epoch=2)
    logger.close(Outcome("finished"))
    assert capsys.readouterr().out == (
        "fcos-seed1  epoch 2/10  loss 0.512  coco/ap 0.312  coco/ap50 0.611  12.3 img/s\n"
    )


def test_lines_appear_at_once() -> None:
    code = (
        "import os, pathlib\n"
        "from detkit import RunInfo, BuildContext\n"
        "from detkit_basics import CONSOLE, ConsoleOptions\n"
        "run = RunInfo('a', '', '', 1, pathlib.Path(), (), 'cpu', 'fp32', 2, 3)\n"
        "logger = CONSOLE.build(ConsoleOptions(), BuildContext()); logger.start(run)\n"
        "logger.log_metrics({'train/epoch_loss': 1.0}, step=1, epoch=1); os._exit(0)\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert done.stdout == "a  epoch 1/2  loss 1.000\n", done.stderr


def test_what_to_show_and_in_which_order(run: RunInfo, capsys: pytest.CaptureFixture[str]) -> None:
    told = Told()
    logger = console(run, told, metrics=("validation/loss", "coco/ap?5", "coco/*"))
    logger.log_metrics(EPOCH, step=6, epoch=2)
    assert "validation/loss 0.700  coco/ap75 0.200  coco/ap 0.312  coco/ap50 0.611" in capsys.readouterr().out
    assert told.warnings == []


def test_a_metric_that_does_not_exist_is_said_once(run: RunInfo, capsys: pytest.CaptureFixture[str]) -> None:
    told = Told()
    logger = console(run, told, metrics=("coco/ap", "coco/app"))
    logger.log_metrics({"train/epoch_loss": 1.0}, step=3, epoch=1)
    assert told.warnings == [], "an epoch that was not evaluated has no metrics"
    for epoch in (2, 3):
        logger.log_metrics(EPOCH, step=3 * epoch, epoch=epoch)
    assert len(told.warnings) == 1
    assert told.warnings[0].startswith("[loggers.console] metrics: there is no coco/app; there are: train/epoch_loss, ")
    assert capsys.readouterr().out.count("coco/ap 0.312") == 2


def test_metrics_that_the_defaults_do_not_know(run: RunInfo, capsys: pytest.CaptureFixture[str]) -> None:
    told = Told()
    values = {"train/epoch_loss": 0.5, "own/f1": 0.25, "own/far": 0.00012, "own/third": 1.0, "measured/x": 1.0}
    # As a resolved spec states them: written out, and yet not the user's choice.
    written_out = ConsoleOptions().model_dump()
    for options in ({}, written_out):
        console(run, told, **options).log_metrics(values, step=3, epoch=1)
        assert capsys.readouterr().out == "fcos-seed1  epoch 1/10  loss 0.500  own/f1 0.250  own/far 0.00012\n"
    assert told.warnings == []


def test_every_so_many_epochs_and_the_last(run: RunInfo, capsys: pytest.CaptureFixture[str]) -> None:
    logger = console(run, every_epochs=4)
    for epoch in range(1, 11):
        logger.log_metrics(EPOCH, step=3 * epoch, epoch=epoch)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[1] for line in lines] == ["epoch 4/10", "epoch 8/10", "epoch 10/10"]


def test_why_a_run_finished_early_is_said(run: RunInfo, capsys: pytest.CaptureFixture[str]) -> None:
    console(run).close(Outcome("finished", "early_stop: enough"))
    console(run).close(Outcome("failed", "the parent says why"))
    assert capsys.readouterr().out == "fcos-seed1  finished: early_stop: enough\n"


# --- csv -------------------------------------------------------------------------------------------------------------


def csv_logger(run: RunInfo, folder: Path | None = None) -> Logger:
    logger = CSV.build(CsvOptions(folder=folder), BuildContext())
    logger.start(run)
    return logger


def read_table(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_epochs_and_steps_have_a_table_each(run: RunInfo) -> None:
    logger = csv_logger(run)
    logger.log_metrics(STEP, step=1, epoch=1)
    logger.log_metrics(EPOCH, step=3, epoch=1)
    # Read before it is closed: a row is on disk once it was logged.
    assert read_table(run.folder / "csv" / "steps.csv") == [
        {"epoch": "1", "step": "1", **{name: repr(value) for name, value in STEP.items()}}
    ]
    assert read_table(run.folder / "csv" / "metrics.csv") == [
        {"epoch": "1", "step": "3", **{name: repr(value) for name, value in EPOCH.items()}}
    ]
    logger.close(Outcome("finished"))


def test_numbers_are_written_exactly(run: RunInfo) -> None:
    value = 0.1 + 0.2
    csv_logger(run).log_metrics({"x": value}, step=1, epoch=1)
    assert float(read_table(run.folder / "csv" / "metrics.csv")[0]["x"]) == value


def test_new_columns_join_and_missing_values_stay_empty(run: RunInfo) -> None:
    logger = csv_logger(run)
    logger.log_metrics({"a": 1.0}, step=1, epoch=1)
    logger.log_metrics({"b, with a comma": 2.0}, step=2, epoch=2)
    logger.log_metrics({"a": 3.0}, step=3, epoch=3)
    file = run.folder / "csv" / "metrics.csv"
    assert file.read_text() == 'epoch,step,a,"b, with a comma"\n1,1,1.0,\n2,2,,2.0\n3,3,3.0,\n'
    assert sorted(path.name for path in file.parent.iterdir()) == ["metrics.csv", "steps.csv"]


def test_a_second_row_for_one_step_joins_the_first(run: RunInfo) -> None:
    logger = csv_logger(run)
    logger.log_metrics({"a": 1.0}, step=1, epoch=1)
    logger.log_metrics({"a": 2.0, "b": 2.0}, step=2, epoch=1)
    logger.log_metrics({"a": 123456789.0}, step=2, epoch=1)
    logger.log_metrics({"c": 4.0}, step=2, epoch=1)
    assert (run.folder / "csv" / "metrics.csv").read_text() == (
        "epoch,step,a,b,c\n1,1,1.0,,\n1,2,123456789.0,2.0,4.0\n"
    )


def test_a_resumed_run_drops_the_rows_that_it_makes_again(run: RunInfo) -> None:
    first = csv_logger(run)
    for step in range(1, 8):
        first.log_metrics({**STEP, "train/loss": float(step)}, step=step, epoch=1 + step // 4)
    first.log_metrics({"a": 1.0}, step=3, epoch=1)
    first.log_metrics({"a": 2.0}, step=7, epoch=2)

    second = csv_logger(replace(run, start_step=4))
    second.log_metrics({**STEP, "train/loss": 50.0}, step=5, epoch=2)
    second.log_metrics({"a": 9.0}, step=6, epoch=2)
    steps = read_table(run.folder / "csv" / "steps.csv")
    assert [(row["step"], row["train/loss"]) for row in steps] == [
        ("1", "1.0"),
        ("2", "2.0"),
        ("3", "3.0"),
        ("4", "4.0"),
        ("5", "50.0"),
    ]
    assert [row["a"] for row in read_table(run.folder / "csv" / "metrics.csv")] == ["1.0", "9.0"]


def test_a_run_from_the_start_begins_empty_tables(run: RunInfo) -> None:
    csv_logger(run).log_metrics({"a": 1.0}, step=1, epoch=1)
    csv_logger(run)
    assert (run.folder / "csv" / "metrics.csv").read_text() == "epoch,step\n"


@pytest.mark.parametrize("cut", range(1, 8))
def test_a_row_that_a_kill_cut_off_is_dropped(run: RunInfo, cut: int) -> None:
    logger = csv_logger(run)
    logger.log_metrics({"a": 1.0}, step=1, epoch=1)
    logger.log_metrics({"a": 2.0}, step=2, epoch=1)
    file = run.folder / "csv" / "metrics.csv"
    file.write_bytes(file.read_bytes()[:-cut])
    csv_logger(replace(run, start_step=5)).log_metrics({"a": 6.0}, step=6, epoch=2)
    assert file.read_text() == "epoch,step,a\n1,1,1.0\n2,6,6.0\n"


def test_a_folder_for_all_runs(run: RunInfo, tmp_path: Path) -> None:
    csv_logger(run, tmp_path / "tables")
    assert (tmp_path / "tables" / "fcos-seed1" / "metrics.csv").is_file()
    assert not run.folder.exists()


def test_a_file_of_somebody_else_is_not_overwritten(run: RunInfo) -> None:
    file = run.folder / "csv" / "metrics.csv"
    file.parent.mkdir(parents=True)
    file.write_text("name,price\ntea,2\n")
    with pytest.raises(LoggerRefused, match=r"metrics.csv is no table of this logger; move it away"):
        csv_logger(run)
    assert file.read_text() == "name,price\ntea,2\n"


def test_a_folder_that_cannot_be_made(run: RunInfo, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LoggerRefused, match=r"cannot write tables into .*file/fcos-seed1: Not a directory"):
        csv_logger(run, tmp_path / "file")


# --- early stopping --------------------------------------------------------------------------------------------------


class Stopper:
    """Early stop through pluggy, as the engine calls it."""

    def __init__(self, run: RunInfo, **options: Any) -> None:
        self.callback = EARLY_STOP.build(EarlyStopOptions(**options), BuildContext())
        assert isinstance(self.callback, Stateful)
        self.stateful: Stateful = self.callback
        self._run = run
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(RunEvents)
        self._manager.register(self.callback)
        self._manager.check_pending()

    def ask(self, epoch: int, **metrics: float | None) -> str | None:
        values = {name.replace("_", "/", 1): value for name, value in metrics.items()}
        answers = self._manager.hook.should_stop(run=self._run, epoch=epoch, metrics=values)
        return answers[0] if answers else None


def stops_after(run: RunInfo, name: str, values: Sequence[float | None], **options: Any) -> int | None:
    """The epoch after which training stops."""
    stopper = Stopper(run, metric=name.replace("_", "/", 1), **options)
    for epoch, value in enumerate(values, start=1):
        if stopper.ask(epoch, **{name: value}):
            return epoch
    return None


@pytest.mark.parametrize(
    ("name", "values", "options", "expected"),
    [
        ("coco_ap", [0.1, 0.2, 0.3, 0.4], {"patience": 1}, None),
        ("coco_ap", [0.1, 0.3, 0.2, 0.3, 0.2], {"patience": 3}, 5),
        ("coco_ap", [0.3, 0.2, 0.4, 0.3, 0.3], {"patience": 2}, 5),
        ("coco_ap", [0.0, 0.0], {"patience": 1}, 2),
        ("validation_loss", [0.9, 0.5, 0.6, 0.7], {"patience": 2}, 4),
        ("validation_loss", [0.9, 0.5, 0.6, 0.7], {"patience": 2, "mode": "max"}, 3),
        ("own_error", [0.9, 0.5, 0.4], {"patience": 1, "mode": "min"}, None),
        ("own_error", [0.9, 0.5, 0.4], {"patience": 1}, 2),
        ("coco_ap", [0.10, 0.14, 0.18, 0.22], {"patience": 3, "min_delta": 0.1}, None),
        ("coco_ap", [0.10, 0.14, 0.18, 0.22], {"patience": 2, "min_delta": 0.1}, 3),
        ("coco_ap", [0.9, 0.8, 0.1, 0.2, 0.2], {"patience": 1, "skip_epochs": 2}, 5),
        ("coco_ap", [None, None, 0.1, None, 0.1], {"patience": 1}, 5),
        ("coco_ap", [float("nan"), 0.1, 0.1, float("nan")], {"patience": 2}, 4),
    ],
)
def test_when_it_stops(
    run: RunInfo, name: str, values: list[float | None], options: dict[str, Any], expected: int | None
) -> None:
    assert stops_after(run, name, values, **options) == expected


def test_the_reason_names_metric_best_and_epoch(run: RunInfo) -> None:
    stopper = Stopper(run, patience=2)
    stopper.ask(1, coco_ap=0.3)
    stopper.ask(3, coco_ap=0.41237)
    stopper.ask(4, coco_ap=0.2)
    assert stopper.ask(5, coco_ap=0.2) == (
        "early_stop: coco/ap has not improved for 2 evaluated epochs, up to epoch 5; best 0.4124 in epoch 3"
    )


def test_a_metric_that_never_was_a_number(run: RunInfo) -> None:
    assert Stopper(run, patience=1).ask(1, coco_ap=float("nan")) == (
        "early_stop: coco/ap has not improved for 1 evaluated epoch, up to epoch 1; it never had a value"
    )


def test_an_unknown_metric_lists_those_that_exist(run: RunInfo) -> None:
    with pytest.raises(UserError) as caught:
        Stopper(run, metric="coco/app").ask(1, validation_loss=1.0, coco_ap=0.2)
    assert str(caught.value) == (
        "[callbacks.early_stop] metric: there is no 'coco/app'; there are: coco/ap, validation/loss"
    )


def test_the_count_survives_a_checkpoint(run: RunInfo, tmp_path: Path) -> None:
    first = Stopper(run, patience=3)
    first.ask(1, coco_ap=0.5)
    first.ask(2, coco_ap=0.4)
    torch.save(first.stateful.state_dict(), tmp_path / "state.pt")
    second = Stopper(run, patience=3)
    second.stateful.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert second.ask(3, coco_ap=0.45) is None
    reason = second.ask(4, coco_ap=0.45)
    assert reason is not None
    assert reason.endswith("best 0.5 in epoch 1")


@pytest.mark.parametrize("wrong", [{"patience": 0}, {"min_delta": -0.1}, {"mode": "higher"}, {"metric": ""}])
def test_options_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        EarlyStopOptions(**wrong)


def test_the_module_is_light() -> None:
    code = "import sys, detkit_basics; sys.exit(bool({'torch', 'numpy', 'PIL'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
