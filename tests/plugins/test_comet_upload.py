"""`detkit comet upload`, `detkit upload` and `upload_at_end`, with the real client against a stub, from one record."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from integration.experiments import squares_spec, write_spec
from plugins.comet_received import read_archive
from plugins.comet_stub import Fault, Stub
from plugins.test_comet import KEY, environment, needs_client, online
from plugins.test_comet_faults import RUN, Ran, assert_complete, detkit, ledger, upload

pytestmark = needs_client

QUICK = {"timeout_s": 2, "close_timeout_s": 8.0, "system_metrics": False}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """An experiment of one run, with the logger in its spec, but off."""
    folder = tmp_path_factory.mktemp("recorded")
    write_spec(
        folder / "spec.toml",
        squares_spec(Path("runs"), metrics={"coco": {}}, loggers={"comet": {"enabled": False, **QUICK}}),
    )
    ran = detkit(folder, "run", "spec.toml")
    assert ran.code == 0, ran.stderr
    return ran


@pytest.fixture
def ran(recorded: Ran, tmp_path: Path) -> Ran:
    """A copy of it."""
    shutil.copytree(recorded.folder, tmp_path / "copy")
    return Ran(tmp_path / "copy", "", "", 0, 0.0)


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub() as stub:
        yield stub


def write_ledger(ran: Ran, *sessions: dict[str, Any]) -> None:
    file = ran.run / "comet" / "ledger.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"format_version": 1, "sessions": sessions, "uploads": []}))


OLD = "a" * 32
ONLINE = {"key": OLD, "mode": "online", "state": "lost", "first_step": 0, "last_step": 12, "outcome": "finished"}
ARCHIVED = ONLINE | {"mode": "offline", "state": "archived", "archives": ["x.zip"]}


def test_a_run_that_was_never_logged_is_sent_once(ran: Ran, stub: Stub) -> None:
    folder = ran.folder / "runs" / "small"
    would = detkit(ran.folder, "comet", "upload", str(folder), "--dry-run", "--json", env=online(stub))
    assert [row["action"] for row in json.loads(would.stdout)["runs"]] == ["would send"]
    assert stub.known == set()
    assert not (ran.run / "comet").exists()

    more = ("--project", "elsewhere", "--tag", "late", "--name", "{model} again", "--set", "checkpoints=[]", "--json")
    sent = detkit(ran.folder, "comet", "upload", str(folder), *more, env=online(stub))
    assert sent.code == 0, sent.stderr
    (row,) = json.loads(sent.stdout)["runs"]
    assert (row["action"], row["why"]) == ("sent", "was never logged to Comet")
    got = stub.received(row["key"])
    assert (got.project, got.tags, got.name, got.models) == ("elsewhere", ["late"], "centre_point again", {})
    (board,) = stub.known - {row["key"]}
    assert set(stub.received(board).files) == {"leaderboard.csv", "leaderboard.json", "spec.toml"}

    # Nor does the core's own command send it again, which does not know the ledger.
    for again in (
        detkit(ran.folder, "comet", "upload", str(ran.run), env=online(stub)),
        detkit(ran.folder, "upload", str(folder), "--logger", "comet", env=online(stub)),
    ):
        assert again.code == 0, again.stderr
        assert "was uploaded completely" in again.stdout + again.stderr
    assert len(stub.known) == 2


def test_an_archive_is_sent_under_its_key_unless_somebody_has_uploaded_it(ran: Ran, stub: Stub) -> None:
    write_ledger(ran, ARCHIVED)
    stub.known.add(OLD)
    by_hand = upload(ran, stub)
    assert (by_hand.code, f"{RUN}: nothing to send: it is in Comet already" in by_hand.stdout) == (0, True)
    assert ledger(ran)["sessions"][0]["state"] == "delivered"

    write_ledger(ran, ARCHIVED)
    stub.known.clear()
    assert upload(ran, stub).code == 0
    assert_complete(stub.received(OLD), ran.run)


def test_one_run_that_cannot_be_sent_does_not_keep_the_others_from_it(ran: Ran, stub: Stub) -> None:
    """One failed before its first step, one has a damaged ledger; the leaderboard goes with the last one."""
    folder = ran.folder / "runs" / "small"
    experiment = json.loads((folder / "experiment.json").read_text())
    for name in ("empty", "damaged"):
        shutil.copytree(ran.run, folder / f"{name}-seed1")
        experiment["runs"].insert(0, {"run_id": f"{name}-seed1", "model": name, "seed": 1})
    (folder / "experiment.json").write_text(json.dumps(experiment))
    (folder / "empty-seed1" / "summary.json").rename(folder / "empty-seed1" / "failure.json")
    (folder / "empty-seed1" / "steps.jsonl").write_text("")
    (folder / "damaged-seed1" / "comet").mkdir()
    (folder / "damaged-seed1" / "comet" / "ledger.json").write_text("{")

    first = detkit(ran.folder, "comet", "upload", str(folder), "--json", env=online(stub))
    assert first.code == 1
    actions = {Path(row["run"]).name: (row["action"], row["why"]) for row in json.loads(first.stdout)["runs"]}
    assert actions["empty-seed1"] == ("left out", "failed before its first step: it holds nothing")
    assert actions["damaged-seed1"][0] == "failed"
    assert "is damaged" in actions["damaged-seed1"][1]
    assert actions[RUN][0] == "sent"
    (folder / "damaged-seed1" / "comet" / "ledger.json").unlink()
    second = detkit(ran.folder, "comet", "upload", str(folder), env=online(stub))
    assert second.code == 0, second.stdout + second.stderr
    assert len(stub.known) == 3, "two runs and the leaderboard"


def test_what_was_archived_is_sent_with_its_leaderboard(tmp_path: Path, stub: Stub) -> None:
    options = {"mode": "offline", **QUICK}
    write_spec(tmp_path / "spec.toml", squares_spec(Path("runs"), metrics={"coco": {}}, loggers={"comet": options}))
    ran = detkit(tmp_path, "run", "spec.toml")
    assert ran.code == 0, ran.stderr
    folder = tmp_path / "runs" / "small"
    keys = {read_archive(file).key for file in folder.glob("**/comet/*.zip")}
    assert len(keys) == 2
    sent = detkit(tmp_path, "comet", "upload", str(folder), env=online(stub))
    assert sent.code == 0, sent.stderr
    assert stub.known == keys, "not under the archives' keys"
    boards = [got for got in map(stub.received, keys) if "leaderboard.csv" in got.files]
    assert [board.name for board in boards] == ["small leaderboard"]
    assert "nothing to send" in detkit(tmp_path, "comet", "upload", str(folder), env=online(stub)).stdout
    assert stub.known == keys


@pytest.mark.slow
def test_an_upload_sends_what_the_run_sent(tmp_path: Path, stub: Stub) -> None:
    write_spec(
        tmp_path / "spec.toml",
        squares_spec(Path("runs"), metrics={"coco": {}}, loggers={"comet": {"mode": "online", **QUICK}}),
    )
    ran = detkit(tmp_path, "run", "spec.toml", env=online(stub))
    assert (ran.code, ran.warnings) == (0, []), ran.stderr
    assert upload(ran, stub, "--new").code == 0
    live = stub.received(ledger(ran)["sessions"][0]["key"])
    later = stub.received(ledger(ran)["uploads"][0]["key"])
    assert Counter(live.metrics) == Counter(later.metrics)
    assert (live.parameters, live.others, live.models, live.graph) == (
        later.parameters,
        later.others,
        later.models,
        later.graph,
    )
    assert {(image.name, image.step, image.content) for image in live.images} == {
        (image.name, image.step, image.content) for image in later.images
    }
    assert {name: asset.content for name, asset in live.files.items()} == {
        name: asset.content for name, asset in later.files.items()
    }


@pytest.mark.slow
def test_again_sends_into_the_old_experiment_and_new_beside_it(ran: Ran, stub: Stub) -> None:
    write_ledger(ran, ONLINE)
    stub.known.add(OLD)
    again = upload(ran, stub, "--again")
    assert again.code == 0, again.stderr
    assert "it is sent again into" in again.stderr
    assert stub.known == {OLD}
    assert_complete(stub.received(), ran.run)
    new = upload(ran, stub, "--new")
    assert new.code == 0, new.stderr
    assert len(stub.known) == 2


@pytest.mark.slow
def test_an_upload_that_fails_says_so_and_can_be_repeated(ran: Ran, stub: Stub) -> None:
    stub.faults["/asset/upload"] = Fault(status=413)
    failed = upload(ran, stub)
    assert failed.code == 1
    assert f"{RUN}: failed: not everything reached" in failed.stdout
    assert [entry["state"] for entry in ledger(ran)["uploads"]] == ["lost"]
    stub.faults.clear()
    (old,) = stub.known
    repeated = upload(ran, stub, "--again")
    assert repeated.code == 0, repeated.stderr
    assert [entry["state"] for entry in ledger(ran)["uploads"]] == ["lost", "delivered"]
    assert stub.known == {old}


def test_a_refused_key_a_missing_one_and_wrong_options_are_errors(ran: Ran, stub: Stub) -> None:
    stub.refuse = (401, {})
    refused = upload(ran, stub)
    assert (refused.code, "the API key was refused" in refused.stdout) == (1, True)
    (unsent,) = ledger(ran)["uploads"]
    assert (unsent["state"], "the API key was refused" in unsent["errors"][0]) == ("unsent", True)
    missing = detkit(ran.folder, "comet", "upload", str(ran.run))
    assert missing.code == 2
    assert "set the environment variable COMET_API_KEY" in missing.stderr
    for arguments, text in {
        ("--set", "imagse=true"): "imagse: Extra inputs are not permitted",
        ("--logger", "comat"): "has no Comet logger 'comat'; there are: comet",
        ("--new", "--again"): "--new and --again exclude each other",
    }.items():
        wrong = upload(ran, stub, *arguments)
        assert (wrong.code, text in wrong.stderr) == (2, True), wrong.stderr


def test_ctrl_c_ends_at_once_and_leaves_a_ledger(ran: Ran, stub: Stub) -> None:
    stub.faults["/asset/upload"] = Fault(hang=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "detkit", "comet", "upload", str(ran.run)],
        cwd=ran.folder,
        env=environment(ran.folder, **online(stub)),
        stderr=subprocess.PIPE,
        text=True,
        # A suite that a shell runs in the background ignores it, and its processes inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while process.poll() is None and not stub.bodies("/asset/upload"):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    _, printed = process.communicate(timeout=30)
    took = time.monotonic() - began
    print(f"ended {took:.1f} s after Ctrl-C, with uploads that hang")
    assert (process.returncode, took < 3) == (130, True), printed
    assert [entry["state"] for entry in ledger(ran)["uploads"]] == ["open"]


@pytest.mark.slow
def test_upload_at_end_sends_what_was_archived(tmp_path: Path, stub: Stub) -> None:
    options = {"mode": "offline", "upload_at_end": True, **QUICK}
    write_spec(tmp_path / "spec.toml", squares_spec(Path("runs"), metrics={"coco": {}}, loggers={"comet": options}))
    ran = detkit(tmp_path, "run", "spec.toml", env=online(stub))
    assert (ran.code, ran.warnings) == (0, []), ran.stderr
    (session,) = ledger(ran)["sessions"]
    assert session["state"] == "archived"
    got = stub.received(session["key"])
    assert_complete(got, ran.run)
    # The archive holds the same.
    there = read_archive(Path(session["archives"][0]))
    assert (there.metrics, there.parameters, there.models) == (got.metrics, got.parameters, got.models)
    assert there.image_steps == got.image_steps


@pytest.mark.slow
def test_upload_at_end_that_fails_is_one_warning(tmp_path: Path) -> None:
    options = {"mode": "offline", "upload_at_end": True, **QUICK}
    write_spec(tmp_path / "spec.toml", squares_spec(Path("runs"), metrics={"coco": {}}, loggers={"comet": options}))
    away = {"COMET_API_KEY": KEY, "COMET_URL_OVERRIDE": "http://127.0.0.1:9/clientlib/"}
    ran = detkit(tmp_path, "run", "spec.toml", env=away)
    assert ran.code == 0, ran.stderr
    assert len(ran.warnings) == 1, ran.stderr
    assert f"detkit comet upload {ran.run.parent}" in ran.warnings[0]
