"""The conformance kit: whether a plugin keeps its contract, as pytest classes or by `detkit plugins test`.

The classes need pytest, and are imported on first use; what else is here helps in tests of one's own.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from detkit.testing.classes import (
        AdviceNotFollowed,
        CallbackConformance,
        Conformance,
        DatasetConformance,
        LoggerConformance,
        MetricConformance,
        ModelConformance,
        RuleBroken,
        SearcherConformance,
        TrainingStepConformance,
        TransformConformance,
    )
    from detkit.testing.detector import TINY_DETECTOR, TinyDetector
    from detkit.testing.scenes import (
        Scenes,
        no_predictions,
        perfect_predictions,
        poor_predictions,
        scene_batch,
        truths_of,
    )

#: Where the names are.
LATE = {
    **dict.fromkeys(
        (
            "AdviceNotFollowed",
            "CallbackConformance",
            "Conformance",
            "DatasetConformance",
            "LoggerConformance",
            "MetricConformance",
            "ModelConformance",
            "RuleBroken",
            "SearcherConformance",
            "TrainingStepConformance",
            "TransformConformance",
        ),
        "classes",
    ),
    **dict.fromkeys(("TINY_DETECTOR", "TinyDetector"), "detector"),
    **dict.fromkeys(
        ("Scenes", "no_predictions", "perfect_predictions", "poor_predictions", "scene_batch", "truths_of"), "scenes"
    ),
}

__all__ = [
    "TINY_DETECTOR",
    "AdviceNotFollowed",
    "CallbackConformance",
    "Conformance",
    "DatasetConformance",
    "LoggerConformance",
    "MetricConformance",
    "ModelConformance",
    "RuleBroken",
    "Scenes",
    "SearcherConformance",
    "TinyDetector",
    "TrainingStepConformance",
    "TransformConformance",
    "no_predictions",
    "perfect_predictions",
    "poor_predictions",
    "scene_batch",
    "truths_of",
]


def __getattr__(name: str) -> Any:
    """The names above on first use: the command needs no pytest, and some of them import torch.

    Raises:
        AttributeError: there is no such name.
    """
    if module := LATE.get(name):
        return getattr(import_module(f"detkit.testing.{module}"), name)
    raise AttributeError(f"module 'detkit.testing' has no attribute {name!r}")
