"""The terms of the losses of DETR and RT-DETR: weighted, named, and the same ones in every step."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import PretrainedConfig

#: What people see: the last layer's three terms, and the sums of those of the layers before it and of denoising.
TERMS = ("loss_classes", "loss_boxes", "loss_overlaps", "loss_auxiliary", "loss_denoising")
#: What transformers calls the three.
NAMES = {
    "loss_ce": "loss_classes",
    "loss_vfl": "loss_classes",
    "loss_bbox": "loss_boxes",
    "loss_giou": "loss_overlaps",
}
#: As loss_giou, loss_giou_3 (of a layer of DETR), loss_giou_aux_3, loss_giou_dn_3.
TERM = re.compile(r"(?P<kind>loss_[a-z]+?)(?P<group>_aux|_dn)?(?P<layer>_\d+)?")


def losses_of(outputs: Any, config: PretrainedConfig) -> dict[str, Tensor]:
    """The weighted scalar terms of a model's outputs, by transformers' names."""
    weights = {}
    if config.model_type == "detr":  # RT-DETR's are weighted
        weights = {"loss_bbox": config.bbox_loss_coefficient, "loss_giou": config.giou_loss_coefficient}
    return {
        name: value.float() * weights.get(kind_of(name), 1.0)
        for name, value in outputs.loss_dict.items()
        if not name.startswith("cardinality_error")  # which is no loss, and has no gradient
    }


def kind_of(name: str) -> str:
    """The term without its layer; the name itself where it has another form."""
    match = TERM.fullmatch(name)
    return match["kind"] if match else name


def grouped(terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`TERMS`, all of them each time: a step without objects has no denoising, and its curve would have holes."""
    groups: dict[str, list[Tensor]] = {name: [] for name in TERMS}
    for name, value in terms.items():
        groups[group_of(name)].append(value)
    zero = torch.zeros_like(next(iter(terms.values())))
    return {name: torch.stack(values).sum() if values else zero for name, values in groups.items()}


def group_of(name: str) -> str:
    """The one of `TERMS` to which a term of transformers belongs."""
    match = TERM.fullmatch(name)
    if match is None or match["kind"] not in NAMES:
        raise ValueError(f"transformers gave a loss {name!r}, which this package does not know")
    if match["group"] == "_dn":
        return "loss_denoising"
    return "loss_auxiliary" if match["layer"] else NAMES[match["kind"]]
