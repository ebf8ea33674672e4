"""Options of the Comet logger that no other test sets: what each leaves out, with a client that keeps the calls."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from detkit import Curve, Matrix, Table
from detkit.components import BuildContext, Silent
from detkit.data.targets import encode_masks
from detkit.data.types import Annotation, ImageInfo
from detkit_comet import CometOptions
from detkit_comet.curves import Curves
from detkit_comet.experiment import open_nothing
from detkit_comet.leaderboard import publish_leaderboard
from detkit_comet.logger import CometLogger
from detkit_comet.pictures import Pictures
from detkit_comet.sent import SentBook
from plugins.test_comet_content import Client, run_info


class Contexts(Client):
    """A client whose contexts can be entered."""

    @contextmanager
    def context_manager(self, _context: str) -> Iterator[None]:
        yield


class Delivered:
    """A delivery to that client."""

    def __init__(self) -> None:
        self.client = Contexts()

    @contextmanager
    def sending(self) -> Iterator[Client]:
        yield self.client


def sent(folder: Path, **options: Any) -> list[str]:
    """The client's methods that are called for a table, a curve and a matrix of an epoch."""
    delivery = Delivered()
    logger = CometLogger(CometOptions(**options), BuildContext(), cast(Any, delivery))
    logger._curves = Curves(run_info(folder), Silent(), SentBook(folder, "key"), done=0)
    logger.log_table("coco/classes", Table(("a",), ((1,),)), step=3, epoch=1)
    logger.log_curve("coco/pr", Curve((0.0, 1.0), (1.0, 0.0)), step=3, epoch=1)
    logger.log_confusion_matrix("coco/confusion", Matrix(("a", "b"), ((1, 0), (0, 1))), step=3, epoch=1)
    logger.log_metrics({"train/loss": 1.0}, step=3, epoch=1)
    return sorted(set(delivery.client.names()))


def test_tables_curves_and_matrices_can_be_left_out(tmp_path: Path) -> None:
    everything = sent(tmp_path / "all")
    assert everything == ["log_asset_data", "log_confusion_matrix", "log_curve", "log_metrics"]
    for option, method in (
        ({"tables": False}, "log_asset_data"),
        ({"curves": False}, "log_curve"),
        ({"confusion_matrix": False}, "log_confusion_matrix"),
    ):
        assert sent(tmp_path / method, **option) == [name for name in everything if name != method]


def test_without_tables_no_leaderboard_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = SimpleNamespace(leaderboard={"rows": []}, runs=())

    def looked_at(*_: Any) -> None:
        raise AssertionError("the leaderboard was read")

    monkeypatch.setattr("detkit_comet.leaderboard.open_record", lambda _folder: record)
    monkeypatch.setattr("detkit_comet.leaderboard.leaderboard_table", looked_at)
    assert not publish_leaderboard(CometOptions(tables=False), BuildContext(), tmp_path)
    with pytest.raises(AssertionError, match="was read"):
        publish_leaderboard(CometOptions(), BuildContext(), tmp_path)


@pytest.mark.parametrize("git", [False, True])
def test_git_is_told_or_not(tmp_path: Path, git: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    comet_ml = pytest.importorskip("comet_ml")
    configured: list[Any] = []
    config = comet_ml.ExperimentConfig

    def configure(**given: Any) -> Any:
        configured.append(given)
        return config(**given)

    monkeypatch.setattr(comet_ml, "ExperimentConfig", configure)
    open_nothing(CometOptions(git=git), run_info(tmp_path))
    assert [(given["log_git_metadata"], given["log_git_patch"]) for given in configured] == [(git, git)]


def test_outlines_keep_every_corner_or_not(tmp_path: Path) -> None:
    rows, columns = np.mgrid[:60, :60]
    disc = ((rows - 30) ** 2 + (columns - 30) ** 2 < 25**2).astype(np.uint8)[None]
    (mask,) = encode_masks(disc)
    truth = ImageInfo(
        1, None, 60, 60, (Annotation(1, (5, 5, 55, 55), float(disc.sum()), False, mask, "object 0"),), "a"
    )

    picture = SimpleNamespace(image_id=1, scale=(1.0, 1.0), image=SimpleNamespace(truth=truth))
    corners = {}
    for tolerance in (0.0, 3.0):
        pictures = Pictures(CometOptions(polygon_tolerance=tolerance), run_info(tmp_path), Silent())
        corners[tolerance] = str(pictures._truth(cast(Any, picture))).count(",")
    assert corners[3.0] < corners[0.0] / 2
