"""Loading images: detkit against a plain TorchVision dataset with Pillow, in the first epoch and in later ones.

Both read the same JPEG files with boxes and masks, in batches, on one thread of one process, in turns. Prints images
per second and the ratio to the plain dataset of the same round: with nothing kept, in memory, on disk, and with the
presets of `[augment]` over what is in memory. Then decoders: whether their pixels are Pillow's, and their time.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as PillowImage
from torch.utils.data import DataLoader
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from detkit.components import BOXES_AND_MASKS, BuildContext, Dataset, Silent
from detkit.data.augment import Augmentation, Stage
from detkit.data.cache import cached
from detkit.data.loading import Maker, training_loader
from detkit.data.sampling import plan_epoch
from detkit.data.types import Annotation, ImageInfo, Target
from detkit.plugins import collect
from detkit.spec.augment import PRESETS

OBJECTS = 5


def write_images(folder: Path, count: int, width: int, height: int) -> list[Path]:
    """Smooth random pictures, which compress as photographs do."""
    files = []
    for number in range(count):
        rough = np.random.RandomState(number).randint(0, 256, (height // 16, width // 16, 3), dtype=np.uint8)
        files.append(folder / f"{number:05d}.jpg")
        picture = PillowImage.fromarray(rough).resize((width, height), PillowImage.Resampling.BICUBIC)
        picture.save(files[-1], quality=90)
    return files


def objects_of(index: int, width: int, height: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Boxes [N, 4] and the masks that fill them."""
    numbers = np.random.RandomState(index)
    corners = numbers.randint(0, (width // 2, height // 2), (OBJECTS, 2))
    sides = numbers.randint(20, (width // 2, height // 2), (OBJECTS, 2))
    boxes = np.concatenate([corners, corners + sides], axis=1)
    masks = np.zeros((OBJECTS, height, width), dtype=np.uint8)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = 1
    return torch.from_numpy(boxes).float(), torch.from_numpy(masks)


def sample_of(image: torch.Tensor, index: int) -> tuple[tv_tensors.Image, dict[str, Any]]:
    height, width = image.shape[-2:]
    boxes, masks = objects_of(index, width, height)
    form = tv_tensors.BoundingBoxFormat.XYXY
    target = {
        "boxes": tv_tensors.BoundingBoxes(boxes, format=form, canvas_size=(height, width)),
        "labels": torch.ones(OBJECTS, dtype=torch.int64),
        "image_id": index,
        "area": masks.flatten(1).sum(1).float(),
        "iscrowd": torch.zeros(OBJECTS, dtype=torch.bool),
        "masks": tv_tensors.Mask(masks),
    }
    return tv_tensors.Image(image), target


class Plain(torch.utils.data.Dataset[Any]):
    """As TorchVision's tutorial writes it."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Any:
        with PillowImage.open(self.files[index]) as picture:
            image = F.pil_to_tensor(picture.convert("RGB"))
        return sample_of(image, index)


class Files(Dataset):
    """The same for detkit."""

    class_names = ("thing",)
    provides = BOXES_AND_MASKS

    def __init__(self, files: Sequence[Path], width: int, height: int) -> None:
        self._plain, self._width, self._height = Plain(files), width, height

    def __len__(self) -> int:
        return len(self._plain)

    def info(self, index: int) -> ImageInfo:
        things = (Annotation(1, (0.0, 0.0, 20.0, 20.0), 400.0),) * OBJECTS
        return ImageInfo(index, self._plain.files[index], self._width, self._height, things)

    def __getitem__(self, index: int, /) -> tuple[tv_tensors.Image, Target]:
        sample: tuple[tv_tensors.Image, Target] = self._plain[index]
        return sample


def augmentation(preset: str, dataset: Dataset) -> Maker:
    registry = collect()
    stages = []
    for key, options in PRESETS[preset].items():
        component = registry.find("transform", key).component
        checked = component.options.model_validate(dict(options), strict=False)
        stages.append(Stage(key, key, component.build(checked, BuildContext())))
    return Augmentation(stages, dataset, range(len(dataset)))


def rate(batches: Iterator[Any], images: int) -> float:
    """Images per second."""
    began = time.perf_counter()
    for _ in batches:
        pass
    return images / (time.perf_counter() - began)


def as_lists(samples: Sequence[Any]) -> Any:
    return tuple(zip(*samples, strict=True))


def plain_epoch(files: Sequence[Path]) -> Iterator[Any]:
    return iter(DataLoader(Plain(files), batch_size=2, shuffle=True, collate_fn=as_lists))


def detkit_epoch(dataset: Dataset, epoch: int, make: Maker | None = None) -> Iterator[Any]:
    count = len(dataset)
    plan = plan_epoch(range(count), batch_size=2, accumulate=1, processes=1, seed=1, epoch=epoch)
    return training_loader(dataset, [step[0] for step in plan], seed=1, workers=0, pin_memory=False, make=make)


def compare_epochs(files: Sequence[Path], width: int, height: int, folder: Path, rounds: int) -> None:
    count = len(files)

    def kept(mode: Any, where: Path) -> Dataset:
        return cached(
            Files(files, width, height),
            range(count),
            mode=mode,
            bound=None,
            folder=where,
            identity="benchmark",
            processes=1,
            messages=Silent(),
        )

    rows: dict[str, list[tuple[float, float]]] = {}
    for round_number in range(rounds):
        datasets = {mode: kept(mode, folder / f"cache-{round_number}") for mode in ("none", "memory", "disk")}
        ways: list[tuple[str, Callable[[], Iterator[Any]]]] = []
        for mode, dataset in datasets.items():
            for epoch in (1, 2):
                name = f"{mode}, {'first' if epoch == 1 else 'later'} epoch"
                ways.append((name, lambda dataset=dataset, epoch=epoch: detkit_epoch(dataset, epoch)))  # type: ignore[misc]  # bound per pass
        for preset in ("light", "standard", "strong"):
            memory = datasets["memory"]
            make = augmentation(preset, memory)
            ways.append((f"memory, {preset}", lambda data=memory, make=make: detkit_epoch(data, 3, make)))  # type: ignore[misc]  # bound per pass
        for name, way in ways:
            plain = rate(plain_epoch(files), count)
            rows.setdefault(name, []).append((rate(way(), count), plain))
    print(f"{count} JPEG files of {width} x {height} with {OBJECTS} masks each, {rounds} rounds, medians")
    print(f"{'':26}images/s  plain  ratio (smallest, largest)")
    for name, pairs in rows.items():
        ratios = sorted(ours / plain for ours, plain in pairs)
        ours, plain = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
        print(
            f"{name:26}{ours:8.0f} {plain:6.0f}  {statistics.median(ratios):5.2f} ({ratios[0]:.2f}, {ratios[-1]:.2f})"
        )


def compare_decoders(files: Sequence[Path]) -> None:
    contents = [file.read_bytes() for file in files[:50]]

    def pillow(content: bytes) -> Any:
        with PillowImage.open(io.BytesIO(content)) as picture:
            return np.array(picture.convert("RGB"))

    def torchvision(content: bytes) -> Any:
        from torchvision.io import ImageReadMode, decode_image

        tensor = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        return decode_image(tensor, mode=ImageReadMode.RGB).permute(1, 2, 0).numpy()

    def opencv(content: bytes) -> Any:
        import cv2

        flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        return cv2.cvtColor(cv2.imdecode(np.frombuffer(content, np.uint8), flags), cv2.COLOR_BGR2RGB)

    wanted = [pillow(content) for content in contents]
    for decode in (pillow, torchvision, opencv):
        try:
            found, times = [], []
            for content in contents:
                began = time.perf_counter()
                found.append(decode(content))
                times.append(time.perf_counter() - began)
        except ImportError as error:
            print(f"{decode.__name__}: {error}")
            continue
        equal = sum(np.array_equal(first, second) for first, second in zip(wanted, found, strict=True))
        print(f"{decode.__name__:12} {1000 * statistics.median(times):6.2f} ms an image, {equal} of {len(found)} equal")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--size", type=int, nargs=2, default=(640, 480), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--files", type=Path, help="a folder of images for the decoders, in place of the drawn ones")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    with tempfile.TemporaryDirectory() as folder:
        files = write_images(Path(folder), arguments.images, *arguments.size)
        compare_epochs(files, *arguments.size, Path(folder), arguments.rounds)
        compare_decoders(sorted(arguments.files.iterdir()) if arguments.files else files)


if __name__ == "__main__":
    main()
