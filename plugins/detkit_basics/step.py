"""The standard training step: the model computes its own losses."""

from __future__ import annotations

from torch import Tensor, nn

from detkit.data.types import Batch


def standard_step(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """`model(images, targets)`, which must be TorchVision's dict of named scalar losses.

    Raises:
        TypeError: it is something else.
    """
    losses = model(batch.images, batch.targets)
    if not isinstance(losses, dict):
        raise TypeError(
            f"the model returned {type(losses).__name__} for images and targets; in training mode it must return"
            " a dict of named scalar losses"
        )
    if not losses:
        raise TypeError("the model returned no losses; in training mode it must return at least one")
    for name, loss in losses.items():
        if not (isinstance(name, str) and isinstance(loss, Tensor) and loss.ndim == 0):
            what = f"a tensor of shape {list(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            raise TypeError(f"the model's loss {name!r} is {what}; losses are scalar tensors under names")
    return losses
