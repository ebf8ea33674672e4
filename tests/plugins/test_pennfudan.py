"""The Penn-Fudan dataset on made-up folders of the same form, and on the real one where it lies beside the checkout."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from detkit import BOXES_AND_MASKS, BuildContext, DataError, Dataset
from detkit.data.targets import decode_masks, info_from_target
from detkit_pennfudan import PENN_FUDAN, PennFudanOptions
from detkit_pennfudan.dataset import instances

REAL = Path(__file__).parents[3] / "shared" / "data"
needs_real_data = pytest.mark.skipif(
    not (REAL / "PennFudanPed").is_dir(), reason="the real Penn-Fudan dataset is not beside the checkout"
)
#: The objects whose annotated box differs from their mask's by more than a pixel in the release itself.
DIFFERENT = {("PennPed00019", 6), ("PennPed00021", 2), ("PennPed00027", 1), ("PennPed00090", 1)}


def make_folder(root: Path, masks: Mapping[str, NDArray[np.uint8]], added: str = "# image name\tindex\n") -> Path:
    """A folder of the dataset's form below root, with one plain image a mask."""
    folder = root / "PennFudanPed"
    (folder / "PNGImages").mkdir(parents=True)
    (folder / "PedMasks").mkdir()
    for name, ids in masks.items():
        height, width = ids.shape
        Image.new("RGB", (width, height), (10, 20, 30)).save(folder / "PNGImages" / f"{name}.png")
        Image.fromarray(ids).save(folder / "PedMasks" / f"{name}_mask.png")
    (folder / "added-object-list.txt").write_text(added)
    return folder


def ids_of(height: int, width: int, *boxes: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    ids = np.zeros((height, width), np.uint8)
    for number, (x0, y0, x1, y1) in enumerate(boxes, start=1):
        ids[y0:y1, x0:x1] = number
    return ids


def open_dataset(root: Path, objects: str = "all") -> Dataset:
    options = PennFudanOptions.model_validate({"root": root, "verify": "none", "objects": objects})
    return PENN_FUDAN.build(options, BuildContext(cache_folder=root / "cache"))


def test_targets_are_what_the_masks_say(tmp_path: Path) -> None:
    ids = ids_of(20, 30, (2, 3, 10, 12), (25, 0, 30, 20))
    make_folder(tmp_path, {"b": ids, "a": ids_of(8, 9)})
    dataset = open_dataset(tmp_path)

    assert len(dataset) == 2
    assert dataset.class_names == ("pedestrian",)
    assert dataset.provides == BOXES_AND_MASKS
    image, target = dataset[1]
    assert image.dtype == torch.uint8
    assert image.shape == (3, 20, 30)
    assert image[:, 0, 0].tolist() == [10, 20, 30]
    assert target["boxes"].tolist() == [[2, 3, 10, 12], [25, 0, 30, 20]]
    assert target["boxes"].dtype == torch.float32
    assert target["labels"].tolist() == [1, 1]
    assert target["labels"].dtype == torch.int64
    assert target["image_id"] == 1
    assert target["area"].tolist() == [72, 100]
    assert target["iscrowd"].tolist() == [False, False]
    assert torch.equal(target["masks"], torch.from_numpy(np.stack([ids == 1, ids == 2]).astype(np.uint8)))


def test_an_image_without_pedestrians_has_an_empty_target(tmp_path: Path) -> None:
    make_folder(tmp_path, {"a": ids_of(8, 9)})
    _, target = open_dataset(tmp_path)[0]
    assert target["boxes"].shape == (0, 4)
    assert target["masks"].shape == (0, 8, 9)
    assert target["labels"].shape == target["area"].shape == target["iscrowd"].shape == (0,)


def test_a_single_pixel_is_one_pixel_wide_and_high() -> None:
    found = instances(ids_of(6, 7, (6, 5, 7, 6)))
    assert {number: (a.box, a.area) for number, a in found.items()} == {1: ((6, 5, 7, 6), 1)}


def test_numbers_may_be_left_out() -> None:
    ids = ids_of(6, 7)
    ids[1, 2], ids[4, 5] = 3, 255
    assert {number: a.box for number, a in instances(ids).items()} == {3: (2, 1, 3, 2), 255: (5, 4, 6, 5)}


def test_boxes_agree_with_a_plain_loop_on_random_masks() -> None:
    generator = np.random.default_rng(0)
    for _ in range(30):
        height, width = generator.integers(1, 20, 2)
        ids = generator.choice(np.arange(5, dtype=np.uint8), (height, width), p=[0.8, 0.05, 0.05, 0.05, 0.05])
        expected = {}
        for number in sorted(set(ids.ravel().tolist()) - {0}):
            points = [(x, y) for y in range(height) for x in range(width) if ids[y, x] == number]
            xs, ys = [x for x, _ in points], [y for _, y in points]
            expected[number] = (min(xs), min(ys), max(xs) + 1, max(ys) + 1)
        found = instances(ids)
        assert {number: a.box for number, a in found.items()} == expected
        masks = decode_masks([a.mask for a in found.values() if a.mask], height, width)
        for mask, (number, annotation) in zip(masks, found.items(), strict=True):
            assert np.array_equal(mask, ids == number)
            assert annotation.area == mask.sum()


def test_info_is_the_target_and_decodes_no_image(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, {"a": ids_of(20, 30, (2, 3, 10, 12), (25, 0, 30, 20))})
    dataset = open_dataset(tmp_path)
    derived = info_from_target(*dataset[0])
    image = folder / "PNGImages" / "a.png"
    image.write_bytes(image.read_bytes()[:60])  # the header and no more
    info = open_dataset(tmp_path).info(0)
    assert info.path == image
    assert (info.image_id, info.width, info.height) == (0, 30, 20)
    assert [a.source for a in info.annotations] == ["object 1", "object 2"]
    assert [(a.label, a.box, a.area, a.mask) for a in info.annotations] == [
        (a.label, a.box, a.area, a.mask) for a in derived.annotations
    ]


def test_the_mask_is_decoded_once(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, {"a": ids_of(4, 5, (0, 0, 2, 2))})
    dataset = open_dataset(tmp_path)
    first = dataset.info(0)
    (folder / "PedMasks" / "a_mask.png").unlink()
    assert dataset.info(0) is first
    assert dataset.info(-1) is first
    assert dataset[0][1]["boxes"].tolist() == [[0, 0, 2, 2]]


def test_an_index_beyond_the_end_is_an_index_error(tmp_path: Path) -> None:
    make_folder(tmp_path, {"a": ids_of(4, 5)})
    with pytest.raises(IndexError):
        open_dataset(tmp_path)[1]


def test_the_papers_objects_leave_out_the_added_ones(tmp_path: Path) -> None:
    ids = ids_of(10, 10, (0, 0, 2, 2), (4, 4, 6, 6))
    make_folder(tmp_path, {"a": ids, "b": ids}, added="# image name (\t) object index\na.png\t1\nb.png\t1\nb.png\t2\n")
    dataset = open_dataset(tmp_path, "paper")
    assert [[a.source for a in dataset.info(i).annotations] for i in range(2)] == [["object 2"], []]
    _, target = dataset[0]
    assert target["boxes"].tolist() == [[4, 4, 6, 6]]
    assert target["masks"].sum() == 4
    assert len(open_dataset(tmp_path).info(1).annotations) == 2


def test_the_papers_objects_need_the_list(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, {"a": ids_of(4, 5)}, added="a.png 1\n")
    with pytest.raises(DataError, match=re.escape("added-object-list.txt:1: 'a.png 1' is not an image name")):
        open_dataset(tmp_path, "paper")
    (folder / "added-object-list.txt").unlink()
    with pytest.raises(DataError, match=r'added-object-list.txt: cannot be read .*; objects = "paper" needs it'):
        open_dataset(tmp_path, "paper")


def test_root_may_be_the_folder_itself(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, {"a": ids_of(4, 5)})
    assert len(open_dataset(folder)) == 1


def test_a_folder_without_images(tmp_path: Path) -> None:
    make_folder(tmp_path, {})
    with pytest.raises(DataError, match="PNGImages: holds no PNG images"):
        open_dataset(tmp_path)


def test_missing_masks_are_named(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, {name: ids_of(4, 5) for name in "abc"})
    (folder / "PedMasks" / "b_mask.png").unlink()
    with pytest.raises(DataError, match=r"b_mask.png: is missing; every image in PNGImages needs its mask"):
        open_dataset(tmp_path)
    (folder / "PedMasks" / "a_mask.png").unlink()
    with pytest.raises(DataError, match=r"a_mask.png: is missing \(and 1 more\)"):
        open_dataset(tmp_path)


def test_a_mask_of_another_size_than_its_image(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, {"a": ids_of(4, 5)})
    Image.fromarray(ids_of(5, 4)).save(folder / "PedMasks" / "a_mask.png")
    with pytest.raises(DataError, match=r"a_mask.png: is 4 x 5 pixels, its image a.png 5 x 4"):
        open_dataset(tmp_path).info(0)


def test_a_mask_in_colour(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, {"a": ids_of(4, 5)})
    Image.new("RGB", (5, 4)).save(folder / "PedMasks" / "a_mask.png")
    with pytest.raises(DataError, match=r"a_mask.png: has 3 channels"):
        open_dataset(tmp_path).info(0)


@pytest.mark.parametrize("contents", ["", "not an image", "cut"])
@pytest.mark.parametrize("file", ["PNGImages/a.png", "PedMasks/a_mask.png"])
def test_a_file_that_does_not_decode_is_named(tmp_path: Path, file: str, contents: str) -> None:
    folder = make_folder(tmp_path, {"a": np.random.default_rng(0).integers(0, 9, (40, 50), np.uint8)})
    whole = (folder / file).read_bytes()
    (folder / file).write_bytes(whole[: len(whole) // 2] if contents == "cut" else contents.encode())
    with pytest.raises(DataError, match=rf"{file}: cannot be read as an image \([^/]+\); replace it"):
        open_dataset(tmp_path)[0]


def test_the_module_is_light() -> None:
    code = "import sys, detkit_pennfudan; sys.exit(bool({'torch', 'numpy', 'PIL', 'filelock'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@needs_real_data
def test_the_real_dataset(tmp_path: Path) -> None:
    context = BuildContext(cache_folder=tmp_path, offline=True)
    dataset = PENN_FUDAN.build(PennFudanOptions(root=REAL), context)
    assert len(dataset) == 170
    infos = [dataset.info(index) for index in range(170)]
    assert sum(len(info.annotations) for info in infos) == 423

    different: set[tuple[str, int]] = set()
    for info in infos:
        assert info.path is not None
        text = (REAL / "PennFudanPed" / "Annotation" / f"{info.path.stem}.txt").read_text(encoding="latin-1")
        assert re.search(r"\(X x Y x C\) : (\d+) x (\d+)", text[:400]) is not None
        rows = re.findall(r"object (\d+) .*: \((\d+), (\d+)\) - \((\d+), (\d+)\)", text)
        assert len(rows) == len(info.annotations)
        for row, annotation in zip(sorted([int(v) for v in row] for row in rows), info.annotations, strict=True):
            number, x0, y0, x1, y1 = row
            assert annotation.source == f"object {number}"
            # The first pixel is 1 there and the last one belongs to the box: [x0 - 1, x1) in our terms.
            distance = max(abs(a - b) for a, b in zip((x0 - 1, y0 - 1, x1, y1), annotation.box, strict=True))
            if distance > 1:
                different.add((info.path.stem, number))
    assert different == DIFFERENT

    image, target = dataset[0]
    assert image.shape == (3, 536, 559)
    assert len(target["boxes"]) == 2
    assert target["masks"].shape == (2, 536, 559)


@needs_real_data
def test_the_papers_objects_of_the_real_dataset(tmp_path: Path) -> None:
    context = BuildContext(cache_folder=tmp_path, offline=True)
    dataset = PENN_FUDAN.build(PennFudanOptions(root=REAL, objects="paper"), context)
    assert sum(len(dataset.info(index).annotations) for index in range(len(dataset))) == 345
