"""Box formats: the arithmetic, what it keeps, and what is refused."""

from __future__ import annotations

import doctest
import re
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision import tv_tensors

from detkit.data.boxes import BOX_FORMATS, BoxFormat, convert_boxes

PAGE = Path(__file__).parents[2] / "docs/how-to/box-formats.md"

#: The example of the tutorial from which detkit comes, in an image of 640 x 480 pixels. The tutorial prints 0.8614583
#: for the y of YOLO, a slip: (345 + 462) / 2 / 480 is 0.840625.
EXAMPLE: dict[BoxFormat, list[float]] = {
    "pascal_voc": [98, 345, 420, 462],
    "coco": [98, 345, 322, 117],
    "albumentations": [0.153125, 0.71875, 0.65625, 0.9625],
    "yolo": [0.4046875, 0.840625, 0.503125, 0.24375],
}
SIZE = (480, 640)
PAIRS = list(product(BOX_FORMATS, BOX_FORMATS))
PIXELS: tuple[BoxFormat, ...] = ("pascal_voc", "coco")
SHARES: tuple[BoxFormat, ...] = ("albumentations", "yolo")

#: Pixels with a fraction of n/1024, far beyond any image: sums, differences and halves of them are exact in float64.
dyadic = st.integers(-(2**30), 2**30).map(lambda number: number / 1024)
dyadic_boxes = st.lists(st.tuples(dyadic, dyadic, dyadic, dyadic), max_size=5)
sides = st.integers(1, 20000)
image_sizes = st.tuples(sides, sides)
formats = st.sampled_from(BOX_FORMATS)


# --- the numbers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("from_", "to"), PAIRS)
def test_the_example_from_each_format_to_each(from_: BoxFormat, to: BoxFormat) -> None:
    # Between shares, which are rounded already, not to the bit.
    tolerance = 1e-15 if {from_, to} == set(SHARES) else 0.0
    converted = convert_boxes(EXAMPLE[from_], from_=from_, to=to, size=SIZE)
    assert converted.tolist() == pytest.approx(EXAMPLE[to], rel=0, abs=tolerance)


@given(boxes=dyadic_boxes, first=st.sampled_from(PIXELS), second=st.sampled_from(PIXELS))
def test_pixel_formats_come_back_to_the_bit(
    boxes: list[tuple[float, ...]], first: BoxFormat, second: BoxFormat
) -> None:
    there = convert_boxes(boxes, from_=first, to=second)
    back = convert_boxes(there, from_=second, to=first)
    assert back.tolist() == [list(box) for box in boxes]


@given(data=st.data(), size=image_sizes, first=formats, second=formats)
def test_every_format_comes_back(data: Any, size: tuple[int, int], first: BoxFormat, second: BoxFormat) -> None:
    """To 3 epsilons of the sum of a box's two numbers along an axis.

    A number passes at most six roundings there and back (a sum, a product and a quotient of each of the two that it is
    made of), each of at most half an epsilon of that sum.
    """
    height, width = size
    far = st.floats(-3, 3)
    boxes = np.array(data.draw(st.lists(st.tuples(far, far, far, far), max_size=5))).reshape(-1, 4)
    if first in PIXELS:
        boxes = boxes * [width, height, width, height]
    there = convert_boxes(boxes, from_=first, to=second, size=size)
    back = convert_boxes(there, from_=second, to=first, size=size)
    sums = np.abs(boxes[:, :2]) + np.abs(boxes[:, 2:])
    # And of the smallest normal number, below which epsilons do not shrink any more.
    tolerance = 3 * np.finfo(float).eps * sums + np.finfo(float).tiny
    assert (np.abs(back - boxes) <= np.tile(tolerance, 2)).all()


@given(extent=st.tuples(st.floats(0, 1e4), st.floats(0, 1e4)), origin=st.tuples(st.floats(0, 1e4), st.floats(0, 1e4)))
def test_widths_are_kept_to_the_bit_where_both_formats_have_them(
    extent: tuple[float, float], origin: tuple[float, float]
) -> None:
    # One pixel is the image: shares are pixels, and only the arithmetic of the layouts is left.
    there = convert_boxes([*origin, *extent], from_="coco", to="yolo", size=(1, 1))
    back = convert_boxes(there, from_="yolo", to="coco", size=(1, 1))
    assert tuple(there[2:].tolist()) == tuple(back[2:].tolist()) == extent


def test_shares_need_no_size_between_themselves() -> None:
    converted = convert_boxes(EXAMPLE["albumentations"], from_="albumentations", to="yolo")
    assert converted.tolist() == pytest.approx(EXAMPLE["yolo"], rel=0, abs=1e-15)


@pytest.mark.parametrize("box", [(420.0, 462.0, 98.0, 345.0), (-20.0, -5.0, 700.0, 500.0), (3.0, 4.0, 3.0, 4.0)])
def test_reversed_outside_and_empty_boxes_are_converted_as_they_are(box: tuple[float, ...]) -> None:
    x0, y0, x1, y1 = box
    coco = convert_boxes(box, from_="pascal_voc", to="coco")
    assert coco.tolist() == [x0, y0, x1 - x0, y1 - y0]
    assert convert_boxes(coco, from_="coco", to="pascal_voc").tolist() == list(box)


# --- what comes back -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4,), (0, 4), (1, 4), (3, 4), (2, 3, 4)])
@pytest.mark.parametrize(("from_", "to"), PAIRS)
def test_shapes_are_kept_and_memory_is_not_shared(shape: tuple[int, ...], from_: BoxFormat, to: BoxFormat) -> None:
    tensor = torch.rand(shape, dtype=torch.float64)
    before = tensor.clone()
    converted = convert_boxes(tensor, from_=from_, to=to, size=SIZE)
    assert converted.shape == shape
    converted.add_(1)
    assert torch.equal(tensor, before)
    array = np.random.default_rng(0).random(shape)
    expected = array.copy()
    of_array = convert_boxes(array, from_=from_, to=to, size=SIZE)
    assert of_array.shape == shape
    assert of_array.dtype == np.float64
    of_array += 1
    assert (array == expected).all()


@pytest.mark.parametrize("dtype", [np.uint32, np.float32, np.float64])
@pytest.mark.filterwarnings("error")
def test_arrays_that_torch_does_not_take_are_taken(dtype: type[np.generic]) -> None:
    array = np.array([EXAMPLE["coco"], [0, 0, 1, 1]], dtype=dtype)[::-1]
    array.flags.writeable = False
    converted = convert_boxes(array, from_="coco", to="pascal_voc")
    assert converted.dtype == np.float64
    assert converted.tolist() == [[0, 0, 1, 1], EXAMPLE["pascal_voc"]]


def test_an_empty_sequence_is_no_boxes() -> None:
    assert convert_boxes([], from_="coco", to="pascal_voc").shape == (0, 4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize(("from_", "to"), PAIRS)
def test_floating_tensors_keep_their_dtype_and_are_rounded_once(
    dtype: torch.dtype, from_: BoxFormat, to: BoxFormat
) -> None:
    generator = torch.Generator().manual_seed(0)
    boxes = (torch.rand((500, 4), generator=generator) * (600 if from_ in PIXELS else 1)).to(dtype)
    converted = convert_boxes(boxes, from_=from_, to=to, size=SIZE)
    wide = convert_boxes(boxes.double(), from_=from_, to=to, size=SIZE)
    assert converted.dtype == dtype
    assert torch.equal(converted, wide.to(dtype))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64])
def test_integers_become_float64_and_do_not_overflow(dtype: torch.dtype) -> None:
    # 200 + 100 does not fit uint8; 25 / 2 is no integer.
    converted = convert_boxes(torch.tensor([200, 10, 100, 25], dtype=dtype), from_="coco", to="pascal_voc")
    assert (converted.dtype, converted.tolist()) == (torch.float64, [200, 10, 300, 35])
    centre = convert_boxes(torch.tensor([200, 10, 101, 25], dtype=dtype), from_="coco", to="yolo", size=(1, 1))
    assert centre.tolist() == [250.5, 22.5, 101, 25]


def test_large_integers_are_exact() -> None:
    boxes = torch.tensor([2**40 + 1, 0, 2**40 + 3, 4])
    assert convert_boxes(boxes, from_="pascal_voc", to="coco").tolist() == [2**40 + 1, 0, 2, 4]


def test_gradients_pass() -> None:
    boxes = torch.tensor(EXAMPLE["pascal_voc"], dtype=torch.float32, requires_grad=True)
    (gradient,) = torch.autograd.grad(convert_boxes(boxes, from_="pascal_voc", to="yolo", size=SIZE)[2], boxes)
    assert gradient.tolist() == pytest.approx([-1 / 640, 0, 1 / 640, 0])


# --- TorchVision's boxes ---------------------------------------------------------------------------------------------


def bounding_boxes(values: Any, box_format: str = "XYXY", **changes: Any) -> Any:
    return tv_tensors.BoundingBoxes(values, format=box_format, canvas_size=SIZE, **changes)


@pytest.mark.parametrize(
    ("box_format", "box"),
    [("XYXY", EXAMPLE["pascal_voc"]), ("XYWH", EXAMPLE["coco"]), ("CXCYWH", [259, 403.5, 322, 117])],
)
@pytest.mark.parametrize("to", BOX_FORMATS)
def test_bounding_boxes_know_their_format_and_size(box_format: str, box: list[float], to: BoxFormat) -> None:
    converted = convert_boxes(bounding_boxes([box], box_format, dtype=torch.float32), to=to)
    assert converted.dtype == torch.float32
    assert torch.equal(converted.as_subclass(torch.Tensor), torch.tensor([EXAMPLE[to]]))
    if to in PIXELS:
        assert isinstance(converted, tv_tensors.BoundingBoxes)
        assert converted.format.value == {"pascal_voc": "XYXY", "coco": "XYWH"}[to]
        assert converted.canvas_size == SIZE
    else:
        assert type(converted) is torch.Tensor


def test_bounding_boxes_may_be_told_what_they_are() -> None:
    boxes = bounding_boxes([EXAMPLE["pascal_voc"]])
    assert convert_boxes(boxes, from_="pascal_voc", to="coco", size=SIZE).tolist() == [EXAMPLE["coco"]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"from_": "coco"}, "from_ is 'coco', but the boxes are XYXY in pixels; leave it out"),
        ({"from_": "albumentations"}, "from_ is 'albumentations', but the boxes are XYXY in pixels"),
        ({"size": (640, 480)}, r"size is \(640, 480\), but the boxes' canvas is \(480, 640\) \(height, width\)"),
    ],
)
def test_bounding_boxes_are_not_contradicted(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        convert_boxes(bounding_boxes([EXAMPLE["pascal_voc"]]), to="yolo", **arguments)


@pytest.mark.skipif(not hasattr(tv_tensors.BoundingBoxFormat, "XYWHR"), reason="this TorchVision has no rotated boxes")
def test_rotated_boxes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"the boxes are rotated \(XYWHR\)"):
        convert_boxes(bounding_boxes(torch.zeros(1, 5), "XYWHR"), to="coco")


# --- what is refused -------------------------------------------------------------------------------------------------

COCO_TO_YOLO = {"from_": "coco", "to": "yolo", "size": SIZE}


@pytest.mark.parametrize(
    ("boxes", "arguments", "message"),
    [
        ([1, 2, 3, 4], {"to": "yol"}, "to: no box format named 'yol'; did you mean 'yolo'?"),
        ([1, 2, 3, 4], {"from_": "voc"}, "from_: no box format named 'voc'; "),
        ([1, 2, 3, 4], {"from_": None}, "from_ is missing: .*: pascal_voc, coco, albumentations, yolo"),
        ([1, 2, 3], {}, r"boxes of shape \(3,\); they must be \[4\], \[N, 4\]"),
        (7.0, {}, r"boxes of shape \(\)"),
        (np.zeros((4, 0)), {}, r"boxes of shape \(4, 0\)"),
        (np.zeros((2, 5)), {}, r"boxes of shape \(2, 5\)"),
        ([[0, 0, 1, 1], [0, float("nan"), 1, 1]], {}, r"box 1, \(0.0, nan, 1.0, 1.0\), is not finite"),
        ([0, 0, float("inf"), 1], {}, "box 0, .* is not finite"),
        ([0, 0, 1, 1], {"size": None}, r"size is missing: .* give its size=\(height, width\)"),
        ([0, 0, 1, 1], {"size": (0, 5)}, r"size is \(0, 5\); it must be \(height, width\) in pixels, both positive"),
        ([0, 0, 1, 1], {"size": (5, -1)}, r"size is \(5, -1\)"),
        ([0, 0, 1, 1], {"size": (5, float("nan"))}, r"size is \(5, nan\)"),
        ([0, 0, 1, 1], {"size": (1, 2, 3)}, r"size is \(1, 2, 3\)"),
        ([0, 0, 1, 1], {"to": "pascal_voc", "size": (0, 5)}, r"size is \(0, 5\)"),
    ],
)
@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_what_cannot_be_converted_is_said(kind: Any, boxes: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        convert_boxes(kind(boxes), **{**COCO_TO_YOLO, **arguments})


# --- the page --------------------------------------------------------------------------------------------------------


def test_what_the_page_shows_is_so() -> None:
    shown = "\n".join(re.findall(r"^```pycon\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL))
    runner = doctest.DocTestRunner()
    runner.run(doctest.DocTestParser().get_doctest(shown, {}, PAGE.name, str(PAGE), 0))
    assert (runner.failures, runner.tries > 5) == (0, True)
