"""Every bundled component, and every one of the example plugins, keeps the contract."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from detkit.plugins import Registry, collect
from detkit.testing.rule import rules_of
from detkit.testing.runner import Found, judge

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples/plugin_in_one_file").glob("*.py"))
REGISTRY: Registry = collect(EXAMPLES)
EVERY = [
    Found(kind, each.component, each.plugin)
    for kind, components in REGISTRY.components.items()
    for each in components.values()
    # Bundled, or an example: not what else is installed here.
    if each.plugin.distribution in ("detkit", "")
]

#: Options under which components are small, or can be built at all.
TINY = {"backbone": "tiny_fpn"}
OPTIONS: dict[str, dict[str, Any]] = {
    "fast_rcnn": {**TINY, "max_proposals": 100, "region_samples": 16},
    "faster_rcnn": {**TINY, "region_samples": 16},
    "mask_rcnn": {**TINY, "region_samples": 16},
    "retinanet": TINY,
    "fcos": TINY,
    "synthetic": {"images": 8, "width": 96, "height": 64},
    "comet": {"mode": "offline"},
    # An example that reads files, which lie beside it.
    "labelme": {"root": str(ROOT / "examples/plugin_in_one_file/labelme_images")},
}
#: What cannot be had here; each is tested against a stub of its server.
NEEDS_A_SERVER = {"comet_optimizer"}
PENN_FUDAN = ROOT.parent / "shared" / "data" / "PennFudanPed"
SLOW = {"comet", "mask_rcnn", "fast_rcnn", "retinanet", "torchmetrics", "gp"}


def parameters() -> list[Any]:
    return [
        pytest.param(
            each,
            id=f"{each.kind}-{each.component.name}",
            marks=[pytest.mark.slow] if each.component.name in SLOW else [],
        )
        for each in EVERY
    ]


def options_for(found: Found) -> dict[str, Any]:
    """The options under which it can be built."""
    name = found.component.name
    if name == "penn_fudan":
        if not PENN_FUDAN.is_dir():
            pytest.skip(f"the dataset is not at {PENN_FUDAN}")
        return {"root": str(PENN_FUDAN), "download": False}
    return OPTIONS.get(name, {})


@pytest.mark.parametrize("found", parameters())
def test_it_keeps_every_rule(found: Found) -> None:
    if found.component.name in NEEDS_A_SERVER:
        pytest.skip("it works on a server")
    subject = found.subject(options_for(found))
    subject.size = (64, 80)
    try:
        assert subject.read_own_files() == (getattr(found.component, "write", None) is not None)
        verdicts = [judge(rule, subject) for rule in rules_of(found.kind)]
    finally:
        subject.close()
    assert [verdict.message for verdict in verdicts if verdict.state in ("broken", "noted")] == []
    assert next(verdict.state for verdict in verdicts if verdict.rule.id == "component-builds") == "kept"
    assert sum(verdict.state == "kept" for verdict in verdicts) > len(verdicts) / 2


def test_all_bundled_plugins_are_here() -> None:
    bundled = {folder.parent.name for folder in (ROOT / "plugins").glob("*/__init__.py")}
    loaded = {plugin.source.split(":")[0] for plugin in REGISTRY.plugins if plugin.state == "loaded"}
    assert bundled <= loaded
    assert {each.kind for each in EVERY} == set(REGISTRY.components)
