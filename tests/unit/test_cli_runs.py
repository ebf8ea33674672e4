"""`detkit runs`: what is listed, shown and removed, and what never is; names; broken records."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from detkit.cli.main import run as command_line
from detkit.record.files import read_json, write_json
from detkit.record.lock import exclusive
from detkit.record.reader import ExperimentRecord
from unit.written_records import NOON, append, begin, fail, finish, train, write_experiment

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`runs` in the working directory: one experiment with a run in every state, and a newer one."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs"
    runs = [("fcos", 1), ("fcos", 2), ("retinanet", 1), ("mask_rcnn", 1)]
    old = write_experiment(folder / "old", runs, loggers={"csv": {}, "mine": {"use": "journal"}})
    first, second, third, _ = old.runs
    finish(train(begin(first, lr=0.01), [0.1, 0.3, 0.2]), 0.3)
    train(begin(second, started=NOON + 100, lr=0.02), [0.15])
    fail(begin(third, started=NOON + 200), "out of memory while computing the losses; lower batch_size")
    new = write_experiment(folder / "new", [("fcos", 1)], created=NOON + 1000)
    finish(train(begin(new.runs[0], started=NOON + 1000), [0.4]), 0.4, epochs=1)
    return folder


def runs(*arguments: str | Path) -> int:
    return command_line(["runs", *map(str, arguments)])


def printed(capsys: Capture, *arguments: str | Path, code: int = 0) -> str:
    assert runs(*arguments) == code
    captured = capsys.readouterr()
    assert "Traceback" not in captured.out + captured.err
    return captured.out if code == 0 else captured.err


def as_json(capsys: Capture, *arguments: str | Path) -> Any:
    return json.loads(printed(capsys, *arguments, "--json"))


def names(text: str) -> list[str]:
    """The first cells of the table under its header, to the first line that is no row of it."""
    lines = text.splitlines()
    assert lines[0].startswith("run ")
    return [line.split()[0] for line in lines[1:] if "/" in line.split()[0] and ":" not in line.split()[1]]


# --- list ------------------------------------------------------------------------------------------------------------


def test_list_has_the_newest_first(output: Path, capsys: Capture) -> None:
    text = printed(capsys, "list")
    lines = text.splitlines()
    assert lines[0].split() == ["run", "state", "epochs", "best", "started", "took", "size"]
    assert [line.split()[:3] for line in lines[1:6]] == [
        ["new/fcos-seed1", "finished", "1/3"],
        ["old/retinanet-seed1", "failed", "0/3"],
        ["old/fcos-seed2", "interrupted", "1/3"],
        ["old/mask_rcnn-seed1", "pending", "0/3"],
        ["old/fcos-seed1", "finished", "3/3"],
    ]
    assert "coco/ap 0.300 at 2" in lines[5]
    assert "3 min 40 s" in lines[5]
    assert lines[6] == "old/retinanet-seed1 failed: out of memory while computing the losses; lower batch_size"
    assert lines[7].startswith("2 experiments, 5 runs, ")
    assert lines[7].endswith(" in runs")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--state", "failed"], ["old/retinanet-seed1"]),
        (["--state", "failed", "--state", "pending"], ["old/retinanet-seed1", "old/mask_rcnn-seed1"]),
        (["--model", "fcos", "--limit", "2"], ["new/fcos-seed1", "old/fcos-seed2"]),
        (["--limit", "1"], ["new/fcos-seed1"]),
    ],
)
def test_list_filters(output: Path, capsys: Capture, options: list[str], expected: list[str]) -> None:
    assert names(printed(capsys, "list", *options)) == expected
    assert [f"{Path(run['experiment']).name}/{run['run_id']}" for run in as_json(capsys, "list", *options)["runs"]] == (
        expected
    )


def test_list_as_json_has_everything(output: Path, capsys: Capture) -> None:
    report = as_json(capsys, "list")
    assert {experiment["name"] for experiment in report["experiments"]} == {"old", "new"}
    found = {run["folder"]: run for run in report["runs"]}
    run = found["runs/old/fcos-seed1"]
    assert {
        key: run[key] for key in ("state", "model", "seed", "fold", "epochs_done", "epochs", "primary", "best")
    } == {
        "state": "finished",
        "model": "fcos",
        "seed": 1,
        "fold": None,
        "epochs_done": 3,
        "epochs": 3,
        "primary": "coco/ap",
        "best": {"value": 0.3, "epoch": 2},
    }
    assert run["started"] == NOON
    assert run["took_s"] == 220.0
    on_disk = sum(file.stat().st_size for file in (output / "old/fcos-seed1").rglob("*") if file.is_file())
    assert run["bytes"] == on_disk
    whole = sum(file.stat().st_size for file in (output / "old").rglob("*") if file.is_file())
    (old,) = [experiment for experiment in report["experiments"] if experiment["name"] == "old"]
    assert old["bytes"] == whole
    assert report["matching"] == 5


def test_list_of_one_experiment(output: Path, capsys: Capture) -> None:
    lines = printed(capsys, "list", output / "old").splitlines()
    assert [line.split()[0] for line in lines[1:5]] == [
        "retinanet-seed1",
        "fcos-seed2",
        "mask_rcnn-seed1",
        "fcos-seed1",
    ]


def test_list_where_a_spec_points(output: Path, capsys: Capture, tmp_path: Path) -> None:
    spec = tmp_path / "below" / "spec.toml"
    spec.parent.mkdir()
    spec.write_text(
        '[experiment]\nname = "x"\noutput = "../runs"\n[dataset]\nuse = "synthetic"\n'
        '[models.fcos]\nbackbone = "tiny_fpn"\n[metrics.coco]\n'
    )
    assert len(as_json(capsys, "list", "--spec", spec)["runs"]) == 5
    assert "FOLDER and --spec both say" in printed(capsys, "list", "runs", "--spec", spec, code=2)


def test_a_running_run_is_listed_as_such(output: Path, capsys: Capture) -> None:
    with exclusive(output / "old" / "fcos-seed2" / "lock", "it"):
        assert names(printed(capsys, "list", "--state", "running")) == ["old/fcos-seed2"]


def test_a_run_that_was_put_aside_is_listed_too(output: Path, capsys: Capture) -> None:
    (output / "old/retinanet-seed1").rename(output / "old/retinanet-seed1.failed-1")
    found = {run["run_id"]: run for run in as_json(capsys, "list", output / "old")["runs"]}
    assert found["retinanet-seed1.failed-1"]["put_aside"]
    assert found["retinanet-seed1.failed-1"]["state"] == "failed"
    assert found["retinanet-seed1"]["state"] == "pending"


def test_where_there_is_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.chdir(tmp_path)
    assert "there is no folder runs" in printed(capsys, "list", code=2)
    (tmp_path / "runs").mkdir()
    assert printed(capsys, "list") == "0 experiments, 0 runs, 0 kB in runs\n"


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("old/experiment.json", '{"format_version": 1, "na', "old broken: runs/old/experiment.json is damaged"),
        ("old/experiment.json", "{}", "old/experiment.json is damaged: it has no format version"),
        ("old/experiment.json", '{"format_version": 99}', "this detkit reads up to 1; update detkit"),
        ("old/experiment.json", '{"format_version": 1}', "old broken: runs/old/experiment.json is not as this detkit"),
        ("old/experiment.json", '{"format_version": 1, "name": "x", "runs": [3]}', "old broken: "),
        ("old/experiment.json", "[]", "old broken: "),
        ("old/fcos-seed1/run.json", "{", "old/fcos-seed1 broken: runs/old/fcos-seed1/run.json is damaged"),
        ("old/fcos-seed1/run.json", '{"format_version": 1}', "old/fcos-seed1 broken: runs/old/fcos-seed1 is not as"),
        ("old/fcos-seed1/summary.json", '{"format_version": 1}', "old/fcos-seed1 broken: "),
        ("old/fcos-seed1/metrics.jsonl", "{}\n", "old/fcos-seed1 broken: "),
        ("old/fcos-seed1/metrics.jsonl", "nonsense\n", "metrics.jsonl:1 is damaged"),
        ("old/retinanet-seed1/failure.json", "", "old/retinanet-seed1 broken: "),
        ("photos/1.jpg", "x", "photos: no record of detkit: it has no experiment.json"),
        ("lost/run.json", "{}", "lost: a run without its experiment"),
    ],
)
def test_what_is_broken_is_listed_with_the_reason(
    output: Path, capsys: Capture, file: str, content: str, says: str
) -> None:
    (output / file).parent.mkdir(exist_ok=True)
    (output / file).write_text(content)
    text = printed(capsys, "list")
    assert says in text
    assert "new/fcos-seed1" in text
    as_json(capsys, "list")
    if file.startswith("old/") and file.count("/") == 2:
        run = f"runs/{Path(file).parent.as_posix()}"
        assert as_json(capsys, "show", run)["state"] == "broken"
        assert ["state", "broken"] in [line.split() for line in printed(capsys, "show", run).splitlines()]


def test_a_missing_experiment_file_is_said(output: Path, capsys: Capture) -> None:
    (output / "old/experiment.json").unlink()
    assert "old: an experiment whose experiment.json is missing" in printed(capsys, "list")


def test_a_terminal_that_is_narrow_gets_fewer_columns(
    output: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "70")
    text = printed(capsys, "list")
    assert "not shown for want of room: size, took" in text
    assert all(len(line) <= 70 for line in text.splitlines() if "/" in line and "failed:" not in line)


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "run"),
    [
        ("runs/old/fcos-seed1", "runs/old/fcos-seed1"),
        ("runs/old/retina", "runs/old/retinanet-seed1"),
        ("retina", "runs/old/retinanet-seed1"),
        ("old/m", "runs/old/mask_rcnn-seed1"),
        ("n", "runs/new"),
        ("old", "runs/old"),
        ("runs/new/", "runs/new"),
        ("fcos-seed2", "runs/old/fcos-seed2"),
    ],
)
def test_a_name_is_found(output: Path, capsys: Capture, name: str, run: str) -> None:
    assert Path(as_json(capsys, "show", name)["folder"]) == output.parent / run


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("fcos", "'fcos' begins several names: new/fcos-seed1, old/fcos-seed1, old/fcos-seed2; write more of it"),
        ("fcos-seed1", "begins several names: new/fcos-seed1, old/fcos-seed1"),
        ("runs/old/fcos", "'fcos' begins several runs: fcos-seed1, fcos-seed2"),
        ("retinanett-seed1", "did you mean 'retinanet-seed1'?"),
        ("runs/old/fcoz-seed1", "did you mean 'fcos-seed"),
        ("zzz", "there are: new, new/fcos-seed1, old, "),
        ("runs", "runs: no record of detkit"),
    ],
)
def test_a_name_that_is_not_found_or_ambiguous(output: Path, capsys: Capture, name: str, says: str) -> None:
    assert says in printed(capsys, "show", name, code=2)


def test_names_are_looked_up_in_a_named_folder(output: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    (output.parent / "elsewhere").mkdir()
    monkeypatch.chdir(output.parent / "elsewhere")
    assert "there is no folder" in printed(capsys, "show", "retina", code=2)
    assert as_json(capsys, "show", "retina", "--in", output)["run_id"] == "retinanet-seed1"


# --- show ------------------------------------------------------------------------------------------------------------


def test_show_tells_all_of_a_finished_run(output: Path, capsys: Capture) -> None:
    text = printed(capsys, "show", "old/fcos-seed1")
    for part in (
        "state    finished",
        "model    fcos, seed 1",
        "epochs   3 of 3: all 3 epochs trained",
        "best     coco/ap 0.300 at 2 of 3, on the validation images",
        "measured on  40 validation images, on which the epoch was selected too",
        "coco/ap      0.300 [0.250, 0.350]",
        "latency      12.5 ms an image (median)",
        "weights from  source file, file resnet.pth",
        "device        cpu, 1 process(es), bf16",
        "versions      python 3.13.1, detkit 0.1.0",
        "model.train.lr  0.01 here; 0.02 in fcos-seed2; - in retinanet-seed1",
        "checkpoints      16 kB",
        "predict   detkit predict runs/old/fcos-seed1 IMAGE",
    ):
        assert part in text, text


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("old/fcos-seed2", "resume  detkit run runs/old/spec.toml --resume"),
        ("old/retinanet", "resume  detkit run runs/old/spec.toml --resume"),
        ("old/mask_rcnn", "begin  detkit run runs/old/spec.toml --resume"),
    ],
)
def test_show_says_how_to_go_on(output: Path, capsys: Capture, name: str, command: str) -> None:
    assert f"  {command}" in printed(capsys, "show", name)


def test_show_of_a_failed_run_has_the_cause(output: Path, capsys: Capture) -> None:
    assert "cause    out of memory while computing the losses; lower batch_size" in printed(capsys, "show", "retina")
    assert "traceback" not in as_json(capsys, "show", "retina")["failure"]


def test_show_of_an_experiment_lists_its_runs(output: Path, capsys: Capture) -> None:
    text = printed(capsys, "show", "old")
    assert "experiment  old" in text
    assert ["fcos-seed2", "interrupted", "1/3"] in [line.split()[:3] for line in text.splitlines()]
    assert len(as_json(capsys, "show", "old")["runs"]) == 4


# --- trials ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def trials(output: Path) -> Path:
    """A search of three trials: one has finished, one failed, one was pruned."""
    record = write_experiment(output / "search", [("fcos", 1), ("fcos", 2), ("fcos", 3)])
    rows = [
        {"run_id": f"fcos-trial00{number}-seed1", "model": "fcos", "seed": 1, "trial": number} for number in (1, 2, 3)
    ]
    write_json(record.files.experiment, {**read_json(record.files.experiment), "runs": rows})
    record = ExperimentRecord(output / "search")
    finish(train(begin(record.runs[0]), [0.1, 0.3, 0.2]), 0.3)
    fail(begin(record.runs[1]), "no room")
    write_json(train(begin(record.runs[2]), [0.1]).files.pruned, {"epoch": 1, "reason": "pruned after epoch 1"})
    states = [("finished", [0.3], ""), ("failed", None, "no room"), ("pruned", [0.1], "pruned after epoch 1")]
    found = [
        {
            "number": number,
            "values": {"train.lr": 0.1 * number},
            "about": {},
            "state": state,
            "objectives": objectives,
            "runs": [f"fcos-trial00{number}-seed1"],
            "reason": reason,
        }
        for number, (state, objectives, reason) in enumerate(states, 1)
    ]
    model = {"space": {"train.lr": [0.1, 0.2, 0.3]}, "wanted": 3, "trials": found, "state": None, "exhausted": False}
    objectives = [{"metric": "coco/ap", "direction": "maximize"}]
    write_json(record.files.search, {"use": "grid", "options": {}, "objectives": objectives, "models": {"fcos": model}})
    return output / "search"


def test_show_of_a_trial_says_what_can_be_done(trials: Path, capsys: Capture) -> None:
    failed, pruned = printed(capsys, "show", "fcos-trial002"), printed(capsys, "show", "fcos-trial003")
    assert "--resume" in failed
    assert "trial    2" in failed
    assert [run["trial"] for run in as_json(capsys, "list", trials)["runs"]] == [3, 2, 1]
    assert (
        "try again  detkit runs rm runs/search/fcos-trial002-seed1 --yes && detkit run runs/search/spec.toml --resume"
    ) in failed
    assert "--resume" not in pruned
    assert "table   detkit show runs/search" in pruned


def test_rm_of_trials_says_what_becomes_of_them(trials: Path, capsys: Capture) -> None:
    text = printed(capsys, "rm", "fcos-trial001", "fcos-trial002", "--yes")
    assert "trial 1 of fcos stays in the table of the search as removed, and no other takes its place" in text
    assert "trial 2 of fcos had not finished: the next detkit run tries its values again" in text
    assert "trial 3" not in text
    assert command_line(["show", str(trials)]) == 0
    assert "3 of 3 trials: 1 pruned, 1 failed, 1 removed" in capsys.readouterr().out


@pytest.mark.parametrize(
    "content", ['{"format_version": 1}', '{"format_version": 1, "objectives": [3], "models": {}}', "[]", "{"]
)
def test_a_damaged_search_is_said(trials: Path, capsys: Capture, content: str) -> None:
    (trials / "search.json").write_text(content)
    assert "fcos-trial001-seed1" in printed(capsys, "list")
    assert command_line(["show", str(trials)]) != 0
    assert "search.json is damaged" in capsys.readouterr().err
    assert "search.json is damaged" in printed(capsys, "rm", "fcos-trial001", "--yes")


def test_what_is_linked_beside_itself_is_listed_once(output: Path, capsys: Capture) -> None:
    before = as_json(capsys, "list")
    (output / "again").symlink_to(output / "old")
    after = as_json(capsys, "list")
    assert after["runs"] == before["runs"]
    assert after["others"] == {"again": "a link to old, which is listed itself"}
    # On another disk it lies nowhere else.
    shutil.move(output / "old", output.parent / "disk")
    (output / "again").unlink()
    (output / "old").symlink_to(output.parent / "disk")
    assert [run["run_id"] for run in as_json(capsys, "list")["runs"]] == [run["run_id"] for run in before["runs"]]


# --- rm --------------------------------------------------------------------------------------------------------------


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_rm_removes_a_run_and_keeps_the_record_whole(output: Path, capsys: Capture) -> None:
    old = ExperimentRecord(output / "old")
    write_json(old.files.leaderboard, {"rows": []})
    text = printed(capsys, "rm", "old/retina", "old/fcos-seed2", "--yes")
    assert "removed 2 runs, " in text
    assert [row["run_id"] for row in read_json(old.files.experiment)["runs"]] == ["fcos-seed1", "mask_rcnn-seed1"]
    assert read_json(old.files.experiment)["name"] == "old"
    assert not (output / "old/retinanet-seed1").exists()
    assert not (output / "old/fcos-seed2").exists()
    board = read_json(old.files.leaderboard)
    assert [row["model"] for row in board["rows"]] == ["fcos", "mask_rcnn"]
    assert command_line(["show", str(output / "old")]) == 0
    assert (output / "new/fcos-seed1/run.json").exists()


def test_rm_removes_a_whole_experiment_and_nothing_beside_it(output: Path, capsys: Capture) -> None:
    before = tree(output / "new")
    assert "removed 1 experiment, 3 runs, " in printed(capsys, "rm", "old", "old/fcos-seed1", "--yes")
    assert not (output / "old").exists()
    assert tree(output / "new") == before


def test_rm_of_a_dry_run_only_says_what_it_would_do(output: Path, capsys: Capture) -> None:
    before = tree(output)
    text = printed(capsys, "rm", "old", "--dry-run")
    assert "old: what its runs share" in text
    assert "in all: 1 experiment, 3 runs, " in text
    report = as_json(capsys, "rm", "old/fcos-seed1", "--dry-run")
    assert report["removed"] is False
    assert report["bytes"] == sum(f.stat().st_size for f in (output / "old/fcos-seed1").rglob("*") if f.is_file())
    assert tree(output) == before


def test_rm_asks_nobody_in_a_pipe(output: Path, capsys: Capture) -> None:
    before = tree(output)
    assert "add --yes to remove, or --dry-run" in printed(capsys, "rm", "old", code=2)
    assert tree(output) == before


@pytest.mark.parametrize(("answer", "gone"), [("y", True), ("n", False), ("", False)])
def test_rm_asks_on_a_terminal(
    output: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture, answer: str, gone: bool
) -> None:
    for stream in ("stdin", "stderr"):
        monkeypatch.setattr(f"sys.{stream}.isatty", lambda: True, raising=False)
    asked: list[str] = []

    def ask(text: str) -> str:
        asked.append(text)
        return answer

    monkeypatch.setattr("click.termui.visible_prompt_func", ask)
    assert runs("rm", "old/fcos-seed1") == (0 if gone else 1)
    assert len(asked) == 1
    assert (output / "old/fcos-seed1").exists() != gone


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder with files like a record's, which must be as it was at the end."""
    folder = tmp_path / "elsewhere"
    (folder / "checkpoints").mkdir(parents=True)
    for name in ("checkpoints/last.pt", "run.json", "metrics.jsonl"):
        (folder / name).write_text("mine")
    before = tree(folder)
    yield folder
    assert tree(folder) == before


def test_rm_does_not_follow_links(output: Path, capsys: Capture, elsewhere: Path) -> None:
    run = output / "old/fcos-seed1"
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").symlink_to(elsewhere / "checkpoints")
    (run / "tables").mkdir()
    (run / "tables/link").symlink_to(elsewhere)
    text = printed(capsys, "rm", "old/fcos-seed1", "--yes")
    assert "checkpoints is a link: it goes, what it leads to stays" in text
    assert not run.exists()


def test_rm_refuses_a_run_or_an_experiment_that_is_a_link(output: Path, capsys: Capture, elsewhere: Path) -> None:
    shutil.rmtree(output / "old/retinanet-seed1")
    (output / "old/retinanet-seed1").symlink_to(elsewhere)
    assert "is a link to" in printed(capsys, "rm", "old/retinanet-seed1", "--yes", code=2)
    (output / "linked").symlink_to(output / "old")
    assert "is a link to" in printed(capsys, "rm", "linked", "--yes", code=2)
    printed(capsys, "rm", "old", "--yes")  # the experiment: of a run that is a link the link goes
    assert not (output / "old").exists()


@pytest.mark.parametrize("hostile", ["../../elsewhere", "..", "", "/", "a/b"])
def test_rm_does_not_leave_the_experiment(output: Path, capsys: Capture, elsewhere: Path, hostile: str) -> None:
    """A record that somebody else wrote may name any folder as its run."""
    content = read_json(output / "old/experiment.json")
    write_json(
        output / "old/experiment.json",
        {**content, "runs": [*content["runs"], {"run_id": hostile, "model": "fcos", "seed": 1}]},
    )
    before = tree(output)
    assert "no name of a folder in it; nothing is removed" in printed(capsys, "rm", "old", "--yes", code=2)
    assert tree(output) == before


def test_rm_keeps_what_is_not_detkits_and_names_it(output: Path, capsys: Capture) -> None:
    (output / "old/fcos-seed1/notes.txt").write_text("mine")
    for folder in ("csv", "journal", "mine"):  # of its loggers
        (output / "old/fcos-seed1" / folder).mkdir()
    (output / "old/thesis.pdf").write_text("mine")
    text = printed(capsys, "rm", "old", "--yes")
    assert f"{output / 'old/fcos-seed1/notes.txt'} stays: detkit has not written it" in text
    assert tree(output / "old") == {"fcos-seed1", "fcos-seed1/notes.txt", "thesis.pdf"}


def test_rm_refuses_what_is_running(output: Path, capsys: Capture) -> None:
    before = tree(output)
    with exclusive(output / "old/fcos-seed2/lock", "it"):
        assert "old/fcos-seed2 is running; stop it first" in printed(capsys, "rm", "fcos-seed2", "--yes", code=2)
        assert "is running" in printed(capsys, "rm", "old", "--yes", code=2)
    with exclusive(output / "old/lock", "it"):
        assert "a detkit process works in" in printed(capsys, "rm", "old/fcos-seed1", "--yes", code=2)
        assert "a detkit process works in" in printed(capsys, "rm", "old", "--yes", code=2)
    assert tree(output) - {"old/lock", "old/fcos-seed2/lock"} == before


def test_rm_of_one_wrong_name_removes_nothing(output: Path, capsys: Capture) -> None:
    before = tree(output)
    assert "did you mean" in printed(capsys, "rm", "old/fcos-seed1", "old/fcoz-seed2", "--yes", code=2)
    assert tree(output) == before


def test_rm_of_what_is_no_record(output: Path, capsys: Capture) -> None:
    (output / "photos").mkdir()
    assert "no record of detkit" in printed(capsys, "rm", "runs/photos", "--yes", code=2)
    assert (output / "photos").exists()


def test_rm_of_a_broken_experiment_removes_all_of_it(output: Path, capsys: Capture) -> None:
    (output / "old/experiment.json").write_text("{")
    assert "is damaged" in printed(capsys, "rm", "runs/old/fcos-seed1", "--yes", code=2)
    printed(capsys, "rm", "old", "--yes")
    assert not (output / "old").exists()


def test_rm_of_a_run_that_was_put_aside(output: Path, capsys: Capture) -> None:
    (output / "old/retinanet-seed1").rename(output / "old/retinanet-seed1.failed-1")
    printed(capsys, "rm", "old/retinanet-seed1.failed-1", "--yes")
    assert not (output / "old/retinanet-seed1.failed-1").exists()
    assert len(read_json(output / "old/experiment.json")["runs"]) == 4


def test_rm_of_checkpoints_keeps_the_best(output: Path, capsys: Capture) -> None:
    folder = output / "old/fcos-seed1/checkpoints"
    (folder / "previous.pt").write_bytes(b"x" * 500)
    os.link(folder / "best.pt", folder / "best-002.pt")
    report = as_json(capsys, "rm", "old", "--checkpoints", "--dry-run")
    assert report["bytes"] == 8000 + 500  # the second name of the best frees nothing
    assert [reason.split(":")[0] for reason in report["left_out"]] == [
        "old/fcos-seed2 is interrupted",
        "old/retinanet-seed1 is failed",
        "old/mask_rcnn-seed1 is pending",
    ]
    text = printed(capsys, "rm", "old", "--checkpoints", "--yes")
    assert "removed 3 checkpoints, 9 kB" in text
    assert "cannot be given more epochs (--extend)" in text
    assert [file.name for file in folder.iterdir()] == ["best.pt"]
    assert (output / "old/fcos-seed2/checkpoints/last.pt").exists()
    assert "only a finished run" in printed(capsys, "rm", "fcos-seed2", "--checkpoints", "--yes", code=2)
    printed(capsys, "list")


def test_rm_keeps_others_out_while_it_works(output: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """A `detkit run` that begins in the middle is refused: the experiment is held."""
    from detkit.record.lock import is_held

    held: list[bool] = []
    original = shutil.rmtree

    def look(path: Path) -> None:
        looker = threading.Thread(target=lambda: held.append(is_held(output / "old/lock")))
        looker.start()
        looker.join()
        original(path)

    monkeypatch.setattr("detkit.record.removal.shutil.rmtree", look)
    printed(capsys, "rm", "old/fcos-seed1", "--yes")
    assert held
    assert all(held)


def test_an_older_record_is_read_too(output: Path, capsys: Capture) -> None:
    """Without quantities.json: the primary figure of a finished run is in its summary; of others it is the first."""
    for name in ("fcos-seed1", "fcos-seed2"):
        (output / "old" / name / "quantities.json").unlink()
    text = printed(capsys, "list")
    assert "coco/ap 0.300 at 2" in text
    assert "coco/ap 0.150 at 1" in text


def test_lower_may_be_better(output: Path, capsys: Capture) -> None:
    run = ExperimentRecord(output / "old").run("mask_rcnn")
    begin(run)
    write_json(run.files.quantities, {"primary": "validation/loss", "higher_is_better": {"validation/loss": False}})
    for epoch, loss in enumerate((3.0, 1.0, 2.0), 1):
        measured = {"train_s": 1.0, "evaluation_s": 1.0}
        append(
            run.files.metrics, {"epoch": epoch, "step": 1, "values": {"validation/loss": loss}, "measured": measured}
        )
    assert "validation/loss 1.000 at 2" in printed(capsys, "list")
