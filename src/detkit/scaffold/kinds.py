"""The kinds of plugins that there are templates for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from detkit.plugins import Kind


@dataclass(frozen=True, slots=True)
class Scaffold:
    """Attributes:
    word: as `--kind` has it, and the template's folder. kind: as the registry has it; None for commands.
    title: in a sentence. summary: what the example is. use: how a spec, or somebody, uses it; `{name}` stands in it.
    data: whether the example needs images of its own.
    """

    word: str
    kind: Kind | None
    title: str
    summary: str
    use: str
    data: bool = False


SCAFFOLDS: Mapping[str, Scaffold] = {
    found.word: found
    for found in (
        Scaffold(
            "dataset",
            "dataset",
            "dataset",
            "a folder of images and a table of boxes",
            'a spec names it with [dataset] use = "{name}"',
            data=True,
        ),
        Scaffold(
            "model",
            "model",
            "model",
            "a detector that divides the image into cells",
            "a spec names it with [models.{name}]",
        ),
        Scaffold(
            "step",
            "training_step",
            "training step",
            "the model's own losses with weights",
            'a spec names it with [training_step] use = "{name}"',
        ),
        Scaffold(
            "metric",
            "metric",
            "metric",
            "the overlap of true objects with what was found",
            "a spec names it with [metrics.{name}]",
        ),
        Scaffold(
            "logger",
            "logger",
            "logger",
            "a JSON line for each event",
            "a spec names it with [loggers.{name}]",
        ),
        Scaffold(
            "callback",
            "callback",
            "callback",
            "it stops a run that is good enough",
            "a spec names it with [callbacks.{name}]",
        ),
        Scaffold(
            "transform",
            "transform",
            "transform",
            "it paints over a part of training images",
            "a spec names it with [augment.{name}]",
        ),
        Scaffold(
            "searcher",
            "searcher",
            "searcher",
            "a Latin hypercube: few trials, spread evenly",
            'a spec names it with [search] use = "{name}"',
        ),
        Scaffold(
            "command",
            None,
            "command",
            "what each run of an experiment took",
            "installed it is `detkit {name} EXPERIMENT`",
        ),
    )
}
