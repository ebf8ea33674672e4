"""The Comet logger with the real client: archives and requests are decoded and compared with what was logged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from detkit_comet import COMET, CometOptions
from plugins.comet_stub import Stub

KEY = "K3yK3yK3yK3yK3yK3yK3yK3yK"
HERE = Path(__file__).parent
#: Quick to end, without a sample of the machine that the tests run on, and without what needs an experiment's record.
QUICK = {"system_metrics": False, "images": False, "dataset": "none", "close_timeout_s": 8.0}

needs_client = pytest.mark.skipif(
    not __import__("importlib.util").util.find_spec("comet_ml"), reason="comet_ml is not installed"
)


@dataclass(frozen=True)
class Done:
    """What a driven run left: result.json and what was printed."""

    result: dict[str, Any]
    printed: str
    folder: Path
    seconds: float

    def messages(self, level: str) -> list[str]:
        return [text for kind, text in self.result["messages"] if kind == level]

    @property
    def archives(self) -> list[Path]:
        return sorted((self.folder / "run" / "comet").glob("*.zip"), key=lambda path: path.stat().st_mtime)

    @property
    def key(self) -> str:
        return str(self.sessions[-1]["key"])

    @property
    def sessions(self) -> list[dict[str, Any]]:
        """Of the ledger."""
        ledger = json.loads((self.folder / "run" / "comet" / "ledger.json").read_text())
        sessions: list[dict[str, Any]] = ledger["sessions"]
        return sessions


Drive = Callable[..., Done]


def environment(folder: Path, **variables: str) -> dict[str, str]:
    """The tests' own, without any configuration of Comet's: neither variables nor files in the home folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COMET_")}
    return kept | {"HOME": str(folder), "OMP_NUM_THREADS": "1"} | variables


@pytest.fixture
def drive(tmp_path: Path) -> Drive:
    def run(
        options: dict[str, Any],
        *,
        env: dict[str, str] | None = None,
        during: Callable[[], None] | None = None,
        **more: Any,
    ) -> Done:
        wanted = {"options": QUICK | options, "wait": during is not None, **more}
        began = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, str(HERE / "comet_driver.py"), json.dumps(wanted)],
            cwd=tmp_path,
            env=environment(tmp_path, **(env or {})),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if during is not None:
            while process.poll() is None and not (tmp_path / "started").exists():
                time.sleep(0.05)
            during()
        printed, _ = process.communicate("\n", timeout=50)
        assert process.returncode == 0, printed
        result = json.loads((tmp_path / "result.json").read_text())
        assert KEY not in printed + json.dumps(result), "the key was shown"
        return Done(result, printed, tmp_path, time.monotonic() - began)

    return run


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub() as stub:
        yield stub


def online(stub: Stub) -> dict[str, str]:
    return {"COMET_API_KEY": KEY, "COMET_URL_OVERRIDE": stub.url}


# --- what the two ways must both hold --------------------------------------------------------------------------------

LOGGED_PARAMETERS = {
    "train.lr": 0.005,
    "train.schedule": "cosine",
    "train.clip_norm": "null",
    "train.milestones": "[0.7, 0.9]",
    "models.fcos.backbone": "resnet50_fpn",
    "models.fcos.pretrained": True,
}
LOGGED_METRICS = {("loss", 1.5, 3, 1), ("loss_box", 0.25, 3, 1), ("coco/ap50", 0.75, 6, 2)}
LOGGED_OTHERS = {
    "Name": "fcos-seed7",
    "experiment": "penn-fudan",
    "run": "fcos-seed7",
    "model": "fcos",
    "seed": 7,
    "device": "cpu",
    "precision": "fp32",
    "outcome": "finished",
}
LOGGED_TABLE = b'class,ap\na,0.5\n"b, c",\n'
LOGGED_CURVE = {"name": "coco/pr", "x": [0.0, 1.0], "y": [1.0, 0.5]}


def assert_files(files: dict[str, tuple[dict[str, Any], bytes]]) -> None:
    """Uploads or members of an archive: name to the properties (step, epoch, type) and the content."""
    assert set(files) == {
        "coco/per_class-step-000006.csv",
        "coco/pr",
        "coco/confusion-step-000006.json",
        "best.pt",
        "run.json",
        "spec.toml",
    }
    properties, content = files["coco/per_class-step-000006.csv"]
    assert content == LOGGED_TABLE
    assert (int(properties["step"]), int(properties["epoch"])) == (6, 2)
    properties, content = files["coco/pr"]
    assert json.loads(content) == LOGGED_CURVE
    assert (properties["type"], int(properties["step"])) == ("curve", 6)
    properties, content = files["coco/confusion-step-000006.json"]
    matrix = json.loads(content)
    assert (matrix["labels"], matrix["matrix"]) == (["a", "b"], [[1, 2], [3, 4]])
    assert (matrix["rowLabel"], matrix["columnLabel"]) == ("true class", "predicted class")
    assert (properties["type"], int(properties["step"]), int(properties["epoch"])) == ("confusion-matrix", 6, 2)
    properties, content = files["best.pt"]
    assert content == b"weights"
    assert (properties["type"], properties["groupingName"]) == ("model-element", "fcos")
    assert files["spec.toml"][1] == b"[experiment]\n"


def ours(names: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in names.items() if name in expected}


# --- offline ---------------------------------------------------------------------------------------------------------


def read_archive(file: Path) -> tuple[dict[str, Any], list[tuple[str, dict[str, Any]]], dict[str, bytes]]:
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    lines = [json.loads(line) for line in members["messages.json"].splitlines()]
    return json.loads(members["experiment.json"]), [(line["type"], line["payload"]) for line in lines], members


@needs_client
def test_an_archive_holds_everything(drive: Drive) -> None:
    done = drive({"mode": "offline", "tags": ["night", "cpu"], "project": "detectors", "workspace": "lab"})

    assert done.printed == ""
    assert done.result["patches"] is False
    (file,) = done.archives
    assert done.messages("info") == [
        f"comet: the run is archived in {file}; `detkit comet upload {done.folder / 'run'}` sends it, or Comet's own"
        " `comet upload`"
    ]
    assert done.messages("warning") == []
    about, messages, members = read_archive(file)
    assert about["offline_id"] == done.key
    assert (about["project_name"], about["workspace"], sorted(about["tags"])) == ("detectors", "lab", ["cpu", "night"])
    parameters = {m["param"]["paramName"]: m["param"]["paramValue"] for kind, m in messages if kind == "parameter_msg"}
    assert set(parameters) - {"curr_step", "curr_epoch"} == set(LOGGED_PARAMETERS)
    assert ours(parameters, LOGGED_PARAMETERS) == LOGGED_PARAMETERS
    metrics = {
        (m["metric"]["metricName"], m["metric"]["metricValue"], m["metric"]["step"], m["metric"]["epoch"])
        for kind, m in messages
        if kind == "metric_msg" and m["metric"]["metricName"] != "process duration"
    }
    assert metrics == LOGGED_METRICS
    others = {m["key"]: m["value"] for kind, m in messages if kind == "log_other"}
    assert ours(others, LOGGED_OTHERS) == LOGGED_OTHERS
    assert_files(
        {
            m["additional_params"]["fileName"]: (m["additional_params"], members[m["file_path"]])
            for kind, m in messages
            if kind == "file_upload"
        }
    )


@needs_client
def test_archives_of_a_resumed_run_are_uploaded_into_one_experiment(drive: Drive, stub: Stub) -> None:
    options = {"mode": "offline", "checkpoints": [], "name": "{experiment}/{model} {seed}"}
    first = drive(options)
    second = drive(options, start_step=3, fails=True)

    assert first.key == second.key
    assert len(second.archives) == 2
    _, messages, _ = read_archive(second.archives[1])
    others = {m["key"]: m["value"] for kind, m in messages if kind == "log_other"}
    assert others["Name"] == "penn-fudan/fcos 7"
    assert (others["resumed_at_step"], others["outcome"], others["outcome_reason"]) == (3, "failed", "out of memory")
    assert "best.pt" not in {m["additional_params"]["fileName"] for kind, m in messages if kind == "file_upload"}

    upload = [sys.executable, "-m", "comet_ml.scripts.comet_upload", *map(str, second.archives)]
    subprocess.run(
        upload, env=environment(second.folder, **online(stub)), cwd=second.folder, check=True, capture_output=True
    )
    assert stub.known == {first.key}
    assert len(stub.bodies("/logger/get/run")) == 1, "the second archive was not added to the first's experiment"


# --- online ----------------------------------------------------------------------------------------------------------


@needs_client
def test_the_server_gets_everything(drive: Drive, stub: Stub) -> None:
    done = drive({"mode": "online", "workspace": "lab", "tags": ["night"]}, env=online(stub))

    assert done.printed == ""
    assert done.archives == []
    assert done.messages("warning") == []
    assert [text.split("http")[0] for text in done.messages("info")] == ["comet: logging to "]
    (handshake,) = stub.bodies("/logger/add/run")
    assert (handshake["experimentKey"], handshake["apiKey"]) == (done.key, KEY)
    assert (handshake["projectName"], handshake["teamName"]) == ("penn-fudan", "lab")
    parameters = {
        value["parameterName"]: value["parameterValue"]
        for body in stub.bodies("/parameter")
        for value in body["values"]
    }
    assert ours(parameters, LOGGED_PARAMETERS) == LOGGED_PARAMETERS
    metrics = {
        (value["metricName"], value["metricValue"], value["step"], value["epoch"])
        for body in stub.bodies("/experiment/metric")
        for value in body["values"]
        if value["metricName"] != "process duration"
    }
    assert metrics == LOGGED_METRICS
    others = {body["key"]: body["value"] for body in stub.bodies("/write/experiment/log-other")}
    assert ours(others, LOGGED_OTHERS) == LOGGED_OTHERS
    assert_files(stub.uploads())
    assert [body["is_alive"] for body in stub.bodies("/status-report/update")] == [True, False]


@needs_client
def test_a_resumed_run_goes_on_in_its_experiment(drive: Drive, stub: Stub) -> None:
    options = {"mode": "auto", "checkpoints": []}
    first = drive(options, env=online(stub))
    second = drive(options, env=online(stub), start_step=3)

    assert first.key == second.key
    assert stub.known == {first.key}
    assert {body["experimentKey"] for body in stub.bodies("/experiment/metric")} == {first.key}
    others = {body["key"]: body["value"] for body in stub.bodies("/write/experiment/log-other")}
    assert others["resumed_at_step"] == 3
    assert "best.pt" not in stub.uploads()


@needs_client
def test_a_run_resumed_without_a_key_file_says_that_it_begins_anew(drive: Drive, stub: Stub) -> None:
    done = drive({"mode": "online"}, env=online(stub), start_step=3)

    assert done.messages("info")[0] == (
        "comet: the run was not logged to Comet before it was resumed: a new experiment holds the rest"
    )
    assert stub.known == {done.key}


@needs_client
@pytest.mark.parametrize("mode", ["online", "offline"])
def test_nothing_of_a_rehearsal_is_sent(drive: Drive, stub: Stub, mode: str) -> None:
    done = drive({"mode": mode, "register_as": "prod"}, env=online(stub), rehearsal=True)

    assert done.result["messages"] == [["info", "comet: a rehearsal sends nothing"]]
    assert stub.requests == []
    assert done.archives == []


# --- refused before the run begins -----------------------------------------------------------------------------------


@needs_client
@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        (400, {"sdk_error_code": 90212}, "the API key was refused by http://127.0.0.1"),
        (401, {}, "the API key was refused by http://127.0.0.1"),
        (403, {"msg": f"{KEY} may not write here"}, "answered 403: *** may not write here"),
        (400, {"sdk_error_code": 90219}, "lab"),
    ],
)
def test_a_handshake_that_is_refused_stops_the_run(
    drive: Drive, stub: Stub, status: int, body: dict[str, Any], text: str
) -> None:
    stub.refuse = (status, body)
    # The client unmasks a refused key in its log: shown here, if it can be.
    done = drive({"mode": "online", "workspace": "lab"}, env=online(stub) | {"COMET_LOGGING_CONSOLE": "INFO"})

    assert text in done.result["refused"]
    assert 'set `mode = "offline"`' in done.result["refused"]
    assert "`--disable-logger comet`" in done.result["refused"]
    assert done.archives == []
    assert done.seconds < 10


@needs_client
@pytest.mark.parametrize(
    ("env", "text"),
    [
        ({}, 'mode is "online", but there is no API key; set the environment variable COMET_API_KEY'),
        ({"COMET_API_KEY": f"{KEY}*no*key"}, "the configured API key is not one"),
        ({"COMET_API_KEY": f"{KEY}*?"}, "the configured API key is not one"),
    ],
)
def test_a_missing_or_cut_key_is_found_by_the_check(drive: Drive, env: dict[str, str], text: str) -> None:
    done = drive({"mode": "online"}, env=env, only_check=True)

    assert text in done.result["refused"]
    assert done.printed == ""


def test_a_missing_client_is_named_with_the_remedy(drive: Drive) -> None:
    done = drive({}, absent=True, only_check=True)

    assert 'install it with `pip install "detkit[comet]"`' in done.result["refused"]
    assert "`--disable-logger comet`" in done.result["refused"]


@needs_client
def test_a_folder_that_cannot_be_written_is_refused(drive: Drive, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = drive({"mode": "offline", "offline_directory": str(tmp_path / "file" / "archives")})

    assert f"cannot write an archive in {tmp_path / 'file' / 'archives'}" in done.result["refused"]


@needs_client
@pytest.mark.parametrize("mode", ["online", "offline"])
def test_a_client_that_is_switched_off_logs_nothing_and_says_so(drive: Drive, stub: Stub, mode: str) -> None:
    done = drive({"mode": mode}, env=online(stub) | {"COMET_AUTO_LOG_DISABLE": "1"})

    assert done.result["messages"] == [
        ["warning", "comet: the client is switched off by COMET_AUTO_LOG_DISABLE; nothing is logged"]
    ]
    assert {request.path for request in stub.requests} <= {"/clientlib/isAlive/ver"}
    assert done.archives == []


# --- archived instead ------------------------------------------------------------------------------------------------


def assert_archived(done: Done) -> None:
    (file,) = done.archives
    _, messages, _ = read_archive(file)
    assert {
        (m["metric"]["metricName"], m["metric"]["metricValue"], m["metric"]["step"], m["metric"]["epoch"])
        for kind, m in messages
        if kind == "metric_msg"
    } >= LOGGED_METRICS
    assert done.printed == ""


@needs_client
def test_auto_without_a_key_archives_and_says_so(drive: Drive) -> None:
    done = drive({})

    assert done.messages("info")[0] == (
        f"comet: no API key found, so the run is archived in {done.folder / 'run' / 'comet'};"
        " set COMET_API_KEY or run `comet login` to log online"
    )
    assert_archived(done)


@needs_client
def test_auto_in_an_offline_experiment_sends_nothing(drive: Drive, stub: Stub) -> None:
    done = drive({}, env=online(stub), offline=True)

    assert stub.requests == []
    assert "nothing may be sent in an offline experiment" in done.messages("info")[0]
    assert_archived(done)


@needs_client
def test_a_server_that_is_down_costs_seconds_and_one_warning(drive: Drive) -> None:
    env = {"COMET_API_KEY": KEY, "COMET_URL_OVERRIDE": "http://127.0.0.1:9/clientlib/"}
    done = drive({"mode": "online", "close_timeout_s": 60.0}, env=env)

    assert done.messages("warning") == [
        "comet: http://127.0.0.1:9 cannot be reached (ConnectionError); the run is archived in"
        f" {done.folder / 'run' / 'comet'} instead; once it has ended, send it with: detkit comet upload"
        f" {done.folder / 'run'}"
    ]
    assert [(entry["state"], entry["unanswered"]) for entry in done.sessions] == [("archived", False)]
    assert done.result["start_s"] < 5
    assert_archived(done)


@needs_client
@pytest.mark.parametrize(("mode", "status", "text"), [("online", 500, "answered 500"), ("auto", 401, "was refused")])
def test_another_failed_handshake_archives_with_one_warning(
    drive: Drive, stub: Stub, mode: str, status: int, text: str
) -> None:
    stub.refuse = (status, {})
    done = drive({"mode": mode}, env=online(stub))

    (warning,) = done.messages("warning")
    assert text in warning
    assert f"the run is archived in {done.folder / 'run' / 'comet'} instead;" in warning
    assert warning.endswith(f" send it with: detkit comet upload {done.folder / 'run'}")
    assert [(entry["state"], entry["unanswered"]) for entry in done.sessions] == [("archived", True)]
    assert_archived(done)


@needs_client
def test_a_server_that_dies_is_one_loss_with_the_line_that_sends_it(drive: Drive) -> None:
    with Stub() as stub:
        done = drive({"mode": "online"}, env=online(stub), during=stub.stop)

    assert done.messages("warning") == []
    assert done.result["lost"].startswith(f"not everything reached {stub.url.removesuffix('/clientlib/')} (")
    assert done.result["lost"].endswith(f" send it with: detkit comet upload {done.folder / 'run'}")
    assert done.result["close_s"] < QUICK["close_timeout_s"]
    assert done.archives == [], "the client shadowed the run in an archive of its own"
    assert done.printed == ""
    (entry,) = done.sessions
    assert (entry["state"], entry["mode"], entry["outcome"]) == ("lost", "online", "finished")
    print(done.result)


# --- without a process -----------------------------------------------------------------------------------------------


def test_the_plugin_imports_neither_the_client_nor_torch() -> None:
    code = "import sys, detkit_comet; sys.exit(' '.join({'comet_ml', 'torch', 'requests'} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_options_name_what_is_wrong() -> None:
    with pytest.raises(ValidationError, match=r"there is no \{epoch\}; there are: \{experiment\}, \{model\}"):
        CometOptions(name="{epoch}")
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        CometOptions.model_validate({"api_key": KEY})
    assert all(field.description for field in CometOptions.model_fields.values())


def test_the_close_timeout_is_the_options() -> None:
    assert COMET.close_timeout_s(CometOptions(close_timeout_s=5.0)) == 5.0
