"""A whole plugin in one file: a dataset, a detector, a training step, a metric, a logger, a callback, a transform, a
searcher and a command.

Name it in a spec (`plugins = ["every_hook.py"]`) and use what it offers:

    [dataset]
    use = "squares"
    [models.centre_point]
    [training_step]
    use = "weighted"
    [metrics.count_error]
    [loggers.journal]
    [callbacks.stop_after]
    [augment.dim]

It is small, but nothing in it is a toy of another kind than the bundled plugins: they use the same hooks.
"""

import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import torch
from pydantic import Field
from torch import Tensor, nn
from torchvision import tv_tensors

from detkit import (
    BuildContext,
    CallbackComponent,
    Choices,
    Command,
    Dataset,
    DatasetComponent,
    Draw,
    Logger,
    LoggerComponent,
    MetricComponent,
    MetricResult,
    ModelComponent,
    Objective,
    Options,
    Outcome,
    Proposal,
    RunInfo,
    Scalar,
    SearcherComponent,
    SearchSpace,
    TrainingStepComponent,
    TransformComponent,
    hookimpl,
)
from detkit.data.types import Batch, ImageInfo, Prediction, Target

# --- a dataset -------------------------------------------------------------------------------------------------------


class SquaresOptions(Options):
    images: int = Field(24, ge=4, description="how many images")
    size: int = Field(64, ge=32, description="their width and height, pixels")


class Squares(Dataset):
    """Grey noise with one bright square; every eighth image has none."""

    class_names = ("square",)

    def __init__(self, options: SquaresOptions) -> None:
        self._options = options

    def __len__(self) -> int:
        return self._options.images

    def __getitem__(self, index: int, /) -> tuple[tv_tensors.Image, Target]:
        size = self._options.size
        generator = torch.Generator().manual_seed(index)
        pixels = torch.randint(0, 96, (3, size, size), generator=generator, dtype=torch.uint8)
        boxes = torch.zeros((0, 4))
        if index % 8 != 7:
            side = int(torch.randint(12, 24, (), generator=generator))
            x, y = torch.randint(0, size - side, (2,), generator=generator).tolist()
            pixels[:, y : y + side, x : x + side] = 255
            boxes = torch.tensor([[x, y, x + side, y + side]], dtype=torch.float32)
        target: Target = {
            "boxes": tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=(size, size)),  # type: ignore[call-overload]
            "labels": torch.ones(len(boxes), dtype=torch.int64),
            "image_id": index,
            "area": (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]),
            "iscrowd": torch.zeros(len(boxes), dtype=torch.bool),
        }
        return tv_tensors.Image(pixels), target


def build_squares(options: SquaresOptions, context: BuildContext) -> Squares:
    return Squares(options)


SQUARES = DatasetComponent("squares", SquaresOptions, build_squares, "bright squares on noise")

# --- a detector ------------------------------------------------------------------------------------------------------


class CentrePointOptions(Options):
    width: int = Field(16, ge=4, description="channels of the network")


class CentrePoint(nn.Module):
    """Finds objects by their centres on a grid of stride 8, in the manner of CenterNet (arXiv 1904.07850)."""

    stride = 8

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, width, 5, stride=4, padding=2),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
        )
        self.heat = nn.Conv2d(width, classes, 1)
        self.sides = nn.Conv2d(width, 4, 1)

    def forward(self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None) -> Any:
        """Losses in training, a list of predictions in evaluation, as TorchVision's detectors."""
        results = [self._one(image) for image in images]
        if not self.training:
            return [self._predict(heat, sides, image) for (heat, sides), image in zip(results, images, strict=True)]
        assert targets is not None
        losses = [self._losses(heat, sides, target) for (heat, sides), target in zip(results, targets, strict=True)]
        return {name: torch.stack([loss[name] for loss in losses]).mean() for name in ("loss_heat", "loss_sides")}

    def _one(self, image: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(image[None])
        return self.heat(features)[0].float(), self.sides(features)[0].float()

    def _losses(self, heat: Tensor, sides: Tensor, target: dict[str, Tensor]) -> dict[str, Tensor]:
        wanted = torch.zeros_like(heat)
        centres = ((target["boxes"][:, :2] + target["boxes"][:, 2:]) / 2 / self.stride).long()
        x, y = centres[:, 0].clamp(max=heat.shape[2] - 1), centres[:, 1].clamp(max=heat.shape[1] - 1)
        wanted[target["labels"] - 1, y, x] = 1
        middle = (torch.stack([x, y, x, y], dim=1) + 0.5) * self.stride
        distances = (target["boxes"] - middle).abs() / self.stride
        regressed = nn.functional.softplus(sides[:, y, x].T)
        return {
            "loss_heat": nn.functional.binary_cross_entropy_with_logits(
                heat, wanted, pos_weight=torch.tensor(20.0, device=heat.device)
            ),
            "loss_sides": nn.functional.l1_loss(regressed, distances, reduction="sum") / max(1, len(distances)),
        }

    def _predict(self, heat: Tensor, sides: Tensor, image: Tensor) -> dict[str, Tensor]:
        scores, order = heat.sigmoid().flatten().topk(min(5, heat.numel()))
        cells = heat.shape[1] * heat.shape[2]
        y, x = (order % cells) // heat.shape[2], order % heat.shape[2]
        middle = (torch.stack([x, y, x, y], dim=1) + 0.5) * self.stride
        signs = torch.tensor([-1, -1, 1, 1], device=heat.device)
        boxes = middle + signs * nn.functional.softplus(sides[:, y, x].T) * self.stride
        limits = torch.tensor([image.shape[2], image.shape[1]] * 2, device=heat.device)
        boxes = torch.minimum(boxes.clamp(min=0), limits)
        return {"boxes": boxes, "labels": order // cells + 1, "scores": scores}


def build_centre_point(options: CentrePointOptions, context: BuildContext) -> CentrePoint:
    return CentrePoint(len(context.class_names), options.width)


CENTRE_POINT = ModelComponent(
    "centre_point",
    CentrePointOptions,
    build_centre_point,
    "a detector of sixty lines",
    recipe=lambda _options: {"optimizer": "adamw", "lr": 0.01},
)

# --- a training step -------------------------------------------------------------------------------------------------


class WeightedOptions(Options):
    weights: dict[str, float] = Field({}, description="loss term to its weight; 1 for those not named")


class WeightedStep:
    """The model's own losses, each with a weight."""

    def __init__(self, weights: dict[str, float]) -> None:
        self._weights = weights

    def __call__(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        losses = model(batch.images, batch.targets)
        return {name: loss * self._weights.get(name, 1.0) for name, loss in losses.items()}


def build_weighted(options: WeightedOptions, context: BuildContext) -> WeightedStep:
    return WeightedStep(options.weights)


WEIGHTED = TrainingStepComponent("weighted", WeightedOptions, build_weighted, "losses with weights")

# --- a metric --------------------------------------------------------------------------------------------------------


class CountErrorOptions(Options):
    confidence: float = Field(0.5, ge=0, le=1, description="predictions below it do not count")


class CountError:
    """How many objects too many or too few an image is said to have, on average."""

    def __init__(self, confidence: float) -> None:
        self._confidence = confidence
        self._errors: dict[int, int] = {}

    def reset(self) -> None:
        self._errors = {}

    def update(self, predictions: list[Prediction], truths: list[ImageInfo]) -> None:
        for prediction, truth in zip(predictions, truths, strict=True):
            count = int((prediction.scores >= self._confidence).sum())
            self._errors[truth.image_id] = abs(count - len(truth.annotations))

    def compute(self) -> MetricResult:
        mean = self._resampled(dict.fromkeys(self._errors, 1.0))["mean"]
        scalars = {"mean": Scalar(mean, higher_is_better=False, unit="objects", primary=True)}
        return MetricResult(scalars, resampler=self._resampled)

    def _resampled(self, weights: Mapping[int, float]) -> dict[str, float | None]:
        """The same with images weighted, which is how detkit finds the interval of the number."""
        total = sum(weights[image_id] for image_id in self._errors)
        errors = sum(weights[image_id] * error for image_id, error in self._errors.items())
        return {"mean": errors / total if total else None}


def build_count_error(options: CountErrorOptions, context: BuildContext) -> CountError:
    return CountError(options.confidence)


COUNT_ERROR = MetricComponent("count_error", CountErrorOptions, build_count_error, "objects too many or too few")

# --- a logger --------------------------------------------------------------------------------------------------------


class JournalOptions(Options):
    file_name: str = Field("journal.jsonl", description="in the run's folder")


class Journal(Logger):
    """One JSON line a call."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def _write(self, **entry: Any) -> None:
        with self._file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry) + "\n")

    def start(self, run: RunInfo) -> None:
        self._write(event="start", run=run.run_id, step=run.start_step)

    def log_metrics(self, values: Any, *, step: int, epoch: int) -> None:
        self._write(event="metrics", step=step, epoch=epoch, values=dict(values))

    def close(self, outcome: Outcome) -> None:
        self._write(event="close", state=outcome.state)


def build_journal(options: JournalOptions, context: BuildContext) -> Journal:
    assert context.run_folder is not None
    return Journal(context.run_folder / options.file_name)


JOURNAL = LoggerComponent("journal", JournalOptions, build_journal, "a JSON line a call")

# --- a callback ------------------------------------------------------------------------------------------------------


class StopAfterOptions(Options):
    epochs: int = Field(100, ge=1, description="stop after so many, whatever the metrics say")


class StopAfter:
    """Stops a run; its state goes into the checkpoint."""

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs
        self.steps_seen = 0

    @hookimpl
    def step_ended(self, step: int) -> None:
        self.steps_seen += 1

    @hookimpl
    def should_stop(self, epoch: int) -> str | None:
        return f"told to stop after {self._epochs} epochs" if epoch >= self._epochs else None

    def state_dict(self) -> dict[str, Any]:
        return {"steps_seen": self.steps_seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps_seen = state["steps_seen"]


def build_stop_after(options: StopAfterOptions, context: BuildContext) -> StopAfter:
    return StopAfter(options.epochs)


STOP_AFTER = CallbackComponent("stop_after", StopAfterOptions, build_stop_after, "stops after some epochs")

# --- a transform -----------------------------------------------------------------------------------------------------


class DimOptions(Options):
    probability: float = Field(0.5, ge=0, le=1, description="share of the images that are dimmed")
    darkest: float = Field(0.3, ge=0, le=1, description="the smallest factor")


class Dim:
    """Takes light away. What it draws comes from `draw`, so that every run of a seed sees the same images."""

    def __init__(self, options: DimOptions) -> None:
        self._options = options

    def __call__(self, image: tv_tensors.Image, target: Target, draw: Draw, /) -> tuple[tv_tensors.Image, Target]:
        if not draw.chance(self._options.probability):
            return image, target
        factor = draw.uniform(self._options.darkest, 1.0)
        return tv_tensors.Image((image.float() * factor).to(torch.uint8)), target


def build_dim(options: DimOptions, context: BuildContext) -> Dim:
    return Dim(options)


DIM = TransformComponent("dim", DimOptions, build_dim, "darkens training images")

# --- a searcher ------------------------------------------------------------------------------------------------------


class EveryOptions(Options):
    points: int = Field(3, ge=2, description="how many values to take from a range")


class Every:
    """Tries every combination of values: the first ones with the first parameter's first value."""

    def __init__(self, points: int) -> None:
        self._points = points
        self._proposed = 0
        self._combinations: Iterator[dict[str, Any]] = iter(())

    def begin(self, space: SearchSpace, objective: Objective, *, max_trials: int | None) -> None:
        values = [
            parameter.values if isinstance(parameter, Choices) else parameter.grid(self._points)
            for parameter in space.parameters.values()
        ]
        combinations = (dict(zip(space.parameters, taken, strict=True)) for taken in itertools.product(*values))
        self._combinations = itertools.islice(combinations, self._proposed, max_trials)

    def propose(self) -> Proposal | None:
        values = next(self._combinations, None)
        if values is None:
            return None
        self._proposed += 1
        return Proposal(self._proposed, values)

    def tell(self, proposal: Proposal, value: float | None, /) -> None:
        """What a trial gave does not change what is tried next."""

    def close(self) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        return {"proposed": self._proposed}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """With this an interrupted search goes on where it was."""
        self._proposed = state["proposed"]


def build_every(options: EveryOptions, context: BuildContext) -> Every:
    return Every(options.points)


EVERY = SearcherComponent("every", EveryOptions, build_every, "every combination of values, one after another")

# --- a command -------------------------------------------------------------------------------------------------------


@click.command("squares")
@click.option("--images", default=4, help="How many to describe.")
def squares(images: int) -> None:
    """Say where the squares are."""
    dataset = Squares(SquaresOptions(images=max(4, images)))
    for index in range(images):
        click.echo(f"image {index}: {dataset[index][1]['boxes'].tolist()}")


# --- the hooks -------------------------------------------------------------------------------------------------------


@hookimpl
def detkit_datasets() -> list[DatasetComponent[Any]]:
    return [SQUARES]


@hookimpl
def detkit_models() -> list[ModelComponent[Any]]:
    return [CENTRE_POINT]


@hookimpl
def detkit_training_steps() -> list[TrainingStepComponent[Any]]:
    return [WEIGHTED]


@hookimpl
def detkit_metrics() -> list[MetricComponent[Any]]:
    return [COUNT_ERROR]


@hookimpl
def detkit_loggers() -> list[LoggerComponent[Any]]:
    return [JOURNAL]


@hookimpl
def detkit_callbacks() -> list[CallbackComponent[Any]]:
    return [STOP_AFTER]


@hookimpl
def detkit_transforms() -> list[TransformComponent[Any]]:
    return [DIM]


@hookimpl
def detkit_searchers() -> list[SearcherComponent[Any]]:
    return [EVERY]


@hookimpl
def detkit_commands() -> list[Command]:
    return [Command("squares", "Say where the squares are", lambda: squares)]
