"""The contracts between the engine and plugins: options, the context of a build, components, what they build.

A **component** is a named thing that a plugin offers: its name in a spec, its options (a pydantic model) and a function
that builds it. Components are module constants; everything heavy is imported inside `build`.
"""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, Literal, Protocol, TypeVar, runtime_checkable

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo

from detkit.deprecation import Deprecation
from detkit.errors import PluginError
from detkit.figures import Curve, Matrix, MetricResult, Table
from detkit.search_space import Objective, Proposal, SearchSpace

if TYPE_CHECKING:
    import torch
    from click import Command as ClickCommand
    from torch import Tensor, nn
    from torchvision.tv_tensors import Image

    from detkit.data.faults import Fault
    from detkit.data.types import Batch, ImageInfo, Prediction, Target

Capability = Literal["boxes", "masks"]
#: What targets or predictions hold, beside the labels: a set of "boxes" and "masks".
Capabilities = frozenset[Capability]
#: The two sets that there are.
BOXES: Capabilities = frozenset({"boxes"})
BOXES_AND_MASKS: Capabilities = frozenset({"boxes", "masks"})

#: Keys that belong to the host; they share tables with a component's options, which must not use them.
RESERVED_KEYS = frozenset({"use", "enabled", "train", "input", "augment", "split", "degenerate", "skip_checks"})
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


# --- options ---------------------------------------------------------------------------------------------------------


class Options(BaseModel):
    """The base of a component's options: unknown keys and wrong types are errors; values never change.

    Give every field a `Field(description=...)`: `detkit plugins show` and the editor's completion print it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


@dataclass(frozen=True, slots=True)
class PathBase:
    """The folders against which relative paths resolve: pydantic's validation context.

    Attributes:
        folder: the folder of the file that holds the table.
        elsewhere: (field name, text) to folder, for values that came from a base file or the command line.
    """

    folder: Path
    elsewhere: Mapping[tuple[str, str], Path] = field(default_factory=dict)


def _resolve_path(path: Path, info: ValidationInfo) -> Path:
    path = path.expanduser()
    if path.is_absolute() or not isinstance(info.context, PathBase):
        return path
    folder = info.context.elsewhere.get((info.field_name or "", str(path)), info.context.folder)
    return Path(os.path.normpath(folder / path))


#: A path in options. Relative ones resolve against the folder of the spec file that states them, or against the
#: working directory when they came from the command line.
OptionPath = Annotated[Path, AfterValidator(_resolve_path)]


# --- the context of a build ------------------------------------------------------------------------------------------


class Progress(Protocol):
    """A bar being shown."""

    def advance(self, amount: int = 1) -> None:
        """Move on by `amount` of the bar's unit."""


class Messages(Protocol):
    """Where a component tells people something."""

    def info(self, text: str) -> None:
        """One line that a user may want to know."""

    def warning(self, text: str) -> None:
        """One line that a user should know."""

    def progress(self, description: str, total: int | None, unit: str = "") -> AbstractContextManager[Progress]:
        """A progress bar for the time of the `with` block; unit "B" shows bytes."""


class _NoProgress:
    def advance(self, amount: int = 1) -> None:
        pass


class Silent:
    """Messages that go nowhere: the default of a context, handy in tests."""

    def info(self, text: str) -> None:
        pass

    def warning(self, text: str) -> None:
        pass

    def progress(self, description: str, total: int | None, unit: str = "") -> AbstractContextManager[Progress]:
        return nullcontext(_NoProgress())


@dataclass(frozen=True, slots=True)
class BuildContext:
    """What a builder may need to know about the run it builds for.

    Attributes:
        class_names: the K foreground classes in order; label k is `class_names[k - 1]`. Empty for datasets.
        spec_folder: the folder of the spec.
        cache_folder: a folder for downloads and caches that all experiments share.
        offline: nothing may be fetched from a network.
        min_size, max_size: the size to which a model resizes its input, pixels: the shorter side becomes min_size
            unless the longer would exceed max_size.
        device: as torch names it: "cpu", "cuda:0", "mps".
        seed: the component's own seed, derived from the run's seed and the component's name.
        run_id: the run's name, as `fcos-seed1`; empty outside a run.
        run_folder: the run's folder in the record; None outside a run.
        weights: for models: the state dict, names to tensors of any shape and dtype (mostly float32), that is loaded
            into what is built (a run goes on, a checkpoint predicts), so that `build` needs neither a weight file nor
            a network. None where the model starts from its own weights.
        weights_origin: with `weights`, what the model that was first built said of itself in its `weights_origin`.
        messages: where to tell people something.
        leave_out: for datasets. Where it is there, somebody wants what can be read of broken files: a reader that can
            do without an object or an image calls it with the fault and leaves that out, in place of raising; see
            `detkit.data.faults.settle_faults`. A reader may disregard it.
    """

    class_names: tuple[str, ...] = ()
    spec_folder: Path = Path()
    cache_folder: Path = Path.home() / ".cache" / "detkit"
    offline: bool = False
    min_size: int = 800
    max_size: int = 1333
    device: str = "cpu"
    seed: int = 0
    run_id: str = ""
    run_folder: Path | None = None
    weights: Mapping[str, Tensor] | None = None
    weights_origin: Mapping[str, Any] = field(default_factory=dict)
    messages: Messages = field(default_factory=Silent)
    leave_out: Callable[[Fault], None] | None = None

    def generator(self) -> torch.Generator:
        """A fresh CPU generator with the component's own seed."""
        import torch

        return torch.Generator().manual_seed(self.seed)


# --- what components build -------------------------------------------------------------------------------------------


class Dataset(ABC):
    """Images with their objects, by index.

    Attributes:
        class_names: the K foreground classes in order; labels are 1..K.
        provides: what every target holds.
        splits: named splits that the data brings, as name to indices; None where it brings none.
    """

    class_names: tuple[str, ...]
    provides: Capabilities = BOXES
    splits: Mapping[str, Sequence[int]] | None = None

    @abstractmethod
    def __len__(self) -> int:
        """How many images."""

    @abstractmethod
    def __getitem__(self, index: int, /) -> tuple[Image, Target]:
        """The uint8 `tv_tensors.Image` [3, H, W] and its target."""

    def info(self, index: int) -> ImageInfo:
        """Path, size and objects as read, in float64; override it to answer without decoding pixels."""
        from detkit.data.targets import info_from_target

        return info_from_target(*self[index])


@dataclass(frozen=True, slots=True)
class Part:
    """A named part of a model, as a training strategy freezes it and the table before training shows it.

    Attributes:
        name: as people call it, "backbone.layer3", "box head".
        modules: that make it up.
        backbone: whether it is a stage of the backbone: those are unfrozen one by one, from the output.
        lr_scale: share of the learning rate with which it trains, above 0 and at most 1, as the tenth of DETR's
            backbone; what is pretrained in it has `[train] backbone_lr_scale` of that.
    """

    name: str
    modules: tuple[nn.Module, ...]
    backbone: bool = False
    lr_scale: float = 1.0


class Parted(Protocol):
    """What a model may say of itself, so that strategies can treat what it has learnt apart from what is new.

    Each of the attributes may be absent.

    Attributes:
        parts: from the input to the output, none of which share a parameter. What is in none is shown as "other".
        pretrained: the names, as in `state_dict()`, of the parameters and buffers that were loaded.
        weights_origin: where they came from, in plain values, for the record, and for `BuildContext.weights_origin`.
    """

    parts: Sequence[Part]
    pretrained: Collection[str]
    weights_origin: Mapping[str, Any]


class TrainingStep(Protocol):
    """One forward pass with its losses. The engine does the rest: sum, guard, backward, clip, step."""

    def __call__(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Named scalar losses (0-d, float32), with gradient, that are means over the batch's images."""


@dataclass(frozen=True, slots=True)
class Draw:
    """What one transform may draw from for one image: random numbers, and other training images.

    All of it is a function of (seed, epoch, position in the epoch, the transform's key), whatever the number of workers
    and whatever the transforms before it drew. The global generators of torch, numpy and random are seeded for the
    call too, so that transforms of libraries which use those do no harm.

    Attributes:
        generator: on the CPU.
        pool: the indices of the training images, the one at hand among them. It may be long: draw from it, do not
            walk through it.
        fetch: gives the image (uint8 [3, H, W]) and target of one index of the pool, as the transforms before this one
            make them; each call draws anew. Raises ValueError for an index that is not in the pool.
    """

    generator: torch.Generator
    pool: Sequence[int]
    fetch: Callable[[int], tuple[Image, Target]]

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """A number in low..high."""
        import torch

        share = float(torch.rand((), generator=self.generator, dtype=torch.float64))
        return low + (high - low) * share

    def chance(self, probability: float) -> bool:
        """True with that probability; one number is drawn whatever it is."""
        return self.uniform() < probability

    def integer(self, count: int) -> int:
        """One of 0..count-1."""
        import torch

        return int(torch.randint(count, (), generator=self.generator))

    def another(self) -> tuple[Image, Target]:
        """One image of the pool (uint8 [3, H, W]) and its target, each as likely as the others."""
        return self.fetch(self.pool[self.integer(len(self.pool))])


class Transform(Protocol):
    """Changes a training image together with its objects. It keeps no state from call to call."""

    def __call__(self, image: Image, target: Target, draw: Draw, /) -> tuple[Image, Target]:
        """The changed image (uint8 [3, H, W]) and target; what it was given must not be written to.

        `torchvision.transforms.v2` does it right for the fields it knows, boxes and masks. A transform that leaves
        objects out does so in all fields. The rest is done after each call: boxes are made anew from the masks (where
        those of the dataset are the masks' extents), else clipped to the image; objects of which nothing is left are
        taken out of all fields; `area` follows.
        """


class Metric(Protocol):
    """Compares predictions with the ground truth of the same images, in any order and number of updates."""

    def reset(self) -> None:
        """Forget all images."""

    def update(self, predictions: Sequence[Prediction], truths: Sequence[ImageInfo]) -> None:
        """Add images; the two sequences are aligned and hold the same image ids. No image is given twice."""

    def compute(self) -> MetricResult:
        """The result over all images since `reset`."""


@runtime_checkable
class Thresholded(Protocol):
    """What a metric may have beside: its final figures then say what a detector does at the thresholds of its use."""

    def use_thresholds(self, chosen: Mapping[str, float], /) -> None:
        """Called between `reset`, which forgets them, and `update`; never in the evaluations of epochs.

        Args:
            chosen: what this metric's own result gave as `thresholds` on the validation images, from the checkpoint.
        """


@dataclass(frozen=True, slots=True)
class RunInfo:
    """A run, as callbacks and loggers see it.

    Attributes:
        run_id: as `fcos-seed1`. experiment: the experiment's name. model: the model's key in the spec.
        seed: of the run. folder: the run's folder in the record.
        class_names: the K foreground classes in order; label k is `class_names[k - 1]`.
        device: as torch names it: "cpu", "cuda:0", "mps". precision: what it computes in: "fp32", "bf16" or "fp16".
        fold: of the experiment's, counted from 1; None where it has none.
        epochs: how many in all. steps_per_epoch: optimizer steps in each.
        start_step: the optimizer step at which this process begins; above 0 when the run is resumed.
        parameters: every resolved value of the spec that concerns this run, nested, plain.
        rehearsal: a few steps of `detkit run --smoke`, which leave nothing: what a logger sends would be no result.
    """

    run_id: str
    experiment: str
    model: str
    seed: int
    folder: Path
    class_names: tuple[str, ...]
    device: str
    precision: str
    epochs: int
    steps_per_epoch: int
    start_step: int = 0
    parameters: Mapping[str, Any] = field(default_factory=dict)
    rehearsal: bool = False
    fold: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended, with the reason where there is one.

    Only trials of a search are pruned: stopped for good, since others were better by then, and without final figures.

    Attributes:
        state: "finished", "failed", "interrupted" or "pruned". reason: for people; may be empty.
        deadline: the `time.monotonic()` from which on nobody waits for the logger that is told; None: no such time.
    """

    state: Literal["finished", "failed", "interrupted", "pruned"]
    reason: str = ""
    deadline: float | None = field(default=None, compare=False)


class Logger:
    """Base class of loggers: every method does nothing; override what you want.

    All methods are called one after another on one thread of the logger's own, never on the training thread, in rank 0
    only, with paths and plain values. A method that raises ends this logger for the run, with one warning; `start` may
    raise `LoggerRefused` to stop the run before it begins. A resumed run calls `start` with `run.start_step` > 0.
    Steps count optimizer steps from 1, epochs from 1. They rise; only a run that goes back to a checkpoint (`[train]
    on_nonfinite`) gives some of them again.
    """

    def start(self, run: RunInfo) -> None:
        """Called once, before anything else."""

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """The nested, resolved values of the spec and facts about the run (versions, weights, hardware)."""

    def log_metrics(self, values: Mapping[str, float], *, step: int, epoch: int) -> None:
        """Numbers under names such as `train/loss`, `coco/ap50`, `measured/images_per_s`.

        No name comes both with steps and with epochs.
        """

    def log_predictions(self, file: Path, *, step: int, epoch: int) -> None:
        """The predictions on the evaluated images: a gzipped JSON list in COCO's results form."""

    def log_table(self, name: str, table: Table, *, step: int, epoch: int) -> None:
        """A table of a metric."""

    def log_curve(self, name: str, curve: Curve, *, step: int, epoch: int) -> None:
        """A curve of a metric."""

    def log_confusion_matrix(self, name: str, matrix: Matrix, *, step: int, epoch: int) -> None:
        """A confusion matrix of a metric."""

    def log_file(self, file: Path, *, name: str) -> None:
        """A file of the record.

        At the start "model.txt", the model's structure; at the end "spec.toml" (resolved), "system.jsonl",
        "messages.jsonl", "console.log", "last.pt", "best.pt" and "summary.json", in this order: of a run that failed
        those that are there, of an interrupted one none while it may go on.
        """

    def close(self, outcome: Outcome) -> None:
        """Called once, at the end; has the component's `close_timeout_s` to return."""


@runtime_checkable
class Stateful(Protocol):
    """Any built component may have these two: its state goes into the checkpoint (tensors and plain values only)."""

    def state_dict(self) -> dict[str, Any]:
        """What a later process needs to go on from here: nested dicts and lists of tensors and plain values."""

    def load_state_dict(self, state: dict[str, Any], /) -> Any:
        """Go on from what `state_dict` gave; what is returned is not looked at."""


class Searcher(Protocol):
    """Looks for the values under which a metric is best: it proposes trials, and is told what each gave.

    Asked by the process that starts the runs, one call after another, on one thread. Several proposals may be out at
    once, and their values come back in any order. What raises ends the search; the trials that are done stay.

    A search that was interrupted goes on where the searcher has the two methods of `Stateful`, with plain values: the
    state is saved after each `propose` and `tell`, and loaded before `begin`, which then gets the same arguments. A
    proposal that was out meanwhile is told later as it was given; what was told after the last save is told again.
    Without them the search begins anew.
    """

    def begin(self, space: SearchSpace, objective: Objective, *, max_trials: int | None) -> None:
        """Called once, before anything but `load_state_dict`.

        Args:
            max_trials: the host will ask for no more than so many; None where the searcher says when it is over.

        Raises:
            UserError: the searcher cannot do this (a kind of range, no account); says what to do.
        """

    def propose(self) -> Proposal | None:
        """The next values to try, numbered from 1; None: the search is over."""

    def tell(self, proposal: Proposal, value: float | None, /) -> None:
        """The objective's value of a proposed trial; None: the trial failed and has none.

        Of a trial that was pruned: the value that it had when it was stopped.
        """

    def close(self) -> None:
        """Called once, at the end, whatever it was that ended the search."""


@runtime_checkable
class ParetoSearcher(Protocol):
    """What a `Searcher` has beside, where its component says `pareto`: it can look for the best of two at once.

    With two objectives these two are called, with the same promises, instead of `begin` and `tell`.
    """

    def begin_pareto(self, space: SearchSpace, objectives: Sequence[Objective], *, max_trials: int | None) -> None:
        """As `Searcher.begin`, with objectives none of which counts more than another."""

    def tell_pareto(self, proposal: Proposal, values: Sequence[float] | None, /) -> None:
        """The objectives' values of a proposed trial, in their order; None: it failed, or one of them has no value."""


# --- components ------------------------------------------------------------------------------------------------------

O = TypeVar("O", bound=Options)  # noqa: E741 - the contract's own letter, read only in signatures
T_co = TypeVar("T_co", covariant=True)


def _boxes(_options: Any) -> Capabilities:
    return BOXES


def _no_recipe(_options: Any) -> Mapping[str, Any]:
    return {}


def _unknown_stages(_options: Any) -> None:
    return None


def _no_smallest_anchor(_options: Any, _min_size: int) -> None:
    return None


# No slots on components: `DatasetComponent[MyOptions](...)` sets an attribute on what it made, and a frozen class with
# slots answers that with a TypeError that nobody would understand.
@dataclass(frozen=True)
class Component(Generic[O, T_co]):
    """A named thing that a plugin offers.

    Attributes:
        name: what a spec writes in `use`.
        options: the pydantic model of its table.
        build: makes the thing; heavy imports live here.
        summary: one line for `detkit plugins`.
        check: looks, without training, whether `build` can work (files, keys, devices); raises a `UserError` that
            says what is missing. Run by `detkit check --deep` and at the start of `detkit run`.
    """

    name: str
    options: type[O]
    build: Callable[[O, BuildContext], T_co]
    summary: str = ""
    check: Callable[[O, BuildContext], None] | None = None

    #: Keys that its options must not use.
    reserved: ClassVar[frozenset[str]] = RESERVED_KEYS
    #: Its fields that are going to be removed; one who gives such a field a value is told.
    deprecated: ClassVar[Mapping[str, Deprecation]] = {}

    def __post_init__(self) -> None:
        """Refuse a name or options that a spec could not hold; tell of fields that are deprecated.

        Raises:
            PluginError: the name does not match, `options` are none, or a key of theirs belongs to the host.
        """
        for known in fields(self):
            if known.name in self.deprecated and getattr(self, known.name) is not known.default:
                # The caller of the dataclass's own __init__.
                self.deprecated[known.name].tell(stacklevel=3)
        if not NAME_PATTERN.fullmatch(self.name):
            raise PluginError(f"component name {self.name!r} must match {NAME_PATTERN.pattern}")
        if not (isinstance(self.options, type) and issubclass(self.options, Options)):
            raise PluginError(f"component {self.name!r}: options must be a subclass of detkit.Options")
        taken = self.reserved & set(self.options.model_fields)
        if taken:
            raise PluginError(
                f"component {self.name!r}: its options use {', '.join(sorted(taken))}, which belong to detkit"
                f" (reserved: {', '.join(sorted(self.reserved))}); rename them"
            )


#: How the files of images get into a dataset that is written.
ImageTransfer = Literal["copy", "symlink", "hardlink"]


@dataclass(frozen=True, slots=True)
class Loss:
    """Something that a written dataset does not hold, or holds in another way.

    Attributes:
        what: in a word or two, as "masks". count: of how many objects or images.
        text: what became of it. example: the first of them; empty where none stands out.
    """

    what: str
    count: int
    text: str
    example: str = ""


@dataclass(frozen=True, slots=True)
class Written:
    """What a dataset's files hold: how many images and objects, and what was lost on the way.

    Attributes:
        losses: what the files do not hold, or hold in another way.
        options: what the component must be told beside `root` to read the files as they are meant, as
            {"difficult": "crowd"}; plain values.
    """

    images: int
    objects: int
    losses: tuple[Loss, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DatasetComponent(Component[O, Dataset]):
    """Attributes:
    may_provide: what targets hold, as far as the options tell; the built dataset has the last word.
    write: puts any dataset into a folder in this format, so that the component reads it with `root` set to the folder,
        and says what the format cannot hold; None where it only reads. The folder is there, and empty. Raises a
        `DataError` where the dataset cannot be in this format at all, or an image or an object cannot be read.
    """

    #: A dataset has no recipe and no input size of its own: its options may be named so, as the file of a split.
    reserved: ClassVar[frozenset[str]] = RESERVED_KEYS - {"train", "input"}

    may_provide: Callable[[O], Capabilities] = _boxes
    write: Callable[[Dataset, Path, ImageTransfer, Messages], Written] | None = None


@dataclass(frozen=True)
class ModelComponent(Component[O, "nn.Module"]):
    """A detector that speaks TorchVision's convention.

    In training `model(images, targets)` returns named scalar losses; in evaluation `model(images)` returns a
    `ModelOutput` an image. Resizing and normalisation are the model's own. A model that starts from weights says which
    with the attributes of `Parted`; without them, all of it counts as new. A module in it that keeps what it computed
    for an image has a method `uncached()`: a context manager within which it computes everything afresh, and reads and
    keeps nothing. What the model costs is measured within it.

    Attributes:
        needs: what targets must hold. gives: what predictions hold.
        recipe: values of `[train]` that suit the model; what the user sets wins.
        stages: names of the backbone's stages that hold weights under these options, from the input; empty where all
            begins at random; None where only the built model knows. `detkit check` compares `[train] strategy` with it.
        smallest_anchor: (options, min_size of the input) to the side of the smallest anchor, taken as a square, in
            resized pixels; without anchors, of what takes their part, as the finest stride of FCOS. Objects under half
            of it are told before training. None: nobody knows, or size does not matter. Imports no torch.
    """

    needs: Callable[[O], Capabilities] = _boxes
    gives: Callable[[O], Capabilities] = _boxes
    recipe: Callable[[O], Mapping[str, Any]] = _no_recipe
    stages: Callable[[O], Sequence[str] | None] = _unknown_stages
    smallest_anchor: Callable[[O, int], float | None] = _no_smallest_anchor


@dataclass(frozen=True)
class TrainingStepComponent(Component[O, TrainingStep]):
    """Attributes: needs: what targets must hold."""

    needs: Callable[[O], Capabilities] = _boxes


@dataclass(frozen=True)
class TransformComponent(Component[O, Transform]):
    """Attributes: needs: what targets must hold."""

    needs: Callable[[O], Capabilities] = _boxes


@dataclass(frozen=True)
class MetricComponent(Component[O, Metric]):
    """Attributes: needs: what the dataset must provide. It is given masks too wherever dataset and model have them."""

    needs: Callable[[O], Capabilities] = _boxes


@dataclass(frozen=True)
class LoggerComponent(Component[O, Logger]):
    """Attributes:
    close_timeout_s: how long the end of a run waits for this logger, from its options.
    upload_command: the command that sends a run to it later, from the run's folder; by default `detkit upload`.
    publish: told once after the last run of an experiment, in the process that began the runs, with the experiment's
        folder: for what belongs to all runs together, as the leaderboard. It is also told again when nothing was left
        to run. What it raises is a warning.
    publish_timeout_s: how long the end of the experiment waits for that, from its options; None: until it is done.
    single: an experiment may have one of it at most, since two in one process would disturb each other.
    """

    close_timeout_s: Callable[[O], float] = lambda _options: 30.0
    upload_command: Callable[[Path], str] | None = None
    publish: Callable[[O, BuildContext, Path], None] | None = None
    publish_timeout_s: Callable[[O], float | None] = lambda _options: 30.0
    single: bool = False


@dataclass(frozen=True)
class CallbackComponent(Component[O, object]):
    """Builds an object whose methods implement some of `detkit.hookspecs.RunEvents`, each marked `@hookimpl`."""


@dataclass(frozen=True)
class SearcherComponent(Component[O, Searcher]):
    """Builds a `Searcher`; `BuildContext.seed` seeds what is random in it.

    Attributes:
        trials_in: how many trials a search of a space has, where the searcher itself says when it is over, as a grid
            does; None: it goes on for ever, so that a spec must say how many it wants.
        pareto: whether what is built is a `ParetoSearcher`, too.
    """

    #: The host's own keys of `[search]`.
    reserved: ClassVar[frozenset[str]] = frozenset(
        {
            "use",
            "enabled",
            "trials",
            "objective",
            "models",
            "prune",
            "prune_after_trials",
            "prune_after_epochs",
            "space",
        }
    )

    trials_in: Callable[[O, SearchSpace], int | None] = lambda _options, _space: None
    pareto: bool = False


@dataclass(frozen=True)
class Command:
    """A command that a plugin adds to `detkit`.

    Attributes:
        name: as typed. summary: the line in `detkit --help`.
        load: imports and returns the click command; called only when the command is used.
    """

    name: str
    summary: str
    load: Callable[[], ClickCommand]

    def __post_init__(self) -> None:
        """Refuse a name that cannot be typed.

        Raises:
            PluginError: the name does not match.
        """
        if not NAME_PATTERN.fullmatch(self.name):
            raise PluginError(f"command name {self.name!r} must match {NAME_PATTERN.pattern}")
