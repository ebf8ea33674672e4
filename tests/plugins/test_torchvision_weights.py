"""Weight files: found, fetched, read, taken whole or refused. No network: downloads come from a local file."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision import models
from torchvision.models import detection
from torchvision.ops import FrozenBatchNorm2d

from detkit import BuildContext, ModelComponent, Progress, WeightsError
from detkit_torchvision import detkit_models
from detkit_torchvision.options import PAIRS, WEIGHTS, Backbone, Family, FasterRCNNOptions, FCOSOptions
from detkit_torchvision.weights import files, loading

MODELS: dict[str, ModelComponent[Any]] = {model.name: model for model in detkit_models()}
REAL_MOBILENET = Path(__file__).parents[3] / "shared" / "weights" / "mobilenet_v2-b0353104.pth"


class Heard:
    """Messages that are kept."""

    def __init__(self) -> None:
        self.infos: list[str] = []
        self.warnings: list[str] = []
        self.advanced = 0

    def info(self, text: str) -> None:
        self.infos.append(text)

    def warning(self, text: str) -> None:
        self.warnings.append(text)

    def progress(self, description: str, total: int | None, unit: str = "") -> AbstractContextManager[Progress]:
        heard = self

        class Bar:
            def advance(self, amount: int = 1) -> None:
                heard.advanced += amount

        @contextmanager
        def bar() -> Iterator[Progress]:
            yield Bar()

        return bar()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for weights, where torch too would look."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def context(messages: Heard | None = None, *, classes: int = 2, offline: bool = True) -> BuildContext:
    return BuildContext(
        tuple("abcd"[:classes]), offline=offline, min_size=96, max_size=128, messages=messages or Heard()
    )


def build(family: str, messages: Heard | None = None, *, classes: int = 2, **options: Any) -> nn.Module:
    model = MODELS[family]
    built: nn.Module = model.build(model.options(**options), context(messages, classes=classes))
    return built


def refusal(family: str, **options: Any) -> str:
    """The message of `build`; `check` must say the same."""
    model = MODELS[family]
    with pytest.raises(WeightsError) as built:
        build(family, **options)
    assert model.check is not None
    with pytest.raises(WeightsError) as checked:
        model.check(model.options(**options), context())
    assert str(checked.value) == str(built.value)
    return str(built.value)


def pretrained(model: nn.Module) -> set[str]:
    return set(cast(Any, model).pretrained)


def origin(model: nn.Module) -> dict[str, object]:
    return cast(dict[str, object], cast(Any, model).weights_origin)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A state dict of a Faster R-CNN with two classes over tiny_fpn."""
    file = tmp_path / "tiny.pth"
    torch.save(build("faster_rcnn", backbone="tiny_fpn").state_dict(), file)
    return file


# --- names and folders -----------------------------------------------------------------------------------------------


def test_names_and_folder_are_torchvisions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for (family, backbone), (name, _) in files.COCO_FILES.items():
        asked = files.wanted(family, MODELS[family].options(backbone=backbone, weights="coco"))
        assert asked is not None
        assert files.address(asked).rsplit("/", 1)[1] == asked.file.name == name
    for named, (name, _) in files.IMAGENET_FILES.items():
        asked = files.wanted("faster_rcnn", FasterRCNNOptions(backbone=named, weights="imagenet"))
        assert asked is not None
        assert files.address(asked).rsplit("/", 1)[1] == asked.file.name == name
    for name, value in (("TORCH_HOME", "a"), ("XDG_CACHE_HOME", "b"), ("HOME", "c")):
        for other in ("TORCH_HOME", "XDG_CACHE_HOME"):
            monkeypatch.delenv(other, raising=False)
        monkeypatch.setenv(name, str(tmp_path / value))
        assert files.folder() == Path(torch.hub.get_dir()) / "checkpoints"


# --- COCO ------------------------------------------------------------------------------------------------------------

BUILDERS: dict[tuple[Family, Backbone], Any] = {
    ("fast_rcnn", "resnet50_fpn"): detection.fasterrcnn_resnet50_fpn,
    ("fast_rcnn", "resnet50_fpn_v2"): detection.fasterrcnn_resnet50_fpn_v2,
    ("fast_rcnn", "mobilenet_v3_large_fpn"): detection.fasterrcnn_mobilenet_v3_large_fpn,
    ("faster_rcnn", "resnet50_fpn"): detection.fasterrcnn_resnet50_fpn,
    ("faster_rcnn", "resnet50_fpn_v2"): detection.fasterrcnn_resnet50_fpn_v2,
    ("faster_rcnn", "mobilenet_v3_large_fpn"): detection.fasterrcnn_mobilenet_v3_large_fpn,
    ("mask_rcnn", "resnet50_fpn"): detection.maskrcnn_resnet50_fpn,
    ("mask_rcnn", "resnet50_fpn_v2"): detection.maskrcnn_resnet50_fpn_v2,
    ("retinanet", "resnet50_fpn"): detection.retinanet_resnet50_fpn,
    ("retinanet", "resnet50_fpn_v2"): detection.retinanet_resnet50_fpn_v2,
    ("fcos", "resnet50_fpn"): detection.fcos_resnet50_fpn,
}
NEW = {
    "fast_rcnn": ("roi_heads.box_predictor.",),
    "faster_rcnn": ("roi_heads.box_predictor.",),
    "mask_rcnn": ("roi_heads.box_predictor.", "roi_heads.mask_predictor.mask_fcn_logits."),
    "retinanet": ("head.classification_head.cls_logits.",),
    "fcos": ("head.classification_head.cls_logits.",),
}


def test_every_pair_with_coco_weights_is_tried() -> None:
    pairs = {(f, b) for b, families in PAIRS.items() for f in families if "coco" in WEIGHTS[b]}
    assert set(BUILDERS) == pairs


@pytest.mark.parametrize(("family", "backbone"), BUILDERS)
def test_coco_weights_are_taken_but_for_the_class_layers(folder: Path, family: Family, backbone: Backbone) -> None:
    """All that the published file has lands in our model, and nothing else is new; so names and shapes are the same."""
    published = BUILDERS[family, backbone](weights=None, weights_backbone=None, num_classes=91)
    state = dict(published.state_dict())
    if (family, backbone) == ("faster_rcnn", "resnet50_fpn"):
        # As TorchVision's published file has it, from before its layers were renamed.
        state = {name: value for name, value in state.items() if "num_batches_tracked" not in name}
        for kind in ("weight", "bias"):
            state[f"rpn.head.conv.{kind}"] = state.pop(f"rpn.head.conv.0.0.{kind}")
            state[f"backbone.fpn.inner_blocks.0.{kind}"] = state.pop(f"backbone.fpn.inner_blocks.0.0.{kind}")
    asked = files.coco(family, backbone)
    torch.save(OrderedDict(state), asked.file)
    messages = Heard()
    model = build(family, messages, backbone=backbone, weights="coco")

    expected = published.state_dict()
    new = [name for name in model.state_dict() if name.startswith(NEW[family])]
    for name, value in model.state_dict().items():
        if name in new:
            assert value.shape[0] in (3, 12, 27), "3 classes with the background; 4 box values; 9 anchors"
        else:
            assert torch.equal(value, expected[name]), name
    taken = len(model.state_dict()) - len(new)
    dropped = [name for name in state if name.startswith((*NEW[family], *(["rpn."] if family == "fast_rcnn" else [])))]
    assert origin(model)["source"] == "coco"
    assert (origin(model)["taken"], origin(model)["dropped"], origin(model)["new"]) == (taken, dropped, new)
    assert sum(cast(dict[str, int], origin(model)["taken_by_part"]).values()) == taken
    assert pretrained(model) == set(model.state_dict()) - set(new)
    (line,) = messages.infos
    assert line.startswith(f"{family}: {asked.file.name}: {taken} tensors taken, {len(dropped)} dropped (")
    assert f"{len(new)} new ({new[0]}" in line
    assert "not the published file" in messages.warnings[0]

    if family != "fast_rcnn":
        theirs, ours = _anchor_generator(published), _anchor_generator(model)
        assert all(torch.equal(a, b) for a, b in zip(theirs.cell_anchors, ours.cell_anchors, strict=True))
    frozen = [module for module in model.modules() if isinstance(module, FrozenBatchNorm2d)]
    theirs = [m for m in published.modules() if isinstance(m, (FrozenBatchNorm2d, nn.BatchNorm2d))]
    assert len(frozen) == len(theirs)
    overwritten = backbone == "resnet50_fpn" and family != "fcos"
    assert all(module.eps == (0.0 if overwritten else 1e-5) for module in frozen) or backbone.startswith("mobilenet")


@pytest.mark.parametrize(("family", "backbone"), [pair for pair in BUILDERS if pair[0] != "fast_rcnn"])
@pytest.mark.slow
def test_with_coco_weights_a_detector_predicts_what_torchvisions_does(
    folder: Path, family: Family, backbone: Backbone
) -> None:
    """The same weights, classes and image: the same boxes, scores and labels, beside background and thresholds."""
    torch.manual_seed(3)
    builder = BUILDERS[family, backbone]
    sizes = {"min_size": 96, "max_size": 128}
    published = builder(weights=None, weights_backbone=None, num_classes=3, **sizes).eval()
    file = folder / "same.pth"
    torch.save(published.state_dict(), file)
    ours = build(family, backbone=backbone, weights=file).eval()
    images = [torch.rand(3, 100, 120)]
    with torch.no_grad():
        image_list, _ = published.transform(images)
        expected, found = published.backbone(image_list.tensors), cast(Any, ours).backbone(image_list.tensors)
    assert list(expected) == list(found)
    # FrozenBatchNorm2d folds the statistics in another order than BatchNorm2d.
    assert all(torch.allclose(expected[name], found[name], rtol=1e-4, atol=1e-5) for name in expected)


def test_as_many_classes_are_not_the_same_classes(tiny: Path) -> None:
    model = build("faster_rcnn", backbone="tiny_fpn")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    taken = loading.load_detector(model, torch.load(tiny, weights_only=True), tiny, own_classes=True)
    assert len(taken.dropped) == 4
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in taken.dropped)


def _anchor_generator(model: Any) -> Any:
    return model.rpn.anchor_generator if hasattr(model, "rpn") else model.anchor_generator


def test_published_weights_by_path_are_what_they_are_by_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anchors and the epsilon of frozen norms go with the weights, not with how the file was named."""
    published = detection.fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=91)
    file = folder / "renamed.pth"
    torch.save(published.state_dict(), file)
    name = f"fasterrcnn_resnet50_fpn_coco-{hashlib.sha256(file.read_bytes()).hexdigest()[:8]}.pth"
    monkeypatch.setattr(files, "COCO_FILES", {("faster_rcnn", "resnet50_fpn"): (name, "")})
    by_path = build("faster_rcnn", weights=file)
    file.rename(folder / name)
    by_name = build("faster_rcnn", weights="coco")
    for model in (by_path, by_name):
        assert origin(model)["anchors"] == {"sizes": [[32], [64], [128], [256], [512]], "strides": None}
        assert {m.eps for m in model.modules() if isinstance(m, FrozenBatchNorm2d)} == {0.0}
    assert origin(by_path)["new"] == origin(by_name)["new"]


def test_a_checkpoint_of_detkit_brings_its_anchors_its_classes_and_its_average(tiny: Path, tmp_path: Path) -> None:
    begun = build("faster_rcnn", backbone="tiny_fpn", anchor_sizes=[5, 10, 20, 40])
    state = begun.state_dict()
    average = {name: value + 1 if value.is_floating_point() else value for name, value in state.items()}
    checkpoint = tmp_path / "last.pt"
    content = {"model": state, "origin": {"weights": origin(begun)}, "class_names": ["a", "b"]}
    torch.save({**content, "ema": {"model": average, "updates": 3}}, checkpoint)
    heard = Heard()
    model = build("faster_rcnn", heard, backbone="tiny_fpn", weights=checkpoint)
    assert _anchor_generator(model).sizes == ((5,), (10,), (20,), (40,))
    assert all(torch.equal(value, average[name]) for name, value in model.state_dict().items())
    assert heard.warnings == []
    user = build("faster_rcnn", backbone="tiny_fpn", weights=checkpoint, anchor_sizes=[1, 2, 3, 4])
    assert _anchor_generator(user).sizes == ((1,), (2,), (3,), (4,)), "what the user sets wins"

    torch.save({**content, "class_names": ["dog", "cat"]}, checkpoint)
    others = build("faster_rcnn", backbone="tiny_fpn", weights=checkpoint)
    assert origin(others)["new"] == [name for name in state if name.startswith("roi_heads.box_predictor.")]

    build("faster_rcnn", heard, backbone="tiny_fpn", weights=tiny)
    assert "tiny.pth does not say with which anchors it was trained" in heard.warnings[0]


# --- ImageNet --------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not REAL_MOBILENET.is_file(), reason=f"{REAL_MOBILENET.name} is not beside the checkout")
def test_torchvisions_mobilenet_is_taken_from_torch_home(folder: Path) -> None:
    shutil.copy(REAL_MOBILENET, folder)
    messages = Heard()
    model = build("fcos", messages, backbone="mobilenet_v2_fpn")
    assert messages.warnings == []
    assert origin(model)["source"] == "imagenet"
    assert origin(model)["taken"] == 260
    assert str(origin(model)["sha256"]).startswith("b0353104")
    published = torch.load(REAL_MOBILENET, weights_only=True)
    body = cast(Any, model).backbone.body
    assert torch.equal(body["0"][0].weight, published["features.0.0.weight"])
    assert torch.equal(body["18"][0].weight, published["features.18.0.weight"])
    norms = {
        type(module) for module in body.modules() if "Norm" in type(module).__name__ and not list(module.children())
    }
    assert norms == {FrozenBatchNorm2d}


@pytest.fixture
def resnet18(folder: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = models.resnet18(weights=None).state_dict()
    torch.save(state, folder / files.IMAGENET_FILES["resnet18_fpn"][0])
    return state


def test_imagenet_weights_are_said_to_be_pretrained(resnet18: dict[str, Tensor]) -> None:
    messages = Heard()
    model = build("retinanet", messages, backbone="resnet18_fpn")
    body = cast(Any, model).backbone.body
    assert torch.equal(body.layer4[1].conv2.weight, resnet18["layer4.1.conv2.weight"])
    assert pretrained(model) == {name for name in model.state_dict() if name.startswith("backbone.body")}
    assert "2 dropped (fc.weight, fc.bias)" in messages.infos[0]


def test_weights_that_will_be_loaded_over_it_need_no_file(folder: Path, resnet18: dict[str, Tensor]) -> None:
    """A checkpoint is of the same architecture, norms and all, whether the file that it began with is there or not."""
    begun = build("fcos", backbone="resnet18_fpn")
    for file in folder.iterdir():
        file.unlink()
    component = MODELS["fcos"]
    options = component.options(backbone="resnet18_fpn")
    restored = component.build(options, replace(context(), weights=begun.state_dict()))
    restored.load_state_dict(begun.state_dict())
    assert [type(module) for module in restored.modules()] == [type(module) for module in begun.modules()]
    with pytest.raises(WeightsError):
        component.build(options, context())


# --- missing files and downloads -------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", ["coco", "imagenet"])
def test_missing_weights_offline_are_named_with_their_folder(folder: Path, weights: str) -> None:
    message = refusal("faster_rcnn", weights=weights)
    name = {"coco": "fasterrcnn_resnet50_fpn_coco-258fb6c6.pth", "imagenet": "resnet50-0676ba61.pth"}[weights]
    assert f"the {weights} weights {name} are not in {folder}, and nothing may be fetched (offline)" in message
    assert f"put it into {folder}" in message


def test_check_downloads_nothing(folder: Path) -> None:
    model = MODELS["faster_rcnn"]
    assert model.check is not None
    model.check(model.options(), context(offline=False))
    assert list(folder.iterdir()) == []


def published(monkeypatch: pytest.MonkeyPatch, source: Path) -> None:
    def address(_asked: files.Wanted) -> str:
        return source.as_uri()

    monkeypatch.setattr(files, "address", address)


def test_what_is_missing_is_downloaded(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "source"
    torch.save(models.resnet18(weights=None).state_dict(), source)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    monkeypatch.setattr(files, "IMAGENET_FILES", {"resnet18_fpn": (f"resnet18-{digest[:8]}.pth", "")})
    published(monkeypatch, source)
    messages = Heard()
    asked = files.wanted("fcos", FCOSOptions(backbone="resnet18_fpn"))
    file = files.fetch(asked, offline=False, messages=messages)
    assert file == folder / f"resnet18-{digest[:8]}.pth"
    assert file.read_bytes() == source.read_bytes()
    assert messages.advanced == source.stat().st_size
    assert list(folder.iterdir()) == [file], "nothing else is left behind"
    monkeypatch.setattr(files, "address", None)
    assert files.fetch(asked, offline=True, messages=messages) == file


def test_a_download_with_another_digest_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"something else")
    published(monkeypatch, source)
    with pytest.raises(WeightsError, match="which is not the one in the file's name"):
        files.fetch(files.wanted("fcos", FCOSOptions(backbone="resnet18_fpn")), offline=False, messages=Heard())
    assert list(folder.iterdir()) == []


def test_a_failed_download_names_file_and_folder(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published(monkeypatch, tmp_path / "absent")
    with pytest.raises(WeightsError) as caught:
        files.fetch(files.wanted("fcos", FCOSOptions()), offline=False, messages=Heard())
    assert f"fcos_resnet50_fpn_coco-99b0c9b7.pth are not in {folder}, and downloading it failed: " in str(caught.value)
    assert list(folder.iterdir()) == []


# --- paths -----------------------------------------------------------------------------------------------------------


def test_a_state_dict_of_ones_own_is_taken_whole(tiny: Path) -> None:
    messages = Heard()
    model = build("faster_rcnn", messages, backbone="tiny_fpn", weights=tiny)
    saved = torch.load(tiny, weights_only=True)
    assert all(torch.equal(value, saved[name]) for name, value in model.state_dict().items())
    assert origin(model) == {
        "source": "file",
        "file": "tiny.pth",
        "sha256": hashlib.sha256(tiny.read_bytes()).hexdigest(),
        "taken": len(saved),
        "taken_by_part": origin(model)["taken_by_part"],
        "dropped": [],
        "new": [],
        "anchors": origin(model)["anchors"],
    }
    assert messages.infos == [f"faster_rcnn: tiny.pth: {len(saved)} tensors taken, 0 dropped, 0 new"]


def test_other_classes_get_new_class_layers(tiny: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "best.pt"
    torch.save({"model": torch.load(tiny, weights_only=True), "epoch": 3}, checkpoint)
    model = build("faster_rcnn", classes=4, backbone="tiny_fpn", weights=checkpoint)
    saved = torch.load(tiny, weights_only=True)
    new = [name for name, value in model.state_dict().items() if name not in saved or value.shape != saved[name].shape]
    assert all(name.startswith("roi_heads.box_predictor.") for name in new)
    assert origin(model)["dropped"] == origin(model)["new"] == new
    assert torch.equal(model.state_dict()["rpn.head.cls_logits.weight"], saved["rpn.head.cls_logits.weight"])


def test_safetensors_are_read(tiny: Path, tmp_path: Path) -> None:
    file = tmp_path / "tiny.safetensors"
    save_file(torch.load(tiny, weights_only=True), file)
    model = build("faster_rcnn", backbone="tiny_fpn", weights=file)
    saved = torch.load(tiny, weights_only=True)
    assert all(torch.equal(value, saved[name]) for name, value in model.state_dict().items())
    file.write_bytes(file.read_bytes()[:1000])
    assert f"weights: {file} cannot be read (1000 bytes; " in refusal("faster_rcnn", backbone="tiny_fpn", weights=file)


def test_a_backbones_own_state_dict_is_taken_for_the_backbone(tmp_path: Path) -> None:
    state = models.resnet18(weights=None, num_classes=7).state_dict()
    torch.save(state, tmp_path / "mine.pth")
    model = build("fcos", backbone="resnet18_fpn", weights=tmp_path / "mine.pth")
    assert torch.equal(cast(Any, model).backbone.body.conv1.weight, state["conv1.weight"])
    assert origin(model)["source"] == "file"


def test_no_weights_are_said_to_be_none() -> None:
    said = origin(build("fast_rcnn", backbone="tiny_fpn"))
    assert said == {"source": "none"}


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    file = tmp_path / "no.pth"
    assert refusal("fcos", backbone="tiny_fpn", weights=file) == f"weights: there is no file {file}"


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_cut_file(tiny: Path, share: float) -> None:
    content = tiny.read_bytes()
    tiny.write_bytes(content[: int(len(content) * share)])
    message = refusal("faster_rcnn", backbone="tiny_fpn", weights=tiny)
    assert f"weights: {tiny} cannot be read ({int(len(content) * share)} bytes; " in message
    assert "it is cut or not a file of tensors alone" in message


def test_a_cut_imagenet_file(folder: Path, resnet18: dict[str, Tensor]) -> None:
    file = folder / files.IMAGENET_FILES["resnet18_fpn"][0]
    file.write_bytes(file.read_bytes()[:100_000])
    assert f"weights: {file} cannot be read" in refusal("fcos", backbone="resnet18_fpn")


class Harmful:
    """What an unpickler would call."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (os.mkdir, ("never",))


def test_a_file_that_holds_code_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "code.pth"
    torch.save({"weight": Harmful()}, file)
    assert "not a file of tensors alone" in refusal("faster_rcnn", backbone="tiny_fpn", weights=file)
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize("content", [[1, 2], {}, {"epoch": 3}])
def test_a_file_without_a_state_dict(tmp_path: Path, content: object) -> None:
    file = tmp_path / "other.pth"
    torch.save(content, file)
    message = refusal("faster_rcnn", backbone="tiny_fpn", weights=file)
    assert message == f"weights: {file} holds no state dict (names to tensors)"


def test_missing_tensors_are_counted_and_named(tiny: Path) -> None:
    state = torch.load(tiny, weights_only=True)
    gone = [name for name in state if name.startswith("rpn.head.")]
    torch.save({name: value for name, value in state.items() if name not in gone}, tiny)
    message = refusal("faster_rcnn", backbone="tiny_fpn", weights=tiny)
    assert f"of the model's {len(state)} tensors it lacks {len(gone)} ({', '.join(gone[:3])} and 3 more)" in message
    assert "the model does not know 0" in message


def test_class_layers_may_not_be_missing_where_the_classes_are_the_same(tiny: Path) -> None:
    state = torch.load(tiny, weights_only=True)
    del state["roi_heads.box_predictor.cls_score.weight"]
    torch.save(state, tiny)
    assert "it lacks 1 (roi_heads.box_predictor.cls_score.weight)" in refusal(
        "faster_rcnn", backbone="tiny_fpn", weights=tiny
    )


def test_another_model_is_refused(tiny: Path) -> None:
    assert f"weights: {tiny} is of another model: " in refusal("fcos", backbone="tiny_fpn", weights=tiny)
    message = refusal("mask_rcnn", backbone="tiny_fpn", weights=tiny)
    assert f"weights: {tiny} does not fit: of the model's " in message
    assert "tensors it lacks 8 (roi_heads.mask_head.0.0.weight" in message
    assert "choose the model and backbone that it was saved from" in message


def test_another_shape_is_refused(tiny: Path) -> None:
    state = torch.load(tiny, weights_only=True)
    state["roi_heads.box_head.fc6.weight"] = torch.zeros(3, 3)
    torch.save(state, tiny)
    message = refusal("faster_rcnn", backbone="tiny_fpn", weights=tiny)
    assert (
        "is of another model: 1 tensors have another shape (size mismatch for roi_heads.box_head.fc6.weight" in message
    )


def test_find_needs_no_file_where_no_weights_are_asked_for() -> None:
    assert files.find(files.wanted("faster_rcnn", FasterRCNNOptions(weights="none")), offline=True) is None
