"""The Markdown page of an experiment: its structure, and what it must not tell."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from detkit.cli.main import run as command_line
from detkit.record.files import write_json
from detkit.record.lock import exclusive
from detkit.record.reader import ExperimentRecord, open_record
from detkit.record.streams import StreamWriter
from detkit.report.page import markdown_page
from detkit.report.portable import portable, portable_text
from detkit.report.text import Column, code, escape, fenced, number_table, table

SECRET_PLACE = Path("/home/jane doe/project")


def section(page: str, title: str) -> str:
    """The text under a heading."""
    (found,) = re.findall(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    return str(found)


def rows(text: str) -> list[list[str]]:
    """The cells of the first table of a text, its header first; every row has as many."""
    lines = re.search(r"(?:^\|.*\n?)+", text, re.MULTILINE)
    assert lines is not None, text
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines.group().splitlines()]
    assert len({len(row) for row in cells}) == 1
    return [cells[0], *cells[2:]]


# --- a record, written by hand ---------------------------------------------------------------------------------------


def write_record(folder: Path, runs: list[tuple[str, int]], *, test: int = 0) -> ExperimentRecord:
    """An experiment whose runs have begun; nothing is evaluated yet."""
    record = ExperimentRecord(folder)
    write_json(
        record.files.experiment,
        {
            "name": "two *models*",
            "created": 1_767_268_800.0,
            "spec_file": str(SECRET_PLACE / "two.toml"),
            "versions": {"python": "3.13.1", "detkit": "0.1.0"},
            "blocked": [],
            "runs": [{"run_id": f"{model}-seed{seed}", "model": model, "seed": seed} for model, seed in runs],
        },
    )
    spec = {
        "plugins": [str(SECRET_PLACE / "mine.py")],
        "experiment": {"name": "two", "output": str(SECRET_PLACE / "runs")},
        "dataset": {"use": "penn_fudan", "root": str(SECRET_PLACE / "PennFudanPed"), "split": {"seed": 7}},
        "loggers": {"comet": {"workspace": "jane"}},
    }
    record.files.spec.write_text(tomli_w.dumps(spec))
    sizes = {"train": 100, "validation": 40, "test": test}
    names = ["pedestrian", "dog"]
    write_json(
        record.files.fingerprint, {"images": 140 + test, "objects": 300, "class_names": names, "split_sizes": sizes}
    )
    for run in record.runs:
        write_json(run.files.run, facts(run.model))
    return record


def facts(model: str) -> dict[str, Any]:
    train = {"epochs": 3, "optimizer": "sgd", "lr": 0.005, "batch_size": 2, "strategy": "finetune", "clip_norm": "inf"}
    train["lr"] = 0.01 if model == "fcos" else 0.005
    return {
        "spec": {"model": {"use": model, "train": train, "input": {"min_size": 320, "max_size": 640}}},
        "hardware": {"processor": "Chip | 9000", "cores": 8, "threads": 4, "gpus": [], "system": "Linux"},
        "compute": {"accelerator": "cpu", "processes": 1, "precision": "bf16"},
        "weights_origin": {
            "source": "file",
            "file": str(SECRET_PLACE / "w.pth"),
            "sha256": "abc",
            "new": ["head.weight"],
            "taken_by_part": {"body": 3},
        },
    }


def train_epochs(record: ExperimentRecord, run_id: str, aps: list[float], mask_ap: float | None = None) -> None:
    stream = StreamWriter(record.run(run_id).files.metrics)
    for epoch, ap in enumerate(aps, 1):
        values = {"train/epoch_loss": 1.0, "coco/ap": ap, "coco/ap50": ap * 2, "validation/loss": 1.0}
        values |= {"coco/mask_ap": mask_ap} if mask_ap is not None else {}
        stream.append({"epoch": epoch, "step": epoch * 50, "values": values, "measured": {"train_s": 60.0}})
    stream.close()


def finish(record: ExperimentRecord, run_id: str, best: int, value: float, **changes: Any) -> None:
    run = record.run(run_id)
    summary = {
        "run_id": run_id,
        "model": run.model,
        "seed": run.seed,
        "epochs": 3,
        "selected": {"epoch": best, "step": best * 50, "by": "coco/ap", "value": value, "split": "validation"},
        "scored": {
            "split": "validation",
            "images": 40,
            "same_images": True,
            "values": {"coco/ap": value, "coco/ap50": value * 2, "loss/loss": 1.0},
        },
        "primary": "coco/ap",
        "higher_is_better": {"coco/ap": True, "coco/ap50": True, "coco/mask_ap": True, "loss/loss": False},
        "parameters": 19_000_000,
        "measured": {"train_s": 180.0, "images_per_s": 2.0, "peak_memory_bytes": 2_000_000_000},
    }
    write_json(run.files.summary, {**summary, **changes})


def costs(latency: float, flops: int | None, **changes: Any) -> dict[str, Any]:
    measured = {
        "train_ms_per_image": 400.0,
        "latency_ms_median": latency,
        "latency_ms_p95": latency * 1.2,
        "latency_images": 20,
        "latency_measurements": 60,
        "processors_used_by_others": 0.01,
        "inference_memory_bytes": None,
        **changes,
    }
    return {
        "weights_bytes": 76_000_000,
        "flops": flops,
        "device_name": "Chip | 9000",
        "troubles": {},
        "measured": measured,
    }


@pytest.fixture
def two(tmp_path: Path) -> ExperimentRecord:
    record = write_record(tmp_path / "two", [("mask_rcnn", 1), ("fcos", 1)])
    train_epochs(record, "mask_rcnn", [0.1, 0.5, 0.4], mask_ap=0.3)
    guard = {"skipped": 2, "rollbacks": 0, "lr_scale": 0.5}
    finish(record, "mask_rcnn", 2, 0.5, costs=costs(90.0, 5_000_000_000), guard=guard)
    train_epochs(record, "fcos", [0.2, 0.3, 0.45])
    finish(record, "fcos", 3, 0.45, costs=costs(45.0, 4_000_000_000))
    return record


# --- the page --------------------------------------------------------------------------------------------------------


def test_last_and_best_epoch_stand_side_by_side(two: ExperimentRecord) -> None:
    quantities = ["`coco/ap`", "`coco/ap50`", "`coco/mask_ap`"]
    assert rows(section(markdown_page(two), "Accuracy")) == [
        ["Run", "Last epoch", *quantities, "Best epoch", *quantities],
        ["`mask_rcnn`", "3", "0.400", "0.800", "0.300", "2", "**0.500**", "**1.000**", "0.300"],
        ["`fcos`", "3", "**0.450**", "**0.900**", "-", "3", "0.450", "0.900", "-"],
    ]
    assert "The best epoch was selected on them, so its figures are a little too good." in markdown_page(two)


def test_the_primary_quantity_by_epoch_with_the_selected_one_bold(two: ExperimentRecord) -> None:
    assert rows(section(markdown_page(two), "`coco/ap` by epoch")) == [
        ["Epoch", "`mask_rcnn`", "`fcos`"],
        ["1", "0.100", "0.200"],
        ["2", "**0.500**", "0.300"],
        ["3", "0.400", "**0.450**"],
    ]


def test_costs_with_the_lowest_bold(two: ExperimentRecord) -> None:
    header, mask_rcnn, fcos = rows(section(markdown_page(two), "Costs"))
    found = {title: (a, b) for title, a, b in zip(header, mask_rcnn, fcos, strict=True)}
    assert found["Latency, median (ms)"] == ("90.0", "**45.0**")
    assert found["Latency, 95 % (ms)"] == ("108.0", "**54.0**")
    assert found["GFLOPs"] == ("5.000", "**4.000**")
    assert found["Weights (MB)"] == ("**76.0**", "**76.0**")  # what looks the same is equally good
    assert found["Training (ms an image)"] == ("**400.0**", "**400.0**")
    assert found["Training (s an epoch)"][0] == "**60.0**"
    assert found["Training in all (min)"][0] == "**3.00**"
    assert "Memory of inference (MB)" not in header  # nobody has it
    assert "over the same 20 images for every model" in section(markdown_page(two), "Costs")
    assert "Other programs" not in markdown_page(two)


def resampled(value: float, **changes: Any) -> dict[str, Any]:
    """What a summary has under `scored`, with intervals."""
    return {
        "split": "validation",
        "images": 40,
        "same_images": True,
        "values": {"coco/ap": value, "coco/ap50": value * 2},
        "intervals": {"coco/ap": {"lower": value - 0.1, "upper": value + 0.1}, "coco/ap50": None},
        "resampling": {"method": "percentile", "level": 0.95, "resamples": 1000, "seed": 7},
        **changes,
    }


def test_the_selected_epoch_has_its_interval_beside_the_primary_quantity(two: ExperimentRecord) -> None:
    assert "brackets" not in markdown_page(two)  # of an older detkit, or without resamples
    finish(two, "mask_rcnn", 2, 0.5, scored=resampled(0.5))
    header, mask_rcnn, fcos = rows(section(markdown_page(two), "Accuracy"))
    first, selected = [place for place, name in enumerate(header) if name == "`coco/ap`"]
    assert mask_rcnn[first] == "0.400"
    assert mask_rcnn[selected : selected + 2] == ["**0.500** \\[0.400, 0.600\\]", "**1.000**"]
    assert fcos[selected] == "0.450"
    assert "In brackets: 95 % intervals over the images." in section(markdown_page(two), "Accuracy")


def test_final_figures_on_test_images_have_the_interval(two: ExperimentRecord) -> None:
    scored = resampled(0.5, split="test", images=20, same_images=False)
    finish(two, "mask_rcnn", 2, 0.5, scored=scored)
    finish(two, "fcos", 3, 0.45, scored={**scored, "values": {"coco/ap": 0.4}, "intervals": {}})
    tested = section(markdown_page(two), "On the 20 test images")
    assert [row[2] for row in rows(tested)] == ["`coco/ap`", "**0.500** \\[0.400, 0.600\\]", "0.400"]
    assert "In brackets: 95 % intervals over the images; an interval from 20 images is rough." in tested
    assert "\\[" not in section(markdown_page(two), "Accuracy")


def test_a_busy_machine_is_said(two: ExperimentRecord) -> None:
    finish(two, "fcos", 3, 0.45, costs=costs(45.0, None, processors_used_by_others=0.5, latency_images=7))
    said = section(markdown_page(two), "Costs")
    assert "Other programs used up to 50% of the processors meanwhile." in said
    assert "the first 7 to 20 of the same images" in said


def test_setting_recipes_and_guards(two: ExperimentRecord) -> None:
    page = markdown_page(two)
    assert page.startswith("# two \\*models\\*\n")
    assert "`penn_fudan`, 140 images with 300 objects of 2 classes (pedestrian, dog)" in page
    assert "100 images train, 40 validate, none are kept for a test (split seed 7)" in page
    assert "shorter side of an image becomes 320 px, the longer at most 640 px" in page
    assert "- **Weights at the start:** `file` file w.pth, sha256 abc\n" in page
    assert "Chip | 9000 (cpu), 8 cores, 4 threads, precision bf16" in page
    assert "1 January 2026 (UTC)" in page
    header, mask_rcnn, fcos = rows(section(page, "Recipes"))
    assert mask_rcnn[header.index("learning rate")] == "0.005"
    assert fcos[header.index("learning rate")] == "0.01"
    assert rows(section(page, "Guard rails")) == [
        ["Run", "skipped", "rollbacks", "lr scale"],
        ["`mask_rcnn`", "2", "0", "0.5"],
    ]


def test_the_page_tells_nothing_of_the_machine(two: ExperimentRecord) -> None:
    fail(
        two, "fcos", f"image {SECRET_PLACE}/PennFudanPed/a.png cannot be read; see {two.folder}/fcos-seed1/console.log"
    )
    page = markdown_page(two)
    for private in ("jane", "/home", str(two.folder), str(two.folder.parent)):
        assert private not in page
    spec = tomllib.loads(re.findall(r"```toml\n(.*?)```", page, re.DOTALL)[0])
    assert spec["dataset"]["root"] == "PennFudanPed"
    assert spec["plugins"] == ["mine.py"]
    assert spec["experiment"] == {"name": "two", "output": "runs"}
    assert "loggers" not in spec
    assert "```sh\ndetkit run two.toml\n```" in page


def test_the_same_record_gives_the_same_page(two: ExperimentRecord) -> None:
    assert markdown_page(two) == markdown_page(open_record(two.folder))


def fail(record: ExperimentRecord, run_id: str, message: str) -> None:
    record.run(run_id).files.summary.unlink()
    write_json(record.run(run_id).files.failure, {"kind": "ComponentError", "message": message})


def test_runs_that_have_not_finished_appear_with_their_state_and_cause(two: ExperimentRecord) -> None:
    fail(two, "fcos", "loss|es are *nan*\nin step 3")
    page = markdown_page(two)
    assert "- `fcos` failed after epoch 3 of 3: loss|es are \\*nan\\* in step 3" in section(
        page, "Runs that have not finished"
    )
    assert rows(section(page, "Accuracy"))[2] == ["`fcos`", "3", "**0.450**", "**0.900**", "-", *"----"]
    assert [row[0] for row in rows(section(page, "Costs"))] == ["Run", "`mask_rcnn`"]


def test_an_experiment_that_is_still_going(tmp_path: Path) -> None:
    record = write_record(tmp_path / "going", [("fcos", 1), ("retinanet", 1)])
    train_epochs(record, "fcos", [0.2])
    record.run("retinanet").files.run.unlink()
    with exclusive(record.run("fcos").files.lock, "the run"):
        page = markdown_page(record)
    assert "- `fcos` is running after epoch 1 of 3" in page
    assert "- `retinanet` has not begun" in page
    assert rows(section(page, "Accuracy"))[1] == ["`fcos`", "1", "0.200", "0.400"]
    assert "## Costs" not in page


def test_nothing_has_begun(tmp_path: Path) -> None:
    record = write_record(tmp_path / "new", [("fcos", 1)])
    record.run("fcos").files.run.unlink()
    record.files.fingerprint.unlink()
    assert "- `fcos` has not begun" in markdown_page(record)


def test_a_record_without_costs(two: ExperimentRecord) -> None:
    for name, best, value in (("mask_rcnn", 2, 0.5), ("fcos", 3, 0.45)):
        finish(two, name, best, value)
    header, first, _ = rows(section(markdown_page(two), "Costs"))
    assert "GFLOPs" not in header
    assert first[header.index("Training (ms an image)")] == "**500.0**"  # two images a second


def test_several_seeds_have_a_row_each_and_their_means(tmp_path: Path) -> None:
    record = write_record(tmp_path / "seeds", [("fcos", 1), ("fcos", 2)])
    for seed, ap in ((1, 0.4), (2, 0.5)):
        train_epochs(record, f"fcos-seed{seed}", [0.1, 0.2, ap])
        finish(record, f"fcos-seed{seed}", 3, ap, costs=costs(45.0, 1))
    page = markdown_page(record)
    assert [row[0] for row in rows(section(page, "Accuracy"))] == ["Run", "`fcos-seed1`", "`fcos-seed2`"]
    assert rows(section(page, "Means over seeds"))[1] == ["`fcos`", "2/2", "0.450 ± 0.071", "0.900 ± 0.141"]
    assert "- **Seeds:** 1, 2" in page
    assert len(rows(section(page, "Recipes"))) == 2


def test_final_figures_on_test_images_have_a_table_of_their_own(tmp_path: Path) -> None:
    record = write_record(tmp_path / "tested", [("fcos", 1)], test=30)
    train_epochs(record, "fcos", [0.2, 0.3, 0.4])
    scored = {"split": "test", "images": 30, "same_images": False, "values": {"coco/ap": 0.35, "coco/ap50": 0.6}}
    finish(record, "fcos", 3, 0.4, scored=scored)
    page = markdown_page(record)
    assert rows(section(page, "On the 30 test images")) == [
        ["Run", "Epoch", "`coco/ap`", "`coco/ap50`"],
        ["`fcos`", "3", "0.350", "0.600"],
    ]
    assert "those on the 30 test images, below, are not" in page
    assert "30 test (split seed 7)" in page


def test_a_loss_that_selects_is_found_under_both_its_names(tmp_path: Path) -> None:
    record = write_record(tmp_path / "losses", [("fcos", 1), ("mine", 1)])
    for name, losses in (("fcos", [3.0, 2.0]), ("mine", [2.5, 2.6])):
        stream = StreamWriter(record.run(name).files.metrics)
        for epoch, loss in enumerate(losses, 1):
            stream.append({"epoch": epoch, "step": epoch, "values": {"validation/loss": loss}, "measured": {}})
        stream.close()
        best = losses.index(min(losses)) + 1
        selected = {"epoch": best, "by": "validation/loss", "value": min(losses)}
        scored = {"split": "validation", "images": 40, "same_images": True, "values": {"loss/loss": min(losses)}}
        finish(record, name, best, 0.0, selected=selected, scored=scored, primary="loss/loss")
    page = markdown_page(record)
    assert rows(section(page, "Accuracy"))[1] == ["`fcos`", "2", "**2.000**", "2", "**2.000**"]
    assert "The best epoch is that of the lowest `validation/loss`." in page


def test_what_selected_is_shown_beside_the_primary_quantity(two: ExperimentRecord) -> None:
    selected = {"epoch": 1, "step": 50, "by": "validation/loss", "value": 1.0, "split": "validation"}
    finish(two, "fcos", 3, 0.45, selected=selected)
    page = markdown_page(two)
    assert rows(section(page, "Accuracy"))[0][1:6] == [
        *("Last epoch", "`coco/ap`", "`coco/ap50`", "`coco/mask_ap`", "`validation/loss`")
    ]
    assert (
        "The best epoch is that of the highest `coco/ap` (`mask_rcnn`); the lowest `validation/loss` (`fcos`)." in page
    )


# --- the command -----------------------------------------------------------------------------------------------------


def test_show_prints_or_writes_the_page(
    two: ExperimentRecord, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line(["show", str(two.folder), "--markdown"]) == 0
    printed = capsys.readouterr().out
    assert printed == markdown_page(two)
    file = tmp_path / "results.md"
    assert command_line(["show", str(two.folder), "--markdown", "--output", str(file)]) == 0
    assert file.read_text(encoding="utf-8") == printed
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--output", "x.md"], "add --markdown"),
        (["--markdown", "--json"], "choose one of them"),
        (["--markdown", "--output", "no/such/folder/x.md"], "no/such/folder/x.md cannot be written"),
    ],
)
def test_show_refuses(
    arguments: list[str],
    says: str,
    two: ExperimentRecord,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command_line(["show", str(two.folder), *arguments]) == 2
    assert says in capsys.readouterr().err


# --- Markdown --------------------------------------------------------------------------------------------------------


def test_text_is_read_as_it_was_written() -> None:
    assert escape("a*b_c|<d>\n`e`") == "a\\*b\\_c|\\<d\\> \\`e\\`"
    assert code("a|b") == "`a|b`"
    assert code("a`b") == "``a`b``"
    assert code("`a") == "`` `a ``"
    assert code("") == "-"
    assert table(["a|b"], [["c"]]) == "| a\\|b |\n| :-- |\n| c |"
    assert fenced("x\n```\n", "toml") == "````toml\nx\n```\n````"


def test_the_best_of_a_column_is_bold_by_what_is_shown() -> None:
    assert Column("x", [0.1234, 0.1229, None, 0.1], best="highest").cells() == ["**0.123**", "**0.123**", "-", "0.100"]
    assert Column("x", [2.0, 1.0], digits=0, best="lowest").cells() == ["2", "**1**"]
    assert Column("x", [1.0, None], best="highest").cells() == ["1.000", "-"]  # nothing to compare it with
    assert Column("x", [1.0, 2.0]).cells() == ["1.000", "2.000"]
    assert number_table("r", ["a"], [Column("none", [None]), Column("x", [1.0])]).splitlines()[0] == "| r | x |"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cannot read /home/jane/data/a.png: gone", "cannot read a.png: gone"),
        ("plugin 'x' (/home/jane/x.py) failed", "plugin 'x' (x.py) failed"),
        (r"cannot read C:\Users\jane\a.png", "cannot read a.png"),
        (r"on \\server\share\a.png", "on a.png"),
        ("~/jane/x.py, file:///home/jane/y.py", "x.py, y.py"),
        (
            "see https://example.org/a/b and docs/reference/cli.md",
            "see https://example.org/a/b and docs/reference/cli.md",
        ),
        ("3/4 of 10/20/30, and/or", "3/4 of 10/20/30, and/or"),
        ("detections/s at 1 / 2", "detections/s at 1 / 2"),
    ],
)
def test_paths_in_a_text_are_reduced(text: str, shown: str) -> None:
    assert portable_text(text) == shown


def test_values_that_are_paths_are_reduced_whole() -> None:
    values = {"a": "/home/jane doe/my data", "b": ["~/x", 3, None, True], "c": {"d": r"C:\Users\jane doe\w.pth"}}
    assert portable(values) == {"a": "my data", "b": ["x", 3, None, True], "c": {"d": "w.pth"}}
    assert portable({"a": "runs/x", "b": "*/ap"}) == {"a": "runs/x", "b": "*/ap"}
