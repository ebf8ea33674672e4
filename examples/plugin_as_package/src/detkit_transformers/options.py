"""The options of the detectors and of the training step."""

from __future__ import annotations

from typing import Annotated, Literal

from detkit import Options
from pydantic import Field

Family = Literal["detr", "rt_detr", "rt_detr_v2"]
Share = Annotated[float, Field(ge=0, le=1)]


class SetOptions(Options):
    """What all these detectors have in common."""

    size: Literal["tiny", "r18", "r50"] = Field(
        "r50",
        description="the network where no pretrained weights are named: tiny (for images of 64 to 192 px) | r18 | r50"
        " (over a ResNet of 18 or 50 layers, as published)",
    )
    pretrained: str = Field(
        "none",
        min_length=1,
        description="where training starts: none | a model of the Hugging Face hub, as PekingU/rtdetr_r50vd | a folder"
        " that save_pretrained wrote (relative to the spec: with a / in it); it decides the network too",
    )
    revision: str = Field(
        "main", min_length=1, description="of a model on the hub: branch, tag or commit; a commit never changes"
    )
    max_detections: int = Field(100, ge=1, description="detections kept an image, best first; COCO counts 100")
    score_threshold: Share = Field(0.0, description="detections below this score are dropped")
    backbone_lr: float = Field(
        0.1,
        gt=0,
        le=1,
        description="share of the rate with which a pretrained backbone is trained; what is not pretrained has it all",
    )


class DetrOptions(SetOptions):
    """`[models.KEY]` with `use = "detr"`"""

    no_object_weight: float = Field(
        0.1, gt=0, le=1, description="weight of the class 'no object', which nearly all of the queries have"
    )


class RTDetrOptions(SetOptions):
    """`[models.KEY]` with `use = "rt_detr"` or `use = "rt_detr_v2"`"""

    resize: Literal["keep", "square"] = Field(
        "keep",
        description="keep: as the other models, with the image's own shape | square: stretched to min_size x min_size,"
        " as the published weights were trained (at 640)",
    )
    denoising: int = Field(100, ge=0, description="queries of training that start from disturbed objects; 0: without")


class SetLossesOptions(Options):
    """`[training_step]` with `use = "set_losses"`"""

    classes: float = Field(1.0, ge=0, description="weight of the class terms")
    boxes: float = Field(1.0, ge=0, description="weight of the distances of boxes")
    overlaps: float = Field(1.0, ge=0, description="weight of the overlaps of boxes (generalised IoU)")
    auxiliary: float = Field(1.0, ge=0, description="weight of all terms of the layers before the last")
    denoising: float = Field(1.0, ge=0, description="weight of all terms of RT-DETR's denoising queries")
