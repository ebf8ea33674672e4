"""Make the golden files beside this one: `python tests/plugins/golden/make.py`.

Each holds ground truth and results in COCO's own forms, drawn from a seeded generator, and what pycocotools makes of
them when it is called as its demonstration calls it. Nothing of detkit is used. Numbers are written in full, so that
reading gives the same bits; -1, COCO's mark for a number without ground truth, stays -1.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from random import Random
from typing import Any, Literal

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

FOLDER = Path(__file__).parent

#: In the order of COCOeval.summarize.
NUMBERS = ["ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"]
NUMBERS += ["ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large"]

#: A part of COCO's own numbers of categories, with its gaps.
CATEGORIES = ({"id": 1, "name": "person"}, {"id": 3, "name": "car"}, {"id": 18, "name": "dog"})
WIDTH, HEIGHT = 320, 240

Row = dict[str, Any]


def main() -> None:
    for name in CASES:
        (FOLDER / f"{name}.json").write_text(written(golden(name)), encoding="utf-8")


def golden(name: str) -> Row:
    """The content of a golden file."""
    what, seed, draw = CASES[name]
    images, annotations, results = draw(Random(seed))
    ground_truth = {"images": images, "categories": list(CATEGORIES), "annotations": annotations}
    expected = {"bbox": numbers(evaluated(ground_truth, results, "bbox"))}
    if "segmentation" in annotations[0]:
        # Without their boxes: loadRes takes the area of a result with a box from the box.
        expected["segm"] = numbers(evaluated(ground_truth, without_boxes(results), "segm"))
    return {"what": what, "ground_truth": ground_truth, "results": results, "expected": expected}


def written(content: Row) -> str:
    """JSON with a line for each image, category, annotation, result and region."""

    def lines(rows: Sequence[Row]) -> str:
        return "[" + ",".join(f"\n{json.dumps(row)}" for row in rows) + "\n]"

    truth = ",\n".join(f'"{key}": {lines(rows)}' for key, rows in content["ground_truth"].items())
    expected = ",\n".join(f'"{region}": {json.dumps(values)}' for region, values in content["expected"].items())
    return (
        f'{{\n"what": {json.dumps(content["what"])},\n"ground_truth": {{\n{truth}\n}},\n'
        f'"results": {lines(content["results"])},\n"expected": {{\n{expected}\n}}\n}}\n'
    )


# --- what pycocotools says -------------------------------------------------------------------------------------------


def evaluated(ground_truth: Row, results: Sequence[Row], region: Literal["bbox", "segm"]) -> Any:
    """A COCOeval that has run."""
    # pycocotools writes into what it is given.
    ground_truth, rows = copy.deepcopy(ground_truth), copy.deepcopy(list(results))
    with redirect_stdout(StringIO()):
        truth = COCO()
        truth.dataset = {"info": {}, **ground_truth}
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(rows) if rows else nothing_found(ground_truth), region)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def without_boxes(results: Sequence[Row]) -> list[Row]:
    return [{key: value for key, value in row.items() if key != "bbox"} for row in results]


def nothing_found(ground_truth: Row) -> Any:
    """What loadRes would give for no results, had it not failed on them."""
    found = COCO()
    found.dataset = {**ground_truth, "annotations": []}
    found.createIndex()
    return found


def numbers(evaluation: Any) -> Row:
    """The twelve numbers, and AP of each category."""
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    of_classes = [precision[:, :, k] for k in range(precision.shape[-1])]
    return {
        **{name: float(value) for name, value in zip(NUMBERS, evaluation.stats, strict=True)},
        "ap_per_class": [float(np.mean(values[values > -1])) if (values > -1).any() else -1.0 for values in of_classes],
    }


# --- what is drawn ---------------------------------------------------------------------------------------------------

Drawn = tuple[list[Row], list[Row], list[Row]]


def ordinary(random: Random) -> Drawn:
    """Two of three categories, crowds, the third found and not there, an image without objects, one without results."""
    images, annotations, results = some_images(9), no_rows(), no_rows()
    for image in images[1:]:
        for _ in range(random.randint(1, 4)):
            box = some_box(random)
            area = round(box[2] * box[3] * random.uniform(0.5, 0.9), 2)
            annotations.append(an_object(len(annotations), image, random.choice((1, 18)), box, area))
            annotations[-1]["iscrowd"] = int(random.random() < 0.15)
    for image in images[:-1]:
        for annotation in of_image(annotations, image):
            for _ in range(random.randint(0, 2)):
                found = moved(random, annotation["bbox"], random.choice((1, 4, 12)))
                results.append(a_result(image, annotation["category_id"], found, random.random()))
        for _ in range(2):
            results.append(a_result(image, random.choice((1, 3, 18)), some_box(random), random.random() * 0.6))
    return images, annotations, results


def ties(random: Random) -> Drawn:
    """Three scores for everything, and whole pixels on a grid: equal scores within and across images, equal IoUs."""
    images, annotations, results = some_images(6)[::-1], no_rows(), no_rows()
    for image in images:
        for _ in range(3):
            box = [10.0 * random.randint(0, 20), 10.0 * random.randint(0, 12), 40.0, 40.0]
            annotations.append(an_object(len(annotations), image, 3, box, 1600.0))
            for shift in (-10.0, 10.0, 0.0):
                found = [box[0] + shift, box[1], 40.0, 40.0]
                results.append(a_result(image, 3, found, random.choice((0.3, 0.6, 0.9))))
    return images, annotations, results


def only_crowd(random: Random) -> Drawn:
    """Objects that are crowds, all of them, and detections inside and outside."""
    images, annotations, results = some_images(2), no_rows(), no_rows()
    for image in images:
        box = some_box(random)
        annotations.append({**an_object(len(annotations), image, 1, box, 5000.0), "iscrowd": 1})
        results.append(a_result(image, 1, moved(random, box, 4), random.random()))
        results.append(a_result(image, 1, some_box(random), random.random()))
    return images, annotations, results


def no_detections(random: Random) -> Drawn:
    """Objects, of which none is found."""
    images, annotations = some_images(3), no_rows()
    for image in images:
        annotations.append(an_object(len(annotations), image, 1, some_box(random), 2000.0))
    return images, annotations, []


def masks(random: Random) -> Drawn:
    """Ellipses, whose areas are not those of their boxes; a crowd; results with a box and a mask."""
    images, annotations, results = some_images(9), no_rows(), no_rows()
    for image in images[1:]:
        for _ in range(random.randint(1, 3)):
            box = some_box(random)
            mask = ellipse(box)
            area = float(coco_mask.area(mask))
            annotation = an_object(len(annotations), image, random.choice((1, 3)), box, area)
            annotations.append({**annotation, "iscrowd": int(random.random() < 0.1), "segmentation": text(mask)})
    for image in images:
        boxes = [(a["category_id"], a["bbox"]) for a in of_image(annotations, image)]
        boxes += [(category, moved(random, box, 6)) for category, box in boxes]
        boxes += [(random.choice((1, 3)), some_box(random)) for _ in range(2)]
        for category, box in boxes:
            found = moved(random, box, 2)
            result = a_result(image, category, found, random.random())
            results.append({**result, "segmentation": text(ellipse(moved(random, found, 3)))})
    return images, annotations, results


def as_read(random: Random) -> Drawn:
    """Boxes of half an object each, at places with two decimals: their IoU is 0.5 or, rounded, the next number below.

    Rounding boxes to float32, or taking (x + width) - x for the width, changes which.
    """
    images, annotations, results = some_images(3), no_rows(), no_rows()
    for image in images:
        for _ in range(8):
            x, y = round(random.uniform(0, 200), 2), round(random.uniform(0, 150), 2)
            width, height = round(random.uniform(10, 50), 2), round(random.uniform(10, 80), 2)
            annotations.append(an_object(len(annotations), image, 1, [x, y, 2 * width, height], 2 * width * height))
            results.append(a_result(image, 1, [x, y, width, height], random.random()))
    return images, annotations, results


def some_images(count: int) -> list[Row]:
    """With ids that have gaps."""
    return [{"id": 10 + 7 * n, "file_name": f"{n}.jpg", "width": WIDTH, "height": HEIGHT} for n in range(count)]


def no_rows() -> list[Row]:
    return []


def some_box(random: Random) -> list[float]:
    """Small, medium or large to COCO, some so near the borders that their masks are smaller; with two decimals."""
    side = random.choice((20.0, 36.0, 60.0, 140.0))
    width, height = round(side * random.uniform(0.8, 1.2), 2), round(side * random.uniform(0.8, 1.2), 2)
    return [round(random.uniform(0, WIDTH - width), 2), round(random.uniform(0, HEIGHT - height), 2), width, height]


def moved(random: Random, box: Sequence[float], by: float) -> list[float]:
    """A box near another, with two decimals; never without area."""
    x, y, width, height = (round(value + random.uniform(-by, by), 2) for value in box)
    return [max(x, 0.0), max(y, 0.0), max(width, 1.0), max(height, 1.0)]


def an_object(number: int, image: Row, category: int, box: Sequence[float], area: float) -> Row:
    return {
        "id": number + 1,
        "image_id": image["id"],
        "category_id": category,
        "bbox": list(box),
        "area": area,
        "iscrowd": 0,
    }


def a_result(image: Row, category: int, box: Sequence[float], score: float) -> Row:
    return {"image_id": image["id"], "category_id": category, "bbox": list(box), "score": score}


def of_image(annotations: Sequence[Row], image: Row) -> list[Row]:
    return [annotation for annotation in annotations if annotation["image_id"] == image["id"]]


def ellipse(box: Sequence[float]) -> Any:
    """pycocotools' run-length form of the ellipse that fills a box."""
    x, y, width, height = box
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    inside = ((columns - x) / width - 0.5) ** 2 + ((rows - y) / height - 0.5) ** 2 <= 0.25
    return coco_mask.encode(np.asfortranarray(inside.astype(np.uint8)))


def text(mask: Any) -> Row:
    return {"size": list(mask["size"]), "counts": mask["counts"].decode("ascii")}


#: Name of the file: what is in it, the seed, and what draws it.
CASES: dict[str, tuple[str, int, Callable[[Random], Drawn]]] = {
    draw.__name__: ((draw.__doc__ or "").partition("\n")[0], seed, draw)
    for seed, draw in enumerate((ordinary, ties, only_crowd, no_detections, masks, as_read))
}

if __name__ == "__main__":
    main()
