"""Samples that are kept: bit for bit what the dataset gives, in memory and on disk, within bounds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage
from torch import Tensor
from torchvision import tv_tensors

from detkit.components import BOXES_AND_MASKS, Dataset, Draw, Silent
from detkit.data.augment import Augmentation, Stage
from detkit.data.cache import (
    CachedDataset,
    DiskStore,
    MemoryStore,
    Packed,
    _cgroup_limits,
    cached,
    file_of,
    pack,
    slot_bytes,
    unpack,
)
from detkit.data.loading import training_loader
from detkit.data.sampling import plan_epoch
from detkit.data.types import Annotation, ImageInfo, Target


class Files(Dataset):
    """PNG files with one object and its mask each; counts in a file how often an image was decoded, in any process."""

    class_names = ("thing",)
    provides = BOXES_AND_MASKS

    def __init__(self, folder: Path, count: int = 6, *, draws: bool = False, masks: int = 1) -> None:
        self._folder, self._count, self._draws, self._masks = folder, count, draws, masks
        self._ledger = folder / "decoded"
        for index in range(count):
            if self.path(index).exists():
                continue  # another of these, of the same files
            pixels = np.random.RandomState(index).randint(0, 256, (20 + index, 31, 3), dtype=np.uint8)
            PillowImage.fromarray(pixels).save(self.path(index))

    def path(self, index: int) -> Path:
        return self._folder / f"{index}.png"

    def __len__(self) -> int:
        return self._count

    def info(self, index: int) -> ImageInfo:
        objects = (Annotation(1, (1.0, 2.0, 9.0, 12.0), 80.0),) * self._masks
        return ImageInfo(index, self.path(index), 31, 20 + index, objects)

    @property
    def decoded(self) -> list[int]:
        return [int(line) for line in self._ledger.read_text().split()] if self._ledger.exists() else []

    def __getitem__(self, index: int, /) -> tuple[tv_tensors.Image, Target]:
        with self._ledger.open("a") as stream:
            stream.write(f"{index}\n")
        image = torch.from_numpy(np.array(PillowImage.open(self.path(index)))).permute(2, 0, 1)
        if self._draws:
            image = image // 2 + torch.randint(0, 9, image.shape, dtype=torch.uint8)
        masks = torch.zeros((self._masks, *image.shape[-2:]), dtype=torch.uint8)
        masks[:, 2:12, 1:9] = 1
        boxes, form = torch.tensor([[1.0, 2.0, 9.0, 12.0]] * self._masks), tv_tensors.BoundingBoxFormat.XYXY
        target: Any = {
            "boxes": tv_tensors.BoundingBoxes(boxes.reshape(-1, 4), format=form, canvas_size=image.shape[-2:]),
            "labels": torch.ones(self._masks, dtype=torch.int64),
            "image_id": index,
            "area": torch.full((self._masks,), 80.0),
            "iscrowd": torch.zeros(self._masks, dtype=torch.bool),
            "masks": tv_tensors.Mask(masks),
            "note": "ünïcode",
        }
        return tv_tensors.Image(image), target


class Heard(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, text: str) -> None:
        self.lines.append(text)


def joined(packed: Packed) -> bytes:
    return b"".join(bytes(part) for part in packed)


def kept(dataset: Dataset, folder: Path, *, mode: Any = "auto", bound: int | None = None, **other: Any) -> Dataset:
    arguments: dict[str, Any] = {"identity": "x", "processes": 1, "messages": Silent()} | other
    return cached(dataset, range(len(dataset)), mode=mode, bound=bound, folder=folder, **arguments)


def assert_same(first: tuple[Tensor, Any], second: tuple[Tensor, Any]) -> None:
    assert list(first[1]) == list(second[1])
    for a, b in zip([first[0], *first[1].values()], [second[0], *second[1].values()], strict=True):
        assert type(a) is type(b)
        if isinstance(a, Tensor):
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
            assert torch.equal(a, b)
        else:
            assert a == b
    assert first[1]["boxes"].canvas_size == second[1]["boxes"].canvas_size


@pytest.mark.parametrize("masks", [0, 1, 5])
@pytest.mark.parametrize("mode", ["memory", "disk", "auto"])
def test_what_is_kept_is_what_was_read(mode: str, masks: int, tmp_path: Path) -> None:
    dataset = Files(tmp_path, masks=masks)
    store = kept(dataset, tmp_path / "cache", mode=mode)
    assert isinstance(store, CachedDataset)
    already = len(dataset.decoded)  # one was looked at
    for _ in range(3):
        for index in range(6):
            sample = store[index]
            assert_same(sample, Files.__getitem__(Files(tmp_path, masks=masks), index))
            sample[0].zero_()  # what is given is the caller's own
            sample[1]["masks"].zero_()
    assert len(dataset.decoded) - already == 6 + 18  # the comparison reads each time
    again = kept(dataset, tmp_path / "cache", mode=mode)
    before = len(dataset.decoded)
    again[0], again[1]
    assert len(dataset.decoded) - before == (0 if mode == "disk" else 2)


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_share_what_is_in_memory_and_fill_it(workers: int, tmp_path: Path) -> None:
    dataset = Files(tmp_path, 8)
    store = kept(dataset, tmp_path, mode="memory")
    looked_at = len(dataset.decoded)
    contents = []
    for epoch in (1, 2, 3):
        plan = [step[0] for step in plan_epoch(range(8), batch_size=2, accumulate=1, processes=1, seed=1, epoch=epoch)]
        loaded = training_loader(store, plan, seed=1, workers=workers, pin_memory=False)
        images = [image.numpy().tobytes() for batch, _ in loaded for image in batch]
        contents.append(sorted(images))
    assert contents[0] == contents[1] == contents[2]
    assert sorted(dataset.decoded[looked_at:]) == list(range(8))  # each once, in whichever process


def test_augmented_batches_are_the_same_with_any_cache_and_workers(tmp_path: Path) -> None:
    """Three epochs each: nothing kept, all kept as it is read, and all found on disk."""

    def noisy(image: Any, target: Any, draw: Draw) -> Any:
        other, _ = draw.another()
        noise = torch.randint(0, 50, image.shape, dtype=torch.uint8)
        return tv_tensors.Image(image // 2 + noise + other[:, :1, :1] // 8), target

    def loaded(mode: str, workers: int) -> list[bytes]:
        dataset = kept(Files(tmp_path, 8), tmp_path / "cache", mode=mode)
        assert isinstance(dataset, CachedDataset) is (mode != "none")
        make = Augmentation([Stage("noisy", "noisy", noisy)], dataset, range(8))
        found = []
        for epoch in (1, 2, 3):
            steps = plan_epoch(range(8), batch_size=2, accumulate=1, processes=1, seed=1, epoch=epoch)
            batches = [step[0] for step in steps]
            for images, targets in training_loader(
                dataset, batches, seed=1, workers=workers, pin_memory=False, make=make
            ):
                found += [image.numpy().tobytes() for image in images]
                found += [target["masks"].numpy().tobytes() for target in targets]
        return found

    wanted = loaded("none", 0)
    assert len(set(wanted)) > 24
    for mode, workers in (("memory", 0), ("memory", 2), ("disk", 0), ("disk", 2)):
        assert loaded(mode, workers) == wanted, (mode, workers)


def test_a_dataset_that_draws_is_not_kept(tmp_path: Path) -> None:
    dataset = Files(tmp_path, draws=True)
    heard = Heard()
    state = torch.get_rng_state()
    assert kept(dataset, tmp_path, messages=heard) is dataset
    assert kept(dataset, tmp_path, mode="memory", messages=heard) is dataset
    assert heard.lines == ["images: the dataset draws random numbers for an image; decoded images are not kept"]
    assert torch.equal(torch.get_rng_state(), state)


def test_a_single_image_that_is_drawn_is_read_anew(tmp_path: Path) -> None:
    dataset = Files(tmp_path, draws=True)
    store = CachedDataset(dataset, MemoryStore(dict.fromkeys(range(6), 20_000)))
    assert not torch.equal(store[0][0], store[0][0])


def test_images_that_are_no_files_are_not_kept(tmp_path: Path) -> None:
    class Made(Files):
        def info(self, index: int) -> ImageInfo:
            return ImageInfo(index, None, 31, 20 + index)

    dataset = Made(tmp_path)
    assert kept(dataset, tmp_path, mode="memory") is dataset


def test_the_bound_is_kept_and_told(tmp_path: Path) -> None:
    dataset, heard = Files(tmp_path), Heard()
    size = slot_bytes(dataset.info(0), dataset.provides)
    part = kept(dataset, tmp_path, mode="memory", bound=int(2.5 * size), messages=heard)
    assert isinstance(part, CachedDataset)
    before = len(dataset.decoded)
    for _ in range(2):
        for index in range(6):
            assert_same(part[index], Files(tmp_path)[index])
    assert len(dataset.decoded) - before == 2 + 2 * 4 + 12
    assert kept(dataset, tmp_path, mode="auto", bound=int(2.5 * size), messages=heard) is dataset
    assert kept(dataset, tmp_path, mode="auto", bound=100 * size, processes=20, messages=heard) is dataset
    assert isinstance(kept(dataset, tmp_path, mode="auto", bound=100 * size, messages=heard), CachedDataset)
    assert kept(dataset, tmp_path, mode="none", messages=heard) is dataset
    assert heard.lines[0].startswith(
        "images: 2 of 6 decoded images are kept in memory, at most 0 MB; for more there is"
    )
    assert heard.lines[1].startswith(
        "images: 6 decoded images would take about 0 MB of memory, more than cache_bytes; each"
    )
    assert "shared by 20 processes" in heard.lines[2]
    assert heard.lines[3].startswith("images: 6 decoded images are kept in memory, at most 0 MB")
    assert len(heard.lines) == 4


def test_files_on_disk_belong_to_one_state_of_image_objects_and_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = Files(tmp_path)
    info = dataset.info(0)
    names = {file_of(info, tmp_path, "x"), file_of(dataset.info(1), tmp_path, "x"), file_of(info, tmp_path, "y")}
    names.add(file_of(Files(tmp_path, masks=2).info(0), tmp_path, "x"))
    state = dataset.path(0).stat()
    names.add(file_of(info, tmp_path, "x"))
    os.utime(dataset.path(0), ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    names.add(file_of(info, tmp_path, "x"))
    content = dataset.path(0).read_bytes()
    dataset.path(0).write_bytes(content)  # of the same size, and its time set back
    os.utime(dataset.path(0), ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    names.add(file_of(info, tmp_path, "x"))
    monkeypatch.setattr("detkit.data.cache.PILLOW", "another")  # which may decode otherwise
    names.add(file_of(info, tmp_path, "x"))
    assert len(names) == 7


def test_a_file_that_was_cut_is_made_again(tmp_path: Path) -> None:
    dataset, file = Files(tmp_path), tmp_path / "kept" / "one.sample"
    store = CachedDataset(dataset, DiskStore({0: file}))
    wanted = store[0]
    whole = file.read_bytes()
    for cut in (b"", whole[:5], whole[:100], whole[:-1]):
        file.write_bytes(cut)
        assert_same(store[0], wanted)
        assert file.read_bytes() == whole


def test_a_disk_that_cannot_be_written_only_costs_time(tmp_path: Path) -> None:
    (tmp_path / "no folder").write_text("")
    store = CachedDataset(Files(tmp_path), DiskStore({0: tmp_path / "no folder" / "one.sample"}))
    assert_same(store[0], store[0])


def test_slots_hold_what_is_packed_and_nothing_more_is_written(tmp_path: Path) -> None:
    dataset = Files(tmp_path, masks=5)
    for index in range(6):
        packed = pack(dataset[index])
        assert packed is not None
        assert len(joined(packed)) <= slot_bytes(dataset.info(index), dataset.provides)
    small = MemoryStore({0: 100})
    store = CachedDataset(dataset, small)
    assert_same(store[0], store[0])
    assert small.get(0) is None


def test_what_cannot_come_back_exactly_is_not_packed(tmp_path: Path) -> None:
    image, target = Files(tmp_path)[0]
    assert pack((image, {**target, "odd": object()})) is None  # type: ignore[typeddict-unknown-key]  # on purpose
    assert pack((image, {**target, "odd": torch.zeros(2, dtype=torch.complex64)})) is None  # type: ignore[typeddict-unknown-key]
    values: Any = {**target, "masks": tv_tensors.Mask(target["masks"] * 3)}
    packed = pack((image, values))
    assert packed is not None
    back = unpack(memoryview(joined(packed)))
    assert back is not None
    assert_same(back, (image, values))


def test_a_containers_limit_counts(tmp_path: Path) -> None:
    root, own = tmp_path / "cgroup", tmp_path / "self"
    (root / "box" / "inner").mkdir(parents=True)
    own.write_text("0::/box/inner\n")
    for folder, limit, used in ((root / "box", "1000", "700"), (root / "box" / "inner", "max", "100")):
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text(f"{used}\n")
        (folder / "memory.stat").write_text("anon 5\ninactive_file 200\n")
    assert _cgroup_limits(root, own) == [(1000, 500)]
    assert _cgroup_limits(tmp_path / "absent", tmp_path / "absent too") == []
