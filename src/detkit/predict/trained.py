"""A trained model as it was recorded: everything that it gives, before any threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from detkit.data.types import ModelOutput
from detkit.engine.compute import Precision
from detkit.engine.evaluation import model_outputs
from detkit.predict.finding import Checkpoint
from detkit.spec.model import ModelUse


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """The model of a run with the weights of a checkpoint, in evaluation mode, on its device.

    Attributes:
        module: the `torch.nn.Module` itself. use: its component.
        run_id: the run that trained it. seed: of the run.
        checkpoint: "best" or "last". epoch: after which; None where the checkpoint lies within one.
        class_names: the K classes; label k is `class_names[k - 1]`.
        device: as torch names it. precision: of the forward pass: fp32, bf16 or fp16.
        chosen: metric key to class name to the score threshold that it chose on the validation images.
    """

    module: nn.Module
    use: ModelUse
    run_id: str
    seed: int
    checkpoint: Checkpoint
    epoch: int | None
    class_names: tuple[str, ...]
    device: str
    precision: Precision
    chosen: Mapping[str, Mapping[str, float]]

    def outputs(self, images: Sequence[Tensor], names: str) -> Sequence[ModelOutput]:
        """What it finds in a batch.

        Args:
            images: float32 [3, H, W] in 0..1, on its device. names: tell people which images they are.

        Raises:
            ComponentError: the model failed or broke its contract. OutOfMemory.
            NonFiniteLoss: boxes or scores are not finite.
        """
        with torch.no_grad(), self._autocast():
            return model_outputs(self.use, self.module, images, len(self.class_names), names)

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.precision == "fp32":
            return nullcontext()
        kind = torch.bfloat16 if self.precision == "bf16" else torch.float16
        return torch.autocast(torch.device(self.device).type, dtype=kind)
