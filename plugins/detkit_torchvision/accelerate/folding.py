"""A frozen batch norm after a convolution is a factor and an offset of each channel: both go into the convolution.

The norm's pass over the activations is saved, forwards and backwards; the weights, which are much smaller, are scaled
at each pass, so that they are trained as before and names in the state dict stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d


class FoldedConv2d(nn.Conv2d):
    """A convolution with its norm inside. The parameters are the convolution's own."""

    def __init__(self, conv: nn.Conv2d, norm: FoldedNorm) -> None:
        super().__init__(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,  # type: ignore[arg-type]  # torch types the attributes loosely
            conv.stride,  # type: ignore[arg-type]
            conv.padding,  # type: ignore[arg-type]
            conv.dilation,  # type: ignore[arg-type]
            conv.groups,
            conv.bias is not None,
            conv.padding_mode,
            device="meta",
        )
        self.weight, self.bias = conv.weight, conv.bias
        self._norm = (norm,)  # in a tuple: it is a child of its own parent, not of this

    def forward(self, input: Tensor) -> Tensor:
        scale, offset = self._norm[0].affine()
        if self.bias is not None:
            offset = offset + self.bias * scale
        output: Tensor = self._conv_forward(input, self.weight * scale[:, None, None, None], offset)
        return output


class FoldedNorm(FrozenBatchNorm2d):  # type: ignore[misc]  # TorchVision has no types
    """A frozen norm that its convolution applies: it keeps the statistics and hands on what comes."""

    def __init__(self, norm: FrozenBatchNorm2d) -> None:
        super().__init__(len(norm.weight), norm.eps)
        for name, buffer in norm.named_buffers():
            setattr(self, name, buffer)

    def affine(self) -> tuple[Tensor, Tensor]:
        """Factor and offset of each channel, [C] each."""
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        return scale, self.bias - self.running_mean * scale

    def forward(self, x: Tensor) -> Tensor:
        return x


def fold_frozen_norms(module: nn.Module) -> int:
    """Fold every frozen norm into the convolution before it, in place. Returns how many."""
    found = [pair for parent in module.modules() for pair in _pairs(parent)]
    for parent, conv, norm in found:
        folded = FoldedNorm(parent.get_submodule(norm))
        setattr(parent, conv, FoldedConv2d(parent.get_submodule(conv), folded))  # type: ignore[arg-type]
        setattr(parent, norm, folded)
    return len(found)


def _pairs(parent: nn.Module) -> Iterator[tuple[nn.Module, str, str]]:
    """The names of a convolution and the norm after it, where the parent's form tells that nothing is between them."""
    children = dict(parent.named_children())
    if isinstance(parent, nn.Sequential):
        candidates = pairwise(children)
    else:  # TorchVision's residual networks
        candidates = ((name, name.replace("conv", "bn")) for name in children if name.startswith("conv"))  # type: ignore[assignment]
    for conv, norm in candidates:
        if type(children[conv]) is nn.Conv2d and type(children.get(norm)) is FrozenBatchNorm2d:
            yield parent, conv, norm
