"""Fast R-CNN's sources of proposals: boxes in the image's pixels, the same for the same image, kept where slow."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torchvision.models import mobilenet_v2
from torchvision.models.detection import fasterrcnn_resnet50_fpn
from torchvision.models.detection._utils import overwrite_eps
from torchvision.ops import FrozenBatchNorm2d, box_iou

from detkit import BuildContext, UserError, WeightsError
from detkit.components import Silent
from detkit_torchvision import FAST_RCNN, proposals
from detkit_torchvision.options import FastRCNNOptions
from detkit_torchvision.proposals.cache import Cached
from detkit_torchvision.proposals.grid import grid_boxes, thinned
from detkit_torchvision.proposals.rpn import FrozenRPN
from detkit_torchvision.proposals.selective_search import SelectiveSearch
from detkit_torchvision.weights import files


class Heard(Silent):
    def __init__(self) -> None:
        self.infos: list[str] = []

    def info(self, text: str) -> None:
        self.infos.append(text)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def assert_inside(boxes: Tensor, height: int, width: int) -> None:
    assert boxes.dtype == torch.float32
    assert boxes.ndim == 2
    assert boxes.shape[1] == 4
    assert bool((boxes[:, 2:] > boxes[:, :2]).all())
    assert float(boxes.min()) >= 0
    assert float(boxes[:, [0, 2]].max()) <= width + 1e-3
    assert float(boxes[:, [1, 3]].max()) <= height + 1e-3


def two_squares() -> Tensor:
    image = torch.full((3, 90, 120), 0.2)
    image[0, 20:60, 10:40] = 0.9
    image[1, 40:80, 70:110] = 0.9
    return image


# --- grid ------------------------------------------------------------------------------------------------------------


@given(
    height=st.integers(1, 700),
    width=st.integers(1, 700),
    scales=st.integers(1, 6),
    ratio=st.floats(0.2, 5),
    step=st.floats(0.2, 1),
    limit=st.integers(1, 3000),
)
@settings(max_examples=60, deadline=None)
def test_grids_lie_inside_any_image_and_keep_the_limit(
    height: int, width: int, scales: int, ratio: float, step: float, limit: int
) -> None:
    boxes = grid_boxes(height, width, scales, (ratio, 1.0), step, limit)
    assert 1 <= len(boxes) <= limit
    assert_inside(boxes, height, width)


def test_a_grid_reaches_from_edge_to_edge_and_finds_objects_of_its_scales() -> None:
    options = FastRCNNOptions(backbone="tiny_fpn")
    arguments = (options.grid_scales, options.grid_ratios, options.grid_step, options.max_proposals)
    boxes = grid_boxes(300, 400, *arguments)
    assert [float(v) for v in (boxes[:, 0].min(), boxes[:, 1].min(), boxes[:, 2].max(), boxes[:, 3].max())] == (
        pytest.approx([0, 0, 400, 300], abs=1e-3)
    )
    torch.manual_seed(0)
    sides = torch.rand(500, 2) * torch.tensor([100.0, 150.0]) + 60
    corners = torch.rand(500, 2) * (torch.tensor([400.0, 300.0]) - sides)
    objects = torch.cat([corners, corners + sides], dim=1)
    assert float((box_iou(objects, boxes).max(dim=1).values > 0.5).float().mean()) > 0.9


def test_a_grid_with_too_many_boxes_gets_wider_and_still_reaches_the_edges() -> None:
    boxes = grid_boxes(200, 1000, 6, (0.5, 1.0, 2.0, 3.0), 0.33, 2500)
    assert 1500 < len(boxes) <= 2500
    assert float(boxes[:, 2].max()) == pytest.approx(1000)
    widths = boxes[:, 2] - boxes[:, 0]
    narrowest = boxes[torch.isclose(widths, widths.min(), atol=0.01)]
    lefts = torch.unique(narrowest[:, 0])
    assert float(lefts.diff().max() - lefts.diff().min()) < 1e-3, "at equal distances"


def test_thinning_keeps_the_ends_and_the_order() -> None:
    boxes = torch.arange(40.0).reshape(10, 4)
    assert torch.equal(thinned(boxes, 10), boxes)
    kept = thinned(boxes, 4)
    assert kept[:, 0].tolist() == [0, 12, 24, 36]


# --- selective search ------------------------------------------------------------------------------------------------


def test_selective_search_finds_regions_and_repeats() -> None:
    pytest.importorskip("cv2")
    search = SelectiveSearch(64, "fast", 500)
    image = two_squares()
    boxes = search(image)
    assert_inside(boxes, 90, 120)
    objects = torch.tensor([[10.0, 20, 40, 60], [70, 40, 110, 80]])
    assert bool((box_iou(objects, boxes).max(dim=1).values > 0.7).all())
    assert torch.equal(boxes, search(image)), "OpenCV's own order is random"
    assert len(SelectiveSearch(64, "fast", 3)(image)) == 3


def test_without_opencv_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposals, "find_spec", lambda _name: None)
    options = FastRCNNOptions(backbone="tiny_fpn", proposals="selective_search")
    context = BuildContext(("a",), offline=True)
    for act in (FAST_RCNN.build, cast(Any, FAST_RCNN.check)):
        with pytest.raises(UserError, match=r'pip install "detkit\[selective-search\]"'):
            act(options, context)


# --- a frozen network ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def coco_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where TorchVision's Faster R-CNN would be: the published names and shapes, random values."""
    home = tmp_path_factory.mktemp("torch")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_HOME", str(home))
        file = files.coco("faster_rcnn", "resnet50_fpn").file
    file.parent.mkdir(parents=True)
    torch.manual_seed(0)
    detector = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=91)
    state = {name: value for name, value in detector.state_dict().items() if "num_batches_tracked" not in name}
    torch.save({name: 0.5 + torch.rand_like(v) if "running_var" in name else v for name, v in state.items()}, file)
    return file


def test_a_frozen_network_proposes_and_never_learns(
    coco_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(coco_file.parents[2]))
    options = FastRCNNOptions(backbone="tiny_fpn", proposals="rpn", max_proposals=40)
    context = BuildContext(("a",), min_size=64, max_size=96, offline=True, cache_folder=tmp_path)
    model = FAST_RCNN.build(options, context).train()
    source = cast(Any, model).source.source
    assert isinstance(source, FrozenRPN)
    assert not any(module.training for module in source.modules())
    assert not any(parameter.requires_grad for parameter in source.parameters())
    image = torch.rand(3, 64, 80)
    boxes = cast(Any, model).source(image)
    assert 1 <= len(boxes) <= 40
    assert_inside(boxes, 64, 80)
    origin = cast(Any, model).weights_origin["proposal_source"]
    assert origin["file"] == coco_file.name
    assert any(name.startswith("source.source.") for name in model.state_dict())

    # The very network that TorchVision builds for these weights.
    theirs = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=91)
    _freeze_norms(theirs)
    theirs.load_state_dict(torch.load(coco_file, weights_only=True))
    overwrite_eps(theirs, 0.0)
    theirs.rpn._post_nms_top_n = {"training": 40, "testing": 40}
    theirs.eval()
    with torch.no_grad():
        images, _ = theirs.transform([image])
        (expected,), _ = theirs.rpn(images, theirs.backbone(images.tensors))
    scale = torch.tensor([80, 64, 80, 64]) / torch.tensor([*images.image_sizes[0][::-1]] * 2)
    assert torch.allclose(boxes, expected * scale, atol=1e-2)

    # A checkpoint holds the network too: to predict, no file is needed.
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "empty"))
    state = model.state_dict()
    said = cast(Any, model).weights_origin
    again = FAST_RCNN.build(options, replace(context, weights=state, weights_origin=said))
    again.load_state_dict(state)
    assert cast(Any, again).source.source.key == source.key
    with pytest.raises(WeightsError, match=f"{coco_file.name} are not in "):
        FAST_RCNN.build(options, context)


def _freeze_norms(module: nn.Module) -> None:
    """As TorchVision builds it for weights, which cannot be asked of it without fetching them."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, FrozenBatchNorm2d(child.num_features))
        else:
            _freeze_norms(child)


def test_checking_a_frozen_network_fetches_nothing(
    coco_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch_home = tmp_path / "hub" / "checkpoints"
    torch_home.mkdir(parents=True)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(files, "_download", lambda *_: pytest.fail("it fetches"))
    state = {f"features.{name}": value for name, value in mobilenet_v2(weights=None).features.state_dict().items()}
    torch.save(state, torch_home / "mobilenet_v2-b0353104.pth")
    options = FastRCNNOptions(backbone="mobilenet_v2_fpn", proposals="rpn")
    cast(Any, FAST_RCNN.check)(options, BuildContext(("a",)))
    with pytest.raises(WeightsError, match=f"{coco_file.name} are not in "):
        cast(Any, FAST_RCNN.check)(options, BuildContext(("a",), offline=True))


# --- the cache -------------------------------------------------------------------------------------------------------


class Counting(nn.Module):
    """A source that counts how often it was asked."""

    def __init__(self, key: str = "key") -> None:
        super().__init__()
        self.asked = 0
        self.key = key

    def forward(self, image: Tensor) -> Tensor:
        self.asked += 1
        return torch.tensor([[0.0, 0.0, image.shape[2], image.shape[1]]])


def test_the_same_pixels_are_asked_once_also_by_another_process(tmp_path: Path) -> None:
    source, image = Counting(), two_squares()
    first = Cached(source, tmp_path, Silent())
    boxes = first(image)
    assert torch.equal(first(image.clone()), boxes)
    assert torch.equal(Cached(source, tmp_path, Silent())(image), boxes)
    assert source.asked == 1
    first(image.flip(2))
    first(image[:, :-1])
    assert source.asked == 3, "another image"
    other = Counting("other options")
    Cached(other, tmp_path, Silent())(image)
    assert other.asked == 1
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_cut_file_is_computed_again(tmp_path: Path) -> None:
    source, image = Counting(), two_squares()
    cached = Cached(source, tmp_path, Silent())
    boxes = cached(image)
    (file,) = tmp_path.rglob("*.npy")
    for content in (file.read_bytes()[:20], b""):
        file.write_bytes(content)
        assert torch.equal(cached(image), boxes)
    assert source.asked == 3


def test_a_folder_that_cannot_be_written_only_costs_time(tmp_path: Path) -> None:
    (tmp_path / "proposals").write_text("a file where the folder would be")
    source = Counting()
    cached = Cached(source, tmp_path, Silent())
    assert torch.equal(cached(two_squares()), cached(two_squares()))
    assert source.asked == 2


def test_what_it_costs_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("detkit_torchvision.proposals.cache.FIRST_TOLD_S", 0.0)
    heard = Heard()
    cached = Cached(Counting(), tmp_path, heard)
    cached(two_squares())
    assert heard.infos[0].startswith("proposals: computed for 1 images in 0 s (0.00 s each), found for 0; 0.0 MB are ")
    assert str(tmp_path / "proposals" / "key") in heard.infos[0]
    assert "changes at random" in heard.infos[0]


def test_what_never_comes_again_is_not_kept_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("detkit_torchvision.proposals.cache.KEPT_UNSEEN", 3)
    cached = Cached(Counting(), tmp_path, Silent())
    for shade in range(6):
        cached(torch.full((3, 4, 4), shade / 10))
    assert len(list(tmp_path.rglob("*.npy"))) == 3


def test_costs_are_measured_without_the_cache(tmp_path: Path) -> None:
    source, image = Counting(), two_squares()
    cached = Cached(source, tmp_path, Silent())
    cached(image)
    with cached.uncached():
        cached(image)
        cached(image)
    assert source.asked == 3
    cached(image)
    assert source.asked == 3


def test_a_copy_of_the_model_counts_with_it(tmp_path: Path) -> None:
    """A moving average copies the model; where messages go may be a file, which cannot be copied."""
    cached = Cached(Counting(), tmp_path, Silent())
    copied = copy.deepcopy(cached)
    assert copied._ledger is cached._ledger
    assert torch.equal(copied(two_squares()), cached(two_squares()))


# --- in the model ----------------------------------------------------------------------------------------------------


def test_proposals_are_made_from_the_image_as_it_arrives_and_resized_with_it() -> None:
    model = FAST_RCNN.build(
        FastRCNNOptions(backbone="tiny_fpn"), BuildContext(("a",), min_size=64, max_size=96, offline=True)
    )
    seen: list[tuple[int, ...]] = []
    given: list[Tensor] = []

    class Source(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            seen.append(tuple(image.shape))
            height, width = image.shape[-2:]
            return torch.tensor([[0.0, 0.0, width, height], [0, 0, width / 2, height / 2]])

    cast(Any, model).source = Source()
    pooling = cast(Any, model).roi_heads.box_roi_pool
    pooling.register_forward_pre_hook(lambda _module, inputs: given.extend(inputs[1]))
    images = [torch.rand(3, 128, 160), torch.rand(3, 64, 64)]
    with torch.no_grad():
        model.eval()(images)
    assert seen == [(3, 128, 160), (3, 64, 64)]
    assert given[0].tolist() == [[0, 0, 80, 64], [0, 0, 40, 32]]
    assert given[1].tolist() == [[0, 0, 64, 64], [0, 0, 32, 32]]


def test_no_region_proposal_network_is_trained() -> None:
    model = FAST_RCNN.build(FastRCNNOptions(backbone="tiny_fpn"), BuildContext(("a",), offline=True))
    assert not [name for name, _ in model.named_parameters() if name.startswith(("rpn.", "source."))]
