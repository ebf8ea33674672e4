"""What the page's plots show, as plain values: enough of it to be drawn, whatever the size of the dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detkit.data.types import ImageInfo
from detkit.survey.collect import Collected
from detkit.survey.counts import columns

#: So many boxes are drawn as points, spread over the classes: a browser stays quick.
MOST_BOXES = 3000
#: So many different image sizes are drawn.
MOST_SIZES = 1000
#: Cells of the map of centres, along each side.
CELLS = 32
#: Bars of the aspect ratios, from 1/16 to 16, four to each doubling.
ASPECT_EDGES = 2.0 ** (np.arange(-16, 17) / 4)


def plot_data(data: Collected) -> dict[str, Any]:
    """Image sizes with how often they are there; boxes as points; histograms; where boxes' centres lie."""
    objects = columns(data.infos)
    keep = objects.measured
    box, label, image = objects.box[keep], objects.label[keep], objects.image[keep]
    width, height = box[:, 2] - box[:, 0], box[:, 3] - box[:, 1]
    sizes = Counter((info.width, info.height) for info in data.infos if info is not None)
    common = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:MOST_SIZES]
    shown = sampled(label, MOST_BOXES)
    aspects, _ = np.histogram(np.clip(width / height, ASPECT_EDGES[0], ASPECT_EDGES[-1]), ASPECT_EDGES)
    return {
        "sizes": [[*size, many] for size, many in common],
        "sizesLeft": len(sizes) - len(common),
        "boxes": [[round(float(width[i]), 1), round(float(height[i]), 1), int(label[i])] for i in shown],
        "boxesLeft": len(label) - len(shown),
        "perImage": _numbers(data.infos),
        "aspectEdges": [round(float(edge), 4) for edge in ASPECT_EDGES],
        "aspects": aspects.tolist(),
        "centres": _centres(box, image, data.infos),
    }


def sampled(labels: NDArray[np.int64], most: int) -> list[int]:
    """Places of at most about so many, evenly spread over each class, each class with some.

    Returns:
        Places in ascending order.
    """
    if len(labels) <= most:
        return list(range(len(labels)))
    found: list[int] = []
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        count = max(1, most * len(places) // len(labels))
        found += places[np.arange(count) * len(places) // count].tolist()
    return sorted(found)


def _numbers(infos: Sequence[ImageInfo | None]) -> list[list[int]]:
    """Number of objects and how many images have it, ascending."""
    return [[number, many] for number, many in sorted(Counter(len(i.annotations) for i in infos if i).items())]


def _centres(box: NDArray[np.float64], image: NDArray[np.int64], infos: Sequence[ImageInfo | None]) -> list[list[int]]:
    """Counts [row][column] over the image, its upper left first; centres outside the image are at its edge."""
    size = np.array([(info.width, info.height) if info else (1, 1) for info in infos], np.float64).reshape(-1, 2)
    centre = (box[:, :2] + box[:, 2:]) / 2 / np.maximum(size[image], 1)
    cell = np.clip((centre * CELLS).astype(int), 0, CELLS - 1)
    found = np.zeros((CELLS, CELLS), int)
    np.add.at(found, (cell[:, 1], cell[:, 0]), 1)
    return found.tolist()
