"""The COCO evaluation: the twelve numbers of boxes and of masks, and what explains them."""

from __future__ import annotations

import re
from importlib.util import find_spec
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from detkit import BuildContext, Messages, Metric, MetricComponent, Options, UserError, hookimpl

Engine = Literal["hotcoco", "pycocotools", "faster_coco_eval"]

_Share = Annotated[float, Field(gt=0, le=1)]
# Not strict: TOML has arrays, not tuples. The numbers in them stay strict.
_Range = Annotated[tuple[float, float], Field(strict=False)]

#: COCO's ranges of an object's area, parted at 32^2 and 96^2 square pixels. Source: pycocotools' Params.setDetParams.
AREA_RANGES: dict[str, tuple[float, float]] = {
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e5**2),
}


class CocoOptions(Options):
    """`[metrics.coco]`"""

    engine: Literal["hotcoco", "pycocotools", "faster_coco_eval", "auto"] = Field(
        "hotcoco",
        description="what computes, all with the same numbers: hotcoco (fast), pycocotools (the original) or"
        " faster_coco_eval (an extra); auto: hotcoco where it is installed, else pycocotools",
    )
    cross_check: bool = Field(
        False, description="compute every number by pycocotools too, and stop where two differ by more than 1e-12"
    )
    masks: Literal["auto", "off"] = Field(
        "auto", description="auto: the mask_ numbers too where dataset and model have masks; off: boxes only"
    )
    iou_thresholds: tuple[_Share, ...] | None = Field(
        None,
        min_length=1,
        strict=False,
        description="over which ap is averaged, rising; by default COCO's, 0.5 to 0.95 in steps of 0.05",
    )
    max_detections: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (1, 10, 100),
        min_length=1,
        strict=False,
        description="how many detections of a class in an image count, best scores first: one ar number for each,"
        " and the last holds for every other number; rising",
    )
    area_ranges: dict[str, _Range] = Field(
        AREA_RANGES,
        description="name to the lowest and highest area of an object in square pixels: ap_NAME and ar_NAME each",
    )
    match_iou: _Share = Field(
        0.5,
        description="the IoU from which a detection matches, for f1, precision, recall, curves, and what explains them",
    )
    confidence: Annotated[float, Field(ge=0, le=1)] = Field(
        0.5, description="the score from which a detection counts, for f1, precision, recall, tp, fp, fn and the matrix"
    )
    per_image: bool = Field(True, description="a table with the numbers of each image")
    curves: bool = Field(
        True, description="precision over recall; f1, precision and recall over confidence; calibration"
    )
    errors: bool = Field(
        True, description="the confusion matrix; with hotcoco the kinds of errors (TIDE) and labels that may be wrong"
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for name in ("max_detections", "iou_thresholds"):
            values = getattr(self, name) or ()
            if any(first >= second for first, second in pairwise(values)):
                raise ValueError(f"{name} must rise; got {list(values)}")
        for name, (low, high) in self.area_ranges.items():
            if not re.fullmatch(r"[a-z0-9_]+", name) or name == "all":
                raise ValueError(f"area_ranges: {name!r} is no name: small letters, digits and _, but not 'all'")
            if not 0 <= low < high:
                raise ValueError(f"area_ranges.{name} must rise from 0 or more; got {[low, high]}")
        if self.cross_check and self.engine == "pycocotools":
            raise ValueError("cross_check compares another engine with pycocotools; with this engine it checks nothing")
        return self


def choose_engine(wanted: Literal["hotcoco", "pycocotools", "faster_coco_eval", "auto"], messages: Messages) -> Engine:
    """The engine to use.

    Raises:
        UserError: it is wanted by name and is not installed.
    """
    if wanted == "pycocotools":
        return wanted
    if find_spec("hotcoco" if wanted == "auto" else wanted) is not None:
        return "hotcoco" if wanted == "auto" else wanted
    if wanted != "auto":
        raise UserError(
            f"{wanted} is not installed: run `pip install {wanted.replace('_', '-')}`, or set engine = 'pycocotools'"
            " (the same numbers, slower) or engine = 'auto'"
        )
    messages.info("hotcoco is not installed: the COCO numbers come from pycocotools, which is slower")
    return "pycocotools"


def check_coco(options: CocoOptions, context: BuildContext) -> None:
    """Whether the chosen engine is there."""
    choose_engine(options.engine, context.messages)


def build_coco(options: CocoOptions, context: BuildContext) -> Metric:
    """The metric for the context's classes."""
    engine = choose_engine(options.engine, context.messages)
    from detkit_coco.metric import CocoMetric

    return CocoMetric(context.class_names, options, engine)


COCO = MetricComponent(
    name="coco",
    options=CocoOptions,
    build=build_coco,
    summary="the COCO numbers: AP and AR of boxes and of masks, F1, curves, and what goes wrong",
    check=check_coco,
)


@hookimpl
def detkit_metrics() -> list[MetricComponent[Any]]:
    return [COCO]
