"""The options of TorchVision's detectors: which backbones and weights there are, and what goes together."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import BeforeValidator, Field, ValidationInfo, model_validator

from detkit import OptionPath, Options

Family = Literal["fast_rcnn", "faster_rcnn", "mask_rcnn", "retinanet", "fcos"]
Backbone = Literal[
    "resnet50_fpn",
    "resnet50_fpn_v2",
    "resnet18_fpn",
    "mobilenet_v2",
    "mobilenet_v2_fpn",
    "mobilenet_v3_large_fpn",
    "tiny_fpn",
]

FAMILIES: tuple[Family, ...] = get_args(Family)
#: The families that go with a backbone: all where detkit builds its maps, else those that TorchVision has.
PAIRS: Mapping[Backbone, tuple[Family, ...]] = {
    "resnet50_fpn": FAMILIES,
    "resnet50_fpn_v2": ("fast_rcnn", "faster_rcnn", "mask_rcnn", "retinanet"),
    "resnet18_fpn": FAMILIES,
    "mobilenet_v2": FAMILIES,
    "mobilenet_v2_fpn": FAMILIES,
    "mobilenet_v3_large_fpn": ("fast_rcnn", "faster_rcnn"),
    "tiny_fpn": FAMILIES,
}
#: The weights that exist for a backbone; the first is the default.
WEIGHTS: Mapping[str, tuple[str, ...]] = {
    "resnet50_fpn": ("coco", "imagenet", "none"),
    "resnet50_fpn_v2": ("coco", "imagenet", "none"),
    "resnet18_fpn": ("imagenet", "none"),
    "mobilenet_v2": ("imagenet", "none"),
    "mobilenet_v2_fpn": ("imagenet", "none"),
    "mobilenet_v3_large_fpn": ("coco", "imagenet", "none"),
    "tiny_fpn": ("none",),
}
_RESNET_STAGES = ("stem", "layer1", "layer2", "layer3", "layer4")
#: A backbone's stages from the image on, as `[train] trainable_layers` counts them from the other end.
STAGES: Mapping[Backbone, tuple[str, ...]] = {
    "resnet50_fpn": _RESNET_STAGES,
    "resnet50_fpn_v2": _RESNET_STAGES,
    "resnet18_fpn": _RESNET_STAGES,
    "mobilenet_v2": ("stem", "stride4", "stride8", "stride16", "stride32", "last"),
    "mobilenet_v2_fpn": ("stem", "stride4", "stride8", "stride16", "stride32", "last"),
    "mobilenet_v3_large_fpn": ("stem", "stride4", "stride8", "stride16", "stride32", "last"),
    "tiny_fpn": ("stem", "stage1", "stage2", "stage3", "stage4"),
}
#: Strides of a backbone's feature maps, finest first, as R-CNNs and as the one-stage detectors use it.
STRIDES: Mapping[Backbone, tuple[tuple[int, ...], tuple[int, ...]]] = {
    **dict.fromkeys(
        ("resnet50_fpn", "resnet50_fpn_v2", "resnet18_fpn", "mobilenet_v2_fpn"),
        ((4, 8, 16, 32, 64), (8, 16, 32, 64, 128)),
    ),
    "mobilenet_v2": ((32,), (32,)),
    "mobilenet_v3_large_fpn": ((32, 32, 64), ()),
    "tiny_fpn": ((4, 8, 16, 32), (8, 16, 32)),
}
#: Feature maps with anchors, in R-CNNs and in RetinaNet. Backbones without a pyramid take any number of sizes.
LEVELS: Mapping[Backbone, tuple[int, int]] = {
    "resnet50_fpn": (5, 5),
    "resnet50_fpn_v2": (5, 5),
    "resnet18_fpn": (5, 5),
    "mobilenet_v2_fpn": (5, 5),
    "tiny_fpn": (4, 3),
}
WEIGHT_NAMES = ("coco", "imagenet", "none")


def _name_or_path(value: object, info: ValidationInfo) -> object:
    """Tell a name from a path, so that a misspelt name is not looked for as a file."""
    if isinstance(value, Path) or (isinstance(value, str) and value in WEIGHT_NAMES):
        return value
    if isinstance(value, str) and re.search(r"[/\\]|\.(pth|pt|safetensors)$", value):
        # Strict validation wants a path in Python and text in JSON.
        return value if info.mode == "json" else Path(value)
    raise ValueError(
        f"no weights named {value!r}; there are: {', '.join(WEIGHT_NAMES)}, or the path of a state dict"
        " (.pth, .pt, .safetensors)"
    )


Weights = Annotated[Literal["coco", "imagenet", "none"] | OptionPath, BeforeValidator(_name_or_path)]
Share = Annotated[float, Field(ge=0, le=1)]


def _tuple_of_list(value: object) -> object:
    """What strict validation wants where a validator of the whole model has turned the JSON array into a list."""
    return tuple(value) if isinstance(value, list) else value


Sizes = Annotated[tuple[Annotated[float, Field(gt=0)], ...], BeforeValidator(_tuple_of_list)]


class DetectorOptions(Options):
    """What all five detectors have in common."""

    family: ClassVar[Family]

    backbone: Backbone = Field(
        "resnet50_fpn",
        description="the network under the detector: resnet50_fpn | resnet50_fpn_v2 (TorchVision's improved heads; not"
        " for fcos) | resnet18_fpn | mobilenet_v2 (one map, stride 32) | mobilenet_v2_fpn | mobilenet_v3_large_fpn"
        " (TorchVision's two maps of stride 32; fast_rcnn and faster_rcnn only) | tiny_fpn (small, from scratch, for"
        " images of 128 to 192 px)",
    )
    weights: Weights = Field(
        "coco",
        description="where training starts: coco (whole detector, where TorchVision has one) | imagenet (backbone)"
        " | none | path of a state dict of the detector or its backbone; by default the first that the backbone has",
    )
    max_detections: int = Field(100, ge=1, description="detections kept an image, best first; COCO counts 100")
    accelerate: Literal["auto", "off"] = Field(
        "off",
        description="auto: the same arithmetic in less time, equal up to rounding (RoI pooling by lookup on a CPU,"
        " frozen norms folded into their convolutions, channels last under bf16) | off: TorchVision's own operations",
    )

    @model_validator(mode="before")
    @classmethod
    def _default_weights(cls, data: Any) -> Any:
        backbone = data.get("backbone") if isinstance(data, dict) else None
        if isinstance(backbone, str) and backbone in WEIGHTS and "weights" not in data:
            return {**data, "weights": WEIGHTS[backbone][0]}
        return data

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.family not in PAIRS[self.backbone]:
            goes = [name for name, families in PAIRS.items() if self.family in families]
            raise ValueError(
                f"there is no {self.family} over {self.backbone}; {self.family} goes with: {', '.join(goes)};"
                f" {self.backbone} goes with: {', '.join(PAIRS[self.backbone])}"
            )
        possible = WEIGHTS[self.backbone]
        if isinstance(self.weights, str) and self.weights not in possible:
            having = [name for name, names in WEIGHTS.items() if self.weights in names]
            raise ValueError(
                f"there are no {self.weights} weights for {self.backbone};"
                f" it has: {', '.join(possible)}, or a path; {self.weights} weights exist for: {', '.join(having)}"
            )
        return self


class _ThresholdOptions(DetectorOptions):
    score_threshold: Share = Field(0.05, description="detections below this score are dropped")
    nms_threshold: Share = Field(0.5, description="of two overlapping detections of a class (IoU), the worse goes")


class RegionOptions(_ThresholdOptions):
    """What the R-CNNs have in common."""

    region_samples: int | None = Field(
        None,
        ge=1,
        description="regions an image on which the box head is trained, a quarter of them objects; by default 512"
        " (tiny_fpn: 64). 128 is good enough for few objects an image, and takes a CPU a third less time",
    )


class FastRCNNOptions(RegionOptions):
    """`[models.KEY]` with `use = "fast_rcnn"`"""

    family: ClassVar[Family] = "fast_rcnn"

    proposals: Literal["grid", "selective_search", "rpn"] = Field(
        "grid",
        description="where boxes to be classified come from: grid (boxes all over the image, the same on every image of"
        " a size) | selective_search (OpenCV's, about a second an image; kept on disk) | rpn (of a whole Faster R-CNN"
        " with COCO weights, frozen; kept on disk)",
    )
    max_proposals: int = Field(
        2500,
        ge=1,
        description="boxes an image, at most: a grid gets wider for it, of others the best or evenly chosen ones stay",
    )
    grid_ratios: Sizes = Field(
        (0.5, 1.0, 2.0, 3.0),
        min_length=1,
        description="of grid: heights over widths of its boxes",
    )
    grid_scales: int = Field(
        6, ge=1, le=16, description="of grid: sizes of its boxes, each the root of 2 below the one before it"
    )
    grid_step: float = Field(
        0.33, ge=0.05, le=1, description="of grid: distance between boxes of a size, as a share of their sides"
    )
    search_size: int = Field(
        320, ge=32, description="of selective_search: the shorter side of the image it works on, pixels"
    )
    search_quality: Literal["fast", "quality"] = Field(
        "fast", description="of selective_search: fast | quality (about four times the boxes, three times the time)"
    )

    @model_validator(mode="after")
    def _options_belong_to_the_source(self) -> Self:
        # By value: a resolved spec states the defaults too.
        for prefix, source in (("grid_", "grid"), ("search_", "selective_search")):
            for name, info in type(self).model_fields.items():
                if name.startswith(prefix) and self.proposals != source and getattr(self, name) != info.default:
                    raise ValueError(f'{name} belongs to proposals = "{source}", not to "{self.proposals}"')
        return self


class _AnchorOptions(DetectorOptions):
    anchor_sizes: Sizes | None = Field(
        None,
        description="sides of the anchors in resized pixels, one a feature map from fine to coarse (mobilenet_v2 and"
        " mobilenet_v3_large_fpn: any number, all on every map); by default those that the weights were trained with;"
        " else, of R-CNNs, halving from 0.64 min_size (at 800 the papers' 32 to 512), and of RetinaNet 4 strides",
    )

    _column = 0

    @model_validator(mode="after")
    def _one_size_a_level(self) -> Self:
        if self.anchor_sizes is None:
            return self
        if self.weights == "coco":
            raise ValueError("anchor_sizes cannot be changed under COCO weights, which were trained with their own")
        levels = LEVELS.get(self.backbone, (0, 0))[self._column]
        if not self.anchor_sizes:
            raise ValueError("anchor_sizes is empty; leave it out, or give sizes")
        if levels and len(self.anchor_sizes) != levels:
            raise ValueError(
                f"anchor_sizes has {len(self.anchor_sizes)} sizes; {self.backbone} has {levels} feature maps here,"
                " one size each"
            )
        return self


class FasterRCNNOptions(_AnchorOptions, RegionOptions):
    """`[models.KEY]` with `use = "faster_rcnn"`"""

    family: ClassVar[Family] = "faster_rcnn"


class MaskRCNNOptions(FasterRCNNOptions):
    """`[models.KEY]` with `use = "mask_rcnn"`"""

    family: ClassVar[Family] = "mask_rcnn"


class RetinaNetOptions(_AnchorOptions, _ThresholdOptions):
    """`[models.KEY]` with `use = "retinanet"`; each anchor size stands for itself, 2^(1/3) and 2^(2/3) of it."""

    family: ClassVar[Family] = "retinanet"
    _column = 1


class FCOSOptions(DetectorOptions):
    """`[models.KEY]` with `use = "fcos"`"""

    family: ClassVar[Family] = "fcos"

    score_threshold: Share = Field(
        0.2,
        description="detections below this score are dropped; it is a square root here: 0.2 is the others' 0.04",
    )
    nms_threshold: Share = Field(0.6, description="of two overlapping detections of a class (IoU), the worse goes")


def map_strides(backbone: Backbone, *, dense: bool) -> tuple[int, ...]:
    """Of the feature maps, finest first, in resized pixels. Args: dense: for the one-stage detectors."""
    return STRIDES[backbone][dense]


def stages(options: DetectorOptions) -> tuple[str, ...]:
    """The backbone's stages that hold weights; empty where all begins at random."""
    return () if options.weights == "none" else STAGES[options.backbone]
