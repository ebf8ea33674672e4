"""Wrong metrics: an honest share of what was found, bent in one way each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch

from detkit import Curve, Matrix, MetricComponent, MetricResult, Scalar, Table
from detkit.data.types import ImageInfo, Prediction
from testing.wrong_form import NoOptions, Wrong, builds

WRONG: list[Wrong] = []
Counts = tuple[int, int, int]


class Found:
    """F1 at an IoU of 0.5 and the score 0.5: honest."""

    def __init__(self) -> None:
        self.counts: dict[int, Counts] = {}

    def reset(self) -> None:
        self.counts = {}

    def update(self, predictions: Sequence[Prediction], truths: Sequence[ImageInfo]) -> None:
        for prediction, truth in zip(predictions, truths, strict=True):
            self.counts[truth.image_id] = counted(prediction, truth)

    def compute(self) -> MetricResult:
        value = self.f1(dict.fromkeys(self.counts, 1.0))["f1"]
        hits = sum(row[0] for row in self.counts.values())
        scalars = {"f1": Scalar(value, primary=True), "hits": Scalar(hits, None, "objects")}
        return MetricResult(scalars, resampler=self.f1)

    def f1(self, weights: Mapping[int, float]) -> dict[str, float | None]:
        hits, found, there = (sum(weights[i] * row[k] for i, row in self.counts.items()) for k in range(3))
        return {"f1": 2 * hits / (found + there) if found + there else None}


def counted(prediction: Prediction, truth: ImageInfo) -> Counts:
    items = [item for item in truth.annotations if not item.iscrowd]
    kept = [place for place in np.argsort(-prediction.scores, kind="stable") if prediction.scores[place] >= 0.5]
    free, hits = set(range(len(items))), 0
    for place in kept:
        for number in sorted(free):
            same = items[number].label == prediction.labels[place]
            if same and iou(prediction.boxes[place], items[number].box) > 0.5:
                free.remove(number)
                hits += 1
                break
    return hits, len(kept), len(items)


def iou(one: Any, other: Any) -> float:
    width, height = min(one[2], other[2]) - max(one[0], other[0]), min(one[3], other[3]) - max(one[1], other[1])
    both = max(0.0, width) * max(0.0, height)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return float(both / (sum(areas) - both)) if both else 0.0


def component(make: Callable[[], Any]) -> MetricComponent[Any]:
    return MetricComponent("wrong", NoOptions, builds(make), "what was found")


HONEST = component(Found)


def wrong(rule: str, fault: str, says: str) -> Callable[[type], type]:
    def added(cls: type) -> type:
        WRONG.append(Wrong(rule, fault, says, component(cls)))
        return cls

    return added


def results(rule: str, fault: str, says: str, change: Callable[[MetricResult], Any]) -> None:
    """Add a metric whose result is changed."""

    class Changed(Found):
        def compute(self) -> Any:
            return change(super().compute())

    WRONG.append(Wrong(rule, fault, says, component(Changed)))


def scalars(**changes: Any) -> Callable[[MetricResult], MetricResult]:
    return lambda result: replace(result, scalars={**result.scalars, **changes})


def value_of(result: MetricResult) -> Any:
    return result.scalars["f1"].value


def f1(change: Callable[[Any], Any]) -> Callable[[MetricResult], MetricResult]:
    """Change the value, without a resampler."""
    return lambda result: MetricResult({"f1": Scalar(change(value_of(result)), primary=True)})


class NoMethods:
    def update(self) -> None: ...


WRONG.append(Wrong("metric-methods", "a class without compute", "without reset, compute", component(NoMethods)))
results("metric-result", "a number in place of a result", "a float", lambda result: 0.5)
results("metric-result", "no scalar", "there is no scalar", lambda _result: MetricResult({}))
results("metric-result", "a number for a scalar", "is a float", scalars(more=0.5))
results(
    "metric-finite", "NaN where there is nothing", "is nan", f1(lambda value: float("nan") if value is None else value)
)
results("metric-names", "a name with a slash", "'found/f1'", scalars(**{"found/f1": Scalar(1.0)}))
results(
    "metric-names",
    "no number where there is none",
    "appear or are missing",
    lambda result: (
        result if value_of(result) is not None else replace(result, scalars={"hits": result.scalars["hits"]})
    ),
)
results("metric-primary", "two that are primary", "are primary", scalars(more=Scalar(1.0, primary=True)))
results("metric-primary", "primary without a direction", "no direction", scalars(f1=Scalar(0.5, None, primary=True)))
results("metric-perfect", "a share in percent", "is 100", f1(lambda value: value and value * 100))
results(
    "metric-perfect",
    "a wrong direction",
    "for perfect predictions",
    lambda result: replace(result, scalars={"f1": replace(result.scalars["f1"], higher_is_better=False)}),
)
results("metric-perfect", "always 1", "whatever is predicted", f1(lambda _value: 1.0))


@wrong("metric-result", "the largest score of none", "ValueError")
class Largest(Found):
    def update(self, predictions: Any, truths: Any) -> None:
        super().update(predictions, truths)
        for prediction in predictions:
            max(prediction.scores)


@wrong("metric-perfect", "crowds that were missed", "with crowds")
class Crowds(Found):
    def update(self, predictions: Any, truths: Any) -> None:
        super().update(
            predictions,
            [
                replace(truth, annotations=tuple(replace(item, iscrowd=False) for item in truth.annotations))
                for truth in truths
            ],
        )


@wrong("metric-order", "the last image counts most", "backwards")
class Last(Found):
    def f1(self, weights: Mapping[int, float]) -> Any:
        last = list(self.counts)[-1]
        return super().f1({**weights, last: 5 * weights[last]})


@wrong("metric-updates", "a mean over updates", "images an update")
class OverUpdates(Found):
    def update(self, predictions: Any, truths: Any) -> None:
        super().update(predictions, truths)
        self.updates = getattr(self, "updates", 0) + 1

    def reset(self) -> None:
        super().reset()
        self.updates = 0

    def compute(self) -> MetricResult:
        return f1(lambda value: value and value / max(1, self.updates))(super().compute())


@wrong("metric-reset", "nothing is forgotten", "after a reset")
class Remembering(Found):
    def reset(self) -> None:
        pass


@wrong("metric-reset", "counts on the class", "beside another")
class OnTheClass(Found):
    counts: ClassVar[dict[int, Counts]] = {}  # type: ignore[misc]  # wrong on purpose

    def __init__(self) -> None:
        pass

    def reset(self) -> None:
        self.counts.clear()


@wrong("metric-compute-twice", "counts that are used up", "once and again")
class Once(Found):
    def compute(self) -> MetricResult:
        result = super().compute()
        self.counts = {}
        return replace(result, resampler=None)


@wrong("metric-inputs-untouched", "scores sorted in place", "scores of a prediction")
class Sorting(Found):
    def update(self, predictions: Any, truths: Any) -> None:
        super().update(predictions, truths)
        for prediction in predictions:
            prediction.scores.sort()


@wrong("metric-masks", "masks that must not be there", "AssertionError")
class NoMasks(Found):
    def update(self, predictions: Any, truths: Any) -> None:
        super().update(predictions, truths)
        assert all(prediction.masks is None for prediction in predictions)


@wrong("metric-leaves-settings", "draws for ties", "torch's global generator")
class Drawing(Found):
    def compute(self) -> MetricResult:
        torch.rand(1)
        return super().compute()


@wrong("metric-leaves-settings", "numpy is seeded", "numpy's global generator")
class Seeding(Found):
    def compute(self) -> MetricResult:
        np.random.seed(0)
        return super().compute()


ROW = ("a", 1.0)
results(
    "metric-figures",
    "a row that is short",
    "has 1 cells",
    lambda result: replace(result, tables={"t": Table(("class", "ap"), (ROW, ("b",)))}),
)
results(
    "metric-figures",
    "a list in a cell",
    "a list",
    lambda result: replace(
        result,
        tables={"t": Table(("class", "ap"), (("a", [1.0]),))},  # type: ignore[arg-type]  # wrong on purpose
    ),
)
results(
    "metric-figures",
    "more x than y",
    "3 x and 2 y",
    lambda result: replace(result, curves={"c": Curve((0.0, 0.5, 1.0), (1.0, 0.0))}),
)
results(
    "metric-figures",
    "a matrix without its background",
    "of 3 labels",
    lambda result: replace(result, matrices={"m": Matrix(("a", "b", "none"), ((1, 0), (0, 1)))}),
)
results(
    "metric-figures",
    "shares in a matrix",
    "no whole number",
    lambda result: replace(
        result,
        matrices={"m": Matrix(("a",), ((0.5,),))},  # type: ignore[arg-type]  # wrong on purpose
    ),
)
results(
    "metric-thresholds", "a threshold of no class", "'cat'", lambda result: replace(result, thresholds={"cat": 0.5})
)
results("metric-thresholds", "a threshold in percent", "is 50", lambda result: replace(result, thresholds={"": 50.0}))
results(
    "metric-resampler",
    "numbers of its own",
    "with every weight 1",
    lambda result: replace(result, resampler=lambda weights: {"f1": 0.123}),
)
results(
    "metric-resampler",
    "weights that do not count",
    "with one image of weight 0",
    lambda result: replace(result, resampler=lambda weights: {"f1": value_of(result)}),
)
results(
    "metric-resampler",
    "other names",
    "gives coco/f1",
    lambda result: replace(result, resampler=lambda weights: {"coco/f1": value_of(result)}),
)


@wrong("metric-thresholds", "thresholds that stay", "before thresholds were given")
class Keeping(Found):
    threshold = 0.5

    def use_thresholds(self, chosen: Any, /) -> None:
        self.threshold = chosen[""]

    def compute(self) -> MetricResult:
        result = f1(lambda value: value and value * self.threshold)(super().compute())
        return replace(result, thresholds={"": 0.4})
