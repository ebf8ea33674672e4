"""The options of TorchVision's detectors: defaults, what does not fit together, recipes. No torch is needed here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from detkit import BOXES, BOXES_AND_MASKS, ModelComponent
from detkit.components import PathBase
from detkit.plugins import collect
from detkit.spec.model import TrainTable
from detkit_torchvision import FCOS, MASK_RCNN, detkit_models
from detkit_torchvision.options import (
    FAMILIES,
    LEVELS,
    PAIRS,
    STAGES,
    WEIGHTS,
    FasterRCNNOptions,
    FastRCNNOptions,
    FCOSOptions,
    RetinaNetOptions,
)

MODELS: list[ModelComponent[Any]] = list(detkit_models())


def refusal(options: type[Any], **table: object) -> str:
    with pytest.raises(ValidationError) as caught:
        options.model_validate(table)
    errors = caught.value.errors()
    assert len(errors) == 1, "one mistake, one message"
    return str(errors[0]["msg"])


def test_the_plugin_offers_five_models() -> None:
    registry = collect()
    for name in FAMILIES:
        assert registry.find("model", name).plugin.name == "torchvision"


def test_importing_the_plugin_imports_no_torch() -> None:
    code = "import sys, detkit_torchvision; sys.exit(any(m in sys.modules for m in ('torch', 'torchvision', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("model", MODELS, ids=lambda model: str(model.name))
def test_every_option_is_described(model: ModelComponent[Any]) -> None:
    assert model.summary
    for name, field in model.options.model_fields.items():
        assert field.description, name


@pytest.mark.parametrize("backbone", WEIGHTS)
def test_weights_default_to_the_best_that_the_backbone_has(backbone: str) -> None:
    assert FasterRCNNOptions.model_validate({"backbone": backbone}).weights == WEIGHTS[backbone][0]
    assert FasterRCNNOptions.model_validate({"backbone": backbone, "weights": "none"}).weights == "none"
    assert FasterRCNNOptions().weights == "coco"


def test_a_pair_that_does_not_exist_is_refused_with_those_that_do() -> None:
    message = refusal(FasterRCNNOptions, backbone="mobilenet_v2", weights="coco")
    assert "there are no coco weights for mobilenet_v2; it has: imagenet, none, or a path" in message
    assert "coco weights exist for: resnet50_fpn, resnet50_fpn_v2, mobilenet_v3_large_fpn" in message
    assert "imagenet weights exist for: resnet50_fpn, resnet50_fpn_v2, resnet18_fpn, mobilenet_v2, " in refusal(
        FCOSOptions, backbone="tiny_fpn", weights="imagenet"
    )


@pytest.mark.parametrize("weights", ["imagnet", 3, True, ""])
def test_a_misspelt_name_is_not_taken_for_a_path(weights: object) -> None:
    message = refusal(FasterRCNNOptions, weights=weights)
    assert f"no weights named {weights!r}; there are: coco, imagenet, none, or the path of a state dict" in message


@pytest.mark.parametrize("as_json", [False, True])
def test_a_path_belongs_to_the_file_that_states_it(as_json: bool) -> None:
    base = PathBase(Path("/specs"), {("weights", "best.pth"): Path("/elsewhere")})

    def weights(text: str) -> object:
        if as_json:
            return FasterRCNNOptions.model_validate_json(f'{{"weights": "{text}"}}', strict=True, context=base).weights
        return FasterRCNNOptions.model_validate({"weights": text}, context=base).weights

    assert weights("old/best.pth") == Path("/specs/old/best.pth")
    assert weights("best.pth") == Path("/elsewhere/best.pth")
    assert weights("/data/best.pt") == Path("/data/best.pt")


def test_an_impossible_pair_lists_the_possible_ones() -> None:
    assert refusal(FCOSOptions, backbone="resnet50_fpn_v2") == (
        "Value error, there is no fcos over resnet50_fpn_v2; fcos goes with: resnet50_fpn, resnet18_fpn, mobilenet_v2,"
        " mobilenet_v2_fpn, tiny_fpn; resnet50_fpn_v2 goes with: fast_rcnn, faster_rcnn, mask_rcnn, retinanet"
    )
    for model in MODELS:
        for backbone, families in PAIRS.items():
            if model.name in families:
                model.options(backbone=backbone)
            else:
                assert f"there is no {model.name} over {backbone}; " in refusal(model.options, backbone=backbone)


def test_stages_are_those_that_hold_weights() -> None:
    for model in MODELS:
        assert model.stages(model.options(backbone="mobilenet_v2", weights="none")) == ()
        assert model.stages(model.options(backbone="mobilenet_v2")) == STAGES["mobilenet_v2"]


def test_options_of_another_source_are_refused() -> None:
    assert 'grid_scales belongs to proposals = "grid", not to "rpn"' in refusal(
        FastRCNNOptions, proposals="rpn", grid_scales=3
    )
    assert 'search_size belongs to proposals = "selective_search", not to "grid"' in refusal(
        FastRCNNOptions, search_size=100
    )
    assert FastRCNNOptions(proposals="rpn", grid_scales=6), "as a resolved spec states it"


def test_arrays_are_read_from_json_as_from_a_spec() -> None:
    """A validator of the whole model hands lists on, which strict tuples would refuse."""
    text = '{"backbone": "resnet18_fpn", "anchor_sizes": [8, 16, 32, 64, 128]}'
    assert FasterRCNNOptions.model_validate_json(text, strict=True).anchor_sizes == (8, 16, 32, 64, 128)
    assert FastRCNNOptions.model_validate_json('{"grid_ratios": [1, 2.5]}', strict=True).grid_ratios == (1, 2.5)
    assert "at least 1 item" in refusal(FastRCNNOptions, grid_ratios=[])


def test_anchor_sizes_are_one_a_feature_map() -> None:
    table: dict[str, object] = {"backbone": "resnet18_fpn", "anchor_sizes": [8, 16, 32, 64, 128.5]}
    assert FasterRCNNOptions.model_validate(table).anchor_sizes == (8, 16, 32, 64, 128.5)
    assert "has 2 sizes; resnet18_fpn has 5 feature maps" in refusal(
        RetinaNetOptions, backbone="resnet18_fpn", anchor_sizes=[8, 16]
    )
    assert LEVELS["tiny_fpn"] == (4, 3)
    assert FasterRCNNOptions.model_validate({"backbone": "tiny_fpn", "anchor_sizes": [8, 16, 32, 64]})
    assert RetinaNetOptions.model_validate({"backbone": "tiny_fpn", "anchor_sizes": [16, 32, 64]})
    assert FasterRCNNOptions.model_validate({"backbone": "mobilenet_v2", "anchor_sizes": [16, 32]})
    five = {"backbone": "mobilenet_v3_large_fpn", "weights": "imagenet", "anchor_sizes": [8, 16, 32, 64, 128]}
    assert FasterRCNNOptions.model_validate(five), "all on every map"
    assert "which were trained with their own" in refusal(FasterRCNNOptions, anchor_sizes=[8, 16, 32, 64, 128])


def test_anchor_sizes_are_positive() -> None:
    assert "greater than 0" in refusal(RetinaNetOptions, backbone="mobilenet_v2", anchor_sizes=[0])
    assert "anchor_sizes is empty" in refusal(RetinaNetOptions, backbone="mobilenet_v2", anchor_sizes=[])


@pytest.mark.parametrize("model", MODELS, ids=lambda model: str(model.name))
@pytest.mark.parametrize("weights", ["none", "imagenet"])
def test_recipes_are_tables_of_train(model: ModelComponent[Any], weights: str) -> None:
    recipe = model.recipe(model.options(backbone="mobilenet_v2_fpn", weights=weights))
    table = TrainTable.model_validate(recipe)
    assert table.lr == recipe["lr"]
    if weights == "none":
        assert table.optimizer == "adamw"


def test_each_detector_brings_the_recipe_that_was_measured_for_it() -> None:
    recipes = {model.name: model.recipe(model.options()) for model in MODELS}
    assert {name: (recipe["optimizer"], recipe["lr"]) for name, recipe in recipes.items()} == {
        "fast_rcnn": ("adamw", 0.0003),
        "faster_rcnn": ("adamw", 0.0003),
        "mask_rcnn": ("adamw", 0.0003),
        "retinanet": ("adamw", 0.0003),
        "fcos": ("sgd", 0.0025),
    }


def test_only_mask_rcnn_needs_and_gives_masks() -> None:
    for model in MODELS:
        options = model.options()
        expected = BOXES_AND_MASKS if model is MASK_RCNN else BOXES
        assert model.needs(options) == expected
        assert model.gives(options) == expected
    assert "anchor_sizes" not in FCOS.options.model_fields
