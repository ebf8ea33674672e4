"""detkit: find the best object detector for your own images.

The names below are the public API; everything else may change. Importing this module imports no torch.
"""

from typing import TYPE_CHECKING, Any

from detkit.components import (
    BOXES,
    BOXES_AND_MASKS,
    BuildContext,
    CallbackComponent,
    Capabilities,
    Command,
    Dataset,
    DatasetComponent,
    Logger,
    LoggerComponent,
    Messages,
    Metric,
    MetricComponent,
    ModelComponent,
    OptionPath,
    Options,
    Outcome,
    Part,
    Progress,
    RunInfo,
    Searcher,
    SearcherComponent,
    TrainingStep,
    TrainingStepComponent,
)
from detkit.errors import (
    ComputeError,
    DataError,
    DetkitError,
    LoggerRefused,
    PluginError,
    RecordError,
    RunFailed,
    SpecError,
    UserError,
    WeightsError,
)
from detkit.figures import Curve, Matrix, MetricResult, Scalar, Table
from detkit.hookspecs import hookimpl
from detkit.search_space import Choices, Objective, Proposal, Range, SearchSpace

if TYPE_CHECKING:
    from detkit.api import evaluate, load_detector, load_spec, open_record, paired_difference, run

__version__ = "0.1.0"

__all__ = [
    "BOXES",
    "BOXES_AND_MASKS",
    "BuildContext",
    "CallbackComponent",
    "Capabilities",
    "Choices",
    "Command",
    "ComputeError",
    "Curve",
    "DataError",
    "Dataset",
    "DatasetComponent",
    "DetkitError",
    "Logger",
    "LoggerComponent",
    "LoggerRefused",
    "Matrix",
    "Messages",
    "Metric",
    "MetricComponent",
    "MetricResult",
    "ModelComponent",
    "Objective",
    "OptionPath",
    "Options",
    "Outcome",
    "Part",
    "PluginError",
    "Progress",
    "Proposal",
    "Range",
    "RecordError",
    "RunFailed",
    "RunInfo",
    "Scalar",
    "SearchSpace",
    "Searcher",
    "SearcherComponent",
    "SpecError",
    "Table",
    "TrainingStep",
    "TrainingStepComponent",
    "UserError",
    "WeightsError",
    "__version__",
    "evaluate",
    "hookimpl",
    "load_detector",
    "load_spec",
    "open_record",
    "paired_difference",
    "run",
]


def __getattr__(name: str) -> Any:
    """The functions of `detkit.api` on first use: a plugin that imports detkit need not wait for them."""
    if name in ("run", "evaluate", "load_detector", "load_spec", "open_record", "paired_difference"):
        from detkit import api

        return getattr(api, name)
    raise AttributeError(f"module 'detkit' has no attribute {name!r}")
