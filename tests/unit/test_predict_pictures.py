"""Drawing: colours per class, labels inside the picture that hide no other, masks, sizes from one pixel up."""

from __future__ import annotations

import itertools
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from detkit.data.targets import encode_masks
from detkit.errors import UserError
from detkit.predict import pictures
from detkit.predict.detections import Detections
from detkit.predict.pictures import class_colour, draw, label_font, save_picture, text_colour

NAMES = ("car", "dog", "tree")


def detections(
    boxes: list[list[float]], labels: list[int], width: int, height: int, masks: np.ndarray | None = None
) -> Detections:
    return Detections(
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        labels=np.array(labels, np.int64),
        scores=np.linspace(0.9, 0.5, len(labels), dtype=np.float32),
        names=tuple(NAMES[label - 1] for label in labels),
        width=width,
        height=height,
        rle=None if masks is None else encode_masks(masks),
    )


def has_colour(picture: torch.Tensor, colour: tuple[int, int, int]) -> torch.Tensor:
    """bool [H, W]"""
    return (picture == torch.tensor(colour)[:, None, None]).all(dim=0)


def test_colours_of_classes_differ_and_letters_on_them_can_be_read() -> None:
    colours = [class_colour(label) for label in range(1, 21)]
    for one, other in itertools.combinations(colours, 2):
        assert sum(abs(a - b) for a, b in zip(one, other, strict=True)) > 40
    for colour in colours:
        letters = text_colour(colour)
        assert abs(letters[0] - (0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2])) > 90
    assert class_colour(1) == colours[0]


def test_a_box_is_drawn_where_it_is() -> None:
    found = detections([[100, 200, 300, 400]], [2], 800, 600)
    picture = draw(torch.zeros(3, 600, 800, dtype=torch.uint8), found, label_font(NAMES))
    assert picture.shape == (3, 600, 800)
    drawn = has_colour(picture, class_colour(2))
    rows, columns = drawn.nonzero(as_tuple=True)
    assert (int(columns.min()), int(rows.max())) == (100, 400)
    assert int(columns.max()) == 300
    assert not drawn[250:350, 150:250].any()
    assert int(rows.min()) < 200  # the label, above it
    assert has_colour(picture, text_colour(class_colour(2)))[:200].any()


@pytest.mark.parametrize(("width", "height"), [(1, 1), (7, 3), (128, 96), (640, 480), (1, 900), (2000, 1500)])
def test_every_size_can_be_drawn(width: int, height: int) -> None:
    w, h = float(width), float(height)
    boxes = [[0.0, 0.0, w, h], [-5.0, -5.0, w + 5, 2.0], [w - 1, h - 1, w, h], [0.0, 0.0, 0.0, 0.0]]
    masks = np.ones((4, height, width), np.uint8)
    masks[3] = 0
    found = detections(boxes, [1, 2, 3, 1], width, height, masks)
    picture = draw(torch.zeros(3, height, width, dtype=torch.uint8), found, label_font(NAMES))
    factor = picture.shape[2] // width
    assert picture.shape == (3, factor * height, factor * width)
    assert factor == {1: 8 if height == 1 else 1, 7: 8, 128: 5}.get(width, 1)


def test_an_image_in_which_nothing_is_found_is_left_as_it_is() -> None:
    image = torch.randint(0, 255, (3, 700, 700), dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # TorchVision warns of empty lists
        assert torch.equal(draw(image, detections([], [], 700, 700), label_font(NAMES)), image)
        masks = np.zeros((0, 700, 700), np.uint8)
        assert torch.equal(draw(image, detections([], [], 700, 700, masks), label_font(NAMES)), image)
        assert torch.equal(draw(image.float() / 255, detections([], [], 700, 700), label_font(NAMES)), image)


def test_masks_shine_through_also_where_they_overlap() -> None:
    masks = np.zeros((2, 700, 700), np.uint8)
    masks[0, 100:300, 100:300] = 1
    masks[1, 200:400, 200:400] = 1
    found = detections([[100, 100, 300, 300], [200, 200, 400, 400]], [1, 1], 700, 700, masks)
    image = torch.full((3, 700, 700), 200, dtype=torch.uint8)
    picture = draw(image, found, label_font(NAMES))
    assert torch.equal(image, torch.full_like(image, 200))
    colour = torch.tensor(class_colour(1))
    once, twice = picture[:, 350, 350].long(), picture[:, 250, 250].long()
    assert torch.equal(picture[:, 50, 50].long(), torch.tensor([200, 200, 200]))
    assert ((once - colour).abs() < (200 - colour).abs()).all()
    assert ((twice - colour).abs() < (once - colour).abs()).all()  # and not black


def test_labels_of_neighbours_hide_none(monkeypatch: pytest.MonkeyPatch) -> None:
    places: list[tuple[int, ...]] = []
    place = pictures._place

    def keeping(*arguments: object) -> tuple[int, int, int, int]:
        places.append(place(*arguments))  # type: ignore[arg-type]  # handed on
        return places[-1]  # type: ignore[return-value]

    monkeypatch.setattr(pictures, "_place", keeping)
    boxes: list[list[float]] = [[300, 300, 500, 500], [310, 305, 490, 510], [305, 310, 480, 495], [290, 295, 500, 505]]
    found = detections(boxes, [1, 2, 3, 1], 800, 800)
    draw(torch.zeros(3, 800, 800, dtype=torch.uint8), found, label_font(NAMES))
    assert len(places) == 4
    for one, other in itertools.combinations(places, 2):
        assert not (one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3])


def test_labels_stay_inside_the_picture() -> None:
    for box in ([0, 0, 60, 30], [750, 580, 800, 600], [0, 0, 800, 600], [790, 0, 800, 600]):
        left, top, right, bottom = pictures._place(box, (90, 20), (800, 600), 2, [])
        assert 0 <= left < right <= 800
        assert 0 <= top < bottom <= 600


def test_a_font_that_has_the_letters_is_taken_where_there_is_one(tmp_path: Path) -> None:
    own = label_font(["pedestrian", "traffic light 2"])
    assert isinstance(own.source, bytes)
    assert own.has("pedestrian 0.97")
    assert not own.has("fußgänger")
    foreign = label_font(["fußgänger"])
    assert foreign.has("fußgänger") or foreign == own
    file = tmp_path / "font.ttf"
    file.write_bytes(own.source)
    assert label_font(["pedestrian"], file).source == str(file)
    with pytest.raises(UserError, match="is no TrueType font that can be read"):
        label_font([], tmp_path / "none.ttf")


def test_a_picture_is_a_jpeg_or_a_png_where_it_is_too_long(tmp_path: Path) -> None:
    file = save_picture(torch.zeros(3, 4, 6, dtype=torch.uint8), tmp_path / "below" / "a.b")
    with Image.open(file) as image:
        assert (file.name, image.format, image.size) == ("a.b.jpg", "JPEG", (6, 4))
    assert save_picture(torch.zeros(3, 1, 66_000, dtype=torch.uint8), tmp_path / "long").name == "long.png"
