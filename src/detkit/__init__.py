"""detkit: find the best object detector for your own images.

The names below are the public API; everything else may change. Importing this module imports no torch.
"""

from importlib import import_module
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
    Draw,
    ImageTransfer,
    Logger,
    LoggerComponent,
    Loss,
    Messages,
    Metric,
    MetricComponent,
    ModelComponent,
    OptionPath,
    Options,
    Outcome,
    ParetoSearcher,
    Part,
    Progress,
    RunInfo,
    Searcher,
    SearcherComponent,
    TrainingStep,
    TrainingStepComponent,
    Transform,
    TransformComponent,
    Written,
)
from detkit.deprecation import Deprecation, DetkitDeprecationWarning
from detkit.errors import (
    ComputeError,
    DataError,
    DetkitError,
    LoggerRefused,
    NotDelivered,
    PluginError,
    RecordError,
    RunFailed,
    SpecError,
    UserError,
    WeightsError,
)
from detkit.figures import Curve, Matrix, MetricResult, Scalar, Table
from detkit.hookspecs import HOOK_API, hookimpl
from detkit.search_space import Choices, Objective, Proposal, Range, SearchSpace

if TYPE_CHECKING:
    from detkit.api import evaluate, load_detector, load_spec, open_record, open_run, paired_difference, replay, run
    from detkit.compare import compare
    from detkit.record.files import write_atomically
    from detkit.record.images import RecordedImage
    from detkit.record.reader import ExperimentRecord, RunRecord

#: The version of detkit, by PEP 440.
__version__ = "0.1.0"

__all__ = [
    "BOXES",
    "BOXES_AND_MASKS",
    "HOOK_API",
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
    "Deprecation",
    "DetkitDeprecationWarning",
    "DetkitError",
    "Draw",
    "ExperimentRecord",
    "ImageTransfer",
    "Logger",
    "LoggerComponent",
    "LoggerRefused",
    "Loss",
    "Matrix",
    "Messages",
    "Metric",
    "MetricComponent",
    "MetricResult",
    "ModelComponent",
    "NotDelivered",
    "Objective",
    "OptionPath",
    "Options",
    "Outcome",
    "ParetoSearcher",
    "Part",
    "PluginError",
    "Progress",
    "Proposal",
    "Range",
    "RecordError",
    "RecordedImage",
    "RunFailed",
    "RunInfo",
    "RunRecord",
    "Scalar",
    "SearchSpace",
    "Searcher",
    "SearcherComponent",
    "SpecError",
    "Table",
    "TrainingStep",
    "TrainingStepComponent",
    "Transform",
    "TransformComponent",
    "UserError",
    "WeightsError",
    "Written",
    "__version__",
    "compare",
    "evaluate",
    "hookimpl",
    "load_detector",
    "load_spec",
    "open_record",
    "open_run",
    "paired_difference",
    "replay",
    "run",
    "write_atomically",
]


#: Where the names are that are imported on first use.
LATE = {
    **dict.fromkeys(
        ("evaluate", "load_detector", "load_spec", "open_record", "open_run", "paired_difference", "replay", "run"),
        "detkit.api",
    ),
    **dict.fromkeys(("ExperimentRecord", "RunRecord"), "detkit.record.reader"),
    "RecordedImage": "detkit.record.images",
    "compare": "detkit.compare",
    "write_atomically": "detkit.record.files",
}
#: Names that are going to be removed, and the module in which each is found until then.
DEPRECATED: dict[str, tuple[Deprecation, str]] = {}


def __getattr__(name: str) -> Any:
    """The functions of `detkit.api` and the record's classes on first use: plugins need not wait for them.

    Raises:
        AttributeError: there is no such name.
    """
    if name in DEPRECATED:
        deprecation, home = DEPRECATED[name]
        deprecation.tell(stacklevel=2)
        return getattr(import_module(home), name)
    if module := LATE.get(name):
        return getattr(import_module(module), name)
    raise AttributeError(f"module 'detkit' has no attribute {name!r}")
