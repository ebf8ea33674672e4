"""The base of datasets of image files, as a plugin of one's own uses it: the example of the documentation."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from detkit import BuildContext, DataError
from detkit.data.classes import is_background
from detkit.data.faults import DataFaults, Fault
from detkit.data.file_dataset import image_files_in, image_ids
from plugins.format_files import picture

PAGE = Path(__file__).parents[2] / "docs/how-to/your-own-data.md"


@pytest.fixture
def component() -> Any:
    """What the page's plugin offers."""
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"__name__": "my_format"}
    exec(compile(code, str(PAGE), "exec", dont_inherit=True), names)
    (offered,) = names["detkit_datasets"]()
    return offered


def built(component: Any, root: Path) -> Any:
    return component.build(component.options.model_validate({"root": root}), BuildContext())


def test_the_plugin_of_the_documentation_works(component: Any, tmp_path: Path) -> None:
    for name in ("a", "deep/b c"):
        picture(tmp_path / f"{name}.jpg")
    (tmp_path / "a.box").write_text("1 2 11 12\n3 4 5 6\n")
    (tmp_path / "deep/b c.box").write_text("")
    dataset = built(component, tmp_path)
    assert len(dataset) == 2
    infos = [dataset.info(index) for index in range(2)]
    assert [(info.label, info.width, info.height) for info in infos] == [("a.jpg", 40, 30), ("deep/b c.jpg", 40, 30)]
    image, target = dataset[0]
    assert (image.shape, image.dtype) == ((3, 30, 40), torch.uint8)
    assert target["boxes"].tolist() == [[1, 2, 11, 12], [3, 4, 5, 6]]
    assert target["image_id"] == infos[0].image_id
    assert dataset.info(-1) is dataset.info(1)
    with pytest.raises(IndexError):
        dataset.info(2)


def test_an_image_that_goes_is_an_error_that_names_it(component: Any, tmp_path: Path) -> None:
    file = picture(tmp_path / "a.jpg")
    (tmp_path / "a.box").write_text("1 2 11 12\n")
    dataset = built(component, tmp_path)
    file.unlink()
    for read in (dataset.info, dataset.__getitem__):
        with pytest.raises(DataError, match=r"there is no image .*a\.jpg"):
            read(0)


def test_ids_are_of_names_alone_and_small_enough_for_json(tmp_path: Path) -> None:
    assert image_ids(["a", "b"]) == [image_ids(["a"])[0], image_ids(["b"])[0]]
    # The beginning of the SHA-256: another number would give every recorded image another id.
    assert image_ids(["a.jpg"]) == [0x509B0D4641A7]
    assert all(0 <= one < 2**53 for one in image_ids([f"{number}.jpg" for number in range(10_000)]))
    with pytest.raises(DataError, match="the image b is in the dataset twice"):
        image_ids(["a", "b", "c", "b"])


def test_images_in_a_folder(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "deep/c.tif", ".hidden.png", ".deep/d.png"):
        picture(tmp_path / name)
    (tmp_path / "notes.txt").touch()
    (tmp_path / "deep/circle").symlink_to(tmp_path)
    names = [file.relative_to(tmp_path).as_posix() for file in image_files_in(tmp_path)]
    assert names == ["a.png", "b.JPG", "deep/c.tif"]
    assert [file.name for file in image_files_in(tmp_path, recursive=False)] == ["a.png", "b.JPG"]
    with pytest.raises(DataError, match="there is no folder"):
        image_files_in(tmp_path / "none")


def test_faults_are_listed_counted_and_survive_a_process() -> None:
    faults = [Fault(Path("a.xml"), f"object {number}", "is wrong") for number in range(30)]
    error = DataFaults(faults)
    assert str(error).startswith(
        "the dataset has 30 faults (objects are counted from 0):\n  a.xml, object 0: is wrong\n"
    )
    assert str(error).endswith("and 10 more")
    again = pickle.loads(pickle.dumps(error))
    assert (again.faults, str(again)) == (error.faults, str(error))


def test_names_of_the_background() -> None:
    assert all(map(is_background, ("background", "__background__", "Background", " back-ground ", "BG")))
    assert not any(map(is_background, ("backgrounds", "blackbird", "", "ground")))
