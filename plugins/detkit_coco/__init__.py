"""The COCO evaluation: twelve numbers for boxes, twelve for masks, a table per class, precision-recall curves."""

from __future__ import annotations

from importlib.util import find_spec
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from detkit import BuildContext, Messages, Metric, MetricComponent, Options, UserError, hookimpl

Engine = Literal["hotcoco", "pycocotools"]


class CocoOptions(Options):
    """`[metrics.coco]`"""

    engine: Literal["hotcoco", "pycocotools", "auto"] = Field(
        "hotcoco",
        description="what computes: hotcoco (fast), pycocotools (the original, the same numbers), or auto: hotcoco"
        " where it is installed, else pycocotools",
    )
    masks: Literal["auto", "off"] = Field(
        "auto", description="auto: the mask_ numbers too where dataset and model have masks; off: boxes only"
    )
    # Not strict: TOML has arrays, not tuples. The numbers in it stay strict.
    max_detections: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (1, 10, 100),
        min_length=1,
        strict=False,
        description="how many detections of a class in an image count, best scores first: one ar number for each,"
        " and the last holds for every other number; rising",
    )

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if any(first >= second for first, second in pairwise(self.max_detections)):
            raise ValueError(f"max_detections must rise, as [1, 10, 100]; got {list(self.max_detections)}")
        return self


def choose_engine(wanted: Literal["hotcoco", "pycocotools", "auto"], messages: Messages) -> Engine:
    """The engine to use.

    Raises:
        UserError: hotcoco is wanted by name and is not installed.
    """
    if wanted == "pycocotools" or find_spec("hotcoco") is not None:
        return "pycocotools" if wanted == "pycocotools" else "hotcoco"
    if wanted == "hotcoco":
        raise UserError(
            "hotcoco is not installed: run `pip install hotcoco`, or set engine = 'pycocotools'"
            " (the same numbers, slower) or engine = 'auto'"
        )
    messages.info("hotcoco is not installed: the COCO numbers come from pycocotools, which is slower")
    return "pycocotools"


def check_coco(options: CocoOptions, context: BuildContext) -> None:
    """Whether the chosen engine is there."""
    choose_engine(options.engine, context.messages)


def build_coco(options: CocoOptions, context: BuildContext) -> Metric:
    """The metric for the context's classes."""
    from detkit_coco.metric import CocoMetric

    return CocoMetric(
        context.class_names,
        engine=choose_engine(options.engine, context.messages),
        masks=options.masks == "auto",
        max_detections=options.max_detections,
    )


COCO = MetricComponent(
    name="coco",
    options=CocoOptions,
    build=build_coco,
    summary="the COCO numbers: AP and AR of boxes, and of masks where there are any",
    check=check_coco,
)


@hookimpl
def detkit_metrics() -> list[MetricComponent[Any]]:
    return [COCO]
