"""What there is to know of data and machine before a spec is written for them."""

from __future__ import annotations

import os
import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from detkit.components import Dataset, Messages
from detkit.data.degenerate import has_area
from detkit.errors import DataError

#: Of larger datasets so many images are looked at, spread evenly.
MOST_IMAGES = 5000


@dataclass(frozen=True, slots=True)
class DataFacts:
    """Attributes:
    images: how many. looked_at: of how many the rest tells. classes: name to objects, all of them, in their order.
    without_area: boxes without. first_without_area: where the first is.
    short, long: the medians of the images' sides, pixels. aspect: long over short, the largest but for a twentieth.
    object_side: the median of the square roots of the boxes' areas, pixels; None without objects.
    splits: those that the data brings, by name; empty where it brings none. masks: whether it has them.
    empty: images without objects. broken: images that cannot be read. first_broken: why the first cannot.
    """

    images: int
    looked_at: int
    classes: Mapping[str, int]
    without_area: int
    first_without_area: str
    short: int
    long: int
    aspect: float
    object_side: float | None
    splits: Mapping[str, int]
    masks: bool
    empty: int
    broken: int = 0
    first_broken: str = ""

    @property
    def objects(self) -> int:
        return sum(self.classes.values())


def data_facts(dataset: Dataset, messages: Messages) -> DataFacts:
    """Look at the images' sizes and objects; no pixel is decoded where the dataset does not need to.

    Raises:
        DataError: there are no images, or none can be read.
    """
    count = len(dataset)
    indices = range(count) if count <= MOST_IMAGES else [number * count // MOST_IMAGES for number in range(MOST_IMAGES)]
    sides: list[tuple[int, int]] = []
    boxes: list[float] = []
    labels: Counter[int] = Counter()
    without, first, empty, broken, first_broken = 0, "", 0, 0, ""
    with messages.progress("Looking at images", len(indices), "images") as bar:
        for index in indices:
            bar.advance()
            try:
                info = dataset.info(index)
            except DataError as error:
                broken, first_broken = broken + 1, first_broken or str(error)
                continue
            sides.append((min(info.width, info.height), max(info.width, info.height)))
            empty += not info.annotations
            for item in info.annotations:
                labels[item.label] += 1
                if has_area(item.box):
                    boxes.append(((item.box[2] - item.box[0]) * (item.box[3] - item.box[1])) ** 0.5)
                else:
                    without, first = without + 1, first or " ".join(filter(None, (info.label, item.source)))
    if not sides:
        raise DataError(f"none of its {broken} images can be read: {first_broken}" if broken else "it has no images")
    aspects = sorted(long / short for short, long in sides)
    return DataFacts(
        images=count,
        looked_at=len(sides),
        classes={name: labels[number] for number, name in enumerate(dataset.class_names, 1)},
        without_area=without,
        first_without_area=first,
        short=round(statistics.median(short for short, _ in sides)),
        long=round(statistics.median(long for _, long in sides)),
        aspect=aspects[int(0.95 * (len(aspects) - 1))],
        object_side=statistics.median(boxes) if boxes else None,
        splits={name: len(indices) for name, indices in (dataset.splits or {}).items()},
        masks="masks" in dataset.provides,
        empty=empty,
        broken=broken,
        first_broken=first_broken,
    )


@dataclass(frozen=True, slots=True)
class Machine:
    """Attributes: device: cpu, cuda or mps. cores: of the CPU. gpu: its name. memory_gb: the GPU's; 0 without one."""

    device: str
    cores: int
    gpu: str = ""
    memory_gb: float = 0.0

    @property
    def words(self) -> str:
        if self.device == "cuda":
            return f"{self.gpu} with {self.memory_gb:.0f} GB"
        return (
            "Apple's GPU" if self.device == "mps" else f"a CPU with {self.cores} cores" if self.cores > 1 else "a CPU"
        )


def this_machine() -> Machine:
    """What `[compute] device = "auto"` takes here."""
    from detkit.engine.compute import import_torch, resolve_compute
    from detkit.spec.model import ComputeTable

    accelerator = resolve_compute(ComputeTable()).accelerator
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if accelerator != "cuda":
        return Machine(accelerator, cores)
    found = import_torch().cuda.get_device_properties(0)
    return Machine("cuda", cores, found.name, found.total_memory / 1e9)
