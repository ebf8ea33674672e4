"""TorchVision's detectors: Faster R-CNN, Mask R-CNN, RetinaNet and FCOS over several backbones.

A spec names a detector and says from which weights it starts:

    [models.faster_rcnn]
    backbone = "resnet50_fpn"
    weights = "coco"

Anchors and RoI pooling follow from the backbone's feature maps and from `[input] min_size`; only COCO weights keep the
anchors with which they were trained.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, model_validator

from detkit import BOXES_AND_MASKS, BuildContext, ModelComponent, OptionPath, Options, hookimpl

if TYPE_CHECKING:
    from torch import nn

Family = Literal["faster_rcnn", "mask_rcnn", "retinanet", "fcos"]
Backbone = Literal["resnet50_fpn", "resnet18_fpn", "mobilenet_v2", "mobilenet_v2_fpn", "tiny_fpn"]

#: The weights that exist for a backbone; the first is the default.
WEIGHTS: Mapping[str, tuple[str, ...]] = {
    "resnet50_fpn": ("coco", "imagenet", "none"),
    "resnet18_fpn": ("imagenet", "none"),
    "mobilenet_v2": ("imagenet", "none"),
    "mobilenet_v2_fpn": ("imagenet", "none"),
    "tiny_fpn": ("none",),
}
#: Stages that can be frozen one by one, counted as TorchVision counts them: the stem is the last to be trained.
STAGES: Mapping[Backbone, int] = {
    "resnet50_fpn": 5,
    "resnet18_fpn": 5,
    "mobilenet_v2": 6,
    "mobilenet_v2_fpn": 6,
    "tiny_fpn": 5,
}
#: Feature maps with anchors, in R-CNNs and in RetinaNet. The one map of mobilenet_v2 takes any number of sizes.
LEVELS: Mapping[Backbone, tuple[int, int]] = {
    "resnet50_fpn": (5, 5),
    "resnet18_fpn": (5, 5),
    "mobilenet_v2_fpn": (5, 5),
    "tiny_fpn": (4, 3),
}
WEIGHT_NAMES = ("coco", "imagenet", "none")


def _name_or_path(value: object, info: ValidationInfo) -> object:
    """Tell a name from a path, so that a misspelt name is not looked for as a file."""
    if isinstance(value, Path) or (isinstance(value, str) and value in WEIGHT_NAMES):
        return value
    if isinstance(value, str) and re.search(r"[/\\]|\.(pth|pt)$", value):
        # Strict validation wants a path in Python and text in JSON.
        return value if info.mode == "json" else Path(value)
    raise ValueError(
        f"no weights named {value!r}; there are: {', '.join(WEIGHT_NAMES)}, or the path of a state dict (.pth, .pt)"
    )


Weights = Annotated[Literal["coco", "imagenet", "none"] | OptionPath, BeforeValidator(_name_or_path)]
Share = Annotated[float, Field(ge=0, le=1)]


class DetectorOptions(Options):
    """What all four detectors have in common."""

    backbone: Backbone = Field(
        "resnet50_fpn",
        description="the network under the detector: resnet50_fpn | resnet18_fpn | mobilenet_v2 (one map, stride 32)"
        " | mobilenet_v2_fpn | tiny_fpn (small, from scratch, for images of 128 to 192 px)",
    )
    weights: Weights = Field(
        "coco",
        description="where training starts: coco (whole detector; resnet50_fpn only) | imagenet (backbone) | none"
        " | path of a state dict of this detector or of its backbone; by default the first that the backbone has",
    )
    trainable_layers: int | None = Field(
        None,
        ge=0,
        description="stages of the backbone that are trained, counted from the output; the others stay as they were"
        " loaded; by default all (resnet: 5, mobilenet_v2: 6)",
    )
    max_detections: int = Field(100, ge=1, description="detections kept an image, best first; COCO counts 100")

    @model_validator(mode="before")
    @classmethod
    def _default_weights(cls, data: Any) -> Any:
        backbone = data.get("backbone") if isinstance(data, dict) else None
        if isinstance(backbone, str) and backbone in WEIGHTS and "weights" not in data:
            return {**data, "weights": WEIGHTS[backbone][0]}
        return data

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        possible = WEIGHTS[self.backbone]
        if isinstance(self.weights, str) and self.weights not in possible:
            having = [name for name, names in WEIGHTS.items() if self.weights in names]
            raise ValueError(
                f"there are no {self.weights} weights for {self.backbone};"
                f" it has: {', '.join(possible)}, or a path; {self.weights} weights exist for: {', '.join(having)}"
            )
        if self.trainable_layers is not None:
            stages = STAGES[self.backbone]
            if self.trainable_layers > stages:
                raise ValueError(f"trainable_layers is {self.trainable_layers}, but {self.backbone} has {stages}")
            if self.weights == "none" and self.trainable_layers < stages:
                raise ValueError(
                    f'trainable_layers = {self.trainable_layers} with weights = "none" would freeze layers that'
                    " have learnt nothing; leave it out, or choose weights"
                )
        return self


class _AnchorOptions(DetectorOptions):
    anchor_sizes: tuple[Annotated[float, Field(gt=0)], ...] | None = Field(
        None,
        strict=False,
        description="sides of the anchors in resized pixels, one a feature map from fine to coarse; by default"
        " halving from 0.64 min_size, which at 800 are the papers' 32 to 512",
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


class FasterRCNNOptions(_AnchorOptions):
    """`[models.KEY]` with `use = "faster_rcnn"`"""

    score_threshold: Share = Field(0.05, description="detections below this score are dropped")
    nms_threshold: Share = Field(0.5, description="of two overlapping detections of a class (IoU), the worse goes")


class MaskRCNNOptions(FasterRCNNOptions):
    """`[models.KEY]` with `use = "mask_rcnn"`"""


class RetinaNetOptions(_AnchorOptions):
    """`[models.KEY]` with `use = "retinanet"`; each anchor size stands for itself, 2^(1/3) and 2^(2/3) of it."""

    _column = 1

    score_threshold: Share = Field(0.05, description="detections below this score are dropped")
    nms_threshold: Share = Field(0.5, description="of two overlapping detections of a class (IoU), the worse goes")


class FCOSOptions(DetectorOptions):
    """`[models.KEY]` with `use = "fcos"`"""

    score_threshold: Share = Field(
        0.2,
        description="detections below this score are dropped; it is a square root here: 0.2 is the others' 0.04",
    )
    nms_threshold: Share = Field(0.6, description="of two overlapping detections of a class (IoU), the worse goes")


def build_detector(family: Family, options: DetectorOptions, context: BuildContext) -> nn.Module:
    """Build a detector for `context.class_names`, with its weights.

    The module's attribute `weights_origin` holds plain values: source ("coco", "imagenet", "file", "none") and, where
    there is one, the file's name, sha256, and how many tensors were taken, dropped and left new.

    Raises:
        DataError: there are no classes.
        WeightsError: the weights are missing, cut or of another model.
    """
    from detkit_torchvision.detectors import build

    return build(family, options, context)


def check_weights(family: Family, options: DetectorOptions, context: BuildContext) -> None:
    """See whether the weights can be had, and where the file is there, that it fits; nothing is downloaded.

    Raises:
        WeightsError: the weights are missing with no network allowed, cut or of another model.
    """
    from detkit_torchvision.files import find

    file = find(family, options, offline=context.offline)
    if file is not None:
        build_detector(family, options, BuildContext(class_names=context.class_names or ("object",)))


def _masks(_options: MaskRCNNOptions) -> frozenset[Literal["boxes", "masks"]]:
    return BOXES_AND_MASKS


def _recipe(*, tiny_lr: float, warmup_steps: int, pretrained: dict[str, Any]) -> Callable[[Any], Mapping[str, Any]]:
    """The recipe for pretrained weights at a batch of 2; what starts from nothing learns faster with AdamW."""

    def recipe(options: DetectorOptions) -> Mapping[str, Any]:
        shared: dict[str, Any] = {"momentum": 0.9, "schedule": "cosine", "warmup_steps": warmup_steps}
        if options.backbone == "tiny_fpn":
            return shared | ADAMW | {"lr": tiny_lr}
        if options.weights == "none":
            return shared | ADAMW | {"lr": 0.0005}
        return shared | pretrained

    return recipe


SGD: dict[str, Any] = {"optimizer": "sgd", "weight_decay": 0.0005}
ADAMW: dict[str, Any] = {"optimizer": "adamw", "weight_decay": 0.01}

# The R-CNNs' recipe was chosen with Mask R-CNN on Penn-Fudan at 320 px, from ImageNet: box AP after two epochs was 0.01
# with SGD at 0.005, and 0.35 with this.
FASTER_RCNN = ModelComponent(
    name="faster_rcnn",
    options=FasterRCNNOptions,
    build=partial(build_detector, "faster_rcnn"),
    summary="Faster R-CNN (Ren et al. 2015): proposals, then classes and boxes",
    check=partial(check_weights, "faster_rcnn"),
    recipe=_recipe(tiny_lr=0.001, warmup_steps=100, pretrained={**ADAMW, "lr": 0.0003}),
)
MASK_RCNN = ModelComponent(
    name="mask_rcnn",
    options=MaskRCNNOptions,
    build=partial(build_detector, "mask_rcnn"),
    summary="Mask R-CNN (He et al. 2017): Faster R-CNN with a mask for each object",
    check=partial(check_weights, "mask_rcnn"),
    needs=_masks,
    gives=_masks,
    recipe=_recipe(tiny_lr=0.001, warmup_steps=100, pretrained={**ADAMW, "lr": 0.0003}),
)
RETINANET = ModelComponent(
    name="retinanet",
    options=RetinaNetOptions,
    build=partial(build_detector, "retinanet"),
    summary="RetinaNet (Lin et al. 2017): one stage, anchors, focal loss",
    check=partial(check_weights, "retinanet"),
    # SGD is slow to lift a head without norms off the background: on Penn-Fudan at 320 px, from ImageNet, AP after two
    # epochs was 0.07 with SGD at 0.0025, 0.06 at 0.005, and 0.18 with this.
    recipe=_recipe(tiny_lr=0.003, warmup_steps=200, pretrained={**ADAMW, "lr": 0.0003}),
)
FCOS = ModelComponent(
    name="fcos",
    options=FCOSOptions,
    build=partial(build_detector, "fcos"),
    summary="FCOS (Tian et al. 2019): one stage, no anchors",
    check=partial(check_weights, "fcos"),
    # Half the R-CNNs' rate, as in TorchVision's references/detection (README).
    recipe=_recipe(tiny_lr=0.003, warmup_steps=200, pretrained={**SGD, "lr": 0.0025}),
)


@hookimpl
def detkit_models() -> Sequence[ModelComponent[Any]]:
    return [FASTER_RCNN, MASK_RCNN, RETINANET, FCOS]
