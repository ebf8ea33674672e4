"""A training step that weighs the terms of a set prediction's loss."""

from __future__ import annotations

from detkit.data.types import Batch
from torch import Tensor, nn

from detkit_transformers.losses import TERM, group_of, grouped
from detkit_transformers.options import SetLossesOptions


class SetLosses:
    """The model's own losses, those of DETR and RT-DETR weighted.

    A spec has one training step for all its models, so that models which know nothing of sets pass through unchanged.
    """

    def __init__(self, options: SetLossesOptions) -> None:
        self._kinds = {
            "loss_ce": options.classes,
            "loss_vfl": options.classes,
            "loss_bbox": options.boxes,
            "loss_giou": options.overlaps,
        }
        self._groups = {"loss_auxiliary": options.auxiliary, "loss_denoising": options.denoising}

    def __call__(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        # Always through `model(...)`, never another of its methods: on many devices the call itself is wrapped.
        if not getattr(model, "predicts_a_set", False):
            losses: dict[str, Tensor] = model(batch.images, batch.targets)
            return losses
        terms = model(batch.images, batch.targets, every_term=True)
        return grouped({name: value * self._weight(name) for name, value in terms.items()})

    def _weight(self, name: str) -> float:
        match = TERM.fullmatch(name)
        kind = match["kind"] if match else name
        return self._kinds.get(kind, 1.0) * self._groups.get(group_of(name), 1.0)
