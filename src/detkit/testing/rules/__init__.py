"""The rules of the contract, a module a kind of component. Importing this adds them all."""

from __future__ import annotations

from detkit.testing.rules import (  # noqa: F401 - imported for the rules that they add
    callback,
    common,
    dataset,
    dataset_target,
    logger,
    metric,
    metric_figures,
    model,
    model_output,
    model_state,
    searcher,
    training_step,
    transform,
)
