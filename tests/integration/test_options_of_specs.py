"""Keys of the spec that no other test sets: what each changes in a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lightning_fabric import Fabric
from PIL import Image

import detkit
from detkit.components import Silent
from detkit.data.cache import CachedDataset, DiskStore, MemoryStore
from detkit.data.splits import Splits
from detkit.engine.compute import resolve_compute
from detkit.engine.display import SilentDisplay
from detkit.engine.loading import prepare_loading
from detkit.engine.prepare import build_dataset
from detkit.spec.loader import load_spec
from detkit.spec.model import ComputeTable
from integration.experiments import squares_spec, write_spec
from plugins.format_files import picture


def test_what_the_record_keeps_of_predictions_and_images(tmp_path: Path) -> None:
    spec = squares_spec(
        tmp_path / "runs", experiment={"keep_predictions": "last", "keep_images": 3, "image_size": 40, "resamples": 0}
    )
    record = detkit.run(write_spec(tmp_path / "spec.toml", spec), report=False, display=SilentDisplay())
    run = record.run("centre_point")
    assert run.state == "finished"
    assert run.facts["hook_api"] == detkit.HOOK_API
    kept = sorted(file.name for file in (run.files.folder / "predictions").glob("epoch-*"))
    assert kept == ["epoch-002.json.gz"]  # of two
    copies = sorted((record.folder / "data" / "images").iterdir())
    assert len(copies) == 3  # of the four that are evaluated
    for file in copies:
        with Image.open(file) as image:
            assert image.size == (40, 40)  # of 64


class Heard(Silent):
    def __init__(self) -> None:
        self.infos: list[str] = []

    def info(self, text: str) -> None:
        self.infos.append(text)


def loaded(folder: Path, **compute: Any) -> tuple[Any, list[str]]:
    """The dataset of six files as a run reads it, and what is said of it."""
    lines = ["image,class,xmin,ymin,xmax,ymax"]
    for number in range(6):
        picture(folder / "images" / f"{number}.png", seed=number)
        lines.append(f"{number}.png,dog,1,2,11,12")
    (folder / "t.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    spec = squares_spec(folder / "runs", dataset={"use": "csv", "file": str(folder / "t.csv")}, compute=compute)
    del spec["dataset"]["images"]
    found = load_spec(write_spec(folder / "spec.toml", spec))
    heard = Heard()
    splits = Splits(train=(0, 1, 2, 3), validation=(4, 5), test=())
    fabric = Fabric(accelerator="cpu", devices=1)
    use = found.models["centre_point"]
    return prepare_loading(found, use, build_dataset(found, Silent()), splits, fabric, heard)[0], heard.infos


@pytest.mark.parametrize(("cache", "store"), [("memory", MemoryStore), ("disk", DiskStore)])
def test_where_images_are_kept(cache: str, store: type[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    dataset, infos = loaded(tmp_path, cache=cache)
    assert isinstance(dataset, CachedDataset)
    assert isinstance(dataset._store, store)
    assert any("6" in text and ("in memory" in text or "on disk" in text) for text in infos)


def test_images_are_not_kept(tmp_path: Path) -> None:
    dataset, infos = loaded(tmp_path, cache="none")
    assert not isinstance(dataset, CachedDataset)
    assert infos == []


def test_no_more_bytes_are_kept_than_are_allowed(tmp_path: Path) -> None:
    _, infos = loaded(tmp_path, cache="memory", cache_bytes=9_000)
    assert any("of 6" in text and "no room within cache_bytes" in text for text in infos)


def test_one_device_may_be_told_to_train_as_many_do() -> None:
    assert resolve_compute(ComputeTable(device="cpu", parallel="ddp")).strategy == "ddp"
    assert resolve_compute(ComputeTable(device="cpu")).strategy == "auto"
