"""A search by Comet's Optimizer, from the command line to the trials' experiments in Comet; the server is a stub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from detkit import BuildContext, DetkitError, Proposal, open_record
from detkit_comet import CometOptimizerOptions
from detkit_comet.search import CometSearcher
from integration.experiments import squares_spec, write_spec
from plugins.comet_optimizer_stub import OptimizerStub
from plugins.comet_process import needs_client, online, run
from plugins.comet_stub import Fault, Stub

RATED = Path(__file__).parents[1] / "integration" / "rated.py"


@pytest.fixture
def optimizer() -> OptimizerStub:
    return OptimizerStub()


@pytest.fixture
def stub(optimizer: OptimizerStub) -> Iterator[Stub]:
    with Stub(extra=[optimizer]) as stub:
        yield stub


def spec_file(folder: Path) -> Path:
    spec = squares_spec(folder / "runs", train={"epochs": 1})
    comet = {"images": False, "system_metrics": False, "dataset": "none", "close_timeout_s": 30.0}
    spec |= {
        "plugins": [*spec["plugins"], str(RATED)],
        "models": {"rated": {}},
        "metrics": {"score": {}},
        "loggers": {"comet": comet},
        "search": {
            "use": "comet_optimizer",
            "algorithm": "grid",
            "trials": 2,
            "space": {"models.rated.quality": [0.25, 0.5]},
        },
    }
    return write_spec(folder / "spec.toml", spec)


@needs_client
@pytest.mark.slow
def test_a_search_by_comets_optimizer(tmp_path: Path, stub: Stub, optimizer: OptimizerStub) -> None:
    ended = run(["-m", "detkit", "run", str(spec_file(tmp_path))], tmp_path, online(stub))
    assert ended.code == 0, ended.err
    assert optimizer.searches["search1"]["parameters"] == {
        "models__rated__quality": {"type": "discrete", "values": [0.25, 0.5]}
    }
    assert optimizer.searches["search1"]["spec"]["metric"] == "score/mean"
    record = open_record(tmp_path / "runs" / "small")
    first, second = record.trials()
    assert [trial.values for trial in (first, second)] == [
        {"models.rated.quality": 0.25},
        {"models.rated.quality": 0.5},
    ]
    assert first.about["optimizer_id"] == "search1"
    told = [(update["pid"], update["status"], update["score"]) for update in optimizer.updates]
    assert told == [(trial.about["optimizer_pid"], "completed", *(trial.objectives or ())) for trial in (first, second)]
    # Each trial's experiment in Comet is marked as one of the search, with its values and what it gave.
    others: list[dict[str, Any]] = list(stub.bodies("/write/experiment/log-other"))
    marks = [(body["key"], str(body["value"])) for body in others if body["key"].startswith("optimizer_")]
    for trial in (first, second):
        assert ("optimizer_pid", trial.about["optimizer_pid"]) in marks
        assert ("optimizer_metric_value", str((trial.objectives or (0.0,))[0])) in marks
    assert ("optimizer_parameters", '{"models.rated.quality": 0.5}') in marks
    assert "search of rated by comet_optimizer for score/mean (maximize) on the validation images" in ended.out


@needs_client
@pytest.mark.slow
def test_a_server_that_breaks_down_ends_the_search_which_goes_on_later(
    tmp_path: Path, stub: Stub, optimizer: OptimizerStub
) -> None:
    stub.faults = {"/optimizer/update": Fault(status=500)}
    file = spec_file(tmp_path)
    broken = run(["-m", "detkit", "run", str(file), "--disable-logger", "comet"], tmp_path, online(stub))
    assert broken.code == 1
    assert "go on with the search when it answers" in broken.err
    stub.faults = {}
    ended = run(["-m", "detkit", "run", str(file), "--disable-logger", "comet"], tmp_path, online(stub))
    assert ended.code == 0, ended.err
    assert len(optimizer.searches) == 1
    trials = open_record(tmp_path / "runs" / "small").trials()
    assert [trial.values["models.rated.quality"] for trial in trials] == [0.25, 0.5]
    assert [update["pid"] for update in optimizer.updates] == ["pid1", "pid2"]


class Words:
    """Keeps warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warning(self, text: str) -> None:
        self.warnings.append(text)


def test_a_trial_that_is_told_twice_does_not_end_the_search_where_comet_has_closed_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    searcher = CometSearcher(CometOptimizerOptions(), BuildContext(seed=1))
    words = Words()
    monkeypatch.setattr(searcher, "_messages", words)
    closed = {"code": 400, "message": "closed"}
    answers: list[dict[str, Any]] = [closed, {"code": 200}, closed]
    monkeypatch.setattr(searcher, "_ask", lambda _request: answers.pop(0))
    proposal = Proposal(1, {"train.lr": 0.1}, {"optimizer_pid": "p", "optimizer_trial": 1})
    with pytest.raises(DetkitError, match="Comet does not take the value of trial 1: closed"):
        searcher.tell(proposal, None)
    searcher.tell(proposal, None)
    assert searcher.state_dict()["told"] == [1]
    searcher.tell(proposal, 0.5)
    assert len(words.warnings) == 1
    assert "trial 1 was told Comet before, and stays there as it was" in words.warnings[0]
