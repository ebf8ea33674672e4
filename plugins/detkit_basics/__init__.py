"""What every experiment needs: the standard step, an embedded dataset, two local loggers, early stopping, searchers."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from detkit import (
    BOXES_AND_MASKS,
    BuildContext,
    CallbackComponent,
    Dataset,
    DatasetComponent,
    Logger,
    LoggerComponent,
    OptionPath,
    Options,
    Searcher,
    SearcherComponent,
    SearchSpace,
    TrainingStep,
    TrainingStepComponent,
    hookimpl,
)

Side = Annotated[int, Field(ge=64, le=2048)]
Count = Annotated[int, Field(ge=0, le=50)]

#: The quantities of the bundled metrics that say most, in the order shown.
SHOWN_METRICS = ("*/ap", "*/ap50", "*/mask_ap", "*/map", "*/map_50", "*/mask_map")


# --- the standard training step --------------------------------------------------------------------------------------


class StandardStepOptions(Options):
    """`[training_step] use = "standard"`: it has no options."""


def build_standard_step(_options: StandardStepOptions, _context: BuildContext) -> TrainingStep:
    from detkit_basics.step import standard_step

    return standard_step


STANDARD_STEP = TrainingStepComponent(
    name="standard",
    options=StandardStepOptions,
    build=build_standard_step,
    summary="the model's own losses: model(images, targets)",
)


# --- the embedded dataset --------------------------------------------------------------------------------------------


class SyntheticOptions(Options):
    """`[dataset] use = "synthetic"`"""

    images: int = Field(120, ge=1, description="how many images")
    width: Side = Field(160, description="pixels")
    height: Side = Field(128, description="pixels")
    objects: tuple[Count, Count] = Field(
        (0, 4), description="fewest and most pedestrians in an image; fewer where no more fit without hiding others"
    )
    distractors: Count = Field(5, description="most trees, lamps, signs, bins, bushes and cars in an image")
    seed: int = Field(0, ge=0, lt=2**63, description="draws other scenes")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.objects[0] > self.objects[1]:
            raise ValueError(f"objects: the fewest ({self.objects[0]}) are more than the most ({self.objects[1]})")
        return self


def build_synthetic(options: SyntheticOptions, _context: BuildContext) -> Dataset:
    from detkit_basics.synthetic import Synthetic

    return Synthetic(options)


SYNTHETIC = DatasetComponent(
    name="synthetic",
    options=SyntheticOptions,
    build=build_synthetic,
    summary="drawn street scenes with pedestrians, boxes and masks; the same on every machine, nothing to fetch",
    may_provide=lambda _options: BOXES_AND_MASKS,
)


# --- loggers ---------------------------------------------------------------------------------------------------------


class ConsoleOptions(Options):
    """`[loggers.console]`"""

    metrics: tuple[str, ...] = Field(
        SHOWN_METRICS, description="which values to show beside the loss; * stands for any text, as in coco/*"
    )
    every_epochs: int = Field(1, ge=1, description="one line every so many epochs; the last epoch always has one")


def build_console(options: ConsoleOptions, context: BuildContext) -> Logger:
    from detkit_basics.console import ConsoleLogger

    return ConsoleLogger(options, context.messages)


CONSOLE = LoggerComponent(
    name="console",
    options=ConsoleOptions,
    build=build_console,
    summary="one line an epoch on standard output",
    close_timeout_s=lambda _options: 5.0,
)


class CsvOptions(Options):
    """`[loggers.csv]`"""

    folder: OptionPath | None = Field(
        None, description="the tables go into a folder of the run's name below this one; by default into RUN/csv"
    )


def build_csv(options: CsvOptions, _context: BuildContext) -> Logger:
    from detkit_basics.tables import CsvLogger

    return CsvLogger(options.folder)


CSV = LoggerComponent(
    name="csv",
    options=CsvOptions,
    build=build_csv,
    summary="metrics.csv (a row an epoch) and steps.csv for spreadsheets and data frames",
)


# --- early stopping --------------------------------------------------------------------------------------------------


class EarlyStopOptions(Options):
    """`[callbacks.early_stop]`"""

    metric: str = Field("coco/ap", min_length=1, description="the value to watch, as the record names it")
    mode: Literal["auto", "max", "min"] = Field(
        "auto", description="whether higher or lower is better; auto: lower for losses, else higher"
    )
    patience: int = Field(5, ge=1, description="evaluated epochs without improvement after which training stops")
    min_delta: float = Field(0.0, ge=0, allow_inf_nan=False, description="what counts as improvement must exceed this")
    skip_epochs: int = Field(0, ge=0, description="the first epochs, which count neither as best nor as waiting")


def build_early_stop(options: EarlyStopOptions, _context: BuildContext) -> object:
    from detkit_basics.early_stop import EarlyStop

    return EarlyStop(options)


EARLY_STOP = CallbackComponent(
    name="early_stop",
    options=EarlyStopOptions,
    build=build_early_stop,
    summary="stops a run whose metric no longer improves",
)


# --- searchers -------------------------------------------------------------------------------------------------------


class GridOptions(Options):
    """`[search] use = "grid"`"""

    points: int = Field(3, ge=2, le=1000, description="how many values of a range that has neither `points` nor `step`")


def build_grid(options: GridOptions, _context: BuildContext) -> Searcher:
    from detkit_basics.searchers import GridSearcher

    return GridSearcher(options.points)


def grid_trials(options: GridOptions, space: SearchSpace) -> int:
    from detkit_basics.searchers import grid_size

    return grid_size(space, options.points)


GRID = SearcherComponent(
    name="grid",
    options=GridOptions,
    build=build_grid,
    summary="every combination of values, in the order of the spec",
    trials_in=grid_trials,
    pareto=True,
)


class RandomOptions(Options):
    """`[search] use = "random"`"""

    seed: int | None = Field(None, ge=0, description="draws other values; by default derived from the first run's seed")


def build_random(options: RandomOptions, context: BuildContext) -> Searcher:
    from detkit_basics.searchers import RandomSearcher

    return RandomSearcher(context.seed if options.seed is None else options.seed)


RANDOM = SearcherComponent(
    name="random",
    options=RandomOptions,
    build=build_random,
    summary="values drawn at random, none twice",
    pareto=True,
)


@hookimpl
def detkit_datasets() -> list[DatasetComponent[Any]]:
    return [SYNTHETIC]


@hookimpl
def detkit_training_steps() -> list[TrainingStepComponent[Any]]:
    return [STANDARD_STEP]


@hookimpl
def detkit_loggers() -> list[LoggerComponent[Any]]:
    return [CONSOLE, CSV]


@hookimpl
def detkit_callbacks() -> list[CallbackComponent[Any]]:
    return [EARLY_STOP]


@hookimpl
def detkit_searchers() -> list[SearcherComponent[Any]]:
    return [GRID, RANDOM]
