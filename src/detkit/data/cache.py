"""Decoded samples kept in memory or on disk, so that an image file is decoded once and not in every epoch.

A kept sample is the dataset's own to the last bit: uint8 pixels, and the target with its masks as bits. Samples of
images that are no files are not kept, nor are those for which a dataset draws random numbers.

In memory they lie in one block that forked workers share with the training process: whoever decodes an image first, all
have it.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from PIL import __version__ as PILLOW
from torch import Tensor
from torchvision import tv_tensors

from detkit.components import Capabilities, Dataset, Messages
from detkit.data.digests import state_of
from detkit.data.seeds import seeded
from detkit.data.types import ImageInfo, Target

if TYPE_CHECKING:
    from torchvision.tv_tensors import Image

Mode = Literal["auto", "memory", "disk", "none"]
Sample = tuple["Image", Target]
#: A sample as bytes, in parts that follow one another.
Packed = Sequence[memoryview]

#: Of the form in which samples are kept; another version finds nothing of this one.
VERSION = 1
#: Of the memory or disk that is free, so much is used at most where no bound is given.
SHARE_OF_FREE = 0.5
#: The sizes of so many images tell what all of them take, before each is looked at.
LOOKED_AT = 200
#: What a sample takes beside pixels and masks, bytes: its description, and so much for each object.
DESCRIPTION, AN_OBJECT = 4096, 256


class Store(Protocol):
    """Keeps packed samples by index."""

    def get(self, index: int) -> memoryview | None: ...

    def put(self, index: int, packed: Packed) -> None: ...


class CachedDataset(Dataset):
    """A dataset whose samples are kept in a store once they have been read."""

    def __init__(self, dataset: Dataset, store: Store) -> None:
        self._dataset = dataset
        self._store = store
        self.class_names: tuple[str, ...] = dataset.class_names
        self.provides: Capabilities = dataset.provides
        self.splits: Mapping[str, Sequence[int]] | None = dataset.splits

    def __len__(self) -> int:
        return len(self._dataset)

    def info(self, index: int) -> ImageInfo:
        return self._dataset.info(index)

    def __getitem__(self, index: int, /) -> Sample:
        kept = self._store.get(index)
        sample = unpack(kept) if kept is not None else None
        if sample is not None:
            return sample
        sample, drew = drawing(self._dataset, index)
        packed = None if drew else pack(sample)
        if packed is not None:
            self._store.put(index, packed)
        return sample


def drawing(dataset: Dataset, index: int) -> tuple[Sample, bool]:
    """A sample, and whether one of the global generators was drawn from for it."""
    before = _generators()
    sample = dataset[index]
    return sample, _generators() != before


def _generators() -> tuple[Any, ...]:
    _, keys, position, *rest = np.random.get_state()
    return torch.get_rng_state().numpy().tobytes(), np.asarray(keys).tobytes(), position, *rest, random.getstate()


# --- stores ----------------------------------------------------------------------------------------------------------


class MemoryStore:
    """A block of anonymous shared memory with a slot an image; pages are taken when they are written to.

    Args:
        slots: index to the most bytes that its packed sample can take.
    """

    def __init__(self, slots: Mapping[int, int]) -> None:
        self._slots: dict[int, tuple[int, int]] = {}
        offset = 8 * len(slots)  # the lengths come first; 0: nothing there yet
        for number, (index, size) in enumerate(slots.items()):
            self._slots[index] = (number, offset)
            offset += size
        self._sizes = dict(slots)
        self._block = mmap.mmap(-1, max(1, offset))
        self._view = memoryview(self._block)
        self._lengths = self._view[: 8 * len(slots)].cast("q")

    def get(self, index: int) -> memoryview | None:
        if index not in self._slots:
            return None
        number, offset = self._slots[index]
        length = self._lengths[number]
        return self._view[offset : offset + length].toreadonly() if length else None

    def put(self, index: int, packed: Packed) -> None:
        length = sum(len(part) for part in packed)
        if length > self._sizes.get(index, 0):
            return
        number, offset = self._slots[index]
        for part in packed:
            self._view[offset : offset + len(part)] = part
            offset += len(part)
        self._lengths[number] = length  # last: two processes that write one slot write the same

    def __reduce__(self) -> tuple[Callable[[Mapping[int, int]], MemoryStore], tuple[dict[int, int]]]:
        """Where workers are not forked they get an empty one, which keeps nothing."""
        return MemoryStore, ({},)


class DiskStore:
    """A file an image.

    Args:
        files: index to the file of its packed sample.
    """

    def __init__(self, files: Mapping[int, Path]) -> None:
        self._files = dict(files)

    def get(self, index: int) -> memoryview | None:
        try:
            return memoryview(self._files[index].read_bytes())
        except (KeyError, OSError):
            return None

    def put(self, index: int, packed: Packed) -> None:
        """Beside the file, then renamed: other processes never see half of it. A full disk only costs time."""
        if index not in self._files:
            return
        file = self._files[index]
        temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as stream:
                stream.writelines(packed)
            temporary.replace(file)
        except OSError:
            with suppress(OSError):
                temporary.unlink()


# --- which, and how much ---------------------------------------------------------------------------------------------


def cached(
    dataset: Dataset,
    indices: Sequence[int],
    *,
    mode: Mode,
    bound: int | None,
    folder: Path,
    identity: str,
    processes: int,
    messages: Messages,
) -> Dataset:
    """The dataset with samples kept as the mode says; what was decided is told in one line.

    Args:
        indices: of the images that are read in every epoch.
        bound: the most bytes to use, of all processes together; None: half of what is free.
        folder: of caches. identity: the dataset with its options: samples of another one are not taken for its own.
        processes: that train together on this machine, each with a memory of its own.
    """
    if mode == "none" or not indices:
        return dataset
    if any(dataset.info(index).path is None for index in (indices[0], indices[-1])):
        return dataset  # made, not read
    with seeded(0):
        draws = drawing(dataset, indices[0])[1]
    if draws:
        if mode != "auto":
            messages.info("images: the dataset draws random numbers for an image; decoded images are not kept")
        return dataset
    on_disk = mode == "disk"
    free = free_disk(folder) if on_disk else free_memory()
    usable = (bound if bound is not None else int(free * SHARE_OF_FREE)) // (1 if on_disk else processes)
    where = f"on disk, in {folder}" if on_disk else "in memory"
    limit = "cache_bytes" if bound is not None else f"half of the {_bytes(free)} that are free"
    step = -(-len(indices) // LOOKED_AT)
    guess = step * sum(slot_bytes(dataset.info(index), dataset.provides) for index in indices[::step])
    if mode == "auto" and guess > usable:
        messages.info(
            f"images: {len(indices)} decoded images would take about {_bytes(guess)} of memory, more than {limit}"
            f'{_shared(processes)}; each is decoded in every epoch ([compute] cache = "disk" keeps them on disk)'
        )
        return dataset
    slots: dict[int, int] = {}
    total = 0
    for index in indices:
        info = dataset.info(index)
        if info.path is None:
            continue
        size = slot_bytes(info, dataset.provides)
        if total + size > usable:
            break
        slots[index] = size
        total += size
    store: Store = (
        DiskStore({index: file_of(dataset.info(index), folder, identity) for index in slots})
        if on_disk
        else MemoryStore(slots)
    )
    whole = len(slots) == len(indices)
    part = f"{len(slots)}" if whole else f"{len(slots)} of {len(indices)}"
    beyond = "" if whole else f"; for more there is no room within {limit}{_shared(processes)}"
    messages.info(f"images: {part} decoded images are kept {where}, at most {_bytes(total)}{beyond}")
    return CachedDataset(dataset, store)


def _shared(processes: int) -> str:
    return f", shared by {processes} processes" if processes > 1 else ""


def slot_bytes(info: ImageInfo, provides: Capabilities) -> int:
    """The most that a packed sample of an image takes."""
    pixels, objects = info.width * info.height, len(info.annotations)
    masks = objects * (-(-pixels // 8)) if "masks" in provides else 0
    return -(-(3 * pixels + masks + DESCRIPTION + AN_OBJECT * objects) // 8) * 8


def file_of(info: ImageInfo, folder: Path, identity: str) -> Path:
    """The file for a sample, named by all that it is made of: dataset, image file, objects."""
    assert info.path is not None
    objects = [[item.label, *item.box, item.area, item.iscrowd, item.mask] for item in info.annotations]
    state = state_of(info.path.stat())
    made_of = [VERSION, PILLOW, identity, str(info.path.resolve()), *state, info.image_id, objects]
    digest = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()
    return folder / f"v{VERSION}" / digest[:2] / f"{digest[2:32]}.sample"


def free_memory() -> int:
    """Bytes that this process may still take: the machine's, or what a container's limit leaves of it."""
    free: int = psutil.virtual_memory().available
    return min([free, *(limit - used for limit, used in _cgroup_limits())])


def _cgroup_limits(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> list[tuple[int, int]]:
    """Limit and use, bytes, of the control groups of this process that have a limit (version 2, else 1).

    Pages of files that were read count as used, though they are given back when memory is wanted: they are left out.
    """
    found = []
    for folder in _cgroup_folders(root, own):
        for limit_name, used_name, key in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            with suppress(OSError, ValueError):
                limit, used = (int((folder / name).read_text()) for name in (limit_name, used_name))
                rows = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
                found.append((limit, used - int(rows.get(key, 0))))
    return found


def _cgroup_folders(root: Path, own: Path) -> list[Path]:
    folders = {root, root / "memory"}
    with suppress(OSError):
        for line in own.read_text().splitlines():
            _, names, path = line.split(":", 2)
            base = root / "memory" if "memory" in names.split(",") else root
            inner = base / path.lstrip("/")
            folders |= {inner, *(parent for parent in inner.parents if parent.is_relative_to(root))}
    return sorted(folders)


def free_disk(folder: Path) -> int:
    """Bytes that are free where the folder is, or will be made."""
    there = next((path for path in (folder, *folder.parents) if path.exists()), Path("/"))
    return shutil.disk_usage(there).free


def _bytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


# --- samples as bytes ------------------------------------------------------------------------------------------------


def pack(sample: Sample) -> Packed | None:
    """A sample as bytes; None where it holds what cannot be brought back exactly."""
    image, target = sample
    if not isinstance(image, tv_tensors.Image) or image.dtype != torch.uint8:
        return None
    fields: list[dict[str, Any]] = []
    parts: list[NDArray[Any]] = []
    for name, value in {"": image, **target}.items():
        field = _described(value)
        if field is None:
            return None
        fields.append({"name": name, **field})
        if isinstance(value, Tensor):
            array = np.ascontiguousarray(value.as_subclass(Tensor).numpy()).reshape(-1)
            parts.append(np.packbits(array) if field["bits"] else array)
    header = json.dumps(fields).encode()
    lengths = [len(header), *(part.nbytes for part in parts)]
    sizes = np.array([len(lengths), *lengths], dtype=np.int64)
    return [sizes.data.cast("B"), memoryview(header), *(part.data.cast("B") for part in parts if part.size)]


def _described(value: Any) -> dict[str, Any] | None:
    if isinstance(value, bool | int | float | str) or value is None:
        return {"kind": "value", "value": value}
    if not isinstance(value, Tensor) or value.device.type != "cpu" or value.requires_grad:
        return None
    if type(value) not in (Tensor, tv_tensors.Image, tv_tensors.Mask, tv_tensors.BoundingBoxes):
        return None
    dtype = str(value.dtype).removeprefix("torch.")
    if dtype not in ("uint8", "bool", "int32", "int64", "float32", "float64"):
        return None
    field: dict[str, Any] = {"kind": type(value).__name__, "dtype": dtype, "shape": list(value.shape)}
    binary = dtype == "bool" or (dtype == "uint8" and (not value.numel() or int(value.max()) <= 1))
    field["bits"] = isinstance(value, tv_tensors.Mask) and binary
    if isinstance(value, tv_tensors.BoundingBoxes):
        field |= {"format": value.format.value, "canvas": list(value.canvas_size)}
    return field


def unpack(packed: memoryview) -> Sample | None:
    """The sample, in memory of its own; None where the bytes are cut."""
    try:
        count = int(np.frombuffer(packed[:8], dtype=np.int64)[0])
        lengths = np.frombuffer(packed[8 : 8 * (count + 1)], dtype=np.int64).tolist()
        at = 8 * (count + 1)
        if count < 1 or len(packed) != at + sum(lengths):
            return None
        fields = json.loads(bytes(packed[at : at + lengths[0]]))
    except (ValueError, IndexError):
        return None
    at += lengths[0]
    values: dict[str, Any] = {}
    rest = iter(lengths[1:])
    for field in fields:
        if field["kind"] == "value":
            values[field["name"]] = field["value"]
            continue
        length = next(rest)
        values[field["name"]] = _tensor(field, packed[at : at + length])
        at += length
    image = values.pop("")
    return image, values  # type: ignore[return-value]  # what was packed


def _tensor(field: Mapping[str, Any], content: memoryview) -> Tensor:
    shape, dtype = field["shape"], np.dtype(field["dtype"])
    if field["bits"]:
        count = int(np.prod(shape))
        array = np.unpackbits(np.frombuffer(content, dtype=np.uint8), count=count).astype(dtype, copy=False)
    else:
        array = np.frombuffer(content, dtype=dtype).copy()
    tensor = torch.from_numpy(array.reshape(shape))
    result: Tensor = tensor
    if field["kind"] == "BoundingBoxes":
        form = tv_tensors.BoundingBoxFormat(field["format"])
        result = tv_tensors.BoundingBoxes(tensor, format=form, canvas_size=tuple(field["canvas"]))
    elif field["kind"] in ("Image", "Mask"):
        result = getattr(tv_tensors, field["kind"])(tensor)
    return result
