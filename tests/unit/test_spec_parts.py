"""Single tables of a spec: data and metrics from files that need not be whole specs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from detkit.errors import SpecError
from detkit.spec.loader import load_spec
from detkit.spec.parts import load_metrics, with_dataset_of

WriteFile = Callable[[str, str], Path]

WHOLE = """
    plugins = ["toys.py"]
    [dataset]
    use = "penn_fudan"
    [models.fcos]
    [metrics.coco]
    [metrics.second]
    use = "coco"
    [metrics.off]
    use = "mask_ap"
    enabled = false
"""


def test_the_data_of_another_file_takes_its_place(toys: Path, write: WriteFile, tmp_path: Path) -> None:
    spec = load_spec(write("whole.toml", WHOLE))
    part = write(
        "elsewhere/data.toml",
        """
        plugins = ["../toys.py"]
        [dataset]
        use = "penn_fudan"
        root = "mine"
        degenerate = "drop"
        [dataset.split]
        test = 3
        """,
    )
    other = with_dataset_of(spec, part, set={})
    assert (other.folder, other.degenerate, other.split.test) == (tmp_path / "elsewhere", "drop", 3)
    assert other.dataset.options.model_dump() == {"root": tmp_path / "elsewhere/mine"}
    assert other.models is spec.models
    moved = with_dataset_of(spec, part, set={"dataset.root": "here"})
    assert moved.dataset.options.model_dump() == {"root": tmp_path / "here"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('plugins = ["toys.py"]', "[dataset] use: missing: the name of a dataset; there are: penn_fudan, shapes"),
        ('[dataset]\nuse = "shapes"', "[dataset] use: no dataset named 'shapes'"),
        ('plugins = ["toys.py"]\n[dataset]\nuse = "shapes"\nimags = 3', "bad.toml:4: [dataset] imags: unknown key"),
        ('plugins = ["toys.py"]\n[dataset]\nuse = "shapes"\nimages = 3\nsplit.test = -1', "[dataset.split] test: "),
        ('plugins = ["gone.py"]\n[dataset]\nuse = "shapes"', "there is no file"),
    ],
)
def test_what_is_wrong_with_the_data_is_told(toys: Path, write: WriteFile, text: str, says: str) -> None:
    spec = load_spec(write("whole.toml", WHOLE))
    with pytest.raises(SpecError) as caught:
        with_dataset_of(spec, write("bad.toml", text), set={})
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("names", "changes", "keys"),
    [
        ((), {}, ["coco", "second"]),
        (("second",), {}, ["second"]),
        (("mask_ap", "coco"), {}, ["mask_ap", "coco"]),
        (("off",), {}, ["off"]),
        ((), {"metrics.second.enabled": False}, ["coco"]),
        ((), {"metrics.mask_ap": {}}, ["coco", "second", "mask_ap"]),
    ],
)
def test_metrics_of_a_file(
    toys: Path, write: WriteFile, names: tuple[str, ...], changes: Mapping[str, Any], keys: list[str]
) -> None:
    assert list(load_metrics(write("whole.toml", WHOLE), names=names, set=changes)) == keys


def test_metrics_without_a_file_are_those_that_are_installed() -> None:
    uses = load_metrics(None, names=["coco"], set={"metrics.coco.engine": "pycocotools"})
    assert [use.options.model_dump()["engine"] for use in uses.values()] == ["pycocotools"]
    assert load_metrics(None, set={}) == {}


@pytest.mark.parametrize(
    ("names", "changes", "says"),
    [
        (["cocoo"], {}, "no metric named 'cocoo'; did you mean 'coco'?"),
        (["cocoo"], {}, "(from --metric cocoo)"),
        (["coco"], {"metrics.coco.engin": "x"}, "[metrics.coco] engin: unknown key; did you mean 'engine'?"),
        (["co co"], {}, "names of metrics are made of letters"),
    ],
)
def test_what_is_wrong_with_metrics_is_told(names: list[str], changes: Mapping[str, Any], says: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_metrics(None, names=names, set=changes)
    assert says in str(caught.value)
