"""The contract's page, made from the rules: `python -m detkit.testing.contract` prints it."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from detkit.testing.rule import KINDS, Rule, all_rules

INTRODUCTION = """\
# The contract of plugins

What components promise, rule by rule, as [the conformance kit](../how-to/test-a-plugin.md) looks at it. A message of
the kit names a rule by its id, which is its heading here. This page is made from the rules themselves
(`python -m detkit.testing.contract`). What the host calls, with which arguments, stands in `detkit.components` and
`detkit.hookspecs`.

A rule marked *advice* is noted where it is not followed, and fails nothing.
"""

HEADINGS = {
    "dataset": "Datasets",
    "model": "Models",
    "training_step": "Training steps",
    "metric": "Metrics",
    "logger": "Loggers",
    "callback": "Callbacks",
    "transform": "Transforms",
    "searcher": "Searchers",
}
OVERVIEWS = {
    "dataset": "Images with their objects, by index: `detkit.Dataset`. Up to nine images are looked at, the first, the"
    " last and one without objects among them.",
    "model": "Detectors in TorchVision's convention: `detkit.ModelComponent`. They are shown drawn scenes of several"
    " sizes, and trained on three of them for twelve steps. What is not asked for: detections in an order, at most so"
    " many of them, or any at all; certain losses; a certain size of the network.",
    "training_step": "One forward pass with its losses: `detkit.TrainingStep`.",
    "metric": "Predictions against the ground truth: `detkit.Metric`. Higher or lower may be better, a share or a"
    " number of any unit; a metric need not have a primary scalar, figures, thresholds or a resampler.",
    "logger": "Where a run is reported: `detkit.Logger`. It is told the record of a made run, with the calls that"
    " `detkit.replay` makes.",
    "callback": "Objects that implement events of a run: `detkit.hookspecs.RunEvents`.",
    "transform": "Changes of training images together with their objects: `detkit.Transform`. The size may change;"
    " objects may be left out, added from other images, or covered.",
    "searcher": "What proposes the values of trials: `detkit.Searcher`. It is shown a space with a range of every kind"
    " and with choices.",
}


def page() -> str:
    """The whole page, in Markdown."""
    rules = all_rules().values()
    parts = [INTRODUCTION, "## Components of every kind\n", *_sections(each for each in rules if len(each.kinds) > 1)]
    for kind in KINDS:
        own = (each for each in rules if each.kinds == (kind,))
        parts += [f"## {HEADINGS[kind]}\n", f"{OVERVIEWS[kind]}\n", *_sections(own)]
    return "\n".join(parts)


def _sections(rules: Iterable[Rule]) -> list[str]:
    return [
        f"### {each.id}\n\n**{each.statement[0].upper()}{each.statement[1:]}.**{' *Advice.*' if each.advice else ''}\n"
        f"{each.explanation}\n"
        for each in rules
    ]


if __name__ == "__main__":
    sys.stdout.write(page())
