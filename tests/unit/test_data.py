"""Splits, the order of images, random numbers of items, masks, and what is refused in a dataset."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision import tv_tensors

from detkit.components import Dataset
from detkit.data.coco_form import ground_truth_json, predictions_json
from detkit.data.degenerate import CleanDataset, cleaned
from detkit.data.evaluated import EvaluatedImages
from detkit.data.fingerprint import fingerprint
from detkit.data.loading import to_device, training_loader
from detkit.data.sampling import plan_epoch, share_of
from detkit.data.seeds import derive_seed, seeded
from detkit.data.splits import Splits, make_splits
from detkit.data.targets import decode_masks, encode_masks, info_from_target, prediction_from_output
from detkit.data.types import Annotation, ImageInfo, Prediction, Target
from detkit.errors import DataError


class Boxes(Dataset):
    """Images of 20 x 10 pixels with given boxes; the pixels are random."""

    class_names = ("cat", "dog")

    def __init__(self, *boxes: list[list[float]], labels: int = 1) -> None:
        self._boxes = boxes
        self._label = labels

    def __len__(self) -> int:
        return len(self._boxes)

    def __getitem__(self, index: int, /) -> tuple[Any, Target]:
        boxes = torch.tensor(self._boxes[index], dtype=torch.float32).reshape(-1, 4)
        target: Target = {
            "boxes": tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=(10, 20)),
            "labels": torch.full((len(boxes),), self._label),
            "image_id": index,
            "area": (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]),
            "iscrowd": torch.zeros(len(boxes), dtype=torch.bool),
        }
        return tv_tensors.Image(torch.randint(0, 256, (3, 10, 20), dtype=torch.uint8)), target


class TestSplits:
    @given(
        total=st.integers(3, 200),
        validation=st.integers(1, 60) | st.floats(0.01, 0.5),
        test=st.integers(0, 60) | st.floats(0.01, 0.4),
        seed=st.integers(0, 9),
    )
    def test_every_image_is_in_exactly_one(self, total: int, validation: float, test: float, seed: int) -> None:
        held = [amount if isinstance(amount, int) else max(1, round(amount * total)) for amount in (validation, test)]
        if sum(held) >= total:
            with pytest.raises(DataError, match="cannot give validation"):
                make_splits(range(total), validation=validation, test=test, seed=seed)
            return
        splits = make_splits(range(total), validation=validation, test=test, seed=seed)
        everything = [*splits.train, *splits.validation, *splits.test]
        assert sorted(everything) == list(range(total))
        assert splits.train
        assert splits.validation
        if isinstance(validation, int):
            assert len(splits.validation) == validation

    def test_an_image_keeps_its_place_when_others_are_added(self) -> None:
        few = make_splits(range(100), validation=0.3, test=None, seed=4)
        more = make_splits(range(103), validation=0.3, test=None, seed=4)
        assert len(set(few.validation) - set(more.validation)) <= 3

    def test_the_seed_decides(self) -> None:
        first, again, other = (make_splits(range(50), validation=10, test=0, seed=seed) for seed in (0, 0, 1))
        assert first == again
        assert first != other

    def test_the_data_brings_its_own(self) -> None:
        brought = {"train": [3, 1], "val": [0], "test": [2]}
        splits = make_splits(range(4), validation=None, test=None, seed=0, brought=brought)
        assert splits == Splits((1, 3), (0,), (2,))
        assert splits.scored == (2,)
        assert splits.scored_name == "test"

    def test_own_splits_that_leak_are_refused(self) -> None:
        with pytest.raises(DataError, match="'train' and 'validation' share 1 images"):
            make_splits(range(4), validation=None, test=None, seed=0, brought={"train": [0, 1], "valid": [1, 2]})

    def test_too_few_images_are_refused_with_the_numbers(self) -> None:
        with pytest.raises(DataError, match="5 images cannot give validation = 3 and test = 2"):
            make_splits(range(5), validation=3, test=2, seed=0)


class TestOrder:
    @given(
        total=st.integers(1, 60),
        batch_size=st.integers(1, 9),
        accumulate=st.integers(1, 4),
        processes=st.integers(1, 4),
        epoch=st.integers(1, 5),
        grouped=st.booleans(),
    )
    def test_each_image_once_and_no_process_without_one(
        self, total: int, batch_size: int, accumulate: int, processes: int, epoch: int, grouped: bool
    ) -> None:
        arguments: dict[str, Any] = {
            "batch_size": batch_size,
            "accumulate": accumulate,
            "processes": processes,
            "seed": 3,
            "epoch": epoch,
        }
        if min(total, batch_size) < processes:
            with pytest.raises(ValueError, match="cannot be shared by"):
                plan_epoch(range(total), **arguments)
            return
        at_random = plan_epoch(range(total), **arguments)
        aspects = {index: 0.3 * 1.1 ** (index % 40) for index in range(total)} if grouped else None
        plan = plan_epoch(range(total), **arguments, aspects=aspects)
        assert [[len(batch) for batch in step] for step in plan] == [
            [len(batch) for batch in step] for step in at_random
        ]
        batches = [batch for step in plan for batch in step]
        assert sorted(item.sample for batch in batches for item in batch) == list(range(total))
        positions = [item.position for batch in batches for item in batch]
        assert sorted(positions) == list(range(total)) if grouped else positions == list(range(total))
        shares = [[share_of(batch, rank, processes) for rank in range(processes)] for batch in batches]
        assert all(share for batch in shares for share in batch)
        for batch, parts in zip(batches, shares, strict=True):
            assert sorted(item for part in parts for item in part) == sorted(batch)
        assert all(len(step) <= accumulate for step in plan)

    def test_batches_hold_images_of_like_aspect_ratio(self) -> None:
        """Wide and tall images in equal numbers: only the batch of what is left may be mixed."""
        aspects = {index: 1.5 if index % 2 else 0.66 for index in range(50)}

        def batches(epoch: int) -> list[list[int]]:
            steps = plan_epoch(range(50), batch_size=4, accumulate=2, processes=1, seed=1, epoch=epoch, aspects=aspects)
            return [[item.sample for item in batch] for step in steps for batch in step]

        mixed = [len({aspects[sample] for sample in batch}) > 1 for batch in batches(1)]
        assert sum(mixed) <= 1
        assert len(mixed) == 13
        assert batches(1) == batches(1) != batches(2)
        wide = [aspects[batch[0]] > 1 for batch in batches(1)[:12]]
        assert wide != sorted(wide)  # groups follow each other at random

    def test_epochs_differ_and_seeds_differ(self) -> None:
        def order(seed: int, epoch: int) -> list[int]:
            plan = plan_epoch(range(30), batch_size=30, accumulate=1, processes=1, seed=seed, epoch=epoch)
            return [item.sample for item in plan[0][0]]

        assert order(1, 1) == order(1, 1)
        assert order(1, 1) != order(1, 2)
        assert order(1, 1) != order(2, 1)


class TestItems:
    @pytest.mark.parametrize("workers", [0, 1, 3])
    def test_random_numbers_do_not_depend_on_workers_or_on_the_start(self, workers: int) -> None:
        dataset = Boxes(*[[[0.0, 0.0, 5.0, 5.0]]] * 8)
        plan = [step[0] for step in plan_epoch(range(8), batch_size=2, accumulate=1, processes=1, seed=1, epoch=2)]

        def pixels(start: int, count: int) -> list[bytes]:
            batches = training_loader(dataset, plan[start:], seed=1, workers=count, pin_memory=False)
            return [image.numpy().tobytes() for images, _ in batches for image in images]

        alone = pixels(0, 0)
        assert len(set(alone)) == 8
        assert pixels(0, workers) == alone
        assert pixels(2, workers) == alone[4:]

    def test_loading_does_not_move_the_generators_of_training(self) -> None:
        dataset = Boxes([[0.0, 0.0, 5.0, 5.0]], [])
        plan = [step[0] for step in plan_epoch(range(2), batch_size=1, accumulate=1, processes=1, seed=1, epoch=1)]
        torch.manual_seed(5)
        before = torch.get_rng_state()
        list(training_loader(dataset, plan, seed=1, workers=0, pin_memory=False))
        assert torch.equal(torch.get_rng_state(), before)

    def test_seeded_restores_all_three(self) -> None:
        torch.manual_seed(1)
        np.random.seed(1)
        random.seed(1)
        wanted = (torch.rand(1).item(), np.random.rand(), random.random())
        torch.manual_seed(1)
        np.random.seed(1)
        random.seed(1)
        with seeded(99):
            inside = (torch.rand(1).item(), np.random.rand(), random.random())
        assert (torch.rand(1).item(), np.random.rand(), random.random()) == wanted
        assert inside != wanted

    def test_seeds_come_from_names(self) -> None:
        assert derive_seed(1, "order", 2) == derive_seed(1, "order", 2) != derive_seed(1, "order", 3)
        assert 0 <= derive_seed("x") < 2**31

    def test_images_become_floats_of_0_to_1(self) -> None:
        image, target = Boxes([[0.0, 0.0, 5.0, 5.0]])[0]
        batch = to_device([image], [target], torch.device("cpu"))
        assert type(batch.images[0]) is torch.Tensor
        assert batch.images[0].dtype == torch.float32
        assert torch.equal(batch.images[0], image.as_subclass(torch.Tensor) / 255)
        assert type(batch.targets[0]["boxes"]) is torch.Tensor


class Foreign(Boxes):
    """Breaks the contract of datasets in one way or another."""

    def __init__(self, way: str) -> None:
        super().__init__([[0.0, 0.0, 5.0, 5.0]])
        self._way = way

    def __getitem__(self, index: int, /) -> tuple[Any, Target]:
        image, target = super().__getitem__(index)
        if self._way == "float image":
            return image / 255, target
        if self._way == "no area":
            del target["area"]  # type: ignore[misc]
        if self._way == "flat boxes":
            target["boxes"] = target["boxes"][0]
        if self._way == "unreadable":
            raise OSError("image file is truncated")
        return image, target


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("way", "says"),
    [
        ("float image", "its image is torch.float32 [3, 10, 20]; it must be uint8 [3, H, W]"),
        ("no area", "its target lacks area"),
        ("flat boxes", "its target has boxes [4] and labels torch.int64 [1]; they must be [N, 4] and int64 [N]"),
        ("unreadable", "OSError: image file is truncated"),
    ],
)
def test_a_sample_that_breaks_the_contract_is_named_in_plain_words(way: str, says: str, workers: int) -> None:
    plan = [step[0] for step in plan_epoch([0], batch_size=1, accumulate=1, processes=1, seed=1, epoch=1)]
    with pytest.raises(DataError) as caught:
        list(training_loader(Foreign(way), plan, seed=1, workers=workers, pin_memory=False))
    assert says in str(caught.value)
    assert str(caught.value).startswith("image 0")
    assert "Traceback" not in str(caught.value)


class TestDegenerate:
    def test_drop_and_clip(self) -> None:
        dataset = Boxes([[0, 0, 5, 5], [1, 1, 1, 8]], [[-4, -4, 30, 6], [25, 0, 30, 5]])
        raw = [dataset.info(index) for index in range(2)]
        dropped, clipped = ([cleaned(info, how) for info in raw] for how in ("drop", "clip"))
        assert [cleaned(info, "error") for info in raw] == raw
        assert [len(info.annotations) for info in dropped] == [1, 2]
        assert [len(info.annotations) for info in clipped] == [1, 1]
        assert clipped[1].annotations[0].box == (0, 0, 20, 6)

    @pytest.mark.parametrize("degenerate", ["drop", "clip"])
    def test_targets_hold_what_the_ground_truth_holds(self, degenerate: Any) -> None:
        raw = Boxes([[0, 0, 5, 5], [1, 1, 1, 8]], [[-4, -4, 30, 6], [25, 0, 30, 5]], [])
        clean = CleanDataset(raw, degenerate)
        for index in range(len(raw)):
            info, target = cleaned(raw.info(index), degenerate), clean[index][1]
            assert target["boxes"].tolist() == [list(item.box) for item in info.annotations]
            assert isinstance(target["boxes"], tv_tensors.BoundingBoxes)
            assert len(target["labels"]) == len(target["area"]) == len(info.annotations)
            assert clean.info(index) == info


@given(
    masks=st.integers(0, 4).flatmap(
        lambda count: st.lists(st.binary(min_size=35, max_size=35), min_size=count, max_size=count)
    )
)
def test_masks_survive_encoding(masks: list[bytes]) -> None:
    array = (np.frombuffer(b"".join(masks), dtype=np.uint8).reshape(-1, 5, 7) % 2).astype(np.uint8)
    encoded = encode_masks(array)
    assert all(isinstance(mask["counts"], str) and mask["size"] == [5, 7] for mask in encoded)
    assert np.array_equal(decode_masks(encoded, 5, 7), array)


def test_predictions_and_truth_in_cocos_form() -> None:
    info = info_from_target(*Boxes([[1, 2, 5, 9]])[0])
    truth = ground_truth_json([info], ("cat", "dog"))
    assert truth["annotations"][0]["bbox"] == [1, 2, 4, 7]
    assert truth["annotations"][0]["area"] == 28
    assert truth["categories"] == [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    output: Any = {
        "boxes": torch.tensor([[1.0, 2.0, 5.0, 9.0]], dtype=torch.bfloat16),
        "labels": torch.tensor([2]),
        "scores": torch.tensor([0.5]),
        "masks": torch.full((1, 1, 10, 20), 0.6),
    }
    prediction = prediction_from_output(7, output)
    assert isinstance(prediction, Prediction)
    (row,) = predictions_json([prediction])
    assert (row["image_id"], row["category_id"], row["bbox"], row["score"]) == (7, 2, [1, 2, 4, 7], 0.5)
    assert decode_masks([row["segmentation"]], 10, 20).all()


@pytest.mark.parametrize("score", [-0.1, 1.5, 98.0])
def test_a_score_outside_0_to_1_is_not_evaluated(score: float) -> None:
    info = info_from_target(*Boxes([])[0])

    def add(last: float) -> None:
        scores = np.array([0.0, 1.0, last])
        boxes = np.tile(np.array([[1.0, 2.0, 5.0, 9.0]]), (3, 1))
        EvaluatedImages(("cat", "dog")).add([Prediction(info.image_id, boxes, np.ones(3, np.int64), scores)], [info])

    add(0.5)
    with pytest.raises(ValueError, match=rf"image 0, detection 2: its score is {score}; scores lie in 0\.\.1"):
        add(score)


@pytest.mark.parametrize("side", [1e154, 1e155])
@pytest.mark.parametrize("found", [True, False])
def test_a_box_whose_area_overflows_is_not_evaluated(side: float, found: bool) -> None:
    box = (0.0, 0.0, side, side)
    info = ImageInfo(0, None, 20, 10, () if found else (Annotation(1, box, 1.0),))
    boxes = np.array([box] if found else [], dtype=np.float64).reshape(-1, 4)
    prediction = Prediction(0, boxes, np.ones(len(boxes), np.int64), np.ones(len(boxes)))
    images = EvaluatedImages(("cat",))
    if side < 1e155:
        images.add([prediction], [info])
        return
    with pytest.raises(ValueError, match=r"0: its box \(0\.0, .*\) is too large: its area is not finite"):
        images.add([prediction], [info])


def test_the_fingerprint_sees_every_object() -> None:
    splits = Splits((0,), (1,))
    infos = [info_from_target(*Boxes([[1, 2, 5, 9]], [])[index]) for index in range(2)]
    moved = [info_from_target(*Boxes([[1, 2, 5, 9.5]], [])[index]) for index in range(2)]
    first, again, other = (fingerprint(items, ("cat", "dog"), splits) for items in (infos, infos, moved))
    assert first == again
    assert first["sha256"] != other["sha256"]
    swapped = fingerprint(infos, ("cat", "dog"), Splits((1,), (0,)))
    assert swapped["sha256"] == first["sha256"]
    assert swapped["splits_sha256"] != first["splits_sha256"]
    assert first["objects_by_class"] == {"cat": 1, "dog": 0}
    assert first["images_without_objects"] == 1
