"""From a run with the Comet logger to the panels: they find what was sent, under the names under which it was sent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import detkit
from detkit.engine.display import SilentDisplay
from detkit.record.reader import RunRecord
from integration.experiments import squares_spec, write_spec
from plugins.comet_panels_stub import PROJECT, WORKSPACE, as_read, reading
from plugins.comet_stub import Stub
from plugins.test_comet_panels import SPEED, Shown, needs_client, show, traces

pytestmark = needs_client

SPEC: dict[str, Any] = {
    "metrics": {"coco": {}},
    "loggers": {"comet": {"mode": "online", "workspace": WORKSPACE, "project": PROJECT, "system_metrics": False}},
}


@dataclass(frozen=True)
class Looked:
    """A finished run, and what the three panels show of it."""

    run: RunRecord
    shown: list[Shown]


@pytest.fixture(scope="module")
def looked(tmp_path_factory: pytest.TempPathFactory) -> Looked:
    folder: Path = tmp_path_factory.mktemp("panels")
    with Stub(workspace=WORKSPACE, project=PROJECT) as stub, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))
        patch.setenv("COMET_API_KEY", "k" * 25)
        patch.setenv("COMET_URL_OVERRIDE", stub.url)
        spec = write_spec(folder / "small.toml", squares_spec(folder / "runs", **SPEC))
        record = detkit.run(spec, display=SilentDisplay())
        sent = [as_read(stub.received(key)) for key in stub.known]
    with Stub(extra=[reading(sent)]) as stub:
        shown = show(folder, stub, "--choose", "Least confidence of a prediction=0")
    (run,) = record.runs
    return Looked(run, shown)


def test_the_chart_has_the_final_figures_and_costs_of_the_run(looked: Looked) -> None:
    summary = looked.run.summary
    assert summary is not None
    (figure,) = looked.shown[0].figures
    (x,), (y,) = (traces(figure)["centre_point"][axis] for axis in "xy")
    assert x == pytest.approx(summary["costs"]["measured"]["latency_ms_median"])
    assert y == pytest.approx(summary["scored"]["values"]["coco/ap"])
    widgets = looked.shown[0].widgets
    assert widgets["Accuracy"][0] == "final/coco/ap"
    # Everything that the panel can offer was sent.
    assert widgets["Speed"][1] == [quantity.title for quantity in SPEED.SPEEDS.values()]
    assert widgets["Marker size"][1] == [quantity.title for quantity in SPEED.SIZES.values()]
    assert looked.shown[0].rows[0]["Seeds"] == "1"
    assert "are not shown: 1." in looked.shown[0].text, "the leaderboard's experiment"


def test_the_table_has_every_image_of_both_epochs(looked: Looked) -> None:
    evaluations = ["last of each run", "epoch 1 (step 6)", "epoch 2 (step 12)"]
    assert looked.shown[1].widgets["Evaluation"] == ("last of each run", evaluations)
    (table,) = (table for epoch, _, table in looked.run.tables("coco/per_image") if epoch == 2)
    there = {str(row[0]): row[table.columns.index("objects")] for row in table.rows}
    assert {row["image"]: int(row["objects"]) for row in looked.shown[1].rows} == there
    assert len(there) == 4
    assert {row["ap_large"] for row in looked.shown[1].rows} == {"n/a"}, "squares are small"


def test_the_image_has_its_object_and_its_predictions(looked: Looked) -> None:
    assert looked.shown[2].widgets["Step"] == ("12", ["6", "12"])
    (figure,) = looked.shown[2].figures
    names = [trace["name"] for trace in figure["data"]]
    assert names[0] == "Ground truth"
    assert "Predictions" in names
    assert figure["layout"]["images"][0]["sizex"] == 64
    assert "Epoch 2, step 12; Ground truth: 1; Predictions: " in looked.shown[2].text
