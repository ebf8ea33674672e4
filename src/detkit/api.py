"""detkit from Python: what the commands do, in a script or a notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detkit.record.reader import ExperimentRecord, open_record
from detkit.spec.loader import load_spec

if TYPE_CHECKING:
    from detkit.engine.display import Display
    from detkit.spec.model import ExperimentSpec

__all__ = ["load_spec", "open_record", "run"]


def run(
    spec: str | Path,
    *,
    set: Mapping[str, Any] | None = None,
    enable_loggers: Sequence[str] = (),
    disable_loggers: Sequence[str] = (),
    resume: bool = False,
    extend: bool = False,
    fresh: bool = False,
    name: str | None = None,
    display: Display | None = None,
) -> ExperimentRecord:
    """Train, evaluate and compare every model of a spec, as `detkit run` does.

    Args:
        spec: the TOML file.
        set: dotted keys to values that override the file's, as {"train.epochs": 3}.
        enable_loggers, disable_loggers: keys under [loggers].
        resume: go on with runs that did not finish. extend: allow more epochs than the record has.
        fresh: a new numbered folder where the name is taken. name: another name for the experiment.
        display: what to show meanwhile; by default the console's bars.

    Returns:
        The record; its runs say how each ended. In a notebook it shows itself.

    Raises:
        UserError: what was asked cannot be done. Interrupted: stopped before the end.
    """
    changes = {**(set or {}), **({"experiment.name": name} if name else {})}
    loaded = load_spec(spec, set=changes, enable_loggers=enable_loggers, disable_loggers=disable_loggers)
    return run_spec(loaded, resume=resume, extend=extend, fresh=fresh, display=display)


def run_spec(
    spec: ExperimentSpec,
    *,
    resume: bool = False,
    extend: bool = False,
    fresh: bool = False,
    display: Display | None = None,
) -> ExperimentRecord:
    """`run` for a spec that is loaded already."""
    from detkit.compare.leaderboard import write_leaderboard
    from detkit.engine.experiment import run_experiment
    from detkit.engine.rerun import free_name

    if fresh:
        spec = renamed(spec, free_name(spec))
    if display is None:
        from detkit.cli.live import ConsoleDisplay

        display = ConsoleDisplay()
    record = run_experiment(spec, display, resume=resume, extend=extend)
    write_leaderboard(record)
    return record


def renamed(spec: ExperimentSpec, name: str) -> ExperimentSpec:
    """The same experiment under another name."""
    experiment = spec.experiment.model_copy(update={"name": name})
    resolved = {**spec.resolved, "experiment": {**spec.resolved["experiment"], "name": name}}
    return replace(spec, experiment=experiment, resolved=resolved)
