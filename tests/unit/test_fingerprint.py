"""Digests of images and the fingerprint of a dataset: what moves them and what does not; differences of two states."""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision import tv_tensors

from detkit.components import Dataset, Silent
from detkit.data import digests as module
from detkit.data.differences import ClassChanges, DataState, ImageState, compare, compare_classes
from detkit.data.digests import ImageDigest, digest_images
from detkit.data.fingerprint import fingerprint, first_form_sha256, split_labels
from detkit.data.names import image_names
from detkit.data.splits import Division, Splits
from detkit.data.types import Annotation, ImageInfo, Target
from detkit.errors import DataError

CLASSES = ("cat", "dog")
OLD = 1_000_000_000 * 10**9  # long ago, nanoseconds


class Pixels(Dataset):
    """Images that are no files: of one value each, or another one every time."""

    class_names = CLASSES

    def __init__(self, *values: int, restless: bool = False) -> None:
        self._values = values
        self._restless = restless

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: int, /) -> tuple[Any, Target]:
        pixels = torch.full((3, 4, 5), self._values[index], dtype=torch.uint8)
        if self._restless:
            pixels[0, 0, 0] = time.perf_counter_ns() % 251
        target: Target = {
            "boxes": tv_tensors.BoundingBoxes(torch.zeros(0, 4), format="XYXY", canvas_size=(4, 5)),
            "labels": torch.zeros(0, dtype=torch.int64),
            "image_id": index,
            "area": torch.zeros(0),
            "iscrowd": torch.zeros(0, dtype=torch.bool),
        }
        return tv_tensors.Image(pixels), target


def box(label: int = 1, x: float = 1.0) -> Annotation:
    return Annotation(label, (x, 2.0, 5.0, 9.0), 28.0)


def files(folder: Path, count: int = 4) -> list[ImageInfo]:
    infos = []
    for number in range(count):
        file = folder / f"clip{number % 2}" / f"{number}.bin"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes([number]) * 100)
        os.utime(file, ns=(OLD, OLD))
        infos.append(ImageInfo(number, file, 20, 10, (box(), box(2, 3.0))[: number % 3]))
    return infos


def digested(infos: list[ImageInfo], cache: Path, dataset: Dataset | None = None) -> list[ImageDigest]:
    found = digest_images(dataset or Pixels(), infos, cache_folder=cache, messages=Silent())
    return [found[index] for index in range(len(infos))]


def printed(
    infos: list[ImageInfo], cache: Path, *, classes: tuple[str, ...] = CLASSES, splits: Splits | None = None
) -> dict[str, Any]:
    half = len(infos) // 2
    default = Splits(tuple(range(half)), tuple(range(half, len(infos))))
    return fingerprint(infos, classes, splits or default, digested(infos, cache))


# --- digests ---------------------------------------------------------------------------------------------------------


def test_a_files_digest_is_that_of_its_bytes(tmp_path: Path) -> None:
    found = digested(files(tmp_path / "data"), tmp_path / "cache")
    assert found[2] == ImageDigest("file", hashlib.sha256(bytes([2]) * 100).hexdigest(), 100)


def test_unchanged_files_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    infos = files(tmp_path / "data")
    first = digested(infos, tmp_path / "cache")
    read: list[Path] = []
    real = module._Cache.read

    def noted(cache: Any, path: Path) -> ImageDigest:
        read.append(path)
        return real(cache, path)

    monkeypatch.setattr(module._Cache, "read", noted)
    assert digested(infos, tmp_path / "cache") == first
    assert read == []
    assert infos[1].path is not None
    infos[1].path.write_bytes(b"x" * 100)  # the same size
    second = digested(infos, tmp_path / "cache")
    assert read == [infos[1].path]
    assert [one == other for one, other in zip(first, second, strict=True)] == [True, False, True, True]


def test_a_file_that_was_changed_just_now_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second change in the same tick of the file system's clock would not show, and some have but one clock."""
    monkeypatch.setattr(module, "state_of", lambda stat: module.State(stat.st_size, stat.st_mtime_ns, 0))
    infos = files(tmp_path / "data", 1)
    file = infos[0].path
    assert file is not None
    file.write_bytes(b"a" * 100)
    now = file.stat().st_mtime_ns
    first = digested(infos, tmp_path / "cache")
    file.write_bytes(b"b" * 100)
    os.utime(file, ns=(now, now))
    assert digested(infos, tmp_path / "cache") != first


def test_a_change_whose_time_was_set_back_shows(tmp_path: Path) -> None:
    """As of `cp -p` and `exiftool -P`: the same size, the same time of change."""
    infos = files(tmp_path / "data", 2)
    first = digested(infos, tmp_path / "cache")
    file = infos[0].path
    assert file is not None
    file.write_bytes(b"z" * 100)
    os.utime(file, ns=(OLD, OLD))
    second = digested(infos, tmp_path / "cache")
    assert second[0].sha256 == hashlib.sha256(b"z" * 100).hexdigest() != first[0].sha256
    assert second[1] == first[1]


def test_a_damaged_or_missing_cache_costs_only_the_reading(tmp_path: Path) -> None:
    infos = files(tmp_path / "data")
    first = digested(infos, tmp_path / "cache")
    (kept,) = (tmp_path / "cache" / "digests").iterdir()
    for damage in (b"", b"{", b'{"format_version": 1, "folder": 3}', b"[]"):
        kept.write_bytes(damage)
        assert digested(infos, tmp_path / "cache") == first
    no_folder = tmp_path / "file"
    no_folder.write_text("")
    assert digested(infos, no_folder) == first


def test_what_was_read_before_an_interruption_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    infos = files(tmp_path / "data", 6)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)  # one after the other
    real = module._Cache.read

    def stopped(cache: Any, path: Path) -> ImageDigest:
        if path.name == "4.bin":
            raise KeyboardInterrupt
        return real(cache, path)

    monkeypatch.setattr(module._Cache, "read", stopped)
    with pytest.raises(KeyboardInterrupt):
        digested(infos, tmp_path / "cache")
    read: list[str] = []

    def noted(cache: Any, path: Path) -> ImageDigest:
        read.append(path.name)
        return real(cache, path)

    monkeypatch.setattr(module._Cache, "read", noted)
    digested(infos, tmp_path / "cache")
    assert "4.bin" in read
    assert not {"0.bin", "1.bin", "2.bin", "3.bin"} & set(read)


def test_long_reading_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[str, int | None, str]] = []
    moved: list[int] = []

    class Bar:
        def advance(self, amount: int = 1) -> None:
            moved.append(amount)

    class Watched(Silent):
        def progress(self, description: str, total: int | None, unit: str = "") -> Any:
            shown.append((description, total, unit))
            return nullcontext(Bar())

    monkeypatch.setattr(module, "UNNOTICED_BYTES", 400)
    infos = files(tmp_path / "data")
    for _ in range(2):  # the second time nothing is read
        digest_images(Pixels(), infos, cache_folder=tmp_path / "cache", messages=Watched())
    assert shown == [("reading the images for the fingerprint of the data", 400, "B")]
    assert moved == [100] * 4


def test_a_lost_file_is_named(tmp_path: Path) -> None:
    infos = files(tmp_path / "data")
    assert infos[3].path is not None
    infos[3].path.unlink()
    with pytest.raises(DataError, match=r"3\.bin cannot be read: No such file"):
        digested(infos, tmp_path / "cache")


def test_images_that_are_no_files_are_known_by_their_pixels(tmp_path: Path) -> None:
    infos = [ImageInfo(number, None, 5, 4) for number in range(3)]
    first, other = (digested(infos, tmp_path, Pixels(1, 2, third)) for third in (3, 4))
    assert [digest.kind for digest in first] == ["pixels"] * 3
    assert [one == two for one, two in zip(first, other, strict=True)] == [True, True, False]
    restless = digested(infos, tmp_path, Pixels(1, 2, 3, restless=True))
    assert {digest.kind for digest in restless} == {"none"}
    # What cannot be read stops the run that needs it, not the fingerprint.
    broken = digested([*infos, ImageInfo(3, None, 5, 4)], tmp_path, Pixels(1, 2, 3))
    assert [digest.kind for digest in broken] == ["pixels"] * 3 + ["none"]


# --- the fingerprint -------------------------------------------------------------------------------------------------


def test_neither_folder_nor_order_nor_ids_nor_names_move_it(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    one = printed(files(tmp_path / "x"), cache)
    assert one["known_by"] == {"file": 4}
    assert one["bytes"] == 400
    assert printed(files(tmp_path / "elsewhere" / "deeper"), cache) == one

    listed = [
        replace(info, image_id=100 - info.image_id, name="other", annotations=info.annotations[::-1])
        for info in files(tmp_path / "x")[::-1]
    ]
    assert printed(listed, cache, splits=Splits((2, 3), (0, 1))) == one


def test_each_of_these_moves_it(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    infos = files(tmp_path / "x")
    one = printed(infos, cache)

    def moved(index: int, **changes: Any) -> dict[str, Any]:
        return printed([*infos[:index], replace(infos[index], **changes), *infos[index + 1 :]], cache)

    nudged = (replace(box(), box=(1.0, 2.0, 5.0, 9.000000000000002)),)
    for changed in (
        moved(1, annotations=nudged),
        moved(1, annotations=(box(2),)),
        moved(1, annotations=(replace(box(), iscrowd=True),)),
        moved(1, annotations=(replace(box(), mask={"size": [10, 20], "counts": "ab"}),)),
        moved(1, annotations=(box(), box())),  # the same object twice
        moved(1, width=21),
        printed(infos, cache, classes=("dog", "cat")),
        printed(infos, cache, classes=("cat", "hound")),
        printed([*infos, replace(infos[0], image_id=9)], cache),  # the same image twice
    ):
        assert changed["sha256"] != one["sha256"]
        assert changed["objects_sha256"] != one["objects_sha256"]
    assert moved(1, annotations=nudged)["splits_sha256"] == one["splits_sha256"]

    assert infos[2].path is not None
    infos[2].path.write_bytes(bytes([2]) * 99 + b"\3")
    bytes_changed = printed(infos, cache)
    assert bytes_changed["sha256"] != one["sha256"]
    assert bytes_changed["objects_sha256"] == one["objects_sha256"]


def test_the_splits_have_a_digest_of_their_own(tmp_path: Path) -> None:
    infos = files(tmp_path / "x")
    one = printed(infos, tmp_path)
    other = printed(infos, tmp_path, splits=Splits((0, 2), (1, 3)))
    assert other["sha256"] == one["sha256"]
    assert other["splits_sha256"] != one["splits_sha256"]
    folds = Division((Splits((0, 1), (2, 3)), Splits((2, 3), (0, 1))), folded=True)
    assert split_labels(4, folds) == ["fold 2", "fold 2", "fold 1", "fold 1"]
    assert fingerprint(infos, CLASSES, folds)["split_sizes"] == {"fold 1": 2, "fold 2": 2, "test": 0}


def test_the_first_form_is_what_it_was(tmp_path: Path) -> None:
    """Hard-coded: records of an older detkit go on only where it is computed as it was."""
    infos = files(tmp_path / "x", 3)
    found = first_form_sha256(infos, CLASSES, Splits((0, 1), (2,)))
    assert found == FIRST_FORM


FIRST_FORM = "2890abf499f51b3c9bef2e22375578787bc2b5455a6b7a7509957df146976853"


# --- differences -----------------------------------------------------------------------------------------------------


def state(*images: ImageState, classes: tuple[str, ...] = CLASSES, folded: bool = False) -> DataState:
    return DataState("x", classes, images, folded)


def shown(
    name: str, *objects: Annotation, content: str = "", split: str = "train", image_id: int = 1, width: int = 20
) -> ImageState:
    return ImageState(name, content or f"file:{name}", split, ImageInfo(image_id, None, width, 10, objects, name))


def test_equal_states_have_no_differences(tmp_path: Path) -> None:
    infos = files(tmp_path / "x")
    images = [
        ImageState(name, digest.content, "train", info)
        for name, digest, info in zip(image_names(infos), digested(infos, tmp_path), infos, strict=True)
    ]
    found = compare(state(*images), state(*images[::-1]))
    assert not found
    assert found.images == 4
    assert found.summary() == ""


def test_images_added_removed_renamed_changed_and_moved() -> None:
    a = state(shown("a"), shown("b"), shown("c"), shown("d", split="test"), shown("old", content="file:1"))
    b = state(
        shown("a"), shown("b", content="file:other"), shown("d", width=30), shown("e"), shown("new", content="file:1")
    )
    found = compare(a, b)
    assert (found.added, found.removed) == (("e",), ("c",))
    by_name = {change.name: change for change in found.changed}
    assert set(by_name) == {"b", "d", "old"}
    assert by_name["b"].content
    assert by_name["d"].split == ("test", "train")
    assert by_name["d"].size == ((20, 10), (30, 10))
    assert by_name["old"].new_name == "new"
    assert not by_name["old"].content
    assert found.summary() == (
        "1 image added (e); 1 image removed (c); 1 image renamed (old); 1 image with other bytes (b);"
        " 1 image of another size (d); 1 image in another split (d)"
    )


def test_objects_that_changed_are_told_from_new_ones() -> None:
    far = Annotation(1, (15.0, 0.0, 20.0, 5.0), 25.0)
    before = shown("a", box(), box(2, 1.5), far, box(1, 4.0))
    after = shown(
        "a",
        box(2),
        box(2, 1.5),
        replace(box(1, 4.0), box=(4.0, 2.0, 5.0, 8.0)),
        Annotation(1, (6.0, 0.0, 9.0, 1.0), 3.0),
    )
    (change,) = compare(state(before), state(after)).changed
    kinds = [(item.changes, (item.before or item.after or {})["box"][0]) for item in change.objects]
    assert kinds == [(("class",), 1.0), (("box",), 4.0), (("removed",), 15.0), (("added",), 6.0)]
    masked = shown("a", replace(box(), mask={"size": [10, 20], "counts": "x"}))
    (change,) = compare(state(shown("a", box())), state(masked)).changed
    assert [item.changes for item in change.objects] == [("mask",)]
    # The same object a second time is one more object.
    (change,) = compare(state(shown("a", box())), state(shown("a", box(), box()))).changed
    assert [item.changes for item in change.objects] == [("added",)]


def test_classes_renamed_and_reordered_are_no_changes_of_objects() -> None:
    assert compare_classes(("a", "b", "c"), ("a", "x", "c")) == ClassChanges(renamed=(("b", "x"),))
    assert compare_classes(("a", "b"), ("b", "a")) == ClassChanges(reordered=True)
    assert compare_classes(("a", "b"), ("a", "b", "c")) == ClassChanges(added=("c",))
    assert compare_classes(("a", "b", "c"), ("a", "c")) == ClassChanges(removed=("b",))
    found = compare(state(shown("a", box(1))), state(shown("a", box(2)), classes=("dog", "cat")))
    assert found.changed == ()
    assert found.classes.reordered
    found = compare(state(shown("a", box(1))), state(shown("a", box(1)), classes=("kitten", "dog")))
    assert found.changed == ()
    assert found.classes.renamed == (("cat", "kitten"),)


def test_what_cannot_be_compared_is_told() -> None:
    old = state(replace(shown("a"), content=""), shown("b", split="fold 1"), folded=True)
    found = compare(old, state(shown("a"), shown("b")))
    assert not found
    assert len(found.notes) == 2
    assert "one of the two has folds" in found.notes[0]
    assert "the bytes of 1 images are not compared" in found.notes[1]


def test_the_differences_are_json() -> None:
    from dataclasses import asdict

    found = compare(state(shown("a", box())), state(shown("a", box(2)), shown("b")))
    assert json.loads(json.dumps(asdict(found)))["changed"][0]["objects"][0]["changes"] == ["class"]
