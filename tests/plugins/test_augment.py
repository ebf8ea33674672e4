"""The bundled transforms: what holds of any chain of them, and what each of them does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ImageEnhance
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from detkit import BuildContext, Dataset
from detkit.components import PathBase, Silent, TransformComponent
from detkit.data.augment import Augmentation, Stage, mask_extents
from detkit.data.loading import Sample, SeededItems, training_loader
from detkit.data.sampling import Item, plan_epoch
from detkit.data.types import Target
from detkit.engine.augmenting import augmented_sample
from detkit.engine.prepare import build_dataset
from detkit.errors import ComponentError, DetkitError
from detkit.plugins import collect
from detkit.spec.complaints import validate
from detkit.spec.describe import describe
from detkit.spec.loader import load_spec
from detkit_augment import TRANSFORMS
from detkit_augment.colours import LUMINANCE, hue_matrix, mapped, saturation_matrix
from detkit_augment.geometry import turned
from plugins.drawn_targets import Drawn

COMPONENTS = {component.name: component for component in TRANSFORMS}
#: Options under which a transform always acts, and hard.
ALWAYS: Mapping[str, Mapping[str, Any]] = {
    "flip": {"horizontal": 0.7, "vertical": 0.5},
    "photometric": {"probability": 1.0, "permute_channels": True},
    "scale_jitter": {"probability": 1.0, "scale": [0.3, 3.0]},
    "crop": {"probability": 1.0},
    "rotation": {"probability": 1.0, "degrees": 60.0},
    "mosaic": {"probability": 1.0},
    "mix_up": {"probability": 1.0},
    "copy_paste": {"probability": 1.0, "each": 0.8},
    "blur": {"probability": 1.0},
    "grayscale": {"probability": 1.0},
    "jpeg": {"probability": 1.0},
}


def stage(name: str, options: Mapping[str, Any] | None = None, key: str = "") -> Stage:
    """A transform with options as a spec states them."""
    component: TransformComponent[Any] = COMPONENTS[name]
    checked = validate(component.options, dict(ALWAYS[name] if options is None else options), PathBase(Path()))
    assert not isinstance(checked, list), checked
    return Stage(key or name, f"transform '{name}'", component.build(checked, BuildContext()))


def augmented(dataset: Dataset, stages: Sequence[Stage], item: Item, seed: int = 1) -> Sample:
    sample = SeededItems(dataset, seed, Augmentation(stages, dataset, range(len(dataset))))[item]
    if isinstance(sample, DetkitError):
        raise sample
    return sample


def content(sample: Sample) -> dict[str, Any]:
    """Every bit of a sample, comparable."""
    image, target = sample
    fields = {
        name: (str(value.dtype), tuple(value.shape), value.as_subclass(Tensor).contiguous().numpy().tobytes())
        if isinstance(value, Tensor)
        else value
        for name, value in target.items()
    }
    return {"image": (tuple(image.shape), image.as_subclass(Tensor).contiguous().numpy().tobytes()), **fields}


def test_every_component_is_offered_and_tested() -> None:
    assert set(collect().names("transform")) == set(COMPONENTS) == set(ALWAYS)


# --- any chain -------------------------------------------------------------------------------------------------------

names = st.lists(st.sampled_from(sorted(COMPONENTS)), min_size=1, max_size=4)


@given(chain=names, index=st.integers(0, 11), seed=st.integers(0, 10_000), masks=st.booleans(), tight=st.booleans())
@settings(max_examples=120, deadline=None)
def test_any_chain_keeps_targets_in_order(chain: list[str], index: int, seed: int, masks: bool, tight: bool) -> None:
    """Boxes inside, fields aligned, and masks' extents equal to boxes where boxes come from masks."""
    chain = [name for name in chain if masks or name != "copy_paste"]
    stages = [stage(name, key=f"{name}-{number}") for number, name in enumerate(chain)]
    dataset = Drawn(masks=masks, tight=tight)
    image, target = augmented(dataset, stages, Item(1, 0, index), seed)
    height, width = image.shape[-2:]
    count = len(target["labels"])
    boxes = target["boxes"]
    assert image.dtype == torch.uint8
    assert isinstance(image, tv_tensors.Image)
    assert target["image_id"] == 100 + index
    assert boxes.canvas_size == (height, width)
    assert boxes.dtype == torch.float32
    assert boxes.shape == (count, 4)
    assert (boxes >= 0).all()
    assert (boxes <= torch.tensor([width, height, width, height])).all()
    assert (boxes[:, 2:] - boxes[:, :2] >= 1).all()
    assert target["area"].shape == target["iscrowd"].shape == (count,)
    assert target["iscrowd"].dtype == torch.bool
    assert ((target["labels"] >= 1) & (target["labels"] <= 3)).all()
    if not masks:
        assert torch.allclose(target["area"], (boxes[:, 2:] - boxes[:, :2]).prod(dim=1))
        return
    assert target["masks"].shape == (count, height, width)
    assert isinstance(target["masks"], tv_tensors.Mask)
    assert target["masks"].max() <= 1 if count else True
    assert torch.equal(target["area"], target["masks"].flatten(1).sum(1, dtype=torch.float32))
    extents, there = mask_extents(target["masks"])
    assert there.all()
    if tight:
        assert torch.equal(boxes.as_subclass(Tensor), extents)


class Numbered(Drawn):
    """Each object's label is its own in all the dataset, and so is its crowd flag; extra fields say who it is."""

    class_names = tuple(f"class {number}" for number in range(1, 1000))

    def __getitem__(self, index: int, /) -> tuple[tv_tensors.Image, Target]:
        image, target = super().__getitem__(index)
        target["labels"] = torch.arange(len(target["labels"])) + 10 * index + 1
        target["iscrowd"] = target["labels"] % 2 == 0
        return image, {**target, "name": target["labels"] * 7}  # type: ignore[typeddict-unknown-key]  # more than the contract asks for


@given(chain=names, index=st.integers(0, 11), seed=st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_any_chain_keeps_what_belongs_together(chain: list[str], index: int, seed: int) -> None:
    stages = [stage(name, key=f"{name}-{number}") for number, name in enumerate(chain)]
    _, target = augmented(Numbered(), stages, Item(1, 0, index), seed)
    labels = target["labels"]
    assert torch.equal(target["iscrowd"], labels % 2 == 0)
    assert torch.equal(target["name"], labels * 7)  # type: ignore[typeddict-item]  # as above


@pytest.mark.parametrize("masks", [True, False])
@pytest.mark.parametrize("name", sorted(COMPONENTS))
def test_each_acts_and_takes_images_without_objects(name: str, masks: bool) -> None:
    dataset = Drawn(40, masks=masks)
    empty = next(index for index in range(40) if not len(dataset[index][1]["labels"]))
    if name == "copy_paste" and not masks:
        with pytest.raises(ComponentError, match=r"copy_paste.*the target has no masks"):
            augmented(dataset, [stage(name)], Item(1, 0, 1))
        return
    changed = [
        content(augmented(dataset, [stage(name)], Item(1, position, position))) != content(dataset[position])
        for position in range(20)
    ]
    assert sum(changed) >= 10
    image, target = augmented(dataset, [stage(name)], Item(1, 3, empty))
    assert target["boxes"].shape[1] == 4
    assert target["boxes"].canvas_size == tuple(image.shape[-2:])


@pytest.mark.parametrize("name", sorted(set(COMPONENTS) - {"flip"}))
def test_a_probability_of_0_changes_no_bit(name: str) -> None:
    dataset = Drawn()
    for index in range(12):
        options = {"probability": 0.0}
        assert content(augmented(dataset, [stage(name, options)], Item(1, 0, index))) == content(dataset[index])


# --- the same whatever the workers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 3])
def test_the_same_bytes_with_any_number_of_workers_and_from_the_middle(workers: int) -> None:
    """Several threads here, one in each worker; all transforms at once, and large enough for threads to divide."""
    dataset = Large()
    chain = [name for name in ALWAYS if name != "crop"]
    make = Augmentation([stage(name) for name in chain], dataset, range(len(dataset)))
    plan = [step[0] for step in plan_epoch(range(6), batch_size=2, accumulate=1, processes=1, seed=1, epoch=2)]

    def loaded(start: int, count: int) -> list[dict[str, Any]]:
        batches = training_loader(dataset, plan[start:], seed=1, workers=count, pin_memory=False, make=make)
        return [content(sample) for images, targets in batches for sample in zip(images, targets, strict=True)]

    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        alone = loaded(0, 0)
        assert torch.get_num_threads() == 2
        assert loaded(0, workers) == alone
        assert loaded(1, workers) == loaded(1, 0) == alone[2:]
    finally:
        torch.set_num_threads(threads)


class Large(Drawn):
    """The same images five times as wide and high."""

    def __getitem__(self, index: int, /) -> tuple[tv_tensors.Image, Target]:
        from detkit_augment.objects import resized

        image, target = super().__getitem__(index)
        return resized((image, target), image.shape[-2] * 5, image.shape[-1] * 5)


def test_seed_epoch_and_position_each_count_and_the_generators_stay() -> None:
    dataset, stages = Drawn(), [stage("scale_jitter"), stage("photometric"), stage("mosaic")]
    torch.manual_seed(3)
    before = torch.get_rng_state()
    samples = [
        content(augmented(dataset, stages, Item(epoch, position, 4), seed))
        for seed, epoch, position in ((1, 1, 0), (2, 1, 0), (1, 2, 0), (1, 1, 1), (1, 1, 0))
    ]
    assert torch.equal(torch.get_rng_state(), before)
    assert samples[0] == samples[4]
    assert len({sample["image"] for sample in samples}) == 4


def test_a_transform_does_not_change_what_others_draw() -> None:
    """With a transform in front that draws a lot and changes nothing, the next one does the same."""
    dataset = Drawn()
    idle = stage("crop", {"probability": 0.0})
    alone = content(augmented(dataset, [stage("scale_jitter")], Item(1, 0, 2)))
    assert content(augmented(dataset, [idle, stage("scale_jitter")], Item(1, 0, 2))) == alone
    assert content(augmented(dataset, [stage("scale_jitter", key="other")], Item(1, 0, 2))) != alone


# --- each of them ----------------------------------------------------------------------------------------------------


def test_flips_are_torchvisions() -> None:
    dataset = Drawn()
    for options, functions in (
        ({"horizontal": 1.0}, [F.horizontal_flip]),
        ({"horizontal": 0.0, "vertical": 1.0}, [F.vertical_flip]),
        ({"horizontal": 1.0, "vertical": 1.0}, [F.horizontal_flip, F.vertical_flip]),
    ):
        for index in range(12):
            image, target = dataset[index]
            for flip in functions:
                image, target["boxes"], target["masks"] = (
                    flip(value) for value in (image, target["boxes"], target["masks"])
                )
            target["boxes"] += 0.0  # TorchVision's has negative zeros
            found = augmented(dataset, [stage("flip", options)], Item(1, 0, index))
            assert content(found) == content((image, target))


@pytest.mark.parametrize("degrees", [-170.0, -30.0, 5.0, 90.0])
def test_turned_boxes_are_torchvisions_before_it_clips(degrees: float) -> None:
    boxes = torch.tensor([[40.0, 30.0, 60.0, 50.0], [45.0, 35.0, 50.0, 44.0]])  # stay inside
    there = tv_tensors.BoundingBoxes(boxes, format=tv_tensors.BoundingBoxFormat.XYXY, canvas_size=(80, 100))
    wanted = F.rotate(there, degrees).as_subclass(Tensor)
    assert torch.allclose(turned(boxes, degrees, 80, 100), wanted, atol=1.01)  # TorchVision rounds canvas and corners


def test_a_turned_object_has_the_box_of_its_mask_which_is_smaller_than_the_turned_box() -> None:
    """With loose boxes there is nothing to make boxes from but the turned corners."""
    options = {"probability": 1.0, "degrees": 45.0}
    smaller = 0
    for index in range(12):
        tight = augmented(Drawn(), [stage("rotation", options)], Item(1, index, index))[1]
        boxes = augmented(Drawn(masks=False), [stage("rotation", options)], Item(1, index, index))[1]
        if len(tight["labels"]) == len(boxes["labels"]):
            smaller += int((tight["area"] > boxes["area"]).sum() == 0 and len(tight["labels"]) > 0)
    assert smaller >= 4


def test_scale_jitter_keeps_the_size_and_scales_what_is_seen() -> None:
    dataset = One()
    image, target = augmented(
        dataset, [stage("scale_jitter", {"probability": 1.0, "scale": [0.5, 0.5]})], Item(1, 0, 0)
    )
    assert image.shape == (3, 40, 60)
    x0, y0, x1, y1 = target["boxes"][0].tolist()
    assert (x1 - x0, y1 - y0) == (10.0, 10.0)
    assert target["area"].tolist() == [100.0]
    assert int((image == 114).all(dim=0).sum()) == 40 * 60 - 20 * 30
    options = {"probability": 1.0, "scale": [2.0, 2.0], "min_visible": 0.9}
    for position in range(20):
        image, target = augmented(dataset, [stage("scale_jitter", options)], Item(1, position, 0))
        assert image.shape == (3, 40, 60)
        for area in target["area"].tolist():
            assert area >= 0.9 * 1600


class One(Dataset):
    """A grey image, 60 x 40, with a bright square of 20 pixels and its mask."""

    class_names: tuple[str, ...] = ("square",)
    provides = frozenset({"boxes", "masks"})

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int, /) -> tuple[tv_tensors.Image, Target]:
        pixels = torch.full((3, 40, 60), 50, dtype=torch.uint8)
        pixels[:, 10:30, 20:40] = 255
        masks = torch.zeros((1, 40, 60), dtype=torch.uint8)
        masks[:, 10:30, 20:40] = 1
        boxes, form = torch.tensor([[20.0, 10.0, 40.0, 30.0]]), tv_tensors.BoundingBoxFormat.XYXY
        target: Target = {
            "boxes": tv_tensors.BoundingBoxes(boxes, format=form, canvas_size=(40, 60)),
            "labels": torch.tensor([1]),
            "image_id": 1,
            "area": torch.tensor([400.0]),
            "iscrowd": torch.tensor([False]),
            "masks": tv_tensors.Mask(masks),
        }
        return tv_tensors.Image(pixels), target


@pytest.mark.parametrize("name", ["flip", "scale_jitter", "crop", "rotation", "mosaic"])
def test_pixels_masks_and_boxes_move_together(name: str) -> None:
    """The bright square is where mask and box say."""
    for position in range(15):
        image, target = augmented(One(), [stage(name)], Item(1, position, 0))
        bright = image[0].as_subclass(Tensor) >= 200
        covered = target["masks"].as_subclass(Tensor).any(dim=0)
        edge = 4 * sum(float(b[2] - b[0] + b[3] - b[1]) for b in target["boxes"])  # interpolation blurs edges
        removed = 0.35 * 20 * 20 * 9 if name != "flip" else 0  # what was nearly out of sight is not an object
        assert int((bright & ~covered).sum()) <= edge + removed
        assert int((~bright & covered).sum()) <= edge


@pytest.mark.parametrize("keep", ["any", "all"])
def test_crops_keep_objects(keep: str) -> None:
    dataset = Drawn(30)
    options = {"probability": 1.0, "keep": keep, "min_visible": 0.6}
    cropped = 0
    for index in range(30):
        before, after = dataset[index], augmented(dataset, [stage("crop", options)], Item(1, index, index))
        cropped += after[0].shape != before[0].shape
        if len(before[1]["labels"]):
            assert len(after[1]["labels"]) > 0
        if keep == "all":
            assert torch.equal(after[1]["labels"], before[1]["labels"])
    assert cropped >= 15


def test_objects_of_which_too_little_is_left_are_taken_out() -> None:
    dataset = Drawn(30)
    counts = []
    for min_visible in (0.01, 0.99):
        chain = [stage("scale_jitter", {"probability": 1.0, "scale": [2.0, 2.0], "min_visible": min_visible})]
        counts.append(sum(len(augmented(dataset, chain, Item(1, i, i))[1]["labels"]) for i in range(30)))
    assert counts[0] > counts[1] > 0


def test_mix_up_holds_both_images_and_all_objects() -> None:
    """Two grey images of 0 and 200: the share that `alpha` concentrates near one half."""
    dataset = Greys()
    for position in range(6):
        image, target = augmented(
            dataset, [stage("mix_up", {"probability": 1.0, "alpha": 5000.0})], Item(1, position, 1)
        )
        assert set(target["labels"].tolist()) in ({2}, {2, 1})
        assert len(target["labels"]) == 2
        assert 95 <= int(image.float().mean()) <= 205
    assert {len(augmented(dataset, [stage("mix_up")], Item(1, p, 1))[1]["labels"]) for p in range(6)} == {2}


class Greys(One):
    """Image 0 is black with label 1, image 1 of grey 200 with label 2; both have a square as their mask."""

    class_names = ("first", "second")

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int, /) -> tuple[tv_tensors.Image, Target]:
        image, target = super().__getitem__(index)
        target["labels"] = torch.tensor([index + 1])
        return tv_tensors.Image(torch.full_like(image, 200 * index)), target


def test_copy_paste_pastes_pixels_under_masks_and_takes_them_from_what_lies_below() -> None:
    dataset = Greys()
    pasted = 0
    options = {"probability": 1.0, "each": 1.0, "scale": [1.0, 1.0], "min_visible": 0.05}
    for position in range(20):
        image, target = augmented(dataset, [stage("copy_paste", options)], Item(1, position, 1))
        for label, mask in zip(target["labels"].tolist(), target["masks"], strict=True):
            values = image[0][mask.bool()]
            assert set(values.tolist()) == {200 * (label - 1)}  # each mask lies on pixels of its own image
        assert (target["masks"].sum(dim=0) <= 1).all()
        pasted += 1 in target["labels"].tolist()
    assert 3 <= pasted <= 17


def test_mosaic_is_made_of_images_of_the_pool() -> None:
    dataset = Greys()
    seen: set[int] = set()
    for position in range(8):
        image, target = augmented(dataset, [stage("mosaic", {"probability": 1.0})], Item(1, position, 1))
        assert set(image.unique().tolist()) <= {0, 200}
        assert image.shape == (3, 40, 60)
        seen |= set(target["labels"].tolist())
        for label, mask in zip(target["labels"].tolist(), target["masks"], strict=True):
            assert set(image[0][mask.bool()].tolist()) == {200 * (label - 1)}
    assert seen == {1, 2}


def test_jpeg_and_blur_take_detail_away_and_grayscale_colour() -> None:
    dataset = Drawn()
    for index in range(6):
        before = dataset[index][0].float()

        def roughness(image: Tensor) -> float:
            return float((image[:, :, 1:] - image[:, :, :-1]).abs().mean())

        blurred = augmented(dataset, [stage("blur", {"probability": 1.0, "sigma": [2.0, 2.0]})], Item(1, 0, index))[0]
        assert roughness(blurred.float()) < 0.3 * roughness(before)
        gray = augmented(dataset, [stage("grayscale")], Item(1, 0, index))[0]
        assert torch.equal(gray[0], gray[1])
    before = One()[0][0].float()
    low = augmented(One(), [stage("jpeg", {"probability": 1.0, "quality": [5, 5]})], Item(1, 0, 0))[0]
    high = augmented(One(), [stage("jpeg", {"probability": 1.0, "quality": [80, 80]})], Item(1, 0, 0))[0]
    assert (low.float() - before).abs().mean() > 2 * (high.float() - before).abs().mean() > 0


def test_the_colour_map_is_what_it_says() -> None:
    """Against Pillow's own enhancers, which blend as well; hue against the colour wheel's corners."""
    pixels = Drawn()[3][0]
    picture = F.to_pil_image(pixels)
    grey = float(np.dot(LUMINANCE, pixels.numpy().mean(axis=(1, 2))))
    for factor in (0.5, 0.9, 1.4):
        cases = {
            "Brightness": (factor * np.eye(3), 0.0),
            "Contrast": (factor * np.eye(3), (1 - factor) * grey),
            "Color": (saturation_matrix(factor), 0.0),
        }
        for name, (matrix, shift) in cases.items():
            wanted = F.pil_to_tensor(getattr(ImageEnhance, name)(picture).enhance(factor)).int()
            assert (mapped(pixels, matrix, shift).int() - wanted).abs().max() <= 2, name
    assert np.allclose(hue_matrix(0.0), np.eye(3))
    assert np.allclose(hue_matrix(0.25) @ hue_matrix(0.75), np.eye(3))
    assert np.allclose(np.array(LUMINANCE) @ hue_matrix(0.3), LUMINANCE)
    assert np.allclose(hue_matrix(0.3) @ np.ones(3), 1.0)  # grey stays grey
    for turn, channel in ((0.0, 0), (1 / 3, 1), (2 / 3, 2)):
        assert int((hue_matrix(turn) @ np.array([1.0, 0.0, 0.0])).argmax()) == channel
    assert torch.equal(mapped(pixels, np.eye(3), 0.0), pixels)


def test_photometric_options_each_act() -> None:
    dataset = Drawn()
    idle = {"probability": 1.0, "brightness": [1, 1], "contrast": [1, 1], "saturation": [1, 1], "hue": [0, 0]}
    before = content(dataset[3])
    assert content(augmented(dataset, [stage("photometric", idle)], Item(1, 0, 3))) == before
    for name, value in (
        ("brightness", [1.2, 1.2]),
        ("contrast", [0.7, 0.7]),
        ("saturation", [0.5, 0.5]),
        ("hue", [0.1, 0.1]),
    ):
        assert content(augmented(dataset, [stage("photometric", {**idle, name: value})], Item(1, 0, 3))) != before, name
    permute = stage("photometric", {**idle, "permute_channels": True})
    for position in range(8):
        image, _ = augmented(dataset, [permute], Item(1, position, 3))
        assert {channel.numpy().tobytes() for channel in image} == {
            channel.numpy().tobytes() for channel in dataset[3][0]
        }


# --- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("scale_jitter", {"scale": [2.0, 1.0]}, "the first number, 2, is above the second, 1"),
        ("flip", {"horizontal": 1.5}, "must be at most 1"),
        ("jpeg", {"quality": [0, 50]}, "must be at least 1"),
        ("rotation", {"degrees": 0.0}, "must be above 0"),
        ("mosaic", {"size": 3}, "unknown key"),
    ],
)
def test_wrong_options_are_refused(name: str, options: Mapping[str, Any], says: str) -> None:
    found = validate(COMPONENTS[name].options, dict(options), PathBase(Path()))
    assert isinstance(found, list)
    assert says in str(found[0].message)


def test_the_reference_has_every_transform_and_option() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "augmentation.md").read_text(encoding="utf-8")
    for component in TRANSFORMS:
        section = page.split(f"### `{component.name}`\n", 1)[1].split("\n#", 1)[0]
        rows = [line.split(" | ")[:2] for line in section.splitlines() if line.startswith("| `")]
        assert rows == [[f"| `{option.name}`", f"`{option.default}`"] for option in describe(component.options)]


# --- real photographs, and the engine's way to them ------------------------------------------------------------------

REAL = Path(__file__).parents[3] / "shared" / "data" / "PennFudanPed"


@pytest.mark.skipif(not REAL.is_dir(), reason=f"{REAL} is not there")
def test_penn_fudan_keeps_boxes_on_masks_through_every_transform() -> None:
    registry = collect()
    component = registry.find("dataset", "penn_fudan").component
    dataset = component.build(component.options.model_validate({"root": REAL}, strict=False), BuildContext())
    make = Augmentation([stage(name) for name in ALWAYS], dataset, range(len(dataset)))
    seen = 0
    for index in range(0, len(dataset), 24):
        _, target = make(index, index)
        extents, there = mask_extents(target["masks"])
        assert there.all()
        assert torch.equal(target["boxes"].as_subclass(Tensor), extents)
        seen += len(target["labels"])
    assert seen >= 20


def test_a_sample_to_look_at_is_the_one_that_is_trained_on(tmp_path: Path) -> None:
    file = tmp_path / "spec.toml"
    file.write_text(
        """
[dataset]
use = "synthetic"
images = 10
width = 96
height = 64
[augment]
preset = "standard"
[augment.copy_paste]
probability = 1.0
[models.fcos]
backbone = "tiny_fpn"
"""
    )
    spec = load_spec(file)
    dataset = build_dataset(spec, Silent())
    pool = range(2, 10)
    plan = plan_epoch(pool, batch_size=2, accumulate=1, processes=1, seed=5, epoch=3)
    item = plan[1][0][1]
    before, after = augmented_sample(spec, "fcos", dataset, pool, item, seed=5, messages=Silent())
    assert content(before) == content(dataset[item.sample])
    chain = [
        Stage(key, use.title, use.offered.component.build(use.options, BuildContext()))
        for key, use in spec.models["fcos"].augment.items()
    ]
    batches = training_loader(
        dataset,
        [step[0] for step in plan],
        seed=5,
        workers=0,
        pin_memory=False,
        make=Augmentation(chain, dataset, pool),
    )
    images, targets = list(batches)[1]
    assert content(after) == content((images[1], targets[1])) != content(before)
