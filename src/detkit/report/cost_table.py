"""What the models cost, as a table, and what its numbers mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from detkit.record.reader import ExperimentRecord
from detkit.report.runs import ShownRun, ShownRuns
from detkit.report.say import names, told
from detkit.report.text import Column, code, escape, number_table

#: From this share on, what other programs took of the processors is worth a sentence.
BUSY = 0.1


def costs(record: ExperimentRecord, runs: ShownRuns) -> list[str]:
    done = runs.finished
    if not done:
        return []

    def column(title: str, value: Callable[[ShownRun], float | None], unit: float, digits: int) -> Column:
        values = [value(run) for run in done]
        scaled = [None if number is None else number / unit for number in values]
        return Column(title, scaled, digits=digits, best="lowest")

    numbers = number_table(
        "Run",
        names(runs, done),
        [
            column("Training (ms an image)", _train_ms, 1, 1),
            column("Training (s an epoch)", lambda run: run.measured["train_s"] / run.summary["epochs"], 1, 1),
            column("Training in all (min)", lambda run: run.measured["train_s"], 60, 2),
            column("Peak memory of training (MB)", lambda run: run.measured["peak_memory_bytes"], 1e6, 0),
            column("Latency, median (ms)", lambda run: run.costs.get("latency_ms_median"), 1, 1),
            column("Latency, 95 % (ms)", lambda run: run.costs.get("latency_ms_p95"), 1, 1),
            column("Memory of inference (MB)", lambda run: run.costs.get("inference_memory_bytes"), 1e6, 0),
            column("Parameters (M)", lambda run: run.summary["parameters"], 1e6, 3),
            column("GFLOPs", lambda run: run.costs.get("flops"), 1e9, 3),
            column("Weights (MB)", lambda run: run.costs.get("weights_bytes"), 1e6, 1),
        ],
    )
    return ["## Costs", numbers, " ".join(_how_measured(record, runs))]


def _train_ms(run: ShownRun) -> float | None:
    """Records of an older detkit have the images a second only."""
    value: float | None = run.costs.get("train_ms_per_image")
    return value if value is not None or run.costs else 1000 / run.measured["images_per_s"]


def _how_measured(record: ExperimentRecord, runs: ShownRuns) -> list[str]:
    """What the numbers mean, as far as they are there."""
    sentences = [
        "Training time is without evaluations. On a CPU, its memory is all that the process holds, libraries included."
    ]
    timed = [run.costs for run in runs.finished if run.costs.get("latency_measurements")]
    if timed:
        sentences.append(_how_timed(timed))
    if any(run.costs.get("inference_memory_bytes") is not None for run in runs.finished):
        sentences.append("Memory of inference is what tensors take in one pass, weights included.")
    if any(run.costs.get("flops") is not None for run in runs.finished):
        sentences.append(
            "GFLOPs are of one forward pass over one image, a multiplication and an addition counted as two;"
            " normalisation, pooling, RoI align and non-maximum suppression are not counted."
        )
    sentences += [
        f"{escape(what)} of {code(runs.label(run))} could not be measured: {told(record, why)}."
        for run in runs.finished
        for what, why in run.costs.get("troubles", {}).items()
    ]
    return sentences


def _how_timed(timed: Sequence[Mapping[str, Any]]) -> str:
    images = sorted({costs["latency_images"] for costs in timed})
    which = f"the same {images[0]}" if len(images) == 1 else f"the first {images[0]} to {images[-1]} of the same"
    firsts = {tuple(costs.get("protocol", {}).get("image_ids", ())[:1]) for costs in timed}
    own = ", of each fold its own" if len(firsts) > 1 else ""
    others = max(costs.get("processors_used_by_others") or 0.0 for costs in timed)
    busy = f" Other programs used up to {others:.0%} of the processors meanwhile." if others >= BUSY else ""
    return (
        "Latency is of one image, from pixels to boxes, without decoding, with the model's own confidence threshold;"
        f" over {which} images for every model{own}, each run once before it was measured"
        f" ({min(costs['latency_measurements'] for costs in timed)} measurements or more).{busy}"
    )
