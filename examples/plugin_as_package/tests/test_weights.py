"""Weights from a folder and the hub, and what the model says of itself."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from detkit import BuildContext, UserError, WeightsError
from transformers import RTDetrForObjectDetection

import detkit_transformers
from detkit_transformers.building import CLASS_LAYERS
from detkit_transformers.configs import make_config
from detkit_transformers.options import RTDetrOptions

COMPONENT: Any = detkit_transformers.RT_DETR
CLASSES = ("disc", "block")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `save_pretrained` writes it: a tiny RT-DETR of three classes with norms of its own."""
    config = make_config("rt_detr", RTDetrOptions(size="tiny"), 3)
    config.id2label = {0: "cat", 1: "dog", 2: "cow"}
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("published") / "rtdetr"
    RTDetrForObjectDetection(config).save_pretrained(folder)
    return folder


def context(spec_folder: Path = Path(), class_names: tuple[str, ...] = CLASSES, **more: Any) -> BuildContext:
    return BuildContext(
        class_names=class_names, spec_folder=spec_folder, min_size=64, max_size=96, offline=True, **more
    )


def build(folder: Path, class_names: tuple[str, ...] = CLASSES, **more: Any) -> Any:
    options = COMPONENT.options(pretrained=f"./{folder.name}", backbone_lr=0.2)
    return COMPONENT.build(options, context(folder.parent, class_names, **more))


def test_all_but_the_class_layers_is_taken(published: Path) -> None:
    model = build(published)
    tensors = RTDetrForObjectDetection.from_pretrained(published).state_dict()
    new = set(model.weights_origin["new"])
    assert new
    assert all(any(part in name for part in CLASS_LAYERS) for name in new)
    for name, tensor in model.network.state_dict().items():
        if name not in new:
            assert torch.equal(tensor, tensors[name]), name
            assert f"network.{name}" in model.pretrained
        else:
            assert f"network.{name}" not in model.pretrained
    assert model.weights_origin["source"] == "folder"
    assert model.weights_origin["taken"] == len(model.pretrained)


def test_class_layers_are_taken_where_the_classes_are_the_same_ones_in_their_order(published: Path) -> None:
    assert build(published, ("cat", "dog", "cow")).weights_origin["new"] == []
    assert build(published, ("dog", "cat", "cow")).weights_origin["new"] != []


def test_a_checkpoint_is_built_again_without_folder_and_network(published: Path, tmp_path: Path) -> None:
    first = build(published)
    again = COMPONENT.build(
        COMPONENT.options(pretrained="./rtdetr"),
        context(tmp_path, weights=first.state_dict(), weights_origin=first.weights_origin),
    )
    again.load_state_dict(first.state_dict())
    image = torch.rand(3, 64, 96)
    with torch.no_grad():
        a, b = first.eval()([image])[0], again.eval()([image])[0]
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert again.weights_origin == first.weights_origin


def test_norms_with_statistics_keep_them_in_training(published: Path) -> None:
    model = build(published).train()
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms
    assert not any(norm.training for norm in norms)


def test_parts_cover_the_model_once_and_the_backbone_trains_at_its_share(published: Path) -> None:
    for component in (detkit_transformers.DETR, detkit_transformers.RT_DETR, detkit_transformers.RT_DETR_V2):
        some: Any = component
        model = some.build(some.options(size="tiny"), context())
        held = [id(p) for part in model.parts for module in part.modules for p in module.parameters()]
        assert len(held) == len(set(held))
        assert set(held) == {id(p) for p in model.parameters()}
        assert {part.lr_scale for part in model.parts} == {1.0}  # nothing is pretrained
    scales = {part.name: part.lr_scale for part in build(published).parts}
    assert scales["backbone stem"] == scales["backbone stage4"] == 0.2
    assert scales["decoder"] == 1.0
    assert [part.name for part in model.parts if part.backbone] == [f"backbone {name}" for name in STAGES]


STAGES = ("stem", "stage1", "stage2", "stage3", "stage4")


def test_stages_are_told_before_anything_is_built() -> None:
    assert COMPONENT.stages(COMPONENT.options()) == ()
    assert COMPONENT.stages(COMPONENT.options(pretrained="a/b")) == STAGES
    assert COMPONENT.smallest_anchor(COMPONENT.options(), 640) == 8
    detr: Any = detkit_transformers.DETR
    assert detr.smallest_anchor(detr.options(), 640) == 32


# --- refusals --------------------------------------------------------------------------------------------------------


def test_what_is_not_here_is_refused_offline_with_the_command_that_fetches_it() -> None:
    options = COMPONENT.options(pretrained="PekingU/rtdetr_r50vd")
    for ask in (COMPONENT.build, COMPONENT.check):
        with pytest.raises(WeightsError) as refused:
            ask(options, context())
        text = str(refused.value)
        assert "'PekingU/rtdetr_r50vd'" in text
        assert "offline" in text
        assert "hf download PekingU/rtdetr_r50vd --revision main" in text


def test_what_may_still_be_fetched_passes_the_check() -> None:
    COMPONENT.check(COMPONENT.options(pretrained="PekingU/rtdetr_r50vd"), BuildContext(class_names=CLASSES))
    COMPONENT.check(COMPONENT.options(), context())


def test_a_model_of_another_family_is_named(published: Path) -> None:
    detr: Any = detkit_transformers.DETR
    with pytest.raises(WeightsError, match="is a rt_detr, not a detr; there are: facebook/detr-resnet-50"):
        detr.check(detr.options(pretrained="./rtdetr"), context(published.parent))


def test_a_folder_that_is_not_there_is_not_looked_for_on_the_hub(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"there is no folder .*nowhere"):
        COMPONENT.check(COMPONENT.options(pretrained="./nowhere"), context(tmp_path))


def test_a_network_of_timm_is_refused_with_the_revision_that_needs_none(tmp_path: Path) -> None:
    if find_spec("timm"):
        pytest.skip("timm is installed")
    (tmp_path / "timms").mkdir()
    (tmp_path / "timms" / "config.json").write_text('{"model_type": "detr", "use_timm_backbone": true}')
    detr: Any = detkit_transformers.DETR
    with pytest.raises(WeightsError, match="no_timm"):
        detr.check(detr.options(pretrained="./timms"), context(tmp_path))


def test_a_missing_library_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("detkit_transformers.pretrained.find_spec", lambda name: None if name == "scipy" else name)
    with pytest.raises(UserError, match="rt_detr needs scipy: pip install scipy"):
        COMPONENT.check(COMPONENT.options(), context())


def test_random_weights_follow_from_the_seed_alone() -> None:
    options = COMPONENT.options(size="tiny")
    first = COMPONENT.build(options, context(seed=1)).state_dict()
    torch.rand(5)
    before = torch.get_rng_state()
    again, other = (COMPONENT.build(options, context(seed=seed)).state_dict() for seed in (1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_offering_imports_no_torch() -> None:
    code = (
        "import sys, detkit_transformers as d; d.detkit_models(); print({'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
