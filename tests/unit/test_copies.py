"""Copies of the evaluated images in the record: which, how large, kept, made again; and images.json read back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision import tv_tensors

import detkit
from detkit.components import Dataset, Progress, Silent
from detkit.data.coco_form import ground_truth_json
from detkit.data.splits import Splits
from detkit.data.types import Annotation, ImageInfo, Target
from detkit.engine import copies
from detkit.engine.copies import JPEG_QUALITY, LONGEST_JPEG, SHOWN_FROM, shrunk_size, spread, write_copies
from detkit.engine.display import SilentDisplay
from detkit.engine.prepare import PreparedData, splits_json
from detkit.errors import DataError, Interrupted, RecordError
from detkit.record.files import write_json
from detkit.record.images import RecordedImage, read_images
from detkit.record.layout import ExperimentLayout
from detkit.record.reader import ExperimentRecord
from integration.experiments import squares_spec, write_spec


class Drawn(Dataset):
    """Images of given sizes and ids; pixels depend on the index, and on the global generator where `noisy`."""

    class_names = ("thing",)

    def __init__(
        self,
        sizes: Mapping[int, tuple[int, int]],
        *,
        noisy: bool = False,
        broken: int | None = None,
        files: Mapping[int, Path] | None = None,
        label: Callable[[int], str] = "image of {}".format,
    ) -> None:
        self.ids, self.sizes = list(sizes), list(sizes.values())
        self._noisy, self._broken, self._files, self._label = noisy, broken, files or {}, label
        self.read: list[int] = []

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int, /) -> tuple[tv_tensors.Image, Target]:
        self.read.append(self.ids[index])
        if self.ids[index] == self._broken:
            raise OSError("truncated")
        width, height = self.sizes[index]
        generator = None if self._noisy else torch.Generator().manual_seed(index)
        pixels = torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)
        target: Target = {
            "boxes": tv_tensors.BoundingBoxes(torch.zeros((0, 4)), format="XYXY", canvas_size=(height, width)),
            "labels": torch.zeros(0, dtype=torch.int64),
            "image_id": self.ids[index],
            "area": torch.zeros(0),
            "iscrowd": torch.zeros(0, dtype=torch.bool),
        }
        return tv_tensors.Image(pixels), target

    def info(self, index: int) -> ImageInfo:
        width, height = self.sizes[index]
        objects = (Annotation(label=1, box=(0.0, 0.0, 1.0, 1.0), area=1.0, bbox=(0.0, 0.0, 1.0, 1.0)),)
        image_id = self.ids[index]
        return ImageInfo(image_id, self._files.get(image_id), width, height, objects, self._label(image_id))


class Bars(Silent):
    """Keeps the progress that would have been shown."""

    def __init__(self) -> None:
        self.shown: list[tuple[str, int | None, int]] = []

    @contextmanager
    def progress(self, description: str, total: int | None, unit: str = "") -> Iterator[Progress]:
        class Bar:
            done = 0

            def advance(self, amount: int = 1) -> None:
                self.done += amount

        bar = Bar()
        yield bar
        self.shown.append((description, total, bar.done))


@pytest.fixture
def layout(tmp_path: Path) -> ExperimentLayout:
    return ExperimentLayout(tmp_path / "record")


def prepared(layout: ExperimentLayout, dataset: Drawn, splits: Splits) -> PreparedData:
    """Written as `write_prepared` does, less the fingerprint."""
    data = PreparedData(dataset, tuple(dataset.info(index) for index in range(len(dataset))), splits)
    write_json(layout.ground_truth, ground_truth_json(data.infos, dataset.class_names))
    write_json(layout.splits, splits_json(data))
    return data


def begin_runs(layout: ExperimentLayout) -> None:
    """As the engine does once everything is prepared."""
    write_json(layout.experiment, {"name": "small", "runs": []})


def eight(**more: Any) -> Drawn:
    return Drawn(dict.fromkeys(range(10, 18), (40, 30)), **more)


#: Of `eight`: three train, three select, one scores; the image 17 is in no split.
SPLITS = Splits(train=(0, 2, 4), validation=(1, 3, 5), test=(6,))


def copy(
    layout: ExperimentLayout, data: PreparedData, *, keep: int = 10, size: int = 800, evaluated: int | None = None
) -> Bars:
    bars = Bars()
    write_copies(layout, data, keep=keep, size=size, messages=bars, evaluated=evaluated)
    begin_runs(layout)
    return bars


def copied(layout: ExperimentLayout) -> list[int]:
    return [image.truth.image_id for image in read_images(layout) if image.copy]


# --- which, and how large --------------------------------------------------------------------------------------------


@given(total=st.integers(0, 300), count=st.integers(0, 400))
def test_the_spread_is_even_in_order_and_without_repetition(total: int, count: int) -> None:
    chosen = spread(range(total), count)
    assert len(chosen) == min(total, count)
    assert chosen == sorted(set(chosen))
    if 0 < count < total:
        gaps = np.diff([*chosen, total])
        assert chosen[0] == 0
        assert gaps.max() - gaps.min() <= 1


@given(width=st.integers(1, 200_000), height=st.integers(1, 200_000), size=st.integers(32, 200_000))
def test_sizes_keep_their_proportions(width: int, height: int, size: int) -> None:
    new_width, new_height = shrunk_size(width, height, size)
    most = min(size, LONGEST_JPEG)
    if max(width, height) <= most:
        assert (new_width, new_height) == (width, height)
    else:
        scale = most / max(width, height)
        assert max(new_width, new_height) == most
        assert abs(new_width - max(1, width * scale)) <= 0.5
        assert abs(new_height - max(1, height * scale)) <= 0.5


def test_every_evaluated_image_has_a_copy_that_equals_what_pillow_gives(layout: ExperimentLayout) -> None:
    dataset = Drawn({1: (40, 30), 2: (1600, 900), 3: (1, 1), 4: (3000, 2), 5: (2, 3000), 6: (801, 800)})
    data = prepared(layout, dataset, Splits((0,), (1, 2, 3), (4, 5)))
    bars = copy(layout, data, size=800)

    assert bars.shown == []  # so few take a moment
    images = {image.truth.image_id: image for image in read_images(layout)}
    assert images[1].copy is None
    sizes = {2: (800, 450), 3: (1, 1), 4: (800, 1), 5: (1, 800), 6: (800, 799)}
    for image_id, (width, height) in sizes.items():
        image = images[image_id]
        assert (image.copy_width, image.copy_height) == (width, height)
        assert image.copy == layout.folder / "data" / "images" / f"{image_id:06d}.jpg"
        pixels, _ = dataset[image_id - 1]
        expected = BytesIO()
        picture = Image.fromarray(pixels.permute(1, 2, 0).numpy())
        if picture.size != (width, height):
            picture = picture.resize((width, height), Image.Resampling.LANCZOS)
        picture.save(expected, "JPEG", quality=JPEG_QUALITY)
        assert image.copy.read_bytes() == expected.getvalue()
        assert Image.open(image.copy).size == (width, height)


def test_what_is_read_back_is_what_was_prepared(layout: ExperimentLayout, tmp_path: Path) -> None:
    file = tmp_path / "data" / "somewhere.png"
    data = prepared(layout, eight(files={10: file, 11: Path("relative.png")}), SPLITS)
    copy(layout, data, keep=1)

    images = ExperimentRecord(layout.folder).images()
    assert [(image.truth.image_id, image.split, image.copy is not None) for image in images] == [
        (10, "train", False),
        (11, "validation", True),
        (12, "train", False),
        (13, "validation", False),
        (14, "train", False),
        (15, "validation", False),
        (16, "test", True),
    ]
    assert images[0].truth == data.infos[0]
    assert images[1].truth.path == Path.cwd() / "relative.png"
    assert images[2].truth.path is None
    assert images[2] == RecordedImage(data.infos[2], "train")
    content = json.loads(layout.images.read_text())
    assert content["images"][0] == {
        "image_id": 10,
        "file": str(file),
        "copy": None,
        "copy_width": 0,
        "copy_height": 0,
    }
    assert content["images"][1]["copy"] == "000011.jpg"


@pytest.mark.parametrize("ids", [(-5, -123456789, 0), (2**63, 10**30, 7)])
def test_any_integer_is_an_image_id(layout: ExperimentLayout, ids: tuple[int, ...]) -> None:
    data = prepared(layout, Drawn(dict.fromkeys(ids, (4, 4)), label=lambda _: "same.jpg"), Splits((), (0, 1, 2), ()))
    copy(layout, data)
    images = read_images(layout)
    assert [image.truth.image_id for image in images] == list(ids)
    assert len({image.copy for image in images}) == 3
    assert all(image.copy and image.copy.is_file() for image in images)


def test_in_a_rehearsal_the_images_that_are_evaluated_have_copies(layout: ExperimentLayout) -> None:
    data = prepared(layout, eight(), SPLITS)
    copy(layout, data, evaluated=2)
    assert copied(layout) == [11, 13, 16]


def test_no_copies_at_all(layout: ExperimentLayout) -> None:
    dataset = eight()
    copy(layout, prepared(layout, dataset, SPLITS), keep=0)
    assert (copied(layout), dataset.read) == ([], [])
    assert not layout.copies.exists()
    assert len(read_images(layout)) == 7


# --- what is there already -------------------------------------------------------------------------------------------


def test_copies_are_made_once_and_what_is_lost_again(layout: ExperimentLayout) -> None:
    dataset = eight(noisy=True)
    data = prepared(layout, dataset, SPLITS)
    copy(layout, data)
    first = {file.name: file.read_bytes() for file in layout.copies.iterdir()}
    assert sorted(first) == ["000011.jpg", "000013.jpg", "000015.jpg", "000016.jpg"]

    dataset.read.clear()
    before = layout.images.read_bytes()
    copy(layout, data)
    assert dataset.read == []
    assert layout.images.read_bytes() == before

    (layout.copies / "000013.jpg").unlink()
    (layout.copies / "000016.jpg").write_bytes(b"")
    copy(layout, data)
    assert dataset.read == [13, 16]
    # The dataset draws its images; a copy made later is the same one nevertheless.
    assert {file.name: file.read_bytes() for file in layout.copies.iterdir()} == first


def test_progress_is_shown_of_what_is_made(layout: ExperimentLayout) -> None:
    count = 2 * SHOWN_FROM
    data = prepared(layout, Drawn(dict.fromkeys(range(count), (4, 4))), Splits((), tuple(range(count)), ()))
    told = ("copying images into the record", SHOWN_FROM, SHOWN_FROM)
    assert copy(layout, data, keep=SHOWN_FROM).shown == [told]
    assert copy(layout, data, keep=SHOWN_FROM).shown == []  # not even an empty bar
    for file in list(layout.copies.iterdir())[1:]:
        file.unlink()
    assert copy(layout, data, keep=SHOWN_FROM).shown == []


def test_drawing_them_leaves_the_generators_as_they_were(layout: ExperimentLayout) -> None:
    data = prepared(layout, eight(noisy=True), SPLITS)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    copy(layout, data)
    assert torch.equal(torch.rand(3), expected)


def test_fewer_images_later_lose_nothing_and_more_add(layout: ExperimentLayout) -> None:
    dataset = eight()
    data = prepared(layout, dataset, SPLITS)
    copy(layout, data, keep=2)
    assert copied(layout) == [11, 13, 16]
    copy(layout, data, keep=0)
    assert copied(layout) == [11, 13, 16]
    dataset.read.clear()
    copy(layout, data, keep=3)
    assert (copied(layout), dataset.read) == ([11, 13, 15, 16], [15])


def test_another_size_makes_those_again_that_it_changes(layout: ExperimentLayout) -> None:
    dataset = Drawn({1: (40, 30), 2: (400, 300), 3: (4, 4)})
    data = prepared(layout, dataset, Splits((2,), (0, 1), ()))
    copy(layout, data, size=800)
    dataset.read.clear()
    copy(layout, data, size=100)
    assert dataset.read == [2]
    assert [image.copy_width for image in read_images(layout)] == [40, 100, 0]


def test_copies_of_what_never_became_an_experiment_are_made_again(layout: ExperimentLayout) -> None:
    data = prepared(layout, eight(), SPLITS)
    copy(layout, data)
    layout.experiment.unlink()
    other = eight(noisy=True)
    copy(layout, prepared(layout, other, SPLITS))
    assert other.read == [11, 13, 15, 16]


def test_an_interrupt_while_copying_leaves_nothing_in_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = write_spec(tmp_path / "spec.toml", squares_spec(tmp_path / "runs"))
    picture = copies._picture
    made: list[int] = []

    def stopped(dataset: Dataset, index: int) -> Image.Image:
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(index)
        return picture(dataset, index)

    monkeypatch.setattr(copies, "_picture", stopped)
    with pytest.raises(Interrupted, match=r"^stopped before the first run was begun; start again as you did$"):
        detkit.run(spec, display=SilentDisplay())
    made.clear()
    with pytest.raises(Interrupted):  # not that the folder is in use, or no experiment
        detkit.run(spec, display=SilentDisplay())
    assert len(made) == 2


def test_a_damaged_list_is_made_again(layout: ExperimentLayout) -> None:
    data = prepared(layout, eight(), SPLITS)
    copy(layout, data)
    before = layout.images.read_bytes()
    layout.images.write_bytes(before[:50])
    with pytest.raises(RecordError, match=r"images\.json is damaged"):
        read_images(layout)
    copy(layout, data)
    assert layout.images.read_bytes() == before


def test_records_of_an_older_detkit_have_images_without_files(layout: ExperimentLayout) -> None:
    data = prepared(layout, eight(files={10: Path("/data/ten.png")}), SPLITS)
    images = read_images(layout)
    assert [image.truth.image_id for image in images] == [10, 11, 12, 13, 14, 15, 16]
    assert {(image.truth.path, image.copy) for image in images} == {(None, None)}
    assert images[1] == RecordedImage(data.infos[1], "validation")


def test_files_that_do_not_fit_each_other_are_named(layout: ExperimentLayout) -> None:
    prepared(layout, eight(), SPLITS)
    write_json(layout.images, {"images": [{"image_id": 10}]})
    with pytest.raises(
        RecordError, match=r"images\.json, .*splits\.json and .*do not fit each other: KeyError: 'file'"
    ):
        read_images(layout)


# --- what goes wrong -------------------------------------------------------------------------------------------------


def test_an_image_that_cannot_be_read_is_named_and_the_next_call_goes_on(layout: ExperimentLayout) -> None:
    data = prepared(layout, eight(broken=13), SPLITS)
    with pytest.raises(DataError, match=r"image 3 \(image of 13\) cannot be read: OSError: truncated"):
        copy(layout, data)
    assert not layout.images.exists()

    copy(layout, prepared(layout, eight(), SPLITS))
    assert copied(layout) == [11, 13, 15, 16]


def test_an_image_without_pixels_is_named(layout: ExperimentLayout) -> None:
    data = prepared(layout, Drawn({1: (0, 7)}), Splits((), (0,), ()))
    with pytest.raises(DataError, match=r"image 0 \(image of 1\) has no pixels: it is 0 x 7"):
        copy(layout, data)


def test_a_folder_that_cannot_be_written_is_named(layout: ExperimentLayout) -> None:
    data = prepared(layout, eight(), SPLITS)
    layout.copies.write_text("a file where the folder should be")
    with pytest.raises(RecordError, match=r"cannot write .*000011\.jpg: .*go on \(a run: with --resume\)"):
        copy(layout, data)


def test_a_full_disk_is_told_and_leaves_no_half_file(layout: ExperimentLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    data = prepared(layout, eight(), SPLITS)
    copy(layout, data, keep=1)
    before = layout.images.read_bytes()
    replace = Path.replace

    def full(self: Path, target: Path) -> Path:
        if target.name == "000013.jpg":
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(RecordError, match=r"cannot write .*000013\.jpg: No space left on device"):
        copy(layout, data)
    assert layout.images.read_bytes() == before
    assert sorted(file.name for file in layout.copies.iterdir()) == ["000011.jpg", "000016.jpg"]
