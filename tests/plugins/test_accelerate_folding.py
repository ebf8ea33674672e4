"""Frozen norms inside convolutions, the layout under autocast, and detectors with and without what makes them fast."""

from __future__ import annotations

import copy
import pickle
from typing import Any, Literal, cast

import pytest
import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.ops import Conv2dNormActivation, FrozenBatchNorm2d

from detkit import BuildContext
from detkit_torchvision import build_detector
from detkit_torchvision.accelerate import LookupRoIAlign, channels_last_in_half_precision, fold_frozen_norms
from detkit_torchvision.accelerate.folding import FoldedConv2d, FoldedNorm
from detkit_torchvision.options import (
    DetectorOptions,
    Family,
    FasterRCNNOptions,
    FastRCNNOptions,
    FCOSOptions,
    MaskRCNNOptions,
    RetinaNetOptions,
)

OPTIONS: dict[Family, type[DetectorOptions]] = {
    "fast_rcnn": FastRCNNOptions,
    "faster_rcnn": FasterRCNNOptions,
    "mask_rcnn": MaskRCNNOptions,
    "retinanet": RetinaNetOptions,
    "fcos": FCOSOptions,
}


def with_statistics(module: nn.Module) -> nn.Module:
    """Frozen norms that change what goes through them."""
    generator = torch.Generator().manual_seed(1)
    for part in module.modules():
        if isinstance(part, FrozenBatchNorm2d):
            part.weight.copy_(torch.rand(len(part.weight), generator=generator) + 0.5)
            part.bias.copy_(torch.randn(len(part.bias), generator=generator) * 0.1)
            part.running_mean.copy_(torch.randn(len(part.weight), generator=generator) * 0.1)
            part.running_var.copy_(torch.rand(len(part.weight), generator=generator) + 0.5)
    return module


def networks() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    kinds: dict[str, nn.Module] = {
        "resnet18": models.resnet18(weights=None, norm_layer=FrozenBatchNorm2d),
        "resnet50": models.resnet50(weights=None, norm_layer=FrozenBatchNorm2d),
        "mobilenet_v2": models.mobilenet_v2(weights=None, norm_layer=FrozenBatchNorm2d),
        "mobilenet_v3": models.mobilenet_v3_large(weights=None, norm_layer=FrozenBatchNorm2d),
        "bias": nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, stride=2, dilation=2), FrozenBatchNorm2d(4)),
        "head": Conv2dNormActivation(3, 8, norm_layer=FrozenBatchNorm2d),
    }
    return {name: with_statistics(net).eval() for name, net in kinds.items()}


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenet_v2", "mobilenet_v3", "bias", "head"])
def test_a_folded_network_computes_the_same_and_learns_the_same(name: str) -> None:
    plain = networks()[name]
    folded = copy.deepcopy(plain)
    norms = sum(isinstance(part, FrozenBatchNorm2d) for part in plain.modules())
    assert fold_frozen_norms(folded) == norms > 0, "none is left behind"
    assert fold_frozen_norms(folded) == 0, "once"
    assert [*folded.state_dict()] == [*plain.state_dict()]
    assert [key for key, _ in folded.named_parameters()] == [key for key, _ in plain.named_parameters()]

    image = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    results = []
    for net in (plain.double(), folded.double()):
        out = net(image)
        out.square().mean().backward()
        results.append((out.detach(), {key: value.grad for key, value in net.named_parameters()}))
    torch.testing.assert_close(results[1][0], results[0][0], rtol=1e-9, atol=1e-9)
    for key, gradient in results[0][1].items():
        torch.testing.assert_close(results[1][1][key], gradient, rtol=1e-7, atol=1e-9, msg=key)

    single = folded.float()(image.float())
    torch.testing.assert_close(single.double(), results[0][0], rtol=1e-3, atol=1e-3)


def test_folding_follows_new_weights_new_statistics_and_another_epsilon() -> None:
    plain, folded = (networks()["resnet18"] for _ in range(2))
    fold_frozen_norms(folded)
    image = torch.rand(1, 3, 64, 64)
    before = folded(image)
    other = with_statistics(models.resnet18(weights=None, norm_layer=FrozenBatchNorm2d)).eval()
    plain.load_state_dict(other.state_dict())
    folded.load_state_dict(other.state_dict())
    for net in (plain, folded):
        for part in net.modules():
            if isinstance(part, FrozenBatchNorm2d):
                part.eps = 0.0
    assert not torch.allclose(folded(image), before)
    torch.testing.assert_close(folded(image), plain(image), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("how", ["deepcopy", "pickle", "getter"])
def test_copies_are_whole(how: str) -> None:
    """A copy's convolution uses the copy's own norm: an average of weights has its own."""
    net = networks()["resnet18"]
    fold_frozen_norms(net)
    if how == "getter":
        made: nn.Module = IntermediateLayerGetter(net, {"layer1": "0"})
        convs = {id(part) for part in made.modules() if isinstance(part, FoldedConv2d)}
        assert convs, "what is cut out of the network is folded too"
        return
    other: Any = copy.deepcopy(net) if how == "deepcopy" else pickle.loads(pickle.dumps(net))
    conv, norm = other.layer1[0].conv1, other.layer1[0].bn1
    assert isinstance(norm, FoldedNorm)
    assert conv._norm[0] is norm
    assert norm is not cast(Any, net).layer1[0].bn1
    image = torch.rand(1, 3, 32, 32)
    assert torch.equal(other(image), net(image))


def test_what_only_looks_like_a_pair_is_left_alone() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(3, 3, 1)
            self.norm1 = FrozenBatchNorm2d(3)

    apart = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), FrozenBatchNorm2d(3))
    live = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
    up = nn.Sequential(nn.ConvTranspose2d(3, 3, 1), FrozenBatchNorm2d(3))
    assert [fold_frozen_norms(module) for module in (Block(), apart, live, up)] == [0, 0, 0, 0]


def test_layout_changes_under_autocast_alone_and_no_value_with_it() -> None:
    seen: list[bool] = []

    class Backbone(nn.Conv2d):
        def forward(self, input: Tensor) -> Tensor:
            seen.append(input.is_contiguous(memory_format=torch.channels_last) and not input.is_contiguous())
            return super().forward(input)

    backbone = Backbone(3, 4, 3)
    channels_last_in_half_precision(backbone)
    image = torch.rand(2, 3, 16, 16)
    plain = backbone(image)
    with torch.autocast("cpu", torch.bfloat16):
        half = backbone(image)
    assert seen == [False, True]
    torch.testing.assert_close(half.float(), plain, rtol=2**-6, atol=2**-6)


def scene() -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    generator = torch.Generator().manual_seed(5)
    images = [torch.rand(3, 96, 128, generator=generator), torch.rand(3, 128, 96, generator=generator)]
    targets = []
    for image in images:
        boxes = torch.tensor([[10.0, 12.0, 60.0, 70.0], [30.0, 20.0, 90.0, 88.0]])
        masks = torch.zeros(2, *image.shape[-2:], dtype=torch.uint8)
        for mask, (x0, y0, x1, y1) in zip(masks, boxes.long().tolist(), strict=True):
            mask[y0:y1, x0:x1] = 1
        targets.append({"boxes": boxes, "labels": torch.tensor([1, 2]), "masks": masks})
    return images, targets


def built(family: Family, accelerate: Literal["auto", "off"], backbone: str) -> nn.Module:
    options = OPTIONS[family].model_validate({"backbone": backbone, "weights": "none", "accelerate": accelerate})
    context = BuildContext(class_names=("a", "b"), min_size=96, max_size=128, seed=3)
    return build_detector(family, options, context)


@pytest.mark.parametrize("family", OPTIONS)
def test_detectors_are_the_same_with_and_without(family: Family) -> None:
    """Names, parameters, detections, losses and gradients. (Which proposals are sampled may hang on a last bit; here
    none does: the seed is fixed, and so are torch's kernels.)"""
    images, targets = scene()
    results: list[tuple[list[str], Any, Any, Any]] = []
    for accelerate in ("off", "auto"):
        model = built(family, cast(Any, accelerate), "tiny_fpn")
        pooling = [module for module in model.modules() if isinstance(module, LookupRoIAlign)]
        region = family in ("fast_rcnn", "faster_rcnn", "mask_rcnn")
        assert len(pooling) == (accelerate == "auto" and region) * (2 if family == "mask_rcnn" else 1)
        torch.manual_seed(0)
        losses = model.train()(images, targets)
        sum(losses.values()).backward()
        gradients = {name: value.grad for name, value in model.named_parameters()}
        with torch.no_grad():
            detections = model.eval()(images)
        results.append(([*model.state_dict()], detections, losses, gradients))
    off, auto = results
    assert auto[0] == off[0]
    for name, value in off[2].items():
        torch.testing.assert_close(auto[2][name], value, rtol=1e-4, atol=1e-5, msg=name)
    for name, value in off[3].items():
        if value is not None:
            torch.testing.assert_close(auto[3][name], value, rtol=1e-3, atol=1e-3 * float(value.abs().max()), msg=name)
    for one, other in zip(off[1], auto[1], strict=True):
        torch.testing.assert_close(other["scores"], one["scores"], rtol=1e-3, atol=1e-4)


def test_off_is_torchvisions_own() -> None:
    model = built("faster_rcnn", "off", "tiny_fpn")
    kinds = {type(module) for module in model.modules()}
    assert not kinds & {LookupRoIAlign, FoldedConv2d, FoldedNorm}
    assert not model.get_submodule("backbone")._forward_pre_hooks
