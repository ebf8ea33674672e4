"""Backbones: networks that turn an image into feature maps of one width, with the strides known."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn
from torchvision import models
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.ops import FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import (
    ExtraFPNBlock,
    FeaturePyramidNetwork,
    LastLevelMaxPool,
    LastLevelP6P7,
)

from detkit_torchvision.options import STAGES, Backbone, map_strides

Norm = Callable[[int], nn.Module]

WIDTH = 256
TINY_WIDTH = 64
RESNET_LAYERS = ("layer1", "layer2", "layer3", "layer4")
#: Channels of tiny_fpn after the stem and at strides 4, 8, 16, 32.
TINY_CHANNELS = (24, 32, 48, 64, 96)


@dataclass(frozen=True, slots=True)
class Features:
    """What a detector is built on.

    Attributes:
        module: [B, 3, H, W] to a dict of maps [B, width, H / stride, W / stride], or to the one map.
        width: channels of every map.
        strides: of the maps, finest first, in resized pixels.
        names: of the maps in the dict.
        pooled: how many of them, finest first, RoIs are pooled from; the rest only carry large anchors.
    """

    module: nn.Module
    width: int
    strides: tuple[int, ...]
    names: tuple[str, ...]
    pooled: int


def group_norm(channels: int) -> nn.Module:
    """GroupNorm with at least 8 channels a group where there are as many, at most 32 groups.

    Training from scratch needs a norm that does not depend on the batch, which in detection is too small for batch
    statistics (He et al. 2019, Rethinking ImageNet Pre-training, section 3.1).
    """
    groups = next(g for g in (32, 16, 8, 4, 2, 1) if channels % g == 0 and (channels // g >= 8 or g == 1))
    return nn.GroupNorm(groups, channels)


def norm_for(names: Collection[str]) -> Norm:
    """The norm for weights of these names, or for none: frozen where they bring statistics, else by group.

    Statistics of two images would ruin those of a million; TorchVision's detectors freeze them too.
    """
    return FrozenBatchNorm2d if any(name.endswith("running_mean") for name in names) else group_norm


class TinyNet(nn.Module):
    """A small residual network with group norms, strides 4, 8, 16, 32 in `stage1` to `stage4`; from scratch only."""

    def __init__(self) -> None:
        super().__init__()
        stem, *widths = TINY_CHANNELS
        self.stem = _conv(3, stem, stride=2)
        before = stem
        for number, width in enumerate(widths, 1):
            setattr(self, f"stage{number}", nn.Sequential(_conv(before, width, stride=2), _Residual(width)))
            before = width


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = group_norm(width)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.relu(x + self.norm(self.conv(x)))


def _conv(before: int, after: int, *, stride: int) -> nn.Sequential:
    conv = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(conv, group_norm(after), nn.ReLU(inplace=True))


def network(name: Backbone, norm: Norm) -> nn.Module:
    """The classification network that a backbone is cut from, with random weights."""
    match name:
        case "resnet50_fpn" | "resnet50_fpn_v2":
            return models.resnet50(weights=None, norm_layer=norm)  # type: ignore[no-any-return]
        case "resnet18_fpn":
            return models.resnet18(weights=None, norm_layer=norm)  # type: ignore[no-any-return]
        case "mobilenet_v2" | "mobilenet_v2_fpn":
            return models.mobilenet_v2(weights=None, norm_layer=norm)  # type: ignore[no-any-return]
        case "mobilenet_v3_large_fpn":
            return models.mobilenet_v3_large(weights=None, norm_layer=norm)  # type: ignore[no-any-return]
        case "tiny_fpn":
            return TinyNet()


def stages(name: Backbone, net: nn.Module) -> dict[str, tuple[nn.Module, ...]]:
    """The network's stages from the image on, by the names in `STAGES`."""
    match name:
        case "resnet50_fpn" | "resnet50_fpn_v2" | "resnet18_fpn":
            inside = [("conv1", "bn1"), ("layer1",), ("layer2",), ("layer3",), ("layer4",)]
            modules = [tuple(net.get_submodule(part) for part in stage) for stage in inside]
        case "mobilenet_v2" | "mobilenet_v2_fpn":
            modules = _cut(net, [2, 4, 7, 14, 18])
        case "mobilenet_v3_large_fpn":
            modules = _cut(net, [2, 4, 7, 13, 16])
        case "tiny_fpn":
            modules = [(child,) for child in net.children()]
    return dict(zip(STAGES[name], modules, strict=True))


def _cut(net: nn.Module, starts: list[int]) -> list[tuple[nn.Module, ...]]:
    blocks = list(net.get_submodule("features").children())
    return [tuple(blocks[start:end]) for start, end in pairwise([0, *starts, len(blocks)])]


def features(name: Backbone, net: nn.Module, *, dense: bool, norm: Norm = group_norm) -> Features:
    """Cut feature maps out of a network.

    Args:
        dense: for the one-stage detectors, whose pyramids begin at stride 8 and go on to 128 (Lin et al. 2017, Focal
            Loss, section 4); else for R-CNNs, whose pyramids span strides 4 to 64 (Lin et al. 2017, FPN, section 4).
        norm: of the pyramid, where it has one.
    """
    strides = map_strides(name, dense=dense)
    match name:
        case "resnet50_fpn":
            return _pyramid(net, RESNET_LAYERS, [256, 512, 1024, 2048], strides, dense=dense)
        case "resnet50_fpn_v2":
            return _pyramid(net, RESNET_LAYERS, [256, 512, 1024, 2048], strides, dense=dense, v2_norm=norm)
        case "resnet18_fpn":
            return _pyramid(net, RESNET_LAYERS, [64, 128, 256, 512], strides, dense=dense)
        case "mobilenet_v2_fpn":
            # The last block of each stride. TorchVision's own extractor takes two maps, both of stride 32.
            return _pyramid(
                net.get_submodule("features"), ["3", "6", "13", "18"], [24, 32, 96, 1280], strides, dense=dense
            )
        case "mobilenet_v3_large_fpn":
            # As TorchVision has it, for the sake of its COCO weights.
            layers = {"13": "0", "16": "1"}
            module = BackboneWithFPN(net.get_submodule("features"), layers, [160, 960], WIDTH, LastLevelMaxPool())
            return Features(module, WIDTH, strides, ("0", "1", "pool"), 2)
        case "mobilenet_v2":
            module = nn.Sequential(net.get_submodule("features"), nn.Conv2d(1280, WIDTH, 1))
            return Features(_with_width(module, WIDTH), WIDTH, strides, ("0",), 1)
        case "tiny_fpn":
            return _tiny_pyramid(net, strides, dense=dense)


def neck(features: Features) -> nn.Module:
    """What turns the network's maps into maps of one width: the pyramid, or the one convolution."""
    module = features.module
    return module[1] if isinstance(module, nn.Sequential) else module.get_submodule("fpn")


def _pyramid(
    net: nn.Module,
    layers: Sequence[str],
    channels: list[int],
    strides: tuple[int, ...],
    *,
    dense: bool,
    v2_norm: Norm | None = None,
) -> Features:
    """Args: v2_norm: of the pyramid; TorchVision's first versions have none there."""
    first = 1 if dense else 0
    # RetinaNet's second version makes its extra levels from the network's last map instead of the pyramid's.
    extra: ExtraFPNBlock = LastLevelP6P7(channels[-1] if v2_norm else WIDTH, WIDTH) if dense else LastLevelMaxPool()
    names = [str(index) for index in range(4 - first)]
    module = BackboneWithFPN(
        net,
        dict(zip(layers[first:], names, strict=True)),
        channels[first:],
        WIDTH,
        extra,
        # Without dense, as TorchVision's R-CNNs; its RetinaNet has a plain pyramid in both versions.
        norm_layer=None if dense else v2_norm,
    )
    if dense:
        return Features(module, WIDTH, strides, (*names, "p6", "p7"), 3)
    return Features(module, WIDTH, strides, (*names, "pool"), 4)


class _TinyPyramid(nn.Module):
    """The tiny network with a narrow FPN and no extra level: at 128 px the coarsest map has 4 x 4 cells."""

    def __init__(self, net: nn.Module, first: int) -> None:
        super().__init__()
        layers = {f"stage{number}": str(index) for index, number in enumerate(range(first, 5))}
        self.body = IntermediateLayerGetter(net, return_layers=layers)
        self.fpn = FeaturePyramidNetwork(list(TINY_CHANNELS[first:]), TINY_WIDTH)
        self.out_channels = TINY_WIDTH

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        maps: dict[str, Tensor] = self.fpn(self.body(x))
        return maps


def _tiny_pyramid(net: nn.Module, strides: tuple[int, ...], *, dense: bool) -> Features:
    first = 2 if dense else 1
    names = tuple(str(index) for index in range(len(strides)))
    return Features(_TinyPyramid(net, first), TINY_WIDTH, strides, names, len(strides))


def _with_width(module: nn.Module, width: int) -> nn.Module:
    # TorchVision's detectors read the width from this attribute.
    module.out_channels = width  # type: ignore[assignment]
    return module
