"""How the models were trained: recipes, and what the guard rails did."""

from __future__ import annotations

from detkit.report.runs import ShownRuns
from detkit.report.say import plain
from detkit.report.text import code, escape, table

#: Of a recipe, what the page shows; the spec below it has the rest.
RECIPE = {
    "strategy": "strategy",
    "trainable_layers": "trained stages",
    "unfreeze_epochs": "unfrozen in epochs",
    "epochs": "epochs",
    "batch_size": "batch size",
    "accumulate": "batches a step",
    "optimizer": "optimizer",
    "lr": "learning rate",
    "schedule": "schedule",
    "warmup_steps": "warm-up (steps)",
    "warmup_epochs": "warm-up (epochs)",
    "weight_decay": "weight decay",
    "clip_norm": "clip norm",
    "ema_decay": "average of weights",
    "best_by": "selected by",
}


def recipes(runs: ShownRuns) -> list[str]:
    """One row a model: its seeds share the recipe."""
    by_model = {run.model: run.train for run in reversed(runs.runs) if run.train}
    models = [model for model in dict.fromkeys(run.model for run in runs.runs) if model in by_model]
    if not models:
        return []
    keys = [key for key in RECIPE if any(by_model[model].get(key) is not None for model in models)]
    rows = [[code(model), *(plain(by_model[model].get(key)) for key in keys)] for model in models]
    return ["## Recipes", table(["Model", *(RECIPE[key] for key in keys)], rows)]


def guards(runs: ShownRuns) -> list[str]:
    """Steps that were skipped and trainings that were rolled back, where the runs say so."""
    shown = [run for run in runs.finished if isinstance(run.summary.get("guard"), dict)]
    if not any(run.summary["guard"].get(what) for run in shown for what in ("skipped", "rollbacks")):
        return ["In no run did a loss explode or become other than finite."] if shown else []
    keys = list(dict.fromkeys(key for run in shown for key in run.summary["guard"]))
    rows = [[code(runs.label(run)), *(plain(run.summary["guard"].get(key)) for key in keys)] for run in shown]
    titles = [escape(key.replace("_", " ")) for key in keys]
    return ["## Guard rails", table(["Run", *titles], rows, right=len(keys))]
