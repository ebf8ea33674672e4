"""Proposals kept on disk, by the content of the image."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, Self, cast

import numpy as np
import torch
from torch import Tensor, nn

from detkit import Messages

#: Said when computing has taken so long, and again whenever that has doubled.
FIRST_TOLD_S = 20.0
#: After so many images of which none came again, no more are kept (about 40 KB each).
KEPT_UNSEEN = 2000


class Source(Protocol):
    """A source of proposals whose boxes are worth keeping."""

    @property
    def key(self) -> str:
        """Names it with everything that its boxes depend on, beside the image."""

    def __call__(self, image: Tensor) -> Tensor: ...


class Cached(nn.Module):
    """A slow source, asked once for an image of the same pixels.

    A flipped image is another one; one whose colours are changed at random is a new one every time, and the cache is of
    no use: what that costs is told, and after many such images nothing is kept any more.

    Args:
        source: a module, and a `Source`. folder: of caches that all experiments share.
    """

    def __init__(self, source: nn.Module, folder: Path, messages: Messages) -> None:
        super().__init__()
        self.source = source
        self._root = folder / "proposals"
        self._folder: Path | None = None
        self._ledger = _Ledger(messages)
        self._enabled = True

    @contextmanager
    def uncached(self) -> Iterator[None]:
        """Compute everything afresh for the block: what a model costs is measured so."""
        self._enabled = False
        try:
            yield
        finally:
            self._enabled = True

    def forward(self, image: Tensor) -> Tensor:
        if not self._enabled:
            return cast(Tensor, self.source(image))
        file = self._key_folder() / f"{_digest(image)}.npy"
        boxes = _read(file)
        if boxes is None:
            began = time.perf_counter()
            boxes = self.source(image).cpu()
            if self._ledger.is_of_use:
                _write(file, boxes)
            self._ledger.computed(time.perf_counter() - began, boxes, self._key_folder())
        else:
            self._ledger.found()
        return boxes.to(image.device)

    def _key_folder(self) -> Path:
        """Not known before the first image: a checkpoint may still be loaded into the source."""
        if self._folder is None:
            self._folder = self._root / cast(Source, self.source).key
        return self._folder


class _Ledger:
    """Counts what was computed and what was found, and tells what it costs."""

    def __init__(self, messages: Messages) -> None:
        self._messages = messages
        self._images = self._found = self._bytes = 0
        self._seconds = 0.0
        self._told_at = FIRST_TOLD_S

    def __deepcopy__(self, _memo: Any) -> Self:
        """Copies of a model (its moving average) count together; where messages go cannot be copied."""
        return self

    def found(self) -> None:
        self._found += 1

    @property
    def is_of_use(self) -> bool:
        """Whether to keep boxes: not after many images of which not one came again."""
        return self._found > 0 or self._images < KEPT_UNSEEN

    def computed(self, seconds: float, boxes: Tensor, folder: Path) -> None:
        self._images += 1
        self._seconds += seconds
        self._bytes += boxes.numel() * boxes.element_size() if self.is_of_use else 0
        if self._seconds >= self._told_at:
            self._told_at = 2 * self._seconds
            self._messages.info(
                f"proposals: computed for {self._images} images in {self._seconds:.0f} s"
                f" ({self._seconds / self._images:.2f} s each), found for {self._found};"
                f" {self._bytes / 1e6:.1f} MB are kept in {folder}."
                " An image that changes at random, its colours for one, is never found"
            )


def _digest(image: Tensor) -> str:
    """Of the pixels in 256 steps, and of their arrangement."""
    pixels = (image.detach().clamp(0, 1) * 255).round().to("cpu", torch.uint8).contiguous()
    digest = hashlib.sha256(str(tuple(pixels.shape)).encode())
    digest.update(pixels.numpy().tobytes())
    return digest.hexdigest()


def _read(file: Path) -> Tensor | None:
    """The boxes of a file; None where there is none, or one that was cut."""
    try:
        boxes = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return torch.from_numpy(boxes) if boxes.dtype == np.float32 and boxes.ndim == 2 and boxes.shape[1] == 4 else None


def _write(file: Path, boxes: Tensor) -> None:
    """Beside the file, then renamed: other processes never see half of it. A full disk only costs time."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as stream:
            np.save(stream, boxes.numpy().astype(np.float32, copy=False), allow_pickle=False)
        temporary.replace(file)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
