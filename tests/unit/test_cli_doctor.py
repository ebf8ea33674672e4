"""`detkit doctor`: it tells what is there, hides secrets, and survives what it finds."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from detkit import __version__
from detkit.cli import doctor
from detkit.cli.main import run
from detkit.errors import ComputeError

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def no_torch(monkeypatch: pytest.MonkeyPatch, alone: None) -> None:
    """Devices made up: importing torch takes seconds, and what a machine has differs."""
    monkeypatch.setattr("detkit.engine.compute.import_torch", lambda: None)
    monkeypatch.setattr("detkit.engine.compute.has_bf16", lambda accelerator: accelerator == "cuda")
    cuda = SimpleNamespace(
        device_count=lambda: 1,
        get_device_properties=lambda _index: SimpleNamespace(name="A GPU", total_memory=80e9),
    )
    torch = SimpleNamespace(
        cuda=cuda,
        backends=SimpleNamespace(mps=SimpleNamespace(is_available=lambda: False)),
        version=SimpleNamespace(cuda="13.0"),
        get_num_threads=lambda: 2,
    )
    monkeypatch.setattr(doctor, "import_module", lambda _name: torch)


def test_for_people(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMET_API_KEY", "hunter2")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("HTTPS_PROXY", "http://me:hunter2@proxy")
    assert run(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "hunter2" not in out
    for line in (
        "versions",
        f"  detkit: {__version__}",
        "  works: yes",
        "  cpu: fp32",
        "  cuda:0 (A GPU, 80 GB): fp32, fp16, bf16",
        "  COMET_API_KEY: set",
        "  HTTPS_PROXY: set",
        "  OMP_NUM_THREADS: 3",
        "  none",
    ):
        assert line in out.splitlines()


def test_as_json(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COMET_API_KEY", raising=False)
    assert run(["doctor", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert list(facts) == ["versions", "platform", "processor", "torch", "plugins", "disk", "environment"]
    assert facts["environment"]["COMET_API_KEY"] is None
    assert facts["processor"]["threads"] >= 1
    assert facts["disk"]["home_free_gb"] > 0


def test_a_broken_pair_is_told_in_words(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ComputeError("torch and torchvision do not work together here (operator torchvision::nms does not exist)")

    monkeypatch.setattr("detkit.engine.compute.import_torch", broken)
    assert run(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "  works: no" in out
    assert "  error: torch and torchvision do not work together here (operator torchvision::nms does not exist)" in out
    assert "  cuda:0 (A GPU, 80 GB): fp32, fp16" in out.splitlines()
    assert "Traceback" not in out


def test_no_torch_at_all(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_name: str = "") -> None:
        raise ModuleNotFoundError("No module named 'torch'")

    monkeypatch.setattr(doctor, "import_module", missing)
    assert run(["doctor"]) == 0
    assert "  error: ModuleNotFoundError: No module named 'torch'" in capsys.readouterr().out


def test_a_section_that_raises_does_not_stop_the_others(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def raising() -> None:
        raise OSError("no\ndisk")

    monkeypatch.setattr(doctor, "disk_facts", raising)
    assert run(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "disk\n  error: OSError: no disk\nenvironment\n" in out
