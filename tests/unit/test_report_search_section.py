"""The search in the page of `detkit show --markdown`."""

from __future__ import annotations

from pathlib import Path

from detkit.report.search_section import search_section
from made_record import Wanted, make_record
from made_search import AP, LATENCY, make_search


def test_a_page_without_a_search_has_no_section(tmp_path: Path) -> None:
    assert search_section(make_record(tmp_path / "plain", Wanted(models=("fcos",), images=3, epochs=1))) == []


def test_the_trials_what_counts_and_the_best_values(tmp_path: Path) -> None:
    text = "\n\n".join(
        search_section(make_search(tmp_path / "one", importances={"train.lr": 0.75, "train.batch_size": 0.25}))
    )
    assert text.startswith("## Search\n\n6 of ")
    assert "trials of `fcos` by " in text
    assert "for `coco/ap` (maximize), measured on the validation images." in text
    assert "| finished, best | **3** | 0.6 | 0.01 | 4 | 1 |" in text
    assert "| pruned | 4 | 0.1 | 0.001 | 6 | true |" in text
    assert "| failed | 5 | - | 0.05 | 8 | false |" in text
    assert "- trial 5 failed: ValueError: no room in " in text
    assert "/home/jane" not in text
    assert "What counts for `coco/ap`: `train.lr` 75%, `train.batch_size` 25%." in text


def test_of_two_objectives_a_front(tmp_path: Path) -> None:
    text = "\n\n".join(search_section(make_search(tmp_path / "two", objectives=(AP, LATENCY))))
    assert "for `coco/ap` (maximize) and `latency_ms_median` (minimize)" in text
    assert "| finished, none is better in both | **1** | 0.2 | 10 |" in text
    assert "| finished | 2 | 0.3 | 30 |" in text


def test_the_best_values_are_there_to_be_pasted(tmp_path: Path) -> None:
    record = make_search(tmp_path / "best")
    spec = record.run("fcos-trial003-seed1").files.own_spec
    spec.write_text("[models.fcos.augment.flip]\nenabled = true\n")
    *_, said, values = search_section(record)
    assert said == "The best, trial 3:"
    assert "[models.fcos.train]\nlr = 0.01\n" in values
    assert "[models.fcos.augment.flip]\nenabled = true\n" in values
    assert values.startswith("```toml\n")
