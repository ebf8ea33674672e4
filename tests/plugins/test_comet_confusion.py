"""Confusion matrices as the real client writes them: exact counts, examples, what is cut."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import Any

import pytest

from detkit import Matrix
from detkit_comet.client import load_client
from detkit_comet.confusion import EXAMPLES, MOST_CLASSES, log_matrix

pytest.importorskip("comet_ml")
load_client()


@dataclass
class Experiment:
    """Does with a matrix what the client's `log_confusion_matrix` does before it queues it."""

    logged: list[dict[str, Any]] = field(default_factory=list)

    def log_confusion_matrix(self, matrix: Any, **arguments: Any) -> None:
        matrix.need_init()
        self.logged.append({"content": matrix.to_json(), **arguments})


@dataclass(frozen=True)
class Sent:
    """What was sent of pictures."""

    assets: dict[int, str]
    epoch: int = 2

    @property
    def names(self) -> dict[int, str]:
        return {image_id: f"{image_id}.jpg" for image_id in self.assets}


def logged(matrix: Matrix, pictures: Any = None) -> dict[str, Any]:
    experiment: Any = Experiment()
    log_matrix(experiment, "coco/confusion", matrix, step=12, epoch=2, pictures=pictures)
    (call,) = experiment.logged
    assert call["file_name"] == "coco/confusion-step-000012.json"
    assert (call["step"], call["epoch"]) == (12, 2)
    content: dict[str, Any] = call["content"]
    return content


SMALL = Matrix(("a", "background"), ((5, 1), (2, 0)), (((1, 2), (3,)), ((2, 9), ())))


def test_counts_labels_and_what_the_sides_mean() -> None:
    content = logged(Matrix(("a", "b", "background"), ((1, 2, 3), (4, 5, 6), (7, 8, 0))))
    assert content["matrix"] == [[1, 2, 3], [4, 5, 6], [7, 8, 0]]
    assert content["labels"] == ["a", "b", "background"]
    assert (content["title"], content["rowLabel"], content["columnLabel"]) == (
        "coco/confusion",
        "true class",
        "predicted class",
    )
    assert content["sampleMatrix"] is None


def test_examples_are_the_pictures_that_were_sent() -> None:
    content = logged(SMALL, Sent({1: "A", 2: "B", 3: "C"}))
    assert content["type"] == "image"
    cells = [
        [[(item["sample"], item["assetId"]) for item in cell or ()] for cell in row] for row in content["sampleMatrix"]
    ]
    assert cells == [[[("1.jpg", "A"), ("2.jpg", "B")], [("3.jpg", "C")]], [[("2.jpg", "B")], []]]


def test_pictures_of_an_earlier_epoch_are_called_so() -> None:
    content = logged(SMALL, Sent({3: "C"}, epoch=1))
    assert content["sampleMatrix"][0][1][0]["sample"] == "3.jpg (epoch 1)"


@pytest.mark.parametrize("pictures", [None, Sent({})])
def test_without_pictures_examples_are_image_ids(pictures: Any) -> None:
    content = logged(SMALL, pictures)
    assert content["type"] == "integer"
    assert [[sorted(cell or ()) for cell in row] for row in content["sampleMatrix"]] == [
        [[1, 2], [3]],
        [[2, 9], []],
    ]


def test_many_examples_are_cut_by_a_rule_not_by_chance() -> None:
    ids = tuple(range(1, 1001))
    matrix = Matrix(("a", "background"), ((10**9, 0), (0, 0)), ((ids, ()), ((), ())))
    pictures = Sent({image_id: f"asset {image_id}" for image_id in ids})
    random.seed(1)
    state = random.getstate()
    began = time.perf_counter()
    first, second = logged(matrix, pictures), logged(matrix, pictures)
    assert time.perf_counter() - began < 1, "not one entry a count"
    assert random.getstate() == state, "training draws from this generator"
    assert first == second
    assert first["matrix"][0][0] == 10**9
    found = sorted(int(item["assetId"].split()[1]) for item in first["sampleMatrix"][0][0])
    assert found == [index * 40 + 1 for index in range(EXAMPLES)]


def test_all_classes_up_to_a_limit_and_then_those_confused_most() -> None:
    def square(size: int, confused: tuple[int, ...]) -> Matrix:
        counts = [[5 if row == column else 0 for column in range(size)] for row in range(size)]
        for index in confused:
            counts[index][size - 1] += 3
        images = [[(row,) if row == column else () for column in range(size)] for row in range(size)]
        labels = (*(f"class {index}" for index in range(size - 1)), "background")
        return Matrix(labels, tuple(map(tuple, counts)), tuple(map(tuple, images)))

    whole = logged(square(MOST_CLASSES, ()))
    assert len(whole["matrix"]) == MOST_CLASSES
    assert whole["title"] == "coco/confusion"
    cut = logged(square(MOST_CLASSES + 50, (120, 140)))
    assert len(cut["matrix"]) == len(cut["labels"]) == MOST_CLASSES
    assert cut["title"] == "coco/confusion (99 of 149 classes, those confused most)"
    assert cut["labels"][-3:] == ["class 120", "class 140", "background"]
    assert cut["matrix"][-3:][0][-3:] == [5, 0, 3]
    assert cut["sampleMatrix"][-2][-2] == [140]
