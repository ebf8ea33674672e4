"""`[augment]` in a spec: order, presets, a model's own, what is wrong with it, and what a rerun says of a change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli
import tomli_w

from detkit.engine.rerun import _changes, run_spec
from detkit.errors import SpecError
from detkit.plugins import collect
from detkit.spec.augment import PRESETS
from detkit.spec.explain import explain, origin_words
from detkit.spec.json_schema import spec_schema
from detkit.spec.loader import load_spec
from detkit.spec.model import ExperimentSpec

EVERY_HOOK = Path(__file__).parents[2] / "examples" / "plugin_in_one_file" / "every_hook.py"
WriteFile = Callable[[str, str], Path]

BASE = """
[dataset]
use = "synthetic"
images = 8
[models.fcos]
backbone = "tiny_fpn"
[models.retinanet]
backbone = "tiny_fpn"
"""


def loaded(write: WriteFile, text: str, **options: Any) -> ExperimentSpec:
    return load_spec(write("spec.toml", BASE + text), **options)


def applied(spec: ExperimentSpec, model: str = "fcos") -> dict[str, dict[str, Any]]:
    """Key to options that differ from the defaults, in order, of what is enabled."""
    return {
        key: use.options.model_dump(exclude_defaults=True)
        for key, use in spec.models[model].augment.items()
        if use.enabled
    }


def problems(write: WriteFile, text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        loaded(write, text)
    return [str(problem).split("spec.toml:", 1)[1] for problem in caught.value.problems]


def test_nothing_is_augmented_that_nobody_asked_for(write: WriteFile) -> None:
    spec = loaded(write, "")
    assert applied(spec) == {}
    assert "augment" not in spec.resolved
    assert "augment" not in spec.resolved["models"]["fcos"]
    assert "augment" not in run_spec(spec, "fcos")


def test_the_order_of_the_tables_is_the_order_of_application(write: WriteFile) -> None:
    tables = ["flip", "crop", "blur"]
    for keys in (tables, tables[::-1]):
        assert list(applied(loaded(write, "".join(f"[augment.{key}]\n" for key in keys)))) == keys


def test_one_component_twice_and_one_that_is_switched_off(write: WriteFile) -> None:
    text = """
    [augment.near]
    use = "scale_jitter"
    scale = [1.0, 2.0]
    [augment.flip]
    enabled = false
    [augment.far]
    use = "scale_jitter"
    scale = [0.5, 1.0]
    """
    spec = loaded(write, text)
    assert applied(spec) == {"near": {"scale": (1.0, 2.0)}, "far": {"scale": (0.5, 1.0)}}
    assert applied(spec, "retinanet") == applied(spec)
    assert [use.key for use in spec.transforms] == ["near", "far"]  # shared ones once


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_presets_are_valid_and_written_out(write: WriteFile, preset: str) -> None:
    spec = loaded(write, f'[augment]\npreset = "{preset}"\n')
    assert list(applied(spec)) == list(PRESETS[preset])


def test_tables_change_a_presets_options_and_add_to_it(write: WriteFile) -> None:
    text = """
    [augment]
    preset = "standard"
    [augment.blur]
    probability = 0.3
    [augment.photometric]
    enabled = false
    [augment.scale_jitter]
    probability = 0.9
    """
    spec = loaded(write, text)
    assert applied(spec) == {
        "flip": {},
        "scale_jitter": {"probability": 0.9},
        "blur": {"probability": 0.3},
    }
    words = {row.key: origin_words(row.origin) for row in explain(spec)}
    assert words["models.fcos.augment.flip.horizontal"] == "preset standard"
    assert words["models.fcos.augment.flip.vertical"] == "default"
    assert words["models.fcos.augment.scale_jitter.scale"] == "preset standard"
    assert words["models.fcos.augment.scale_jitter.probability"].endswith("spec.toml:16")
    assert loaded(write, text, set={"augment.flip.horizontal": 0.25}).models["fcos"].augment[
        "flip"
    ].options.model_dump() == {"horizontal": 0.25, "vertical": 0.0}


def test_another_component_under_a_presets_key_gets_none_of_its_options(write: WriteFile) -> None:
    spec = loaded(write, '[augment]\npreset = "light"\n[augment.flip]\nuse = "blur"\n')
    assert applied(spec) == {"flip": {}}
    assert spec.models["fcos"].augment["flip"].offered.component.name == "blur"


def test_a_models_own_table_replaces_the_shared_one(write: WriteFile) -> None:
    text = """
    [augment]
    preset = "standard"
    [models.retinanet.augment.crop]
    """
    spec = loaded(write, text)
    assert list(applied(spec)) == ["flip", "photometric", "scale_jitter"]
    assert list(applied(spec, "retinanet")) == ["crop"]
    none = loaded(write, '[augment]\npreset = "light"\n[models.retinanet.augment]\npreset = "none"\n')
    assert (list(applied(none)), list(applied(none, "retinanet"))) == (["flip"], [])


@pytest.mark.parametrize("own", ["", '[models.retinanet.augment]\npreset = "none"\n', "[models.fcos.augment.blur]\n"])
def test_the_resolved_spec_loads_to_the_same(write: WriteFile, tmp_path: Path, own: str) -> None:
    text = '[augment]\npreset = "strong"\n[augment.blur]\nenabled = false\n' + own
    spec = loaded(write, text)
    (tmp_path / "resolved.toml").write_text(tomli_w.dumps(dict(spec.resolved)))
    again = load_spec(tmp_path / "resolved.toml")
    assert again.resolved == spec.resolved
    for model in ("fcos", "retinanet"):
        assert list(again.models[model].augment) == list(spec.models[model].augment)
        assert run_spec(again, model) == run_spec(spec, model)


def test_what_changes_a_runs_numbers(write: WriteFile) -> None:
    before = run_spec(loaded(write, "[augment.flip]\n[augment.blur]\n[augment.crop]\nenabled = false\n"), "fcos")

    def changed(text: str) -> list[str]:
        return [change.split(":")[0] for change in _changes(before, run_spec(loaded(write, text), "fcos"))]

    assert changed("[augment.flip]\n[augment.blur]\n") == []
    assert changed("[augment.flip]\nvertical = 0.1\n[augment.blur]\n") == ["augment.flip.vertical"]
    assert changed("[augment.blur]\n[augment.flip]\n") == ["augment_in_order"]
    assert changed("[augment.flip]\n") == ["augment.blur", "augment_in_order"]
    assert changed("") == ["augment", "augment_in_order"]
    assert changed("[models.fcos.augment.flip]\n[models.fcos.augment.blur]\n[augment.crop]\n") == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[augment.flop]\n", "8: [augment.flop]: no transform named 'flop'; did you mean 'flip'?"),
        ('[augment]\npreset = "stronk"\n', "9: [augment] preset: no preset named 'stronk'; did you mean 'strong'?"),
        ("[augment]\npreset = 3\n", "9: [augment] preset: no preset named 3; there are: none, light"),
        ("[augment.preset]\n", "8: [augment] preset: no preset named a table; there are: none, light, standard"),
        ("[augment]\nflip = true\n", "9: [augment] flip: must be a table, as [augment.flip], not true"),
        ("[augment.flip]\nhorizontal = 2\n", "9: [augment.flip] horizontal: must be at most 1"),
        ("[augment.flip]\nhorizontl = 1\n", "9: [augment.flip] horizontl: unknown key; did you mean 'horizontal'?"),
        ("[augment.flip]\nenabled = 1\n", "9: [augment.flip] enabled: must be true or false, not 1"),
        ("[models.fcos.augment.flip]\nvertical = -1\n", "9: [models.fcos.augment.flip] vertical: must be at least 0"),
        (
            '[augment]\npreset = "light"\n[augment.flip]\nvertical = 7\n',
            "11: [augment.flip] vertical: must be at most 1",
        ),
        (
            "[augment.flip]\n[models.fcos.augment.flip]\n[models.retinanet.augment.flip]\n",
            "8: [augment]: no model uses it, for each has an augment table of its own",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(write: WriteFile, text: str, found: str) -> None:
    said = problems(write, text)
    assert any(one.startswith(found) or found in one for one in said), said


def test_copy_paste_needs_masks(tmp_path: Path) -> None:
    text = f"""
plugins = ["{EVERY_HOOK}"]
[dataset]
use = "squares"
[models.centre_point]
[augment.flip]
[augment.copy_paste]
"""
    file = tmp_path / "boxes.toml"
    file.write_text(text)
    with pytest.raises(SpecError) as caught:
        load_spec(file)
    (problem,) = caught.value.problems
    assert (problem.table, problem.line) == ("augment.copy_paste", 7)
    assert problem.message.startswith("transform 'copy_paste' (plugin 'augment'")
    assert "needs masks, which dataset 'squares'" in problem.message
    assert "(it provides boxes); switch it off with enabled = false" in problem.message
    file.write_text(f"{text}enabled = false\n")
    assert [use.key for use in load_spec(file).transforms] == ["flip"]


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ('[augment]\npreset = "light"\n[augment.flip]\nvertical = 0.5\n[augment.second]\nuse = "blur"\n', True),
        ('[models.fcos.augment]\npreset = "none"\n', True),
        ("[models.fcos.augment.flip]\nenabled = false\n", True),
        ('[augment]\npreset = "lite"\n', False),
        ("[augment.flip]\nvertikal = 0.5\n", False),
        ("[augment.second]\nsigma = [1, 2]\n", False),
        ("[models.fcos.augment.flip]\nvertical = 2\n", False),
    ],
)
def test_the_schema_for_editors_agrees(write: WriteFile, text: str, good: bool) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    validator = jsonschema.Draft202012Validator(spec_schema(collect()))
    assert validator.is_valid(tomli.loads(BASE + text)) is good
    if good:
        loaded(write, text)
    else:
        problems(write, text)
