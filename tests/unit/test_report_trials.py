"""What the report's page gets of a search."""

from __future__ import annotations

from pathlib import Path

import pytest

from detkit.report.folder import write_report
from detkit.report.trials import trials_content
from made_record import Wanted, make_record
from made_search import AP, LATENCY, make_search


def test_trials_as_the_page_reads_them(tmp_path: Path) -> None:
    record = make_search(tmp_path / "s", objectives=(AP, LATENCY), importances={"train.lr": 0.75, "x": 0.25})
    content = trials_content(record, [])
    assert content is not None
    assert content["objectives"] == [AP, LATENCY]
    (found,) = content["models"]
    assert (found["model"], found["wanted"], found["best"], found["front"]) == ("fcos", 6, 3, [3, 1])
    assert found["importances"] == [["train.lr", 0.75], ["x", 0.25]]
    rate, batch, flip = found["parameters"]
    assert rate == {"key": "train.lr", "kind": "range", "low": 0.0001, "high": 0.1, "log": True, "integer": False}
    assert batch["integer"]
    assert flip == {"key": "augment.flip.enabled", "kind": "choices", "choices": [True, False, 1]}
    first, second, third, pruned, failed, interrupted = found["trials"]
    assert (first["values"], first["runs"]) == ([0.0001, 2, True], ["fcos-trial001-seed1"])
    assert first["shares"] == [0.0, 0.0, 0.0]
    assert second["shares"] == [1.0, 1.0, 0.5]
    # On a logarithmic axis, and True apart from 1.
    assert third["shares"] == [pytest.approx(2 / 3), 0.25, 1.0]
    assert (pruned["state"], pruned["objectives"]) == ("pruned", [0.1, 15.0])
    assert (failed["state"], failed["objectives"]) == ("failed", None)
    assert failed["reason"] == "ValueError: no room in model.py"
    assert interrupted["state"] == "interrupted"


def test_paths_are_reduced_and_choices_stay_apart(tmp_path: Path) -> None:
    paths = ["/home/jane/a/best.pt", "/home/jane/b/best.pt"]
    rows = [("finished", (path,), (0.1 * place,), "") for place, path in enumerate(paths)]
    record = make_search(tmp_path / "s", space={"models.fcos.weights": paths}, rows=rows, ran=2)
    content = trials_content(record, [])
    assert content is not None
    (found,) = content["models"]
    assert found["parameters"][0]["choices"] == ["best.pt", "best.pt"]
    assert [trial["values"] for trial in found["trials"]] == [["best.pt"], ["best.pt"]]
    assert [trial["shares"] for trial in found["trials"]] == [[0.0], [1.0]]
    assert "jane" not in (write_report(record).page.parent / "data/experiment.js").read_text()


def test_without_a_search_there_is_none(tmp_path: Path) -> None:
    record = make_record(tmp_path / "r", Wanted(models=("fcos",), images=1, epochs=1, figures=False))
    assert trials_content(record, []) is None
