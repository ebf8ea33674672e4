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
    from detkit.testing.made_run import Call, Event, logger_calls, made_info, make_run, run_events
    from detkit.testing.rules.transform import draw_for
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
    **dict.fromkeys(("Call", "Event", "logger_calls", "made_info", "make_run", "run_events"), "made_run"),
    "draw_for": "rules.transform",
}

__all__ = [
    "TINY_DETECTOR",
    "AdviceNotFollowed",
    "Call",
    "CallbackConformance",
    "Conformance",
    "DatasetConformance",
    "Event",
    "LoggerConformance",
    "MetricConformance",
    "ModelConformance",
    "RuleBroken",
    "Scenes",
    "SearcherConformance",
    "TinyDetector",
    "TrainingStepConformance",
    "TransformConformance",
    "draw_for",
    "logger_calls",
    "made_info",
    "make_run",
    "no_predictions",
    "perfect_predictions",
    "poor_predictions",
    "run_events",
    "scene_batch",
    "truths_of",
]


def __getattr__(name: str) -> Any:
    """The names above on first use: the command needs no pytest, and some of them import torch.

    Raises:
        AttributeError: there is no such name. ImportError: pytest is not installed, and it is a class of tests.
    """
    if module := LATE.get(name):
        try:
            return getattr(import_module(f"detkit.testing.{module}"), name)
        except ModuleNotFoundError as error:
            if error.name != "pytest":
                raise
            raise ImportError(
                f"detkit.testing.{name} needs pytest: pip install pytest (`detkit plugins test` does without)"
            ) from error
    raise AttributeError(f"module 'detkit.testing' has no attribute {name!r}")
