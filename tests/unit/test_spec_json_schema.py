"""The JSON Schema: valid itself, agrees with the loader on good and bad specs, offers what an editor completes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli

from detkit.plugins import collect
from detkit.spec.json_schema import spec_schema

WriteFile = Callable[[str, str], Path]

GOOD = [
    '[dataset]\nuse = "penn_fudan"\n[models.fcos]\n',
    'extends = "base.toml"\n',
    """
    [experiment]
    seeds = [1, 2]
    [dataset]
    use = "shapes"
    images = 3
    degenerate = "clip"
    split = { validation = 0.2, test = 3 }
    [input]
    min_size = 320
    [compute]
    device = "cpu"
    [train]
    lr = 1
    [models.fcos]
    use = "retinanet"
    [models.mine]
    use = "fcos"
    enabled = false
    file = "w.pth"
    anchors = { sizes = [1] }
    train = { epochs = 3 }
    [metrics.coco]
    [loggers.comet]
    project = "x"
    [callbacks.early_stop]
    patience = 3
    [training_step]
    """,
]
BAD = [
    "",
    "[dataset]\nuse = 'penn_fudan'\n",
    "[dataset]\nuse = 'nothing'\n[models.fcos]\n",
    "[dataset]\nuse = 'shapes'\n[models.fcos]\n",
    "[dataset]\nuse = 'penn_fudan'\nimages = 3\n[models.fcos]\n",
    "[dataset]\nuse = 'penn_fudan'\n[models.mine]\n",
    "[dataset]\nuse = 'penn_fudan'\n[models.fcos]\nuse = 'retinanet'\nfile = 'x'\n",
    "[dataset]\nuse = 'penn_fudan'\n[models.fcos]\nbackbone = 'x'\n",
    "[dataset]\nuse = 'penn_fudan'\n[models.fcos.train]\nepohcs = 3\n",
    "[dataset]\nuse = 'penn_fudan'\n[models.fcos]\n[train]\nlr = -1\n",
    "[dataset]\nuse = 'penn_fudan'\n[models.fcos]\n[trian]\n",
    "[dataset]\nuse = 'penn_fudan'\n[models.fcos]\n[metrics.coco]\nenabled = 1\n",
    "[dataset]\nuse = 'penn_fudan'\n[models.fcos]\n[metrics.'a b']\nuse = 'coco'\n",
]


@pytest.fixture
def schema(toys: Path) -> dict[str, Any]:
    return spec_schema(collect([toys]))


def validator(schema: dict[str, Any]) -> Any:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed: nothing to validate with")
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def parsed(text: str) -> Any:
    return tomli.loads("\n".join(line.strip() for line in text.splitlines()))


def test_good_specs_are_valid(schema: dict[str, Any]) -> None:
    check = validator(schema)
    for text in GOOD:
        assert [error.message for error in check.iter_errors(parsed(text))] == []


@pytest.mark.parametrize("text", BAD)
def test_bad_specs_are_not(schema: dict[str, Any], text: str) -> None:
    assert not validator(schema).is_valid(parsed(text))


def test_a_partial_schema_requires_nothing(toys: Path) -> None:
    check = validator(spec_schema(collect([toys]), partial=True))
    for text in ("", "[dataset]\nimages = 3\n", "[models.mine]\nbackbone = 'mobilenet_v2'\n", *GOOD):
        assert [error.message for error in check.iter_errors(parsed(text))] == []
    assert not check.is_valid(parsed("[dataset]\nimags = 3\n"))


def test_what_an_editor_shows(schema: dict[str, Any]) -> None:
    fcos = schema["$defs"]["model.fcos"]
    assert list(fcos["properties"])[:4] == ["use", "enabled", "train", "input"]
    assert fcos["properties"]["backbone"] == {
        "enum": ["resnet50_fpn", "mobilenet_v2"],
        "type": "string",
        "default": "resnet50_fpn",
        "description": "the body",
    }
    assert fcos["properties"]["file"] == {"type": "string", "format": "path", "description": "a weight file"}
    assert fcos["properties"]["train"]["$ref"] == "#/$defs/train"
    assert schema["$defs"]["train"]["properties"]["epochs"]["default"] == 10
    assert schema["$defs"]["model.fcos.use"] == {"allOf": [{"$ref": "#/$defs/model.fcos"}], "required": ["use"]}
    assert set(schema["properties"]["models"]["properties"]) >= {"fcos", "retinanet"}


def test_no_plugins_at_all(alone: None) -> None:
    assert validator(spec_schema(collect())).is_valid(parsed(GOOD[0]))
