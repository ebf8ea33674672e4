"""Options of the transforms that no other test sets: what each changes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision import tv_tensors

from detkit.data.loading import Sample
from detkit.data.sampling import Item
from detkit.data.types import Target
from plugins.drawn_targets import Drawn
from plugins.test_augment import Greys, One, augmented, stage


def share_of(sample: Sample, value: int) -> float:
    """The share of the pixels that have this grey value."""
    return float((sample[0].as_subclass(Tensor) == value).float().mean())


@pytest.mark.parametrize(
    ("name", "options", "least"),
    [("scale_jitter", {"scale": [0.5, 0.5]}, 0.7), ("rotation", {"degrees": 180.0}, 0.02)],
)
def test_what_lies_outside_has_the_grey_value_that_was_asked_for(
    name: str, options: dict[str, object], least: float
) -> None:
    shares = {}
    for fill in (7, 114):
        chain = [stage(name, {"probability": 1.0, **options, "fill": fill})]
        samples = [augmented(One(), chain, Item(1, position, 0)) for position in range(6)]
        shares[fill] = max(share_of(sample, 7) for sample in samples)
    assert shares[7] > least
    assert shares[114] < 0.01


class Sides(Greys):
    """Image 0 is black and lies, image 1 is of grey 200 and stands."""

    def __getitem__(self, index: int, /) -> tuple[tv_tensors.Image, Target]:
        image, target = super().__getitem__(index)
        if not index:
            return image, target
        boxes = target["boxes"].as_subclass(Tensor)[:, [1, 0, 3, 2]]
        form = tv_tensors.BoundingBoxFormat.XYXY
        target["boxes"] = tv_tensors.BoundingBoxes(boxes, format=form, canvas_size=(60, 40))
        target["masks"] = tv_tensors.Mask(target["masks"].as_subclass(Tensor).transpose(1, 2).contiguous())
        return tv_tensors.Image(image.as_subclass(Tensor).transpose(1, 2).contiguous()), target


def test_mix_up_pads_the_other_image_with_its_fill() -> None:
    found = {}
    for fill in (0, 254):
        options = {"probability": 1.0, "alpha": 5000.0, "fill": fill}
        samples = [augmented(Sides(), [stage("mix_up", options)], Item(1, position, 0)) for position in range(8)]
        # Half of black and half of grey 200, with padding beside it, where the other one was drawn.
        found[fill] = {round(float(sample[0][0, 0, 0]), -1) for sample in samples if int(sample[0].max()) > 60}
    assert 0 in found[0]
    assert any(value >= 120 for value in found[254])
    assert not any(value >= 120 for value in found[0])


def test_a_crop_has_an_aspect_within_its_range() -> None:
    dataset = Drawn(30)
    ratios: dict[float, list[float]] = {}
    for low in (0.5, 0.9):
        chain = [stage("crop", {"probability": 1.0, "scale": [0.3, 1.0], "aspect": [low, 1 / low]})]
        ratios[low] = []
        for index in range(30):
            before, after = dataset[index][0].shape, augmented(dataset, chain, Item(1, index, index))[0].shape
            if before != after:
                ratios[low].append((after[2] / after[1]) / (before[2] / before[1]))
    assert len(ratios[0.9]) >= 10
    assert all(0.89 <= ratio <= 1.12 for ratio in ratios[0.9])
    assert not all(0.89 <= ratio <= 1.12 for ratio in ratios[0.5])


def test_more_trials_find_more_crops() -> None:
    dataset = Drawn(40)
    cropped = {}
    for trials in (1, 200):
        options = {"probability": 1.0, "scale": [0.3, 0.9], "keep": "all", "min_visible": 1.0, "trials": trials}
        cropped[trials] = sum(
            augmented(dataset, [stage("crop", options)], Item(1, index, index))[0].shape != dataset[index][0].shape
            for index in range(40)
        )
    assert cropped[1] < cropped[200]


def test_a_mosaic_whose_smallest_tile_is_half_a_side_has_four_equal_ones() -> None:
    corners = [(slice(0, 20), slice(0, 30)), (slice(0, 20), slice(30, 60)), (slice(20, 40), slice(0, 30))]
    plain = {}
    for smallest in (0.5, 0.1):
        options = {"probability": 1.0, "smallest": smallest}
        images = [augmented(Greys(), [stage("mosaic", options)], Item(1, p, 1))[0] for p in range(12)]
        plain[smallest] = all(len(image[0][corner].unique()) == 1 for image in images for corner in corners)
    assert plain == {0.5: True, 0.1: False}


def test_a_mosaic_without_zoom_shows_whole_images() -> None:
    areas = {}
    for zoom in (1.0, 3.0):
        options = {"probability": 1.0, "smallest": 0.5, "zoom": zoom, "min_visible": 0.01}
        targets = [augmented(One(), [stage("mosaic", options)], Item(1, p, 0))[1] for p in range(5)]
        areas[zoom] = torch.cat([target["area"] for target in targets])
    # Four images of half the sides: each has its square, of 10 pixels, whole.
    assert len(areas[1.0]) == 20
    assert set(areas[1.0].tolist()) == {100.0}
    assert float(areas[3.0].max()) > 150
