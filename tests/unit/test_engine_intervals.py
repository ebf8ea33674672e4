"""Intervals within a run: what is shown meanwhile, how they are stopped, and what the summary gets."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from detkit.data.types import Prediction
from detkit.engine.evaluation import Evaluation
from detkit.engine.intervals import intervals_json, rehearse_intervals
from detkit.engine.results import shown_rows
from detkit.errors import ComponentError, Interrupted
from detkit.figures import MetricResult, Scalar, Table


def a_run(*, resamples: int = 100, stop: bool = False) -> Any:
    """As much of a run as intervals look at; it keeps what is shown, and what goes into the record."""
    shown: list[dict[str, Any]] = []
    kept: dict[str, Any] = {}
    return SimpleNamespace(
        resamples=resamples,
        stop=stop,
        shown=shown,
        fabric=SimpleNamespace(world_size=1),
        info=SimpleNamespace(epochs=9),
        metrics={key: (SimpleNamespace(title=f"metric {key!r}"), None) for key in ("coco", "own")},
        recorder=SimpleNamespace(
            progress=lambda **values: shown.append(values), draws=lambda columns, values: kept.update(columns)
        ),
        kept=kept,
    )


def evaluated(images: int, result: MetricResult) -> Evaluation:
    nothing = np.zeros((0, 4), dtype=np.float32), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
    predictions = [Prediction(image_id, *nothing) for image_id in range(images)]
    plain = MetricResult({"map": Scalar(0.3)})  # which cannot be resampled
    return Evaluation(predictions, {"coco": plain, "own": result})


def share_of_even(weights: Any) -> dict[str, float | None]:
    even = sum(weight for image_id, weight in weights.items() if image_id % 2 == 0)
    return {"even": even / sum(weights.values()), "never": None}


RESULT = MetricResult({"even": Scalar(0.5), "never": Scalar(None), "count": Scalar(3)}, resampler=share_of_even)


def test_the_summary_gets_what_can_be_resampled() -> None:
    found = intervals_json(a_run(), evaluated(40, RESULT), 7)
    assert set(found["intervals"]) == {"own/even", "own/never"}
    assert found["intervals"]["own/never"] is None
    assert found["intervals"]["own/even"]["lower"] < 0.5 < found["intervals"]["own/even"]["upper"]
    assert found["resampling"]["resamples"] == 100
    run = a_run()
    assert found == intervals_json(run, evaluated(40, RESULT), 7)
    assert {name: len(column) for name, column in run.kept.items()} == {"own/even": 100, "own/never": 100}
    assert np.isnan(run.kept["own/never"]).all()


def test_one_image_gives_none_and_no_resamples_nothing_at_all() -> None:
    one = MetricResult({"even": Scalar(1.0), "never": Scalar(None)}, resampler=share_of_even)
    assert intervals_json(a_run(), evaluated(1, one), 7)["intervals"] == {"own/even": None, "own/never": None}
    assert intervals_json(a_run(resamples=0), evaluated(40, RESULT), 7) == {}


def test_progress_is_shown_for_each_metric() -> None:
    run = a_run()
    intervals_json(run, evaluated(40, RESULT), 7)
    assert len(run.shown) == 100
    assert run.shown[20] == {"phase": "intervals of own", "epoch": 7, "epochs": 9, "done": 20, "total": 100}


def test_a_stop_is_heeded() -> None:
    with pytest.raises(Interrupted):
        intervals_json(a_run(stop=True), evaluated(40, RESULT), 7)


def test_a_rehearsal_finds_what_is_broken_unless_no_intervals_are_wanted() -> None:
    broken = MetricResult({"even": Scalar(0.5)}, resampler=lambda weights: {"odd": 1.0})
    with pytest.raises(ComponentError, match=r"metric 'own' failed while being resampled: .* odd; known are even"):
        rehearse_intervals(a_run(), evaluated(2, broken))
    rehearse_intervals(a_run(resamples=0), evaluated(2, broken))
    run = a_run()
    rehearse_intervals(run, evaluated(2, RESULT))
    assert len(run.shown) == 2


def test_a_table_as_people_read_it() -> None:
    table = Table(("class", "ap", "objects", "note"), (("car", 0.51239, 12, None), ("dog", None, 0, "rare")))
    rows, right = shown_rows(table)
    assert rows == [["car", "0.512", "12", "-"], ["dog", "-", "0", "rare"]]
    assert right == ["ap", "objects"]
    assert shown_rows(Table(("a",), ())) == ([], [])
