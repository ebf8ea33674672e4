"""What a spec says, resolved: the tables that belong to detkit, and the components with their validated options."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from detkit.components import NAME_PATTERN, OptionPath, Options
from detkit.plugins import Kind, Offered, Registry
from detkit.resampling import FEWEST_RESAMPLES, RESAMPLES

if TYPE_CHECKING:
    from detkit.spec.search import SearchUse

Seed = Annotated[int, Field(ge=0, lt=2**31)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=0)]


class ExperimentTable(Options):
    """`[experiment]`"""

    name: str = Field(pattern=f"^{NAME_PATTERN.pattern}$", description="the experiment's folder under `output`")
    seeds: tuple[Seed, ...] = Field((1,), min_length=1, description="one run per model and seed")
    output: OptionPath = Field(Path("runs"), validate_default=True, description="where experiments are recorded")
    log_every_steps: int = Field(10, ge=1, description="of the steps, which loggers get; the record has every one")
    keep_predictions: Literal["all", "best", "last"] = Field(
        "all", description="of which epochs the record keeps the predictions"
    )
    resamples: int = Field(
        RESAMPLES,
        ge=0,
        description="draws of the images from which the 95 % intervals of the final figures come; 0: no intervals",
    )

    keep_images: int = Field(
        1000,
        ge=0,
        description="images of the validation split, and as many of the test split, of which the record keeps copies",
    )
    image_size: int = Field(
        800, ge=32, description="the longest side of these copies, pixels; smaller images keep theirs"
    )

    @model_validator(mode="after")
    def _seeds_differ(self) -> Self:
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("seeds must differ from each other")
        return self

    @model_validator(mode="after")
    def _resamples_suffice(self) -> Self:
        if 0 < self.resamples < FEWEST_RESAMPLES:
            raise ValueError(f"resamples is 0, for no intervals, or at least {FEWEST_RESAMPLES}")
        return self


class SplitTable(Options):
    """`[dataset.split]`"""

    validation: Count | Fraction | OptionPath | None = Field(
        None,
        description="images to select on: a count, a fraction, or a file of their names; by default the data's own"
        " split, else a fifth",
    )
    test: Count | Fraction | OptionPath | None = Field(
        None,
        description="images for the final figures: count, fraction or file; by default the data's own split, else none",
    )
    train: OptionPath | None = Field(
        None,
        description="a file of the names of the images to train on, with a file for validation; by default all others",
    )
    folds: Annotated[int, Field(ge=2)] | None = Field(
        None,
        description="cross-validation in place of validation: one run per fold, which validates a share of the images"
        " beside the test split and trains on the others; every image is validated once",
    )
    stratify: bool | None = Field(
        None,
        description="give each split its share of every class's images and objects, and of images with few and with"
        " many objects; by default with folds, and not without",
    )
    group: str | None = Field(
        None,
        description="a regular expression: images whose names match alike stay in one split, as the frames of one"
        " video; its capture group names the group, as in '^(clip[0-9]+)_'",
    )
    seed: Seed = Field(0, description="shuffles the images before they are divided")

    @field_validator("group")
    @classmethod
    def _group_is_a_pattern(cls, pattern: str | None) -> str | None:
        if pattern is None:
            return None
        try:
            compiled = re.compile(pattern)
        except re.error as error:
            raise ValueError(f"no regular expression: {error}") from error
        if compiled.fullmatch("") and not compiled.groups:
            raise ValueError("matches the empty text, so it would find it in every name; say what names a group")
        return pattern

    @field_validator("validation", "test", "train")
    @classmethod
    def _is_a_file(cls, value: Any) -> Any:
        if isinstance(value, Path) and not value.suffix:
            raise ValueError(f"a file of image names has an ending, as val.txt, and {value.name!r} has none")
        return value

    @model_validator(mode="after")
    def _lists_go_together(self) -> Self:
        if not isinstance(self.validation, Path):
            if self.train is not None:
                raise ValueError("train is a file of names, so validation must be one, too")
            return self
        if self.test is not None and not isinstance(self.test, Path) and self.test:
            raise ValueError("validation is a file of names, so test must be one, too, or be left out")
        if self.group is not None or self.stratify:
            key = "group" if self.group is not None else "stratify"
            raise ValueError(f"validation is a file of names, so {key} has nothing to divide: leave it out")
        return self

    @model_validator(mode="after")
    def _folds_or_validation(self) -> Self:
        if self.folds is not None and self.validation is not None:
            raise ValueError(
                "folds takes the place of validation: each fold validates its share; leave out one of them"
            )
        return self


class InputTable(Options):
    """`[input]`, and `[models.KEY.input]`"""

    min_size: int = Field(800, ge=32, description="the shorter side to which models resize, pixels")
    max_size: int = Field(1333, ge=32, description="what the longer side must not exceed, pixels")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_size > self.max_size:
            raise ValueError(f"min_size {self.min_size} is above max_size {self.max_size}")
        return self


class ComputeTable(Options):
    """`[compute]`"""

    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", description="auto: cuda where it is, else mps, else cpu"
    )
    devices: int = Field(1, ge=1, description="processes that train one model together, one device each")
    parallel: Literal["auto", "ddp"] = Field("auto", description="how they do; auto is ddp where devices > 1")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="auto: bf16 where the hardware has it, else fp32"
    )
    workers: Annotated[int, Field(ge=0)] | Literal["auto"] = Field(
        "auto",
        description="processes that load images, per device; changes no number; auto measures the first steps, where"
        " loading takes long enough to be worth it",
    )
    cache: Literal["auto", "memory", "disk", "none"] = Field(
        "auto",
        description="where images stay decoded after the first epoch; changes no number; auto: in memory, if all of"
        " them fit",
    )
    cache_bytes: int | None = Field(
        None, ge=0, description="the most that they may take; by default half of what is free"
    )
    threads: int | None = Field(None, ge=1, description="threads of torch on the CPU, per process")
    offline: bool = Field(False, description="fetch nothing from a network")


class TrainTable(Options):
    """`[train]`, and `[models.KEY.train]`"""

    epochs: int = Field(10, ge=1, description="passes over the training images")
    batch_size: int = Field(2, ge=1, description="images in a batch, over all devices together")
    accumulate: int = Field(1, ge=1, description="batches whose gradients make one optimizer step")
    strategy: Literal["transfer", "finetune", "gradual", "scratch"] = Field(
        "finetune",
        description="transfer: only what is new is trained | finetune: all of it | gradual: what is new, then the"
        " backbone stage by stage from its output | scratch: all of it, and nothing may be pretrained",
    )
    trainable_layers: int | None = Field(
        None,
        ge=0,
        description="of finetune: stages of the backbone that are trained, counted from its output; by default all",
    )
    unfreeze_epochs: tuple[Annotated[int, Field(ge=2)], ...] | None = Field(
        None,
        min_length=1,
        description="of gradual: at the beginning of each of these epochs one more stage is trained; by default spread"
        " evenly over the first half of the training",
    )
    backbone_lr_scale: float = Field(
        1.0, gt=0, le=1, description="share of the rate with which pretrained weights are trained"
    )
    optimizer: Literal["sgd", "adamw"] = Field("sgd", description="sgd | adamw")
    lr: float = Field(0.005, gt=0, description="the learning rate at its highest")
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd; adamw's first beta")
    weight_decay: float = Field(0.0005, ge=0, description="of both optimizers; norms and biases are spared")
    schedule: Literal["constant", "multistep", "cosine", "onecycle"] = Field(
        "cosine", description="how the rate goes on after the warm-up; onecycle has a rise of its own instead"
    )
    milestones: tuple[float, ...] = Field(
        (0.7, 0.9), description="of multistep: shares of the training after which the rate is multiplied by gamma"
    )
    gamma: float = Field(0.1, gt=0, le=1, description="of multistep")
    rise: float = Field(0.3, gt=0, lt=1, description="of onecycle: share of the steps over which the rate rises")
    warmup_steps: int = Field(100, ge=0, description="steps over which the rate rises; at most a fifth of all steps")
    warmup_epochs: float | None = Field(
        None, ge=0, description="epochs over which the rate rises, in place of warmup_steps and without its limit"
    )
    warmup_factor: float = Field(0.01, gt=0, le=1, description="share of the rate with which the warm-up begins")
    clip_norm: float | None = Field(10.0, gt=0, description="largest norm of the gradient")
    ema_decay: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="evaluate and keep a moving average of the weights, as 0.999 (the decay warms up to it); by"
        " default the weights themselves",
    )
    best_by: str | None = Field(
        None,
        description="the quantity that selects the best epoch, as coco/ap50 or validation/loss; by default the first"
        " metric's primary one, else the validation loss",
    )
    skip_best_epochs: int = Field(
        0,
        ge=0,
        description="epochs at the start that are not selected as the best while there are later ones; of a run that"
        " ends among them the last one is",
    )
    on_nonfinite: Literal["stop", "skip", "rollback"] = Field(
        "stop",
        description="when a loss is not finite or explodes: stop the run | skip the step | go back to an earlier"
        " checkpoint with a lower rate",
    )
    explosion: float | None = Field(
        100.0,
        gt=1,
        description="a loss of so many times the median of the 50 steps before it counts as exploded; inf: none does",
    )
    max_skips: int = Field(20, ge=1, description="of skip: so many steps are skipped before the run stops")
    max_rollbacks: int = Field(3, ge=1, description="of rollback: so often the run goes back before it stops")
    rollback_lr_scale: float = Field(0.5, gt=0, lt=1, description="of rollback: what the rate is multiplied by")
    validation_loss: bool = Field(True, description="measure the losses on the validation images too")
    group_by_aspect: bool = Field(
        False, description="make batches of images of like aspect ratio, which need less padding"
    )
    eval_every_epochs: int = Field(1, ge=1, description="the last epoch is always evaluated")
    eval_batch_size: int = Field(1, ge=1, description="images in a batch of evaluation")
    checkpoint_every_steps: int | None = Field(
        None, ge=1, description="save within an epoch too, every so many optimizer steps"
    )

    @model_validator(mode="after")
    def _milestones_ordered(self) -> Self:
        if list(self.milestones) != sorted(set(self.milestones)) or any(not 0 < m < 1 for m in self.milestones):
            raise ValueError("milestones must rise and lie between 0 and 1")
        return self

    @model_validator(mode="after")
    def _one_cycle_has_its_own_rise(self) -> Self:
        if self.schedule == "onecycle" and self.warmup_epochs is not None:
            raise ValueError('warmup_epochs does not go with schedule = "onecycle", whose rise is `rise`')
        return self

    @model_validator(mode="after")
    def _rises_in_time(self) -> Self:
        if self.warmup_epochs is not None and self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs is {self.warmup_epochs:g}, so lr is never reached in {self.epochs} epochs")
        return self

    @model_validator(mode="after")
    def _strategy_is_whole(self) -> Self:
        if self.trainable_layers is not None and self.strategy != "finetune":
            raise ValueError(f'trainable_layers belongs to strategy = "finetune", not to "{self.strategy}"')
        if self.unfreeze_epochs is not None:
            if self.strategy != "gradual":
                raise ValueError(f'unfreeze_epochs belongs to strategy = "gradual", not to "{self.strategy}"')
            if list(self.unfreeze_epochs) != sorted(set(self.unfreeze_epochs)):
                raise ValueError("unfreeze_epochs must rise")
        if self.backbone_lr_scale != 1.0 and self.strategy in ("transfer", "scratch"):
            raise ValueError(
                f'backbone_lr_scale belongs to "finetune" and "gradual": with strategy = "{self.strategy}" no'
                " pretrained weight is trained"
            )
        return self


@dataclass(frozen=True, slots=True)
class Use:
    """A component that the spec names, with its validated options.

    Attributes:
        key: the table's last name, as `fcos` of `[models.fcos]`; for the dataset and the step the component's name.
        kind: of the component.
        offered: the component and its plugin.
        options: validated.
        enabled: whether it is to be built.
    """

    key: str
    kind: Kind
    offered: Offered
    options: Options
    enabled: bool = True

    @property
    def title(self) -> str:
        """How messages name it: the table and the component."""
        return f"{self.kind.replace('_', ' ')} {self.key!r} ({self.offered.plugin.title})"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelUse(Use):
    """A model with its own recipe and input size: default, recipe, `[train]`, `[models.KEY.train]`, the last wins.

    Attributes:
        augment: the transforms of its training images by their keys, in the order in which they are applied: those of
            `[models.KEY.augment]` where it has that table, else those of `[augment]`.
    """

    train: TrainTable
    input: InputTable
    augment: Mapping[str, Use] = field(default_factory=dict)


Origin = Literal["default", "recipe", "preset", "base file", "spec", "command line"]


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a resolved value came from.

    Attributes:
        origin: which layer. where: the file (the model, for a recipe; the preset's name); empty for defaults.
        line: counted from 1, where there is a file.
    """

    origin: Origin
    where: str = ""
    line: int | None = None


@dataclass(frozen=True, slots=True)
class ExperimentSpec:
    """Everything one spec asks for.

    Attributes:
        path: the spec file. folder: its folder, against which paths were resolved.
        plugin_files: the files under `plugins`, absolute.
        degenerate: what to do with boxes without area. skip_checks: checks of data that are left out before training.
        search: what is searched; None where nothing is.
        resolved: the same as plain nested values, TOML-ready, every default filled in, paths absolute, no secrets.
        provenance: dotted key, as `models.fcos.train.lr`, to where its value came from.
    """

    path: Path
    folder: Path
    plugin_files: tuple[Path, ...]
    experiment: ExperimentTable
    dataset: Use
    split: SplitTable
    degenerate: Literal["error", "drop", "clip"]
    compute: ComputeTable
    training_step: Use
    models: Mapping[str, ModelUse]
    metrics: Mapping[str, Use]
    loggers: Mapping[str, Use]
    callbacks: Mapping[str, Use]
    registry: Registry
    search: SearchUse | None = None
    blocked: tuple[str, ...] = ()
    skip_checks: tuple[str, ...] = ()
    resolved: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Provenance] = field(default_factory=dict)

    @property
    def transforms(self) -> list[Use]:
        """The enabled transforms of all enabled models; those that models share once."""
        uses = (use for model in self.models.values() if model.enabled for use in model.augment.values())
        return list({id(use): use for use in uses if use.enabled}.values())

    @property
    def record_folder(self) -> Path:
        """Where the experiment is recorded."""
        return self.experiment.output / self.experiment.name
