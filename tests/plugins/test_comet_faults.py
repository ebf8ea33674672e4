"""Comet is away: training neither stops nor slows, one warning says so, and nothing is lost.

Real experiments through the command line, with the real client and a server that misbehaves. `pytest -rP` shows how
long each took, with the logger and without.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from detkit import RunRecord, open_run
from integration.experiments import squares_spec, write_spec
from plugins.comet_received import Received, Request
from plugins.comet_stub import Fault, Stub
from plugins.test_comet import KEY, environment, needs_client, online

pytestmark = needs_client

TIMEOUT_S = 2
CLOSE_TIMEOUT_S = 8.0
RUN = "centre_point-seed1"
#: Two tries to connect, or one request and its retry, with pauses; and the client's import.
HANDSHAKE_S = 2 * TIMEOUT_S + 6.0


@dataclass(frozen=True)
class Ran:
    """A command that has ended."""

    folder: Path
    stdout: str
    stderr: str
    code: int
    seconds: float

    @property
    def run(self) -> Path:
        return self.folder / "runs" / "small" / RUN

    @property
    def warnings(self) -> list[str]:
        """About Comet."""
        lines = [line for line in self.stderr.splitlines() if line.strip().startswith("warning:")]
        return [line for line in lines if "comet" in line.lower()]


def detkit(folder: Path, *arguments: str, env: dict[str, str] | None = None) -> Ran:
    folder.mkdir(exist_ok=True)
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "detkit", *arguments],
        cwd=folder,
        env=environment(folder, **(env or {})),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert KEY not in done.stdout + done.stderr, "the key was shown"
    return Ran(folder, done.stdout, done.stderr, done.returncode, time.monotonic() - began)


def train(folder: Path, env: dict[str, str] | None = None, **options: Any) -> Ran:
    """The experiment, with the logger where there are options for it."""
    spec = squares_spec(Path("runs"), metrics={"coco": {}})
    if options:
        quick = {"timeout_s": TIMEOUT_S, "close_timeout_s": CLOSE_TIMEOUT_S, "system_metrics": False}
        spec["loggers"] = {"comet": quick | options}
    write_spec(folder / "spec.toml", spec)
    return detkit(folder, "run", "spec.toml", env=env)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """The same experiment without the logger."""
    ran = train(tmp_path_factory.mktemp("plain"))
    assert ran.code == 0, ran.stderr
    return ran


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub() as stub:
        yield stub


def bits(ran: Ran) -> dict[str, Any]:
    """What must not depend on loggers: the weights, and the streams without what was measured."""
    import torch

    def rows(name: str) -> list[dict[str, Any]]:
        lines = (ran.run / name).read_text().splitlines()
        return [{key: value for key, value in json.loads(line).items() if key != "measured"} for line in lines]

    checkpoint = torch.load(ran.run / "checkpoints" / "last.pt", weights_only=True)
    weights = {name: value.numpy().tobytes() for name, value in checkpoint["model"].items()}
    return {"weights": weights, "steps": rows("steps.jsonl"), "metrics": rows("metrics.jsonl")}


def assert_unharmed(ran: Ran, plain: Ran) -> None:
    """It finished, with the same bits, in bounded time, with one warning that says how to send the rest."""
    print(f"{ran.seconds:.1f} s with the logger, {plain.seconds:.1f} s without")
    assert ran.code == 0, ran.stderr
    assert bits(ran) == bits(plain)
    assert len(ran.warnings) == 1, ran.stderr
    assert f"detkit comet upload {shlex.quote(str(ran.run))}" in ran.warnings[0]
    assert ran.seconds - plain.seconds <= HANDSHAKE_S + CLOSE_TIMEOUT_S


def assert_complete(got: Received, run: Path) -> None:
    """The experiment holds all of the record."""
    steps = [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]
    assert got.metric("loss", "train") == {row["step"]: row["loss"] for row in steps}
    epochs = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for name in epochs[0]["values"]:
        prefix, _, bare = name.partition("/")
        context = "train" if prefix == "train" else "validate"
        there = {row["step"]: row["values"][name] for row in epochs if row["values"][name] is not None}
        assert got.metric(bare if prefix in ("train", "validation") else name, context) == there
    assert got.parameters["model.use"] == "centre_point"
    assert got.models == {"centre_point": {"best.pt": (run / "checkpoints" / "best.pt").read_bytes()}}
    assert {"spec.toml", "summary.json"} <= set(got.files)
    # Four images are evaluated; each is there with every epoch, with its objects and its pixels.
    assert list(got.image_steps.values()) == [[row["step"] for row in epochs]] * 4
    assert all(image.layers and image.content.startswith((b"\xff\xd8", b"\x89PNG")) for image in got.images)
    record = open_run(run)
    curves = {(name, row["step"]) for row in epochs for name in record.curves(row["epoch"])}
    assert curves
    assert {(asset.name, asset.step) for asset in got.curves} == curves
    assert set(got.matrices) == names_of(record, epochs, "matrices", "json")
    tables = names_of(record, epochs, "tables", "csv")
    assert tables <= set(got.files)
    assert "coco/per_image.csv" in got.files
    for name in tables:
        assert len(got.files[name].rows) > 1
    assert got.others["outcome"] == "finished"
    assert got.ended


def names_of(record: RunRecord, epochs: list[dict[str, Any]], kind: Any, ending: str) -> set[str]:
    """Of the assets that the record's tables or matrices become."""
    names = set()
    for row in epochs:
        for file in record.files.figures(kind, row["epoch"]):
            figure = json.loads(file.read_text())
            if kind == "matrices" or figure["rows"]:
                names.add(f"{figure['metric']}/{figure['name']}-step-{row['step']:06d}.{ending}")
    assert names
    return names


def ledger(ran: Ran) -> dict[str, Any]:
    return dict(json.loads((ran.run / "comet" / "ledger.json").read_text()))


def upload(ran: Ran, stub: Stub, *options: str) -> Ran:
    return detkit(ran.folder, "comet", "upload", str(ran.run), *options, env=online(stub))


def faulty(faults: dict[str, Fault]) -> Stub:
    """The run begins well; from its parameters on, the server fails."""
    stub = Stub()

    def begin(request: Request) -> None:
        if "/experiment/parameter" in request.path:
            stub.faults = faults

    stub.extra.append(begin)
    return stub


#: What is left unsaid by 413 and 429 is how long the client tries again: longer than `CLOSE_TIMEOUT_S`.
FAULTS: dict[str, dict[str, Fault]] = {
    "killed": {"": Fault(kill=True)},
    "hanging": {"": Fault(hang=True)},
    "401": {"": Fault(status=401)},
    "413 on uploads": {"/upload": Fault(status=413)},
    "429": {"": Fault(status=429)},
    "500 on metrics": {"/experiment/metric": Fault(status=500)},
    "500 on uploads": {"/upload": Fault(status=500)},
}
QUICK = ("500 on metrics",)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in FAULTS]
)
def test_a_server_that_fails_while_the_run_goes_on(name: str, tmp_path: Path, plain: Ran) -> None:
    with faulty(FAULTS[name]) as stub:
        ran = train(tmp_path, env=online(stub), mode="online")

    assert_unharmed(ran, plain)
    (old,) = stub.known
    (session,) = ledger(ran)["sessions"]
    assert (session["key"], session["state"]) == (old, "lost")
    with Stub(known={old}) as healthy:
        sent = upload(ran, healthy)
        assert sent.code == 0, sent.stderr
        assert "what arrived is unknown; it is sent as a new experiment" in sent.stderr
        (new,) = healthy.known - {old}
        assert_complete(healthy.received(new), ran.run)
        assert (healthy.received(old).metrics, healthy.received(old).images) == ([], [])
        again = upload(ran, healthy)
    assert f"{RUN}: nothing to send: it was uploaded completely" in again.stdout
    assert healthy.known == {old, new}


@pytest.mark.slow
@pytest.mark.parametrize(("part", "warnings"), [("/add/run", 1), ("/3d-limits", 0), ("/status-report", 2)])
def test_a_handshake_that_hangs_delays_the_run_and_does_not_stop_it(
    part: str, warnings: int, tmp_path: Path, plain: Ran
) -> None:
    """The status of an experiment is not its content: that it was not told is said, of the leaderboard's too."""
    with Stub(faults={part: Fault(hang=True)}) as stub:
        ran = train(tmp_path, env=online(stub), mode="online")
        print(f"{part}: {ran.seconds:.1f} s with the logger, {plain.seconds:.1f} s without")
    assert ran.code == 0, ran.stderr
    assert bits(ran) == bits(plain)
    assert len(ran.warnings) == warnings, ran.stderr
    # Twice, for the run and for the leaderboard; and something for a machine that others use, too.
    assert ran.seconds - plain.seconds <= 2 * (HANDSHAKE_S + CLOSE_TIMEOUT_S) + 10


@pytest.mark.slow
def test_a_server_that_is_down_at_the_start(tmp_path: Path, plain: Ran) -> None:
    away = {"COMET_API_KEY": KEY, "COMET_URL_OVERRIDE": "http://127.0.0.1:9/clientlib/"}
    ran = train(tmp_path, env=away, mode="online")

    assert_unharmed(ran, plain)
    (session,) = ledger(ran)["sessions"]
    assert (session["state"], session["instead"], session["unanswered"]) == ("archived", True, False)
    failed = detkit(ran.folder, "comet", "upload", str(ran.run), env=away)
    assert failed.code == 1
    assert "http://127.0.0.1:9" in failed.stdout
    with Stub() as healthy:
        sent = upload(ran, healthy)
        assert sent.code == 0, sent.stderr
        assert healthy.known == {session["key"]}, "the archive's key was not kept"
        assert_complete(healthy.received(), ran.run)
        assert "nothing to send" in upload(ran, healthy).stdout


@pytest.mark.slow
def test_a_server_that_hangs_at_the_start(tmp_path: Path, plain: Ran) -> None:
    with Stub(faults={"": Fault(hang=True)}) as stub:
        ran = train(tmp_path, env=online(stub), mode="online")
    assert_unharmed(ran, plain)


@pytest.mark.slow
def test_a_slow_server_delays_the_end_of_the_run_and_nothing_else(tmp_path: Path, plain: Ran) -> None:
    with Stub(faults={"": Fault(delay_s=1.0)}) as stub:
        ran = train(tmp_path, env=online(stub), mode="online", close_timeout_s=30.0)
        print(f"{ran.seconds:.1f} s with the logger, {plain.seconds:.1f} s without")
        assert (ran.code, ran.warnings) == (0, []), ran.stderr
        assert bits(ran) == bits(plain)
        (session,) = ledger(ran)["sessions"]
        assert session["state"] == "delivered"
        assert_complete(stub.received(session["key"]), ran.run)
