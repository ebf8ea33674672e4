"""Files in COCO's form from anybody: what is read, what is filled in, and what is refused in which words."""

from __future__ import annotations

import copy
import gzip
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from detkit.data.coco_files import CocoTruth, holds_masks, parse_results, parse_truth
from detkit.data.coco_json import read_coco_json
from detkit.data.coco_masks import as_rle
from detkit.data.rle import whole
from detkit.data.targets import decode_masks, encode_masks
from detkit.errors import DataError

Change = Callable[[Any], Any]
FILE = Path("gt.json")
SQUARE = [[2, 3, 8, 3, 8, 7, 2, 7]]
LEFT_HALF = encode_masks(np.repeat(np.arange(20)[None, None] < 10, 12, axis=1).astype(np.uint8))[0]

TRUTH: dict[str, Any] = {
    "info": {"year": 2024},
    "images": [
        {"id": 900, "width": 20, "height": 12, "file_name": "a.jpg"},
        {"id": -7, "width": 20, "height": 12, "file_name": "b.jpg"},
        {"id": 5, "width": 20, "height": 12},
    ],
    "categories": [{"id": 90, "name": "toothbrush"}, {"id": 1, "name": "person", "supercategory": "x"}],
    "annotations": [
        {"id": 31, "image_id": 900, "category_id": 90, "bbox": [0.1, 0.2, 5, 6], "area": 29.5, "iscrowd": 0},
        {"id": 32, "image_id": -7, "category_id": 1, "bbox": [1, 1, 4, 4], "area": 16, "iscrowd": 1},
        {"id": 33, "image_id": 900, "category_id": 1, "bbox": [2, 3, 6, 4], "area": 24, "iscrowd": 0},
    ],
}
RESULTS: list[dict[str, Any]] = [
    {"image_id": 900, "category_id": 1, "bbox": [2, 3, 6, 4], "score": 0.9},
    {"image_id": -7, "category_id": 90, "bbox": [0.1, 0.2, 0.3, 0.0], "score": 1},
    {"image_id": 900, "category_id": 90, "bbox": [-3, -4, 500.5, 1e9], "score": 0},
]


def truth_with(change: Change) -> CocoTruth:
    content = copy.deepcopy(TRUTH)
    change(content)
    return parse_truth(content, FILE)


def set_to(place: str, *path: str | int) -> Change:
    """A change of one value; `place` is JSON, or "gone"."""

    def change(content: Any) -> None:
        for key in path[:-1]:
            content = content[key]
        if place == "gone":
            del content[path[-1]]
        else:
            content[path[-1]] = json.loads(place)

    return change


def third(key: str, value: str) -> Change:
    """Of the last annotation of the ground truth."""
    return set_to(value, "annotations", 2, key)


def second(key: str, value: str) -> Change:
    """Of the middle one of the results."""
    return set_to(value, 1, key)


# --- what is read ----------------------------------------------------------------------------------------------------


def test_ids_may_be_any_integers_and_classes_are_in_the_order_of_theirs() -> None:
    truth = parse_truth(TRUTH, FILE)
    assert truth.class_names == ("person", "toothbrush")
    assert truth.category_ids.tolist() == [1, 90]
    assert [(info.image_id, info.label) for info in truth.infos] == [(900, "a.jpg"), (-7, "b.jpg"), (5, "image 5")]
    assert [[a.label for a in info.annotations] for info in truth.infos] == [[2, 1], [1], []]
    assert [a.iscrowd for info in truth.infos for a in info.annotations] == [False, False, True]
    assert [a.source for a in truth.infos[0].annotations] == ["annotation 31", "annotation 33"]
    assert truth.remarks == ()


def test_numbers_are_those_of_the_file_to_the_last_bit() -> None:
    """0.1 + 0.2 is not 0.3, and (0.1 + 5) - 0.1 not 5."""
    truth = parse_truth(TRUTH, FILE)
    first = truth.infos[0].annotations[0]
    assert first.coco_box == (0.1, 0.2, 5.0, 6.0)
    assert first.box == (0.1, 0.2, 0.1 + 5, 0.2 + 6)
    assert first.area == 29.5
    found = parse_results(RESULTS, Path("r.json"), truth)
    assert [prediction.image_id for prediction in found] == [900, -7, 5]
    assert [len(prediction) for prediction in found] == [2, 1, 0]
    bboxes = [prediction.bboxes for prediction in found]
    assert all(boxes is not None and boxes.dtype == np.float64 for boxes in bboxes)
    assert [boxes.tolist() for boxes in bboxes if boxes is not None] == [
        [[2, 3, 6, 4], [-3, -4, 500.5, 1e9]],
        [[0.1, 0.2, 0.3, 0]],
        [],
    ]
    assert found[1].boxes.tolist() == [[0.1, 0.2, 0.1 + 0.3, 0.2]]
    assert found[0].scores.tolist() == [0.9, 0.0]
    assert found[0].labels.tolist() == [1, 2]
    assert {prediction.masks for prediction in found} == {None}


def test_without_any_detection_every_image_has_none() -> None:
    truth = parse_truth(TRUTH, FILE)
    assert [len(prediction) for prediction in parse_results([], Path("r.json"), truth)] == [0, 0, 0]


def test_what_is_not_stated_is_filled_in() -> None:
    content = copy.deepcopy(TRUTH)
    rows = content["annotations"]
    del rows[0]["area"], rows[0]["iscrowd"]
    rows[1] |= {"area": None, "iscrowd": None, "segmentation": SQUARE}
    rows[2] = {"id": 33, "image_id": 900, "category_id": 1, "segmentation": SQUARE}
    for masks in (True, False):
        truth = parse_truth(content, FILE, masks=masks)
        first, third = truth.infos[0].annotations
        (second,) = truth.infos[1].annotations
        assert (first.area, first.iscrowd) == (5.0 * 6.0, False)
        assert (second.area, second.iscrowd, second.coco_box) == (24.0, False, (1.0, 1.0, 4.0, 4.0))
        assert (third.area, third.coco_box) == (24.0, (2.0, 3.0, 6.0, 4.0))
        assert [(a.mask is not None) for a in (first, second, third)] == [False, masks, masks]
        assert truth.remarks == (
            "3 of 3 annotations state no 'area': it is that of their mask where they have one, else of their box",
        )


def test_a_name_that_is_no_unicode_is_made_printable() -> None:
    content = json.loads(json.dumps(TRUTH).replace("a.jpg", "\\ud83d.jpg").replace("person", "\\udcff"))
    truth = parse_truth(content, FILE)
    assert (truth.infos[0].label, truth.class_names[0]) == ("\\ud83d.jpg", "\\udcff")


def test_an_id_of_0_counts_and_is_told() -> None:
    assert (
        "the id 0: pycocotools takes a match with it for none"
        in truth_with(set_to("0", "annotations", 0, "id")).remarks[0]
    )


# --- masks -----------------------------------------------------------------------------------------------------------


def test_masks_of_every_form() -> None:
    runs = [120, 120]  # the right half, column by column
    content = copy.deepcopy(TRUTH)
    forms: list[Any] = [SQUARE, {"size": [12, 20], "counts": runs}, dict(LEFT_HALF)]
    for row, form in zip(content["annotations"], forms, strict=True):
        row["segmentation"] = form
    truth = parse_truth(content, FILE)
    (polygon, text), (listed,) = truth.infos[0].annotations, truth.infos[1].annotations
    masks = [mask for mask in (polygon.mask, listed.mask, text.mask) if mask is not None]
    pixels = decode_masks(masks, 12, 20)
    assert pixels[0].sum() == 24
    assert pixels[0, 3:7, 2:8].all()
    assert pixels[1].tolist() == [[0] * 10 + [1] * 10] * 12
    assert pixels[2].tolist() == [[1] * 10 + [0] * 10] * 12
    results = [{**row, "segmentation": form} for row, form in zip(RESULTS, forms, strict=True)]
    found = parse_results(results, Path("r.json"), truth)
    assert found[0].masks == [masks[0], masks[2]]
    assert found[1].masks == [masks[1]]
    assert found[2].masks == []


def test_areas_are_taken_from_any_number_of_masks() -> None:
    content = copy.deepcopy(TRUTH)
    row = {"image_id": 900, "category_id": 1, "segmentation": SQUARE}
    content["annotations"] = [{"id": number, **row} for number in range(1, 600)]
    assert [item.area for item in parse_truth(content, FILE).infos[0].annotations] == [24.0] * 599


def test_results_may_have_masks_without_boxes() -> None:
    rows = [{"image_id": 5, "category_id": 1, "segmentation": LEFT_HALF, "score": 0.5}]
    found = parse_results(rows, Path("r.json"), parse_truth(TRUTH, FILE))[2]
    assert found.bboxes is not None
    assert found.bboxes.tolist() == [[0, 0, 10, 12]]


def test_an_empty_segmentation_is_none() -> None:
    truth = truth_with(set_to("[]", "annotations", 0, "segmentation"))
    assert truth.infos[0].annotations[0].mask is None
    results = [{**row, "segmentation": []} for row in RESULTS]
    assert not holds_masks(results)
    assert parse_results(results, Path("r.json"), truth)[0].masks is None


@given(st.lists(st.lists(st.floats(-50, 70), min_size=6, max_size=12), min_size=1, max_size=3))
def test_any_polygon_becomes_a_whole_mask(polygons: list[list[float]]) -> None:
    mask = as_rle([polygon[: len(polygon) // 2 * 2] for polygon in polygons], 12, 20)
    assert whole([mask["counts"]], [240]).all()


@given(
    st.integers(1, 9).flatmap(lambda height: st.lists(st.binary(min_size=height, max_size=height), min_size=1)),
    st.data(),
)
def test_a_damaged_mask_is_found(columns: list[bytes], data: st.DataObject) -> None:
    pixels = np.array([list(column) for column in columns], np.uint8) % 2
    text = encode_masks(pixels.T[None])[0]["counts"]
    assert whole([text], [pixels.size]).tolist() == [True]
    cut = data.draw(st.integers(0, len(text) - 1))
    other = text[:cut] + data.draw(st.text(max_size=3)) + text[cut + data.draw(st.integers(0, 2)) :]
    (sound,) = whole([other], [pixels.size])
    if sound:  # then pycocotools reads it, and it covers the image: other runs of the same sum
        mask = {"size": list(pixels.T.shape), "counts": other}
        assert encode_masks(coco_mask.decode(mask)[None])[0]["counts"] == coco_mask.merge([mask])["counts"].decode()
    assert whole([text, other, text], [pixels.size] * 3).tolist() == [True, sound, True]
    assert whole([text], [pixels.size + 1]).tolist() == [False]


# --- what is refused in ground truth ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (set_to('"x"', "images"), "gt.json has no list 'images': an object with 'info', 'images', "),
        (set_to("gone", "annotations"), "gt.json has no list 'annotations': an object with 'info', 'images', "),
        (set_to("[]", "images"), "gt.json has no images"),
        (set_to("[]", "categories"), "gt.json has no categories"),
        (set_to('"5"', "images", 2, "id"), "images[2] (id '5') has 'id' '5'; it must be an integer"),
        (set_to("5.0", "images", 2, "id"), "images[2] (id 5.0) has 'id' 5.0; it must be an integer"),
        (set_to("true", "images", 2, "id"), "images[2] (id true) has 'id' true; it must be an integer"),
        (set_to("900", "images", 2, "id"), "images[2] (id 900) has the id of images[0] too; ids must differ"),
        (set_to("9223372036854775808", "images", 2, "id"), "has 'id' 9223372036854775808, which is more than 64 bits"),
        (set_to("gone", "images", 1, "width"), "images[1] (id -7) has no 'width'"),
        (set_to("0", "images", 1, "height"), "images[1] (id -7) has 'height' 0; it must be from 1 to 1,000,000 pixels"),
        (set_to("1e9", "images", 1, "height"), "images[1] (id -7) has 'height' 1000000000.0; it must be an integer"),
        (set_to("3", "images", 1, "file_name"), "images[1] (id -7) has 'file_name' 3; it must be text"),
        (set_to("[1]", "images", 1), "images[1] is [1]; it must be an object"),
        (set_to("1", "categories", 0, "id"), "categories[1] (id 1) has the id of categories[0] too"),
        (set_to('"person"', "categories", 0, "name"), "has the name 'person' of categories[0] too; names must differ"),
        (set_to('" "', "categories", 0, "name"), "categories[0] (id 90) has an empty 'name'"),
        (set_to("gone", "categories", 0, "name"), "categories[0] (id 90) has no 'name'"),
        (third("id", "31"), "annotations[2] (id 31) has the id of annotations[0] too"),
        (third("id", "gone"), "annotations[2] has no 'id'"),
        (third("image_id", "6"), "annotations[2] (id 33) has 'image_id' 6, which is none of the 3 images"),
        (third("category_id", "2"), "has 'category_id' 2, which is none of the 2 categories"),
        (third("bbox", "gone"), "annotations[2] (id 33) has neither 'bbox' nor 'segmentation'"),
        (third("bbox", "[1, 2, 3]"), "has 'bbox' [1, 2, 3]; it must be four numbers"),
        (third("bbox", '[1, 2, 3, "4"]'), "has 'bbox' [1, 2, 3, '4']; it must be four numbers"),
        (third("bbox", '{"x": 1}'), "has 'bbox' {'x': 1}; it must be a list"),
        (third("bbox", "[1, 2, -3, 4]"), "has 'bbox' [1, 2, -3, 4] of negative width or height"),
        (third("bbox", "[1, NaN, 3, 4]"), "has 'bbox' [1, nan, 3, 4]; its numbers, and its far corner"),
        (third("bbox", "[1e308, 0, 1e308, 4]"), "its far corner, must be finite"),
        (third("bbox", "[0, 0, 1e155, 1e155]"), "[0, 0, 1e+155, 1e+155], which is too large: its area is not finite"),
        (third("area", "-Infinity"), "has 'area' -inf; it must be finite"),
        (third("area", "-1"), "has a negative 'area', -1.0"),
        (third("area", '"big"'), "has 'area' 'big'; it must be a number"),
        (third("iscrowd", "2"), "has 'iscrowd' 2; it must be 0 or 1"),
        (third("segmentation", "[[1, 2, 3, 4]]"), "its polygon has 4 numbers; it must have two for"),
        (third("segmentation", "[[1, 2, 3, 4, 5, NaN]]"), "a corner that is not finite"),
        (third("segmentation", "[[1, 2, 3, 4, 5, 1e15]]"), "or more than 100,000 pixels away"),
        (third("segmentation", "[1, 2, 3, 4, 5, 6]"), "its polygon 1 is no list of numbers"),
        (third("segmentation", '"abc"'), "has 'segmentation' 'abc'; it must be a list or an object"),
        (
            third("segmentation", '{"size": [20, 12], "counts": [240]}'),
            "annotations[2] (id 33) has a 'segmentation' that is no mask: its size is [20, 12], that of the",
        ),
        (third("segmentation", '{"size": [12, 20], "counts": [100]}'), "that add up to the 240 pixels"),
        (third("segmentation", '{"size": [12, 20], "counts": [-1, 241]}'), "none negative"),
        (third("segmentation", '{"size": [12, 20], "counts": "h3"}'), "its runs are damaged"),
        (third("segmentation", '{"size": [12, 20]}'), "its counts are null; they must be text or a list"),
    ],
)
def test_a_fault_in_ground_truth_is_named_with_its_entry(change: Change, says: str) -> None:
    with pytest.raises(DataError) as caught:
        truth_with(change)
    assert says in str(caught.value)
    assert str(caught.value).startswith("gt.json has ")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (RESULTS, "gt.json is a list of detections, as results are, and no ground truth: are the two files swapped?"),
        ([], "gt.json is no ground truth in COCO's form: a list of 0; it must be an object with the lists 'images', "),
        ("x", "gt.json is no ground truth in COCO's form: only 'x'; it must be an object"),
        ({}, "gt.json has no list 'images', 'annotations', 'categories': an object with nothing in it; it must be"),
    ],
)
def test_a_file_of_another_form_is_no_ground_truth(content: Any, says: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_truth(content, FILE)
    assert says in str(caught.value)


def test_all_faults_are_told_at_once_up_to_twenty() -> None:
    content = copy.deepcopy(TRUTH)
    row = content["annotations"][0]
    content["annotations"] = [{**row, "id": number, "image_id": 1 if number < 30 else 900} for number in range(40)]
    content["annotations"][30]["area"] = "x"
    with pytest.raises(DataError) as caught:
        parse_truth(content, FILE)
    lines = str(caught.value).splitlines()
    assert lines[0] == "gt.json has 31 faults (entries are counted from 0):"
    assert lines[1] == "  annotations[0] (id 0) has 'image_id' 1, which is none of the 3 images"
    assert len(lines) == 22
    assert lines[-1] == "  and 11 more"


# --- what is refused in results --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (second("score", "1.5"), "entry 1 (image_id -7, category_id 90) has 'score' 1.5; scores lie in 0..1"),
        (second("score", "-0.5"), "has 'score' -0.5; scores lie in 0..1"),
        (second("score", "NaN"), "entry 1 (image_id -7, category_id 90) has 'score' nan; it must be finite"),
        (second("score", "1e999"), "has 'score' inf; it must be finite"),
        (second("score", "1" + "0" * 400), "has 'score' inf; it must be finite"),
        (second("score", '"0.5"'), "has 'score' '0.5'; it must be a number"),
        (second("score", "true"), "has 'score' true; it must be a number"),
        (second("score", "gone"), "entry 1 (image_id -7, category_id 90) has no 'score'"),
        (second("score", "null"), "has 'score' null; it must be a number"),
        (second("image_id", "8"), "entry 1 (image_id 8, category_id 90) has 'image_id' 8, which is none of the 3"),
        (second("image_id", '"-7"'), "has 'image_id' '-7'; it must be an integer"),
        (second("category_id", "0"), "has 'category_id' 0, which is none of the 2 category ids of the ground truth"),
        (second("bbox", "[1, 2, 3, -4]"), "has 'bbox' [1, 2, 3, -4] of negative width or height"),
        (second("bbox", "[1, 2, 3, 4, 5]"), "has 'bbox' [1, 2, 3, 4, 5]; it must be four numbers"),
        (second("bbox", "[0, 0, 1e155, 1e155]"), "which is too large: its area is not finite"),
        (second("bbox", "gone"), "entry 1 (image_id -7, category_id 90) has neither 'bbox' nor 'segmentation'"),
        (set_to(json.dumps(LEFT_HALF), 0, "segmentation"), "has no 'segmentation', which others have: give all"),
        (second("segmentation", '{"size": [12, 21], "counts": "x"}'), "its size is [12, 21], that of the image"),
        (set_to("3", 1), "entry 1 is 3; it must be an object"),
    ],
)
def test_a_fault_in_results_is_named_with_its_entry(change: Change, says: str) -> None:
    rows = copy.deepcopy(RESULTS)
    change(rows)
    with pytest.raises(DataError) as caught:
        parse_results(rows, Path("r.json"), parse_truth(TRUTH, FILE))
    assert says in str(caught.value)
    assert str(caught.value).startswith("r.json has ")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (TRUTH, "r.json is a ground truth (info, images, categories, annotations) and no list of detections: are the"),
        ({"a": 1}, "r.json is no results file in COCO's form: an object with 'a'; it must be a list of detections"),
        (3, "r.json is no results file in COCO's form: only 3; it must be a list of detections"),
    ],
)
def test_a_file_of_another_form_is_no_results(content: Any, says: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_results(content, Path("r.json"), parse_truth(TRUTH, FILE))
    assert says in str(caught.value)


def test_faults_are_in_the_order_of_the_file() -> None:
    rows = copy.deepcopy(RESULTS)
    rows[0]["score"] = 2
    rows[1]["category_id"] = 7
    rows[2]["image_id"] = 8
    with pytest.raises(DataError) as caught:
        parse_results(rows, Path("r.json"), parse_truth(TRUTH, FILE))
    assert [line.split()[1] for line in str(caught.value).splitlines()[1:]] == ["0", "1", "2"]


# --- the files themselves --------------------------------------------------------------------------------------------


def written(folder: Path, data: bytes) -> Path:
    file = folder / "x.json"
    file.write_bytes(data)
    return file


def test_a_file_may_be_gzipped_whatever_its_name(tmp_path: Path) -> None:
    text = json.dumps(TRUTH).encode()
    for data in (text, gzip.compress(text), b"\xef\xbb\xbf" + text):
        assert read_coco_json(written(tmp_path, data)) == TRUTH


TEXT = json.dumps(RESULTS).encode()


def test_a_file_that_is_cut_anywhere_is_said_to_be(tmp_path: Path) -> None:
    for length in range(1, len(TEXT)):
        with pytest.raises(DataError, match=r"x\.json is cut: its JSON ends in the middle"):
            read_coco_json(written(tmp_path, TEXT[:length]))


@pytest.mark.parametrize("share", [0.1, 0.3, 0.7, 0.99])
def test_a_gzipped_file_that_is_cut_is_said_to_be(tmp_path: Path, share: float) -> None:
    data = gzip.compress(TEXT)
    with pytest.raises(DataError, match=r"x\.json is cut: its gzip data ends in the middle"):
        read_coco_json(written(tmp_path, data[: int(len(data) * share)]))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "x.json is empty"),
        (b" \n", "x.json is empty"),
        (gzip.compress(b"", mtime=0), "x.json is empty"),
        (b"\xef\xbb\xbf", "x.json is empty"),
        (b"\xef\xbb\xbf ", "x.json is empty"),
        (b"[1, 2" + b" " * 50 + b"3]", "x.json is no JSON: Expecting ',' delimiter in line 1, column 56"),
        (b"hello, this is no JSON at all", "x.json is no JSON: Expecting value in line 1, column 1"),
        (b'["\xff"]' + b" " * 30, "x.json is no UTF-8 text (byte 2: 0xff)"),
        (b"[" * 100_000, "x.json is no file in COCO's form: its lists are nested too deep"),
        (b"[" + b"1" * 5000 + b"]", "x.json cannot be read: Exceeds the limit"),
        (gzip.compress(TEXT, mtime=0)[:-8] + b"xxxxyyyy", "x.json is damaged: its gzip data cannot be unpacked"),
    ],
)
def test_a_file_that_is_no_json_says_why(tmp_path: Path, data: bytes, says: str) -> None:
    with pytest.raises(DataError) as caught:
        read_coco_json(written(tmp_path, data))
    assert says in str(caught.value)


def test_a_file_that_is_not_there_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no file .*nowhere\.json"):
        read_coco_json(tmp_path / "nowhere.json")
    with pytest.raises(DataError, match="is a folder, not a file"):
        read_coco_json(tmp_path)


# --- speed -----------------------------------------------------------------------------------------------------------


def test_half_a_million_detections_take_seconds() -> None:
    """A fifth of them here; row by row it would be ten times as slow."""
    truth = parse_truth(TRUTH, FILE)
    rows = RESULTS * 33_000
    began = time.process_time()
    found = parse_results(rows, Path("r.json"), truth)
    assert time.process_time() - began < 3
    assert sum(map(len, found)) == 99_000
