"""Proposals kept on disk, by the content of the image."""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from detkit import Messages

#: Said when computing has taken so long, and again whenever that has doubled.
FIRST_TOLD_S = 20.0


class Cached(nn.Module):
    """A slow source, asked once for an image of the same pixels.

    A flipped image is another one; one whose colours are changed at random is a new one every time, and the cache is of
    no use: what that costs is told.

    Args:
        source: the source. key: names it with everything that its boxes depend on, beside the image.
        folder: of caches that all experiments share.
    """

    def __init__(self, source: nn.Module, key: str, folder: Path, messages: Messages) -> None:
        super().__init__()
        self.source = source
        self._folder = folder / "proposals" / key
        self._ledger = _Ledger(key, self._folder, messages)

    def forward(self, image: Tensor) -> Tensor:
        file = self._folder / f"{_digest(image)}.npy"
        boxes = _read(file)
        if boxes is None:
            began = time.perf_counter()
            boxes = self.source(image).cpu()
            self._ledger.computed(time.perf_counter() - began)
            _write(file, boxes)
        else:
            self._ledger.found()
        return boxes.to(image.device)


class _Ledger:
    """Counts what was computed and what was found, and tells what it costs."""

    def __init__(self, key: str, folder: Path, messages: Messages) -> None:
        self._key, self._folder, self._messages = key, folder, messages
        self._images = self._found = 0
        self._seconds = 0.0
        self._told_at = FIRST_TOLD_S

    def __deepcopy__(self, _memo: Any) -> Self:
        """Copies of a model (its moving average) count together; where messages go cannot be copied."""
        return self

    def found(self) -> None:
        self._found += 1

    def computed(self, seconds: float) -> None:
        self._images += 1
        self._seconds += seconds
        if self._seconds >= self._told_at:
            self._told_at = 2 * self._seconds
            self._messages.info(
                f"proposals ({self._key}): computed for {self._images} images in {self._seconds:.0f} s"
                f" ({self._seconds / self._images:.2f} s each), found for {self._found} in {self._folder};"
                " an image that changes at random, its colours for one, is never found"
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
