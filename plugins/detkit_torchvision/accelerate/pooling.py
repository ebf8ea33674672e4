"""RoI pooling over a pyramid that looks all levels up at once."""

from __future__ import annotations

import torch
import torchvision
from torch import Tensor
from torchvision.ops import MultiScaleRoIAlign

from detkit_torchvision.accelerate.roi_align import roi_align


class LookupRoIAlign(MultiScaleRoIAlign):  # type: ignore[misc]  # TorchVision has no types
    """TorchVision's module with its own result up to rounding; elsewhere than on the processor it is that module."""

    def forward(self, x: dict[str, Tensor], boxes: list[Tensor], image_shapes: list[tuple[int, int]]) -> Tensor:
        maps = [features for name, features in x.items() if name in self.featmap_names]
        if maps[0].device.type != "cpu" or torchvision._is_tracing() or torch.compiler.is_compiling():
            return super().forward(x, boxes, image_shapes)  # type: ignore[no-any-return]
        batch = torch.cat([torch.full((len(own), 1), float(index)) for index, own in enumerate(boxes)])
        rois = torch.cat([batch, torch.cat(list(boxes)).float()], 1)
        levels = self.map_levels(boxes) if len(maps) > 1 else torch.zeros(len(rois), dtype=torch.int64)
        return roi_align(
            maps, rois, levels, scales=self.scales, cells=self.output_size, sampling_ratio=self.sampling_ratio
        )
