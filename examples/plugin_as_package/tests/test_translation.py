"""Boxes, labels and images there and back, and what the losses are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from detkit import BuildContext, DataError
from detkit.data.types import Batch
from torch import Tensor

import detkit_transformers
from detkit_transformers.canvas import Canvas, fitted, make_canvas
from detkit_transformers.losses import TERMS
from detkit_transformers.options import SetLossesOptions
from detkit_transformers.step import SetLosses

FAMILIES = {
    "detr": detkit_transformers.DETR,
    "rt_detr": detkit_transformers.RT_DETR,
    "rt_detr_v2": detkit_transformers.RT_DETR_V2,
}


def built(family: str, min_size: int = 64, max_size: int = 96, **options: Any) -> Any:
    component: Any = FAMILIES[family]
    context = BuildContext(class_names=("disc", "block"), min_size=min_size, max_size=max_size, seed=3, offline=True)
    return component.build(component.options.model_validate({"size": "tiny", **options}), context)


def target(boxes: Sequence[Sequence[float]], labels: Sequence[int], crowd: Sequence[bool] | None = None) -> Any:
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "labels": torch.tensor(labels, dtype=torch.int64),
        "image_id": 0,
        "area": torch.ones(len(labels)),
        "iscrowd": torch.tensor(crowd or [False] * len(labels), dtype=torch.bool),
    }


def image(height: int, width: int, seed: int = 0) -> Tensor:
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed))


TWO = [target([[10, 10, 40, 30], [50, 20, 90, 60]], [1, 2]), target([[5, 5, 30, 50]], [2])]
IMAGES = [image(64, 96), image(70, 60, 1)]


# --- the canvas ------------------------------------------------------------------------------------------------------


def canvas(*, shares_of_canvas: bool) -> Canvas:
    # 100 x 200 becomes 32 x 64 in the corner of 64 x 64; 50 x 25 becomes 64 x 32.
    images = [image(100, 200), image(50, 25)]
    return make_canvas(images, [(32, 64), (64, 32)], multiple=32, shares_of_canvas=shares_of_canvas)


def test_shares_of_the_image_and_of_the_canvas() -> None:
    box = torch.tensor([[50.0, 25.0, 150.0, 75.0]])  # the middle half of 200 x 100
    assert canvas(shares_of_canvas=False).to_shares(0, box).tolist() == [[0.5, 0.5, 0.5, 0.5]]
    # The image takes the upper half of the canvas.
    assert canvas(shares_of_canvas=True).to_shares(0, box).tolist() == [[0.5, 0.25, 0.5, 0.25]]


@pytest.mark.parametrize("shares_of_canvas", [True, False])
def test_boxes_come_back_and_are_cut_off_at_the_edges(shares_of_canvas: bool) -> None:
    made = canvas(shares_of_canvas=shares_of_canvas)
    for index, size in enumerate(made.given):
        boxes = torch.tensor([[3.0, 5.0, 20.5, 30.25], [0.0, 0.0, size[1], size[0]]])
        torch.testing.assert_close(made.to_pixels(index, made.to_shares(index, boxes)), boxes)
        wide = torch.tensor([[0.5, 0.5, 3.0, 3.0]])
        assert made.to_pixels(index, wide).tolist() == [[0.0, 0.0, size[1], size[0]]]


def test_padding_is_zero_and_masked() -> None:
    made = canvas(shares_of_canvas=True)
    assert made.pixels.shape == (2, 3, 64, 64)
    assert made.mask[0].sum() == 32 * 64
    assert made.mask[1].sum() == 64 * 32
    assert bool((made.pixels[0, :, 32:] == 0).all())
    assert float(made.pixels[0, :, :32].mean()) == pytest.approx(0.5, abs=0.05)


def test_images_that_fit_are_not_resampled_and_detr_normalises_once() -> None:
    given = image(64, 96)
    plain = make_canvas([given], [(64, 96)], shares_of_canvas=False)
    assert torch.equal(plain.pixels[0], given)
    normalised = make_canvas([given], [(64, 96)], mean=(0.5,) * 3, deviation=(0.25,) * 3, shares_of_canvas=False)
    torch.testing.assert_close(normalised.pixels[0], (given - 0.5) / 0.25)


def test_the_shorter_side_becomes_min_size_unless_the_longer_would_exceed_max_size() -> None:
    assert fitted((100, 200), 50, 1000) == (50, 100)
    assert fitted((100, 400), 50, 100) == (25, 100)
    assert fitted((1, 4000), 50, 100) == (1, 100)


# --- detections ------------------------------------------------------------------------------------------------------


def outputs(model: Any, logits: Tensor, shares: Tensor, *images: Tensor) -> Any:
    """What the detector makes of certain outputs of its network."""

    class Fixed(torch.nn.Module):
        config = model.network.config

        def forward(self, **_inputs: Any) -> Any:
            class Output:
                pass

            output: Any = Output()
            output.logits, output.pred_boxes = logits, shares
            return output

    model.network = Fixed()
    return model.eval()(list(images))


def test_detr_leaves_no_object_out_and_counts_labels_from_1() -> None:
    logits = torch.tensor([[[5.0, 0.0, 0.0], [0.0, 0.0, 9.0], [0.0, 3.0, 0.0]]])  # the last class is "no object"
    shares = torch.tensor([[[0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0], [0.25, 0.25, 0.5, 0.5]]])
    (found,) = outputs(built("detr", score_threshold=0.5), logits, shares, image(64, 96))
    assert found["labels"].tolist() == [1, 2]
    assert found["boxes"].tolist() == [[24.0, 16.0, 72.0, 48.0], [0.0, 0.0, 48.0, 32.0]]
    assert found["scores"][0] == pytest.approx(torch.tensor([5.0, 0.0, 0.0]).softmax(0)[0].item())


def test_rt_detr_takes_every_class_of_a_query_and_what_lies_in_the_padding_goes() -> None:
    logits = torch.tensor([[[2.0, 1.0], [3.0, -9.0]], [[0.0, -9.0], [-9.0, -9.0]]])
    # The first image is 64 x 32 on a canvas of 64 x 64: its right half is padding.
    shares = torch.tensor([[[0.25, 0.5, 0.5, 1.0], [0.75, 0.5, 0.25, 0.5]], [[0.5, 0.5, 0.5, 0.5]] * 2])
    model = built("rt_detr", max_size=64, score_threshold=0.1)
    narrow, whole = outputs(model, logits, shares, image(64, 32), image(64, 64))
    assert narrow["labels"].tolist() == [1, 2]
    assert narrow["boxes"].tolist() == [[0.0, 0.0, 32.0, 64.0]] * 2
    assert narrow["scores"].tolist() == pytest.approx(torch.tensor([2.0, 1.0]).sigmoid().tolist())
    assert whole["boxes"].tolist() == [[16.0, 16.0, 48.0, 48.0]]


@pytest.mark.parametrize("family", FAMILIES)
def test_no_more_detections_than_asked_for(family: str) -> None:
    with torch.no_grad():
        (found,) = built(family, max_detections=3).eval()(IMAGES[:1])
    assert len(found["scores"]) == 3
    assert found["scores"].tolist() == sorted(found["scores"].tolist(), reverse=True)


@pytest.mark.parametrize("family", ["rt_detr", "rt_detr_v2"])
@pytest.mark.parametrize("shape", [(8, 8), (20, 400), (400, 3)])
def test_small_and_narrow_images_have_room_for_all_queries(family: str, shape: tuple[int, int]) -> None:
    model = built(family, min_size=32, max_size=64)
    with torch.no_grad():
        model.eval()([image(*shape)])


def test_square_stretches_and_boxes_come_back() -> None:
    model = built("rt_detr", resize="square")
    made = model._canvas([image(50, 100), image(100, 50)])
    assert made.pixels.shape == (2, 3, 64, 64)
    assert made.resized == ((64, 64), (64, 64))
    box = torch.tensor([[10.0, 10.0, 60.0, 40.0]])
    torch.testing.assert_close(made.to_pixels(0, made.to_shares(0, box)), box)


# --- losses ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_terms_with_and_without_objects_and_a_gradient_for_every_parameter(family: str) -> None:
    model = built(family).train()
    none = [target([], []), target([], [])]
    for targets in (TWO, none, [target([], []), TWO[1]]):
        model.zero_grad()
        losses = model(IMAGES, targets)
        assert tuple(losses) == TERMS
        assert all(bool(torch.isfinite(loss)) for loss in losses.values())
        torch.autograd.backward(torch.stack(list(losses.values())).sum())
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("family", FAMILIES)
def test_where_there_is_nothing_only_the_class_terms_count(family: str) -> None:
    losses = built(family).train()(IMAGES, [target([], []), target([], [])])
    assert losses["loss_classes"].item() > 0
    assert [losses[name].item() for name in ("loss_boxes", "loss_overlaps", "loss_denoising")] == [0, 0, 0]


def test_crowds_are_not_trained_on() -> None:
    model = built("rt_detr", denoising=0).train()
    crowd = target([[10, 10, 40, 30], [0, 0, 96, 64]], [1, 2], crowd=[False, True])
    alone = target([[10, 10, 40, 30]], [1])
    first, second = model(IMAGES[:1], [crowd]), model(IMAGES[:1], [alone])
    assert {name: loss.item() for name, loss in first.items()} == {name: loss.item() for name, loss in second.items()}


def test_a_validation_loss_has_no_dropout() -> None:
    model = built("detr").train()
    for module in model.network.modules():
        if hasattr(module, "dropout"):
            module.dropout = 0.5
    trained = [model(IMAGES, TWO)["loss_boxes"].item() for _ in range(2)]
    with torch.no_grad():
        validated = [model(IMAGES, TWO)["loss_boxes"].item() for _ in range(2)]
    assert trained[0] != trained[1]
    assert validated[0] == validated[1]
    assert model.network.training


# --- the training step -----------------------------------------------------------------------------------------------


def test_the_step_weighs_terms_and_layers() -> None:
    model = built("rt_detr", denoising=0).train()
    batch = Batch(IMAGES, TWO)
    plain = SetLosses(SetLossesOptions())(model, batch)
    weighted = SetLosses(SetLossesOptions(classes=2.0, boxes=0.0, auxiliary=0.0))(model, batch)
    assert {name: loss.item() for name, loss in plain.items()} == {
        name: loss.item() for name, loss in model(IMAGES, TWO).items()
    }
    assert weighted["loss_classes"].item() == pytest.approx(2 * plain["loss_classes"].item())
    assert weighted["loss_boxes"].item() == 0
    assert weighted["loss_auxiliary"].item() == 0
    assert weighted["loss_overlaps"].item() == plain["loss_overlaps"].item()


def test_the_step_leaves_other_models_alone() -> None:
    class Other(torch.nn.Module):
        def forward(self, images: Any, targets: Any) -> dict[str, Tensor]:
            return {"loss_mask": torch.ones(())}

    losses = SetLosses(SetLossesOptions(classes=0.0, boxes=0.0))(Other(), Batch(IMAGES, TWO))
    assert losses == {"loss_mask": torch.ones(())}


def test_no_classes_are_refused() -> None:
    component: Any = detkit_transformers.RT_DETR
    with pytest.raises(DataError, match="names no classes"):
        component.build(component.options(size="tiny"), BuildContext())


@pytest.mark.parametrize("family", FAMILIES)
def test_boxes_have_more_than_eight_bits_under_bf16(family: str) -> None:
    """In bf16 a coordinate above 256 would be an even number of pixels."""
    model = built(family, min_size=480, max_size=640).eval()
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():  # from nothing the last layers are 0, which has no rounding
        if any(head in name for head in ("bbox_embed", "bbox_head", "bbox_predictor")) and parameter.ndim == 2:
            parameter.data = torch.randn(parameter.shape, generator=generator) * parameter.shape[1] ** -0.5
    canvas = model._canvas([image(480, 640)])
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        shares = model.network(pixel_values=canvas.pixels, pixel_mask=canvas.mask).pred_boxes
        (found,) = model([image(480, 640)])
    assert shares.dtype == torch.float32
    assert float((shares - shares.bfloat16().float()).abs().max()) > 1e-4
    assert found["boxes"].dtype == found["scores"].dtype == torch.float32
