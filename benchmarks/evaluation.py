"""The COCO evaluation of 5,000 images, 80 classes, 36,000 objects, 500,000 boxes, against pycocotools and hotcoco.

Every measurement is a process of its own, so that its peak memory is its own. Times leave out the making of the data;
memory is the peak less what the process held before it began. pycocotools begins with arrays and makes its
dictionaries, detkit begins with its objects of one image each. A resample's time is the difference between ten of them
and twenty, so that what is worked out once for all is in neither.

    python benchmarks/evaluation.py [--images 5000] [--rounds 1]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import numpy as np

from detkit import BuildContext, Metric
from detkit.data.types import Annotation, ImageInfo, Prediction
from detkit_coco import CocoOptions, build_coco

CLASSES = 80
SIDE = 640
RESAMPLES = 10


class Data:
    """Objects of all sizes; a quarter of the detections near one, mostly of its class, the others anywhere."""

    def __init__(self, images: int) -> None:
        rng = np.random.default_rng(0)
        self.images = images
        objects, detections = int(7.2 * images), 100 * images
        self.object_image = np.sort(rng.integers(0, images, objects))
        self.object_label = rng.integers(1, CLASSES + 1, objects)
        self.objects = boxes(rng, objects)
        self.crowd = rng.random(objects) < 0.01
        near = detections // 4
        source = rng.integers(0, objects, near)
        moved = self.objects[source] + rng.normal(0, 0.12, (near, 4)) * np.tile(self.objects[source][:, 2:], 2)
        moved[:, 2:] = np.maximum(moved[:, 2:], 1)
        label = np.where(rng.random(near) < 0.85, self.object_label[source], rng.integers(1, CLASSES + 1, near))
        rest = detections - near
        image = np.concatenate([self.object_image[source], rng.integers(0, images, rest)])
        order = np.argsort(image, kind="stable")
        self.image = image[order]
        self.label = np.concatenate([label, rng.integers(1, CLASSES + 1, rest)])[order]
        found = np.concatenate([moved, boxes(rng, rest)])[order]
        # As a model gives them: corners in float32.
        self.corners = np.concatenate([found[:, :2], found[:, :2] + found[:, 2:]], axis=1).astype(np.float32)
        self.score = np.concatenate([rng.beta(2, 2, near), rng.beta(1, 6, rest)])[order].astype(np.float32)

    def as_detkit(self) -> tuple[list[Prediction], list[ImageInfo]]:
        ends, object_ends = (np.searchsorted(of, np.arange(self.images + 1)) for of in (self.image, self.object_image))
        predictions, truths = [], []
        for i in range(self.images):
            own, its = slice(ends[i], ends[i + 1]), range(object_ends[i], object_ends[i + 1])
            annotations = []
            for j in its:
                x, y, w, h = self.objects[j].tolist()
                annotations.append(
                    Annotation(
                        int(self.object_label[j]), (x, y, x + w, y + h), w * h, bool(self.crowd[j]), bbox=(x, y, w, h)
                    )
                )
            predictions.append(Prediction(i + 1, self.corners[own], self.label[own], self.score[own]))
            truths.append(ImageInfo(i + 1, None, SIDE, SIDE, tuple(annotations)))
        return predictions, truths


def boxes(rng: np.random.Generator, count: int) -> Any:
    sizes = np.exp(rng.uniform(np.log(8), np.log(300), (count, 2)))
    return np.concatenate([rng.uniform(0, 1, (count, 2)) * (SIDE - sizes), sizes], axis=1)


# --- what is measured: each makes its data, and returns what to time -------------------------------------------------


def by_pycocotools(data: Data) -> Callable[[], dict[str, Any]]:
    """From arrays to the twelve numbers and the AP of each class, by its own loaders."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def work() -> dict[str, Any]:
        with redirect_stdout(StringIO()):
            truth = COCO()
            truth.dataset = {
                "images": [{"id": i + 1, "width": SIDE, "height": SIDE} for i in range(data.images)],
                "categories": [{"id": k, "name": str(k)} for k in range(1, CLASSES + 1)],
                "annotations": [
                    {"id": n, "image_id": i + 1, "category_id": k, "bbox": b, "area": b[2] * b[3], "iscrowd": int(c)}
                    for n, (i, k, b, c) in enumerate(
                        zip(
                            data.object_image.tolist(),
                            data.object_label.tolist(),
                            data.objects.tolist(),
                            data.crowd.tolist(),
                            strict=True,
                        ),
                        start=1,
                    )
                ],
            }
            truth.createIndex()
            corners = data.corners.astype(np.float64)
            found = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
            results = [
                {"image_id": i + 1, "category_id": k, "bbox": b, "score": s}
                for i, k, b, s in zip(
                    data.image.tolist(), data.label.tolist(), found.tolist(), data.score.tolist(), strict=True
                )
            ]
            evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        precision = evaluation.eval["precision"][:, :, :, 0, -1]
        per_class = [float(precision[:, :, k].mean()) for k in range(CLASSES)]
        return {"numbers": evaluation.stats.tolist(), "per_class": per_class}

    return work


def by_detkit(data: Data, **options: Any) -> Callable[[], dict[str, Any]]:
    predictions, truths = data.as_detkit()
    metric = coco(**options)

    def work() -> dict[str, Any]:
        metric.update(predictions, truths)
        result = metric.compute()
        numbers = [scalar.value for name, scalar in result.scalars.items() if name.startswith(("ap", "ar"))]
        return {"numbers": numbers, "per_class": [row[1] for row in result.tables["per_class"].rows]}

    return work


def coco(**options: Any) -> Metric:
    return build_coco(CocoOptions(**options), BuildContext(class_names=tuple(f"c{k}" for k in range(1, CLASSES + 1))))


NUMBERS_ALONE = {"per_image": False, "curves": False, "errors": False}


def detkit_numbers(data: Data) -> Callable[[], dict[str, Any]]:
    return by_detkit(data, **NUMBERS_ALONE)


def detkit_per_image(data: Data) -> Callable[[], dict[str, Any]]:
    return by_detkit(data, **NUMBERS_ALONE | {"per_image": True})


def detkit_all(data: Data) -> Callable[[], dict[str, Any]]:
    return by_detkit(data)


def detkit_resamples(data: Data) -> Callable[[], dict[str, Any]]:
    predictions, truths = data.as_detkit()
    metric = coco(**NUMBERS_ALONE)
    metric.update(predictions, truths)
    resampler = metric.compute().resampler
    assert resampler is not None
    rng = np.random.default_rng(0)
    ids = [truth.image_id for truth in truths]

    def draw(times: int) -> None:
        for _ in range(times):
            weights = np.bincount(rng.integers(0, len(ids), len(ids)), minlength=len(ids)).astype(float)
            resampler(dict(zip(ids, weights.tolist(), strict=True)))

    return lambda: {"each": seconds_each(draw)}


def seconds_each(draw: Callable[[int], None]) -> float:
    """Of a resample, from the difference between ten and twenty."""
    draw(1)
    ends = [time.perf_counter()]
    for times in (RESAMPLES, 2 * RESAMPLES):
        draw(times)
        ends.append(time.perf_counter())
    return ((ends[2] - ends[1]) - (ends[1] - ends[0])) / RESAMPLES


def hotcoco_slices(data: Data) -> Callable[[], dict[str, Any]]:
    """`slice_by` with one slice an image: hotcoco's way to numbers of each image."""
    evaluation = hotcoco_evaluation(data)

    def work() -> dict[str, Any]:
        evaluation.slice_by({str(i): [i] for i in range(1, data.images + 1)})
        return {}

    return work


def hotcoco_compare(data: Data) -> Callable[[], dict[str, Any]]:
    """`compare` resamples both models of a pair: half of it is one model's."""
    import hotcoco

    evaluation, other = hotcoco_evaluation(data), hotcoco_evaluation(data)

    def draw(times: int) -> None:
        hotcoco.compare(evaluation, other, n_bootstrap=times, seed=0)

    return lambda: {"each": seconds_each(draw)}


def hotcoco_evaluation(data: Data) -> Any:
    from detkit.data.evaluated import EvaluatedImages
    from detkit_coco.columns import columns_of
    from detkit_coco.evaluators import hotcoco_evaluation as evaluation_of

    predictions, truths = data.as_detkit()
    images = EvaluatedImages([f"c{k}" for k in range(1, CLASSES + 1)])
    images.add(predictions, truths)
    evaluation = evaluation_of(columns_of(images.ordered(), CLASSES, "bbox"))
    evaluation.evaluate()
    evaluation.accumulate()
    return evaluation


MEASURED: Mapping[str, Callable[[Data], Callable[[], dict[str, Any]]]] = {
    "pycocotools": by_pycocotools,
    "detkit_numbers": detkit_numbers,
    "detkit_per_image": detkit_per_image,
    "detkit_all": detkit_all,
    "detkit_resamples": detkit_resamples,
    "hotcoco_slices": hotcoco_slices,
    "hotcoco_compare": hotcoco_compare,
}


# --- the measuring ---------------------------------------------------------------------------------------------------


def measure(what: str, images: int) -> dict[str, Any]:
    """In a process of its own."""
    command = [sys.executable, __file__, "--images", str(images), "--only", what]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def measured(what: str, images: int) -> dict[str, Any]:
    MEASURED[what](Data(2))()  # imports
    work = MEASURED[what](Data(images))
    before = peak_bytes()
    began = time.perf_counter()
    values = work()
    return {"seconds": time.perf_counter() - began, "peak": peak_bytes() - before, "values": values}


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def small_bootstrap(images: int = 50, resamples: int = 1000) -> float:
    """Seconds of a whole bootstrap of few images."""
    predictions, truths = Data(images).as_detkit()
    metric = coco(**NUMBERS_ALONE)
    metric.update(predictions, truths)
    resampler = metric.compute().resampler
    assert resampler is not None
    rng = np.random.default_rng(0)
    ids = [truth.image_id for truth in truths]
    began = time.perf_counter()
    for _ in range(resamples):
        draw = np.bincount(rng.integers(0, images, images), minlength=images).astype(float)
        resampler(dict(zip(ids, draw.tolist(), strict=True)))
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=1, help="of everything; medians are printed")
    parser.add_argument("--only", choices=list(MEASURED), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(measured(options.only, options.images)))
        return
    rounds = [{what: measure(what, options.images) for what in MEASURED} for _ in range(options.rounds)]
    seconds = {what: statistics.median(r[what]["seconds"] for r in rounds) for what in MEASURED}
    peak = {what: statistics.median(r[what]["peak"] for r in rounds) for what in MEASURED}
    for what in MEASURED:
        print(f"{what:18} {seconds[what]:8.2f} s {peak[what] / 1e6:8.0f} MB")
    reference, ours = (rounds[0][what]["values"] for what in ("pycocotools", "detkit_numbers"))
    print(f"numbers and AP of each class equal pycocotools' to the bit: {reference == ours}")
    print(f"numbers: {seconds['pycocotools'] / seconds['detkit_numbers']:.0f} times as fast as pycocotools,", end=" ")
    print(f"with {peak['detkit_numbers'] / peak['pycocotools']:.2f} of its peak memory")
    print(f"everything: {seconds['pycocotools'] / seconds['detkit_all']:.0f} times,", end=" ")
    print(f"with {peak['detkit_all'] / peak['pycocotools']:.2f}")
    print(f"the table of images: {seconds['detkit_per_image'] - seconds['detkit_numbers']:.2f} s more", end="")
    print(f"; hotcoco's slice_by takes {seconds['hotcoco_slices']:.1f} s")
    theirs = statistics.median(r["hotcoco_compare"]["values"]["each"] for r in rounds) / 2
    own = statistics.median(r["detkit_resamples"]["values"]["each"] for r in rounds)
    print(
        f"a resample of one model: {own * 1e3:.1f} ms, hotcoco {theirs * 1e3:.1f} ms: {theirs / own:.1f} times as fast"
    )
    print(f"1,000 resamples of 50 images: {small_bootstrap():.2f} s")


if __name__ == "__main__":
    main()
