"""The files of a run: checkpoints as models, code and structure where Comet shows them, the rest as assets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detkit import RunInfo
from detkit_comet import CometOptions
from detkit_comet.final import final_metrics
from detkit_comet.names import filled

if TYPE_CHECKING:
    from comet_ml import CometExperiment

CHECKPOINTS = {"best.pt": "best", "last.pt": "last"}


def log_file(experiment: CometExperiment, options: CometOptions, run: RunInfo, file: Path, name: str) -> None:
    """Send a file of the record, as far as the options want it, in place of what an earlier part of the run sent.

    Raises:
        OSError, ValueError: the file cannot be read.
    """
    if name in CHECKPOINTS:
        _log_checkpoint(experiment, options, run, file, name)
    elif name == "model.txt":
        if options.graph:
            experiment.set_model_graph(file.read_text(encoding="utf-8"))
    elif name == "console.log":
        if options.console:
            experiment.log_asset(str(file), file_name=name, overwrite=True)
    else:
        experiment.log_asset(str(file), file_name=name, overwrite=True)
        if name == "summary.json":
            log_summary(experiment, json.loads(file.read_text(encoding="utf-8")))


def _log_checkpoint(experiment: CometExperiment, options: CometOptions, run: RunInfo, file: Path, name: str) -> None:
    kind = CHECKPOINTS[name]
    if kind not in options.checkpoints:
        return
    # The best one has the model's own name, under which it is looked for and registered.
    model = run.model if kind == "best" else f"{run.model}-{kind}"
    about = {"run": run.run_id, "checkpoint": kind}
    experiment.log_model(model, str(file), file_name=name, overwrite=True, metadata=about)


def register(experiment: CometExperiment, options: CometOptions, run: RunInfo) -> None:
    """Register the best checkpoint, where the options want that; it has been logged."""
    if options.register_as is None or "best" not in options.checkpoints:
        return
    experiment.register_model(
        run.model,
        registry_name=filled(options.register_as, run),
        description=f"{run.model}, seed {run.seed}, of {run.experiment}; trained with detkit",
    )


def log_summary(experiment: CometExperiment, summary: Mapping[str, Any]) -> None:
    """The final figures and costs, at the step of the selected epoch."""
    selected = summary["selected"]
    experiment.log_metrics(final_metrics(summary), step=selected["step"], epoch=selected["epoch"])
    experiment.log_other("scored_on", summary["scored"]["split"])
    experiment.log_other("selected_epoch", selected["epoch"])


def log_code(experiment: CometExperiment, run: RunInfo) -> None:
    """The plugin files that the spec names; a plugin of a distribution is known by its version."""
    for plugin in run.parameters.get("plugins", ()):
        file = Path(plugin["source"])
        if not plugin["distribution"] and file.is_file():
            experiment.log_code(file_name=str(file), overwrite=True)
