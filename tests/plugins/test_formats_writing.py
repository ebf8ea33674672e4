"""Datasets written in other formats: what comes back, what is told as lost, round trips of real data."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torchvision import tv_tensors

from detkit import BOXES, BOXES_AND_MASKS, DataError, Dataset, DatasetComponent, Written
from detkit.data.targets import encode_masks, target_of
from detkit.data.types import Annotation, ImageInfo
from detkit_formats import COCO, CSV, MASKS, VOC, YOLO
from plugins.format_files import Told, coco_json, opened, picture, voc_folder, voc_object

SHARED = Path(__file__).parents[3] / "shared" / "data"
needs_real_data = pytest.mark.skipif(
    not (SHARED / "bccd").is_dir() or not (SHARED / "PennFudanPed").is_dir(),
    reason="BCCD and Penn-Fudan are not beside the checkout",
)


def written(component: DatasetComponent[Any], dataset: Dataset, folder: Path, transfer: str = "copy") -> Written:
    folder.mkdir(parents=True)
    assert component.write is not None
    return component.write(dataset, folder, transfer, Told())  # type: ignore[arg-type]  # one of the three


def lost(done: Written) -> dict[str, int]:
    return {loss.what: loss.count for loss in done.losses}


def by_name(dataset: Dataset) -> dict[str, list[tuple[str, Any]]]:
    """Image name, without folders and ending, to the classes and boxes of its objects."""
    infos = [dataset.info(index) for index in range(len(dataset))]
    found = {
        Path(info.label).stem: [(dataset.class_names[item.label - 1], item.box) for item in info.annotations]
        for info in infos
    }
    assert len(found) == len(dataset)
    return found


class Some(Dataset):
    """Images that exist only in memory, or some of another dataset's."""

    def __init__(
        self,
        infos: Sequence[ImageInfo],
        class_names: Sequence[str] = ("cat", "dog"),
        splits: dict[str, list[int]] | None = None,
    ) -> None:
        self.infos = infos
        self.class_names = tuple(class_names)
        self.splits = splits
        self.provides = (
            BOXES_AND_MASKS if any(a.mask is not None for info in infos for a in info.annotations) else BOXES
        )

    def __len__(self) -> int:
        return len(self.infos)

    def info(self, index: int) -> ImageInfo:
        return self.infos[index]

    def __getitem__(self, index: int, /) -> Any:
        info = self.infos[index]
        pixels = torch.full((3, info.height, info.width), index, dtype=torch.uint8)
        return tv_tensors.Image(pixels), target_of(info, masks="masks" in self.provides)


def of(label: int, box: tuple[float, float, float, float], **more: Any) -> Annotation:
    area = max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])
    return Annotation(label, box, **{"area": area, **more})


def info(number: int, *annotations: Annotation, name: str = "", path: Path | None = None) -> ImageInfo:
    return ImageInfo(number, path, 40, 30, annotations, name or f"{number}.png")


FORMATS: dict[str, DatasetComponent[Any]] = {"coco": COCO, "voc": VOC, "yolo": YOLO, "csv": CSV}


# --- what comes back -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_images_in_memory_come_back_with_boxes_classes_and_splits(tmp_path: Path, name: str) -> None:
    dataset = Some(
        [info(1, of(2, (1, 2, 11, 12)), of(1, (3, 4, 3, 9))), info(2), info(3, of(1, (0, 0, 40, 30)))],
        splits={"train": [0, 2], "validation": [1]},
    )
    done = written(FORMATS[name], dataset, tmp_path / "out")
    assert (done.images, done.objects) == (3, 3)
    again = opened(FORMATS[name], root=tmp_path / "out")
    assert again.class_names == ("cat", "dog")
    found = by_name(again)
    for image, objects in by_name(dataset).items():
        assert [name for name, _ in found[image]] == [name for name, _ in objects]
        for (_, box), (_, expected) in zip(found[image], objects, strict=True):
            assert box == pytest.approx(expected, abs=1e-6)
    assert again.splits is not None
    names = {split: sorted(by_name_of(again, indices)) for split, indices in again.splits.items()}
    assert names == {"train": ["1", "3"], "validation": ["2"]}
    image = next(again[index][0] for index in range(3) if Path(again.info(index).label).stem == "3")
    assert image.unique().tolist() == [2]


def by_name_of(dataset: Dataset, indices: Sequence[int]) -> list[str]:
    return [Path(dataset.info(index).label).stem for index in indices]


@pytest.mark.parametrize("name", FORMATS)
def test_without_splits_none_come_back(tmp_path: Path, name: str) -> None:
    written(FORMATS[name], Some([info(1, of(1, (1, 2, 3, 4)))], ["cat"]), tmp_path / "out")
    again = opened(FORMATS[name], root=tmp_path / "out")
    assert again.splits is None
    assert by_name(again) == {"1": [("cat", pytest.approx((1, 2, 3, 4)))]}


def test_coco_keeps_ids_crowds_masks_and_fractions(tmp_path: Path) -> None:
    mask = np.zeros((1, 30, 40), np.uint8)
    mask[0, 3:9, 2:12] = 1
    (rle,) = encode_masks(mask)
    dataset = Some(
        [
            info(70, of(2, (2.25, 3, 12, 9), mask=rle, area=60.0, iscrowd=True)),
            info(7, of(1, (0.1, 0.2, 0.7, 0.9), mask=rle, area=60.0)),
        ],
        splits={"train": [0], "val": [1]},
    )
    done = written(COCO, dataset, tmp_path / "out")
    assert done.losses == ()
    again = opened(COCO, root=tmp_path / "out")
    assert again.provides == BOXES_AND_MASKS
    for index in range(2):
        found, expected = again.info(index), dataset.info(index)
        assert found.image_id == expected.image_id
        for a, b in zip(found.annotations, expected.annotations, strict=True):
            assert (a.label, a.area, a.iscrowd, a.mask, a.coco_box) == (b.label, b.area, b.iscrowd, b.mask, b.coco_box)
    rows = [
        row
        for file in (tmp_path / "out/annotations").glob("*.json")
        for row in json.loads(file.read_text())["annotations"]
    ]
    assert sorted(row["id"] for row in rows) == [1, 2]
    assert not any("corners" in row for row in rows)


# --- what is lost ----------------------------------------------------------------------------------------------------


def lossy() -> Some:
    mask = np.zeros((2, 30, 40), np.uint8)
    mask[0, 3:13, 2:12], mask[1, 3:13, 2:5] = 1, 1
    first, second = encode_masks(mask)
    return Some(
        [
            info(1, of(1, (2.25, 3, 12, 13), mask=first, area=100.0), of(2, (2, 3, 5, 13), mask=second, area=30.0)),
            info(2, of(1, (-1, 3, 12, 13), mask=first, area=100.0, iscrowd=True)),
        ]
    )


def test_voc_rounds_boxes_drops_masks_and_marks_crowds(tmp_path: Path) -> None:
    done = written(VOC, lossy(), tmp_path / "out")
    assert lost(done) == {"fractions of pixels": 1, "masks": 3, "crowds": 1, "image ids": 2}
    assert [loss.example for loss in done.losses if loss.what == "crowds"] == ["2.png, object 0"]
    again = opened(VOC, root=tmp_path / "out", difficult="crowd")
    assert by_name(again)["1"] == [("cat", (2, 3, 12, 13)), ("dog", (2, 3, 5, 13))]
    assert again.info(1).annotations[0].iscrowd


def test_a_box_thinner_than_a_pixel_keeps_its_area(tmp_path: Path) -> None:
    written(VOC, Some([info(1, of(1, (2.1, 3.2, 2.3, 9.4)), of(1, (2.5, 3.5, 4.5, 9.5)))]), tmp_path / "out")
    assert [box for _, box in by_name(opened(VOC, root=tmp_path / "out"))["1"]] == [(2.1, 3.2, 2.3, 9.4), (3, 4, 5, 10)]


def test_yolo_leaves_crowds_out_and_clips(tmp_path: Path) -> None:
    dataset = Some([info(1, of(1, (-4, 3, 12, 33)), of(2, (2, 3, 5, 13), iscrowd=True))])
    done = written(YOLO, dataset, tmp_path / "out")
    assert done.objects == 1
    assert lost(done) == {"boxes that reach out of the image": 1, "crowds": 1, "splits": 1, "image ids": 1}
    assert by_name(opened(YOLO, root=tmp_path / "out"))["1"] == [("cat", pytest.approx((0, 3, 12, 30)))]
    assert yaml.safe_load((tmp_path / "out/data.yaml").read_text()) == {"names": {0: "cat", 1: "dog"}}


def test_yolo_leaves_out_what_lies_outside(tmp_path: Path) -> None:
    """Clipped it would be a box without area, with which nobody can train."""
    dataset = Some([info(1, of(1, (50, 40, 60, 45)), of(2, (2, 3, 2, 13)), of(1, (1, 2, 3, 4)))])
    done = written(YOLO, dataset, tmp_path / "out")
    assert done.objects == 2
    assert lost(done) == {"objects outside of the image": 1, "splits": 1, "image ids": 1}
    assert [name for name, _ in by_name(opened(YOLO, root=tmp_path / "out"))["1"]] == ["dog", "cat"]


def test_a_table_keeps_boxes_to_the_last_bit(tmp_path: Path) -> None:
    dataset = Some([info(1, of(2, (0.1, 1 / 3, 12.7, 13), iscrowd=True)), info(2)], ["dog", "cat", "ant"])
    done = written(CSV, dataset, tmp_path / "out")
    assert lost(done) == {"crowds": 1, "image ids": 2, "classes": 2, "the order of classes": 1}
    again = opened(CSV, root=tmp_path / "out", classes=["dog", "cat", "ant"])
    assert by_name(again) == {"1": [("cat", (0.1, 1 / 3, 12.7, 13))], "2": []}


def test_masks_are_painted_and_what_they_hide_is_told(tmp_path: Path) -> None:
    done = written(MASKS, lossy(), tmp_path / "out")
    assert lost(done) == {"masks": 1, "crowds": 1, "boxes": 2, "image ids": 2}
    again = opened(MASKS, root=tmp_path / "out")
    assert again.class_names == ("cat", "dog")
    assert by_name(again) == {"1": [("cat", (5, 3, 12, 13)), ("dog", (2, 3, 5, 13))], "2": [("cat", (2, 3, 12, 13))]}
    assert [item.area for item in again.info(0).annotations] == [70, 30]
    with pytest.raises(DataError, match="has boxes and no masks"):
        written(MASKS, Some([info(1, of(1, (1, 2, 3, 4)))]), tmp_path / "boxes")


def test_more_objects_than_a_byte_counts_and_hidden_ones(tmp_path: Path) -> None:
    masks = np.zeros((300, 30, 40), np.uint8)
    for number in range(299):
        masks[number, number // 40, number % 40] = 1
    masks[299] = masks[0]
    items = [of(1, (n % 40, n // 40, n % 40 + 1, n // 40 + 1), mask=rle) for n, rle in enumerate(encode_masks(masks))]
    items[299] = of(1, (0, 0, 1, 1), mask=items[299].mask)
    done = written(MASKS, Some([info(1, *items)], ["cat"]), tmp_path / "out")
    assert (done.objects, lost(done)["objects"]) == (299, 1)
    again = opened(MASKS, root=tmp_path / "out")
    assert len(again.info(0).annotations) == 299


def test_what_files_state_beside_is_told(tmp_path: Path) -> None:
    root = voc_folder(
        tmp_path / "voc", {"a": [voc_object("cat", difficult=1, truncated=1), voc_object("cat", pose="Left")]}
    )
    done = written(COCO, opened(VOC, root=root), tmp_path / "coco")
    assert lost(done) == {"truncated of objects": 1, "pose of objects": 1, "difficult of objects": 1}
    file = coco_json(
        tmp_path / "all.json",
        [{"id": 1, "file_name": "a.jpg", "license": 3}],
        [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "attributes": {"colour": "red"}}],
        pictures=tmp_path,
    )
    done = written(YOLO, opened(COCO, annotations=file), tmp_path / "yolo")
    assert lost(done).items() >= {"attributes of objects": 1, "license of images": 1}.items()


# --- image files -----------------------------------------------------------------------------------------------------


def test_names_that_formats_cannot_hold(tmp_path: Path) -> None:
    files = [
        picture(tmp_path / name, seed=seed) for seed, name in enumerate(["a/1.jpg", "b/1.jpg", "b/1.png", "c d é.jpg"])
    ]
    infos = [info(n, of(1, (n, 1, n + 5, 9)), name=str(f.relative_to(tmp_path)), path=f) for n, f in enumerate(files)]
    dataset = Some(infos, ["cat"])
    done = written(VOC, dataset, tmp_path / "out")
    names = sorted(file.name for file in (tmp_path / "out/JPEGImages").iterdir())
    assert names == ["a_1.jpg", "b_1-2.png", "b_1.jpg", "c d é.jpg"]
    assert lost(done)["names of images"] == 3
    assert (tmp_path / "out/JPEGImages/b_1.jpg").read_bytes() == files[1].read_bytes()
    boxes = {name: box for name, [(_, box)] in by_name(opened(VOC, root=tmp_path / "out")).items()}
    assert boxes["b_1-2"] == (2, 1, 7, 9)
    kept = written(COCO, dataset, tmp_path / "coco")
    assert kept.losses == ()
    assert [i.label for i in map(opened(COCO, root=tmp_path / "coco").info, range(4))] == [i.label for i in infos]


def test_paths_that_lead_out_of_the_folder_stay_in_it(tmp_path: Path) -> None:
    file = picture(tmp_path / "a.jpg")
    written(COCO, Some([info(1, name="../../evil.jpg", path=file)]), tmp_path / "x/out")
    assert (tmp_path / "x/out/images/evil.jpg").is_file()


@pytest.mark.parametrize("transfer", ["copy", "symlink", "hardlink"])
def test_images_are_copied_or_linked(tmp_path: Path, transfer: str) -> None:
    file = picture(tmp_path / "a.jpg")
    written(VOC, Some([info(1, name="a.jpg", path=file)]), tmp_path / "out", transfer)
    placed = tmp_path / "out/JPEGImages/a.jpg"
    assert placed.read_bytes() == file.read_bytes()
    assert placed.is_symlink() == (transfer == "symlink")
    assert (os.stat(placed).st_ino == os.stat(file).st_ino) == (transfer != "copy")


@pytest.mark.parametrize("orientation", [3, 6])
def test_turned_photographs_are_written_as_they_are_seen(tmp_path: Path, orientation: int) -> None:
    """Formats differ in whether they turn images: a file whose EXIF data turns it would mean other pixels there."""
    root = voc_folder(tmp_path / "voc", {"a": [voc_object("cat", (1, 2, 11, 12))]})
    picture(root / "JPEGImages/a.jpg", 40, 30, orientation=orientation)
    dataset = opened(VOC, root=root, stated_size="ignore")  # exif = "apply"
    done = written(COCO, dataset, tmp_path / "coco")  # whose default is "ignore"
    assert lost(done)["EXIF turns"] == 1
    again = opened(COCO, root=tmp_path / "coco")
    assert again.info(0).label == "a.png"
    assert torch.equal(again[0][0], dataset[0][0])
    assert by_name(again) == by_name(dataset)


def test_images_that_cannot_be_read_are_all_told(tmp_path: Path) -> None:
    root = voc_folder(tmp_path / "voc", {name: [voc_object()] for name in "abc"})
    (root / "JPEGImages/a.jpg").write_bytes(b"")
    (root / "JPEGImages/c.jpg").write_text("no picture")
    with pytest.raises(DataError, match=r"2 images cannot be read; nothing was written:(.|\n)*a\.jpg(.|\n)*c\.jpg"):
        written(YOLO, opened(VOC, root=root), tmp_path / "out")


# --- round trips -----------------------------------------------------------------------------------------------------


def round_trip(dataset: Dataset, folder: Path) -> None:
    """coco to voc to yolo to coco: every class, and every box within half a pixel."""
    expected = by_name(dataset)
    for number, name in enumerate(("coco", "voc", "yolo", "coco")):
        component = FORMATS[name]
        place = folder / f"{number}-{name}"
        done = written(component, dataset, place, "symlink")
        dataset = opened(component, root=place)
        assert (done.images, done.objects) == (len(expected), sum(map(len, expected.values())))
        found = by_name(dataset)
        assert found.keys() == expected.keys()
        for image, objects in expected.items():
            assert [one for one, _ in found[image]] == [one for one, _ in objects]
            for (_, box), (_, wanted) in zip(found[image], objects, strict=True):
                assert np.abs(np.subtract(box, wanted)).max() <= 0.5


def first(dataset: Dataset, count: int) -> Some:
    chosen = Some([dataset.info(index) for index in range(count)], dataset.class_names)
    chosen.splits = {"train": list(range(0, count, 2)), "validation": list(range(1, count, 2))}
    return chosen


@needs_real_data
def test_round_trips_of_some_real_images(tmp_path: Path) -> None:
    round_trip(first(opened(VOC, root=SHARED / "bccd"), 12), tmp_path / "bccd")
    pedestrians = opened(MASKS, root=SHARED / "PennFudanPed", classes=["pedestrian"])
    round_trip(first(pedestrians, 6), tmp_path / "penn")


@needs_real_data
@pytest.mark.slow
def test_round_trips_of_all_real_images(tmp_path: Path) -> None:
    bccd = opened(VOC, root=SHARED / "bccd")
    assert len(bccd) == 364
    round_trip(bccd, tmp_path / "bccd")
    pedestrians = opened(MASKS, root=SHARED / "PennFudanPed", classes=["pedestrian"])
    assert len(pedestrians) == 170
    round_trip(pedestrians, tmp_path / "penn")


def test_a_round_trip_of_boxes_between_pixels(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    items = []
    for number in range(20):
        corners = np.sort(generator.uniform(0, 1, (30, 2, 2)), axis=1) * (40, 30)
        boxes = corners.reshape(-1, 4).tolist()
        items.append(info(number, *(of(int(generator.integers(1, 3)), (b[0], b[1], b[2], b[3])) for b in boxes)))
    round_trip(Some(items), tmp_path)


def test_the_stand_in_has_the_pixels_it_says(tmp_path: Path) -> None:
    written(COCO, Some([info(1, of(1, (1, 2, 3, 4)))]), tmp_path / "out")
    with Image.open(tmp_path / "out/images/1.png") as image:
        assert (image.mode, image.size) == ("RGB", (40, 30))
