"""TorchVision's detectors as built: the contract of a model, the right labels, maps, anchors and pooling."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import box_iou
from torchvision.tv_tensors import BoundingBoxes, Mask

from detkit import BuildContext, DataError, ModelComponent
from detkit.data.types import ModelOutput, Target
from detkit_torchvision import anchors, backbones, detkit_models, sizes
from detkit_torchvision.options import LEVELS, PAIRS, STAGES, Backbone

MODELS: dict[str, ModelComponent[Any]] = {model.name: model for model in detkit_models()}
BACKBONES = list(PAIRS)
ONE_STAGE, TWO_STAGES = ("retinanet", "fcos"), ("fast_rcnn", "faster_rcnn", "mask_rcnn")
COLOURS = torch.tensor([[0.9, 0.1, 0.1], [0.1, 0.9, 0.1], [0.1, 0.1, 0.9]])

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def build(family: str, backbone: str = "tiny_fpn", *, classes: int = 3, seed: int = 0, **options: object) -> nn.Module:
    model = MODELS[family]
    context = BuildContext(tuple("abc"[:classes]), min_size=96, max_size=128, seed=seed, offline=True)
    built: nn.Module = model.build(model.options(backbone=backbone, weights="none", **options), context)
    return built


def scene(height: int, width: int, *, labels: tuple[int, ...], seed: int = 0) -> tuple[Tensor, Target]:
    """A grey image with one square per label, in the label's colour, and its target."""
    generator = torch.Generator().manual_seed(seed)
    image = 0.4 + 0.1 * torch.rand(3, height, width, generator=generator)
    boxes = torch.zeros(len(labels), 4)
    masks = torch.zeros(len(labels), height, width, dtype=torch.uint8)
    for index, label in enumerate(labels):
        side = 24
        left = 4 + index * (side + 4)
        top = int(torch.randint(2, height - side - 2, (), generator=generator))
        boxes[index] = torch.tensor([left, top, left + side, top + side])
        masks[index, top : top + side, left : left + side] = 1
        image[:, top : top + side, left : left + side] = COLOURS[label - 1][:, None, None]
    target = Target(
        boxes=BoundingBoxes(boxes, format="XYXY", canvas_size=(height, width)),
        labels=torch.tensor(labels, dtype=torch.int64),
        image_id=seed,
        area=torch.full((len(labels),), 24.0 * 24.0),
        iscrowd=torch.zeros(len(labels), dtype=torch.bool),
        masks=Mask(masks),
    )
    return image, target


def losses(model: nn.Module, *scenes: tuple[Tensor, Target]) -> dict[str, Tensor]:
    model.train()
    terms: dict[str, Tensor] = model([image for image, _ in scenes], [dict(target) for _, target in scenes])
    return terms


def go_backward(terms: dict[str, Tensor]) -> None:
    torch.autograd.backward(sum(terms.values(), torch.zeros(())))


@torch.no_grad()
def detect(model: nn.Module, *images: Tensor) -> list[ModelOutput]:
    outputs: list[ModelOutput] = model.eval()(list(images))
    return outputs


def assert_contract(output: ModelOutput, image: Tensor, *, classes: int, masks: bool) -> None:
    height, width = image.shape[-2:]
    boxes, labels, scores = output["boxes"], output["labels"], output["scores"]
    assert boxes.shape == (len(scores), 4)
    assert labels.shape == scores.shape
    assert (boxes.dtype, labels.dtype, scores.dtype) == (torch.float32, torch.int64, torch.float32)
    assert bool(((labels >= 1) & (labels <= classes)).all())
    assert bool(((scores >= 0) & (scores <= 1)).all())
    assert bool((boxes >= 0).all())
    assert bool((boxes <= torch.tensor([width, height, width, height]) + 1e-3).all())
    assert ("masks" in output) == masks
    if masks:
        assert output["masks"].shape == (len(scores), 1, height, width)
        assert bool(((output["masks"] >= 0) & (output["masks"] <= 1)).all())


def possible(quick: Callable[[str, str], bool]) -> list[Any]:
    """Every possible pair; marked slow but for the quick ones."""
    return [
        pytest.param(family, backbone, marks=[] if quick(family, backbone) else [pytest.mark.slow])
        for backbone, families in PAIRS.items()
        for family in families
    ]


def is_small(family: str, backbone: str) -> bool:
    return backbone == "tiny_fpn" or (family in ONE_STAGE and backbone.startswith("mobilenet"))


@pytest.mark.parametrize(("family", "backbone"), possible(is_small))
def test_every_pair_trains_a_step_evaluates_and_goes_through_a_checkpoint(family: str, backbone: str) -> None:
    # A low threshold lets an untrained model detect something.
    model = build(family, backbone, score_threshold=0.01)
    first, second = scene(70, 96, labels=(1, 3)), scene(64, 64, labels=())
    terms = losses(model, first, second)
    assert all(term.ndim == 0 and bool(torch.isfinite(term)) for term in terms.values())
    go_backward(terms)
    without = [name for name, value in model.named_parameters() if value.grad is None]
    assert without == []
    assert all(bool(torch.isfinite(value.grad).all()) for value in model.parameters() if value.grad is not None)
    outputs = detect(model, first[0], second[0])
    for output, image in zip(outputs, (first[0], second[0]), strict=True):
        assert_contract(output, image, classes=3, masks=family == "mask_rcnn")
    again = build(family, backbone, seed=1, score_threshold=0.01)
    again.load_state_dict(through_a_file(model.state_dict()))
    for output, other in zip(outputs, detect(again, first[0], second[0]), strict=True):
        assert all(torch.equal(value, cast(Any, other)[name]) for name, value in cast(Any, output).items())


def through_a_file(state: dict[str, Tensor]) -> dict[str, Tensor]:
    stream = io.BytesIO()
    torch.save(state, stream)
    stream.seek(0)
    loaded: dict[str, Tensor] = torch.load(stream, weights_only=True)
    return loaded


#: Steps in which the loss on one batch falls below half of what it was, at the recipe's rate for random weights.
STEPS_TO_HALF = 40
#: Steps over which the rate rises, as in every recipe. Without them RetinaNet's boxes may grow in the first steps until
#: TorchVision clamps them, where the loss of generalised IoU has no gradient.
WARMUP = 10


def warm_up(optimizer: torch.optim.Optimizer, lr: float, step: int) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr * min(1.0, (step + 1) / WARMUP)


@pytest.mark.parametrize(("family", "backbone"), possible(lambda family, backbone: backbone == "tiny_fpn"))
def test_the_loss_on_one_batch_falls_below_half(family: str, backbone: str) -> None:
    model = build(family, backbone)
    scenes = scene(96, 96, labels=(1, 3)), scene(80, 96, labels=(2,), seed=1)
    component = MODELS[family]
    lr = float(component.recipe(component.options(backbone=backbone, weights="none"))["lr"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    torch.manual_seed(0)
    found: list[float] = []
    for step in range(STEPS_TO_HALF):
        warm_up(optimizer, lr, step)
        optimizer.zero_grad()
        terms = losses(model, *scenes)
        found.append(float(sum(terms.values(), torch.zeros(())).detach()))
        # Regions are drawn at random: the mean of the last few says more than the last one.
        if sum(found[-3:]) / len(found[-3:]) < found[0] / 2:
            return
        go_backward(terms)
        nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
    pytest.fail(f"it is not below half after {STEPS_TO_HALF} steps: {found}")


@pytest.mark.parametrize("family", MODELS)
def test_a_batch_without_any_object_trains(family: str) -> None:
    terms = losses(build(family), scene(64, 64, labels=()), scene(80, 64, labels=()))
    assert all(bool(torch.isfinite(term)) for term in terms.values())
    go_backward(terms)


@pytest.mark.parametrize("family", [*ONE_STAGE, *(pytest.param(name, marks=pytest.mark.slow) for name in TWO_STAGES)])
@pytest.mark.parametrize("classes", [1, 3])
def test_the_predicted_label_is_the_trained_one(family: str, classes: int) -> None:
    model = build(family, classes=classes)
    scenes = [scene(96, 96, labels=tuple(range(1, classes + 1)), seed=seed) for seed in range(2)]
    lr = 3e-3 if family in ONE_STAGE else 2e-3
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    torch.manual_seed(0)
    for step in range(60):
        warm_up(optimizer, lr, step)
        optimizer.zero_grad()
        go_backward(losses(model, *scenes))
        nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
    for (image, target), output in zip(scenes, detect(model, *(image for image, _ in scenes)), strict=True):
        found = output["scores"] > 0.4
        overlap = box_iou(target["boxes"].as_subclass(Tensor), output["boxes"][found])
        assert bool((overlap.max(dim=1).values > 0.5).all()), "every object is found"
        assert output["labels"][found][overlap.argmax(dim=1)].tolist() == target["labels"].tolist()
        if family == "mask_rcnn":
            inside = output["masks"][found][overlap.argmax(dim=1), 0] > 0.5
            agreement = (inside & (target["masks"] == 1)).sum() / (inside | (target["masks"] == 1)).sum()
            assert float(agreement) > 0.5
        assert_contract(output, image, classes=classes, masks=family == "mask_rcnn")


def test_distances_of_fcos_are_alive_at_the_start() -> None:
    """One that the ReLU cuts has no gradient: TorchVision's start cuts half, and boxes may never come to be."""
    model = build("fcos")
    with torch.no_grad():
        (distances, _) = cast(Any, model).head.regression_head([torch.randn(1, 64, 16, 16)])
    assert float((distances > 0).float().mean()) > 0.95


@pytest.mark.parametrize("family", ["retinanet", "fcos"])
def test_background_is_never_predicted(family: str) -> None:
    model = build(family, score_threshold=0.0, max_detections=1000)
    (output,) = detect(model, torch.rand(3, 96, 96))
    assert len(output["labels"]) > 0
    assert set(output["labels"].tolist()) <= {1, 2, 3}


@pytest.mark.parametrize("family", MODELS)
def test_thresholds_and_limits_are_obeyed(family: str) -> None:
    image = scene(96, 96, labels=(1, 2))[0]
    (many,) = detect(build(family, score_threshold=0.001, max_detections=7), image)
    assert len(many["scores"]) == 7
    (none,) = detect(build(family, score_threshold=1.0), image)
    assert len(none["scores"]) == 0
    assert_contract(none, image, classes=3, masks=family == "mask_rcnn")


@pytest.mark.parametrize("family", MODELS)
def test_evaluation_draws_no_random_numbers_and_repeats(family: str) -> None:
    model = build(family, score_threshold=0.01)
    images = [torch.rand(3, 70, 96), torch.rand(3, 64, 64)]
    before = torch.get_rng_state()
    first, second = detect(model, *images), detect(model, *images)
    assert torch.equal(torch.get_rng_state(), before)
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one["boxes"], other["boxes"])
        assert torch.equal(one["scores"], other["scores"])


def test_random_weights_follow_from_the_seed_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = build("faster_rcnn", seed=5)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    same, other = build("faster_rcnn", seed=5), build("faster_rcnn", seed=6)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("family", MODELS)
def test_under_autocast_boxes_stay_exact(family: str) -> None:
    model = build(family, score_threshold=0.01)
    with torch.autocast("cpu", torch.bfloat16):
        terms = losses(model, scene(96, 96, labels=(1, 2)))
        (output,) = detect(model, torch.rand(3, 96, 96))
    assert all(term.dtype == torch.float32 and bool(torch.isfinite(term)) for term in terms.values())
    assert_contract(output, torch.rand(3, 96, 96), classes=3, masks=family == "mask_rcnn")
    assert not torch.equal(output["boxes"], output["boxes"].bfloat16().float())


def test_a_dataset_without_classes_is_refused() -> None:
    with pytest.raises(DataError, match="fcos: the dataset names no classes"):
        build("fcos", classes=0)


# --- feature maps ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backbone", "dense"),
    [(name, dense) for name in BACKBONES for dense in (False, True) if not dense or "retinanet" in PAIRS[name]],
)
def test_maps_have_the_stated_strides_and_width(backbone: Backbone, dense: bool) -> None:
    net = backbones.network(backbone, backbones.group_norm)
    features = backbones.features(backbone, net, dense=dense)
    with torch.no_grad():
        maps = features.module.eval()(torch.rand(1, 3, 128, 128))
    if isinstance(maps, Tensor):
        maps = {"0": maps}
    assert tuple(maps) == features.names
    assert tuple(128 // level.shape[-1] for level in maps.values()) == features.strides
    assert {level.shape[1] for level in maps.values()} == {features.width}
    if backbone in LEVELS:
        assert len(features.strides) == LEVELS[backbone][dense]


def test_mobilenet_with_fpn_has_four_levels() -> None:
    net = backbones.network("mobilenet_v2_fpn", backbones.group_norm)
    features = backbones.features("mobilenet_v2_fpn", net, dense=False)
    assert features.strides[: features.pooled] == (4, 8, 16, 32)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_stages_hold_every_parameter_once(backbone: Backbone) -> None:
    net = backbones.network(backbone, backbones.group_norm)
    stages = backbones.stages(backbone, net)
    assert tuple(stages) == STAGES[backbone]
    inside = [id(p) for stage in stages.values() for module in stage for p in module.parameters()]
    body = [id(p) for name, p in net.named_parameters() if not name.startswith(("fc.", "classifier."))]
    assert sorted(inside) == sorted(body)


def test_tiny_fpn_is_small() -> None:
    features = backbones.features("tiny_fpn", backbones.network("tiny_fpn", backbones.group_norm), dense=False)
    assert 300_000 <= sum(p.numel() for p in features.module.parameters()) <= 600_000


@pytest.mark.parametrize(("channels", "groups"), [(16, 2), (24, 2), (64, 8), (256, 32), (1280, 32), (10, 1)])
def test_groups_hold_at_least_eight_channels(channels: int, groups: int) -> None:
    norm = backbones.group_norm(channels)
    assert isinstance(norm, nn.GroupNorm)
    assert norm.num_groups == groups


# --- anchors and pooling ---------------------------------------------------------------------------------------------


def test_anchors_are_the_papers_at_the_papers_size_and_shrink_with_the_input() -> None:
    five = (4, 8, 16, 32, 64)
    assert sizes.anchor_sizes(five, 800, None) == [[32], [64], [128], [256], [512]]
    assert sizes.anchor_sizes(five, 400, None) == [[16], [32], [64], [128], [256]]
    assert sizes.anchor_sizes((8, 16, 32), 100, None) == [[16], [32], [64]]
    assert sizes.anchor_sizes((32,), 800, None) == [[32, 64, 128, 256, 512]]
    assert sizes.anchor_sizes((4, 8, 16), 800, (5, 7, 9)) == [[5], [7], [9]]
    # RetinaNet's are strides, whatever the size, where there is a whole pyramid.
    dense = (8, 16, 32, 64, 128)
    for size in (320, 800):
        assert sizes.dense_anchor_sizes(dense, size, None) == [[32], [64], [128], [256], [512]]
    assert sizes.dense_anchor_sizes((8, 16, 32), 100, (5, 6, 7)) == [[5], [6], [7]]
    for strides in ((32,), (8, 16, 32)):
        assert sizes.dense_anchor_sizes(strides, 400, None) == sizes.anchor_sizes(strides, 400, None)
    # As TorchVision has it on MobileNetV3's maps, two of which have the same stride.
    assert sizes.anchor_sizes((32, 32, 64), 800, None) == [[32, 64, 128, 256, 512]] * 3


@pytest.mark.parametrize("family", ["faster_rcnn", "retinanet", "fcos"])
@pytest.mark.parametrize("backbone", ["tiny_fpn", "mobilenet_v2", "mobilenet_v2_fpn"])
@pytest.mark.parametrize("min_size", [128, 400])
def test_the_smallest_anchor_is_that_of_the_model(family: str, backbone: Backbone, min_size: int) -> None:
    component = next(one for one in detkit_models() if one.name == family)
    options = component.options(backbone=backbone, weights="none")
    model = component.build(options, BuildContext(class_names=("cat",), min_size=min_size, max_size=800))
    (own,) = (module for module in model.modules() if isinstance(module, anchors.Anchors))
    assert component.smallest_anchor(options, min_size) == pytest.approx(min(map(min, own.sizes)))


def test_the_smallest_anchor_of_weights_and_of_grids() -> None:
    def smallest(family: str, **table: Any) -> float | None:
        component = next(one for one in detkit_models() if one.name == family)
        return component.smallest_anchor(component.options(**table), 400)

    assert smallest("faster_rcnn") == smallest("retinanet") == 32  # of the COCO weights, at any size
    assert smallest("faster_rcnn", weights="imagenet") == 16
    assert smallest("faster_rcnn", weights=Path("own.pth")) is None  # they were trained with some that they state
    assert smallest("faster_rcnn", weights=Path("own.pth"), anchor_sizes=(5, 9, 16, 32, 64)) == 5
    assert smallest("fcos") == 8
    assert smallest("fast_rcnn", grid_scales=5) == 100
    assert smallest("fast_rcnn", proposals="selective_search") is None


def test_anchors_lie_on_the_true_strides_in_float32() -> None:
    generator = anchors.Anchors([[64.0]], (1.0,), (64,))
    images = ImageList(torch.zeros(1, 3, 96, 96), [(96, 96)])
    (found,) = generator(images, [torch.zeros(1, 8, 2, 2, dtype=torch.bfloat16)])
    assert found.dtype == torch.float32
    assert ((found[:, :2] + found[:, 2:]) / 2).tolist() == [[0, 0], [64, 0], [0, 64], [64, 64]]


def test_small_first_images_do_not_change_the_pooling() -> None:
    model = build("faster_rcnn", "mobilenet_v2")
    pooling = cast(Any, model).roi_heads.box_roi_pool
    # 65 pixels are padded to 96, of which TorchVision's inference makes stride 16.
    detect(model, torch.rand(3, 65, 128))
    assert pooling.scales == [1 / 32]


def test_rois_are_pooled_from_the_levels_that_the_backbone_has() -> None:
    pooling = cast(Any, build("faster_rcnn")).roi_heads.box_roi_pool
    sides = torch.tensor([30.0, 111.0, 113.0, 225.0, 449.0, 900.0])
    boxes = torch.stack([torch.zeros(6), torch.zeros(6), sides, sides], dim=1)
    assert pooling.map_levels([boxes]).tolist() == [0, 0, 1, 2, 3, 3]
    assert pooling.scales == [1 / 4, 1 / 8, 1 / 16, 1 / 32]


def test_given_anchor_sizes_are_used() -> None:
    model = build("faster_rcnn", anchor_sizes=[8, 16, 32, 64])
    assert cast(Any, model).rpn.anchor_generator.sizes == ((8,), (16,), (32,), (64,))
    model = build("retinanet", anchor_sizes=[8, 16, 32])
    assert [sizes[0] for sizes in cast(Any, model).anchor_generator.sizes] == [8, 16, 32]
    assert cast(Any, model).anchor_generator.sizes[0] == pytest.approx((8, 8 * 2 ** (1 / 3), 8 * 2 ** (2 / 3)))
