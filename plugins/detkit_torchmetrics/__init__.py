"""A second opinion: torchmetrics' MeanAveragePrecision, with all its values under its own names."""

from __future__ import annotations

from importlib.util import find_spec
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from detkit import BuildContext, Metric, MetricComponent, Options, UserError, hookimpl

_Share = Annotated[float, Field(ge=0, le=1)]


class TorchmetricsOptions(Options):
    """`[metrics.torchmetrics]`"""

    backend: Literal["pycocotools", "faster_coco_eval"] = Field(
        "pycocotools", description="what torchmetrics computes with; faster_coco_eval is an install of its own"
    )
    masks: Literal["auto", "off"] = Field(
        "auto", description="auto: the mask_ numbers too where dataset and model have masks; off: boxes only"
    )
    # Not strict: TOML has arrays, not tuples. The numbers in them stay strict.
    iou_thresholds: tuple[_Share, ...] | None = Field(
        None, min_length=1, strict=False, description="of map and mar; by default COCO's, 0.5 to 0.95 in steps of 0.05"
    )
    rec_thresholds: tuple[_Share, ...] | None = Field(
        None,
        min_length=1,
        strict=False,
        description="recalls over which precision is averaged; by default COCO's, 0 to 1 in steps of 0.01",
    )
    max_detection_thresholds: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (1, 10, 100),
        min_length=3,
        max_length=3,
        strict=False,
        description="how many detections of a class in an image count, best scores first: one mar number for each,"
        " and the last holds for every other number; three, rising",
    )
    class_metrics: bool = Field(True, description="a table with map and mar of each class")

    @model_validator(mode="after")
    def _rising(self) -> Self:
        for name in ("iou_thresholds", "rec_thresholds", "max_detection_thresholds"):
            values = getattr(self, name)
            if values is not None and any(first >= second for first, second in pairwise(values)):
                raise ValueError(f"{name} must rise; got {list(values)}")
        return self


def check_torchmetrics(options: TorchmetricsOptions, _context: BuildContext) -> None:
    """Whether torchmetrics and the backend are there.

    Raises:
        UserError: one of them is not installed.
    """
    for module, package in (("torchmetrics", "torchmetrics"), (options.backend, options.backend.replace("_", "-"))):
        if find_spec(module) is None:
            # pycocotools goes by one name everywhere; faster_coco_eval is installed as faster-coco-eval.
            raise UserError(
                f"{package} is not installed: run `pip install {package}`"
                + (", or set backend = 'pycocotools'" if module == "faster_coco_eval" else "")
            )


def build_torchmetrics(options: TorchmetricsOptions, context: BuildContext) -> Metric:
    """The metric for the context's classes."""
    check_torchmetrics(options, context)
    from detkit_torchmetrics.metric import TorchmetricsMetric

    return TorchmetricsMetric(context.class_names, options)


TORCHMETRICS = MetricComponent(
    name="torchmetrics",
    options=TorchmetricsOptions,
    build=build_torchmetrics,
    summary="torchmetrics' MeanAveragePrecision, for boxes, and for masks where there are any",
    check=check_torchmetrics,
)


@hookimpl
def detkit_metrics() -> list[MetricComponent[Any]]:
    return [TORCHMETRICS]
