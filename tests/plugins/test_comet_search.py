"""The searcher `comet_optimizer` with the real client: what is posted, proposed and told, and what goes wrong."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from detkit import Choices, Range, SearchSpace, UserError
from detkit_comet import CometOptimizerOptions
from detkit_comet.search import MOST_STEPS, _passing, translate
from plugins.comet_optimizer_stub import OptimizerStub
from plugins.comet_process import KEY, needs_client, online, run
from plugins.comet_stub import Fault, Stub

DRIVER = str(Path(__file__).parent / "comet_search_driver.py")
SPACE = {
    "train.lr": {"low": 1e-5, "high": 1e-1, "log": True},
    "train.batch_size": {"low": 2, "high": 8, "integer": True},
    "train.warmup": {"low": 0.0, "high": 0.2, "step": 0.1},
    "models.fcos.backbone": ["resnet18_fpn", "mobilenet_v2_fpn"],
    "train.ema": [True, False],
    "input.min_size": [320, 480.5],
}
SMALL = {"train.lr": [0.1, 0.01, 0.001]}


@dataclass(frozen=True)
class Done:
    """What a driven search left."""

    result: dict[str, Any]
    printed: str

    @property
    def values(self) -> list[dict[str, Any]]:
        return [values for _, values, _ in self.result["proposals"]]

    @property
    def error(self) -> str:
        return str(self.result["error"][2])


Drive = Callable[..., Done]


@pytest.fixture
def drive(tmp_path: Path) -> Drive:
    def drive(wanted: dict[str, Any], variables: dict[str, str], *, during: Callable[[], None] | None = None) -> Done:
        ended = run([DRIVER, json.dumps(wanted)], tmp_path, variables, during=during)
        assert ended.code == 0, ended.err
        result = json.loads((tmp_path / "result.json").read_text())
        assert KEY not in json.dumps(result), "the key was shown"
        return Done(result, ended.out + ended.err)

    return drive


@pytest.fixture
def optimizer() -> OptimizerStub:
    return OptimizerStub()


@pytest.fixture
def stub(optimizer: OptimizerStub) -> Iterator[Stub]:
    with Stub(extra=[optimizer]) as stub:
        yield stub


# --- a whole search --------------------------------------------------------------------------------------------------


@needs_client
def test_a_grid_is_gone_through_and_every_value_is_told(drive: Drive, stub: Stub, optimizer: OptimizerStub) -> None:
    options = {"algorithm": "grid", "name": "rates", "grid_size": 2, "retry_limit": 0}
    done = drive({"options": options, "space": SPACE}, online(stub))
    assert "error" not in done.result
    assert done.printed == ""
    assert optimizer.searches == {
        "search1": {
            "algorithm": "grid",
            "name": "rates",
            "trials": 1,
            "parameters": {
                "train__lr": {"type": "float", "min": 1e-5, "max": 0.1, "scalingType": "loguniform"},
                "train__batch_size": {"type": "integer", "min": 2, "max": 8, "scalingType": "uniform"},
                "train__warmup": {"type": "discrete", "values": [0.0, 0.1, 0.2]},
                "models__fcos__backbone": {"type": "categorical", "values": ["resnet18_fpn", "mobilenet_v2_fpn"]},
                "train__ema": {"type": "categorical", "values": ["true", "false"]},
                "input__min_size": {"type": "discrete", "values": [320, 480.5]},
            },
            "spec": {
                "metric": "coco/ap",
                "objective": "maximize",
                "seed": 17,
                "maxCombo": 0,
                "gridSize": 2,
                "retryLimit": 0,
                # The server's own, from its template.
                "minSampleSize": 100,
                "retryAssignLimit": 0,
            },
        }
    }
    assert len(done.values) == 2 * 2 * 3 * 2 * 2 * 2
    first, last = done.values[0], done.values[-1]
    assert first == {
        "train.lr": 1e-5,
        "train.batch_size": 2,
        "train.warmup": 0.0,
        "models.fcos.backbone": "resnet18_fpn",
        "train.ema": True,
        "input.min_size": 320,
    }
    assert last == {
        "train.lr": 0.1,
        "train.batch_size": 8,
        "train.warmup": 0.2,
        "models.fcos.backbone": "mobilenet_v2_fpn",
        "train.ema": False,
        "input.min_size": 480.5,
    }
    # A trial's spec would refuse 8.0 and 1: whole numbers and booleans keep their type.
    assert [type(value) for value in last.values()] == [float, int, float, str, bool, float]
    assert type(first["input.min_size"]) is int
    assert [number for number, _, _ in done.result["proposals"]] == list(range(1, 97))
    assert done.result["proposals"][6][2] == {
        "optimizer_id": "search1",
        "optimizer_pid": "pid7",
        "optimizer_trial": 1,
        "optimizer_count": 7,
        "optimizer_metric": "coco/ap",
        "optimizer_objective": "maximize",
    }
    assert [(update["pid"], update["status"], update["score"]) for update in optimizer.updates] == [
        (f"pid{number}", "completed", float(number)) for number in range(1, 97)
    ]
    assert {update["id"] for update in optimizer.updates} == {"search1"}
    assert done.result["messages"] == ["comet_optimizer: began the search search1 (grid) on Comet"]


@needs_client
def test_a_random_search_with_failed_trials_and_their_own_experiments(
    drive: Drive, stub: Stub, optimizer: OptimizerStub
) -> None:
    optimizer.busy = 1
    wanted = {
        "options": {"algorithm": "random", "seed": 3, "max_combinations": 7},
        "space": {**SPACE, "train.batch_size": [2, 4]},
        "max_trials": 3,
        "values": [0.25, "nan", None],
        "direction": "minimize",
    }
    done = drive(wanted, online(stub))
    spec = optimizer.searches["search1"]["spec"]
    assert (spec["seed"], spec["maxCombo"], spec["objective"]) == (3, 3, "minimize")
    assert len(done.values) == 3
    assert len({values["train.lr"] for values in done.values}) == 3
    assert all(1e-5 <= values["train.lr"] <= 0.1 for values in done.values)
    told = [(update["pid"], update["trial"], update["status"], update["score"]) for update in optimizer.updates]
    assert told == [
        ("pid1", 1, "completed", 0.25),
        ("pid2", 1, "aborted", None),
        ("pid3", 1, "aborted", None),
    ]
    # It was busy once, so the first values were asked for twice; the last answer is that there are no more.
    assert [request.path for request in stub.requests].count("/optimizer/next") == 5


@needs_client
def test_the_experiments_of_trials_belong_to_the_search(drive: Drive, stub: Stub) -> None:
    wanted = {"options": {"algorithm": "grid"}, "space": {"train.lr": [0.1]}, "values": [0.25], "experiments": True}
    done = drive(wanted, online(stub))
    assert "error" not in done.result
    others = {body["key"]: body["value"] for body in stub.bodies("/write/experiment/log-other")}
    assert {key: str(value) for key, value in others.items() if key.startswith("optimizer_")} == {
        "optimizer_id": "search1",
        "optimizer_pid": "pid1",
        "optimizer_trial": "1",
        "optimizer_count": "1",
        "optimizer_metric": "coco/ap",
        "optimizer_metric_value": "0.25",
        "optimizer_objective": "maximize",
        "optimizer_parameters": '{"train.lr": 0.1}',
    }


# --- going on --------------------------------------------------------------------------------------------------------


@needs_client
def test_a_search_goes_on_where_it_was_interrupted(drive: Drive, stub: Stub, optimizer: OptimizerStub) -> None:
    grid = {"options": {"algorithm": "grid"}, "space": SMALL}
    before = drive({**grid, "stop_after": 1}, online(stub))
    assert before.result["state"] == {"id": "search1", "proposed": 1, "told": []}
    after = drive({**grid, "state": before.result["state"]}, online(stub))
    assert len(optimizer.searches) == 1
    assert [(number, values["train.lr"]) for number, values, _ in after.result["proposals"]] == [(2, 0.01), (3, 0.001)]
    assert after.result["messages"] == ["comet_optimizer: goes on with the search search1 (grid) on Comet"]

    changed = drive({**grid, "state": before.result["state"], "space": {"train.lr": [0.1, 0.2]}}, online(stub))
    assert changed.result["error"][:2] == ["UserError", 2]
    assert "the search search1 on Comet has other parameters" in changed.error
    assert "'values': ['0.1', '0.2']" in changed.error

    gone = drive({**grid, "state": {"id": "search9", "proposed": 1}}, online(stub))
    assert "no optimizer search9" in gone.error


@needs_client
def test_comets_own_variable_joins_a_search(drive: Drive, stub: Stub, optimizer: OptimizerStub) -> None:
    grid = {"options": {"algorithm": "grid"}, "space": SMALL}
    state = drive({**grid, "stop_after": 1}, online(stub)).result["state"]
    joined = online(stub) | {"COMET_OPTIMIZER_ID": "search1"}
    assert [values["train.lr"] for values in drive(grid, joined).values] == [0.01, 0.001]
    assert len(optimizer.searches) == 1
    other = drive({**grid, "state": {**state, "id": "search2"}}, joined)
    assert "COMET_OPTIMIZER_ID names the search search1, but this one is search2; unset the variable" in other.error


# --- what goes wrong -------------------------------------------------------------------------------------------------


@needs_client
@pytest.mark.parametrize(
    ("wanted", "variables", "words"),
    [
        ({}, {}, "there is no API key; set the environment variable COMET_API_KEY, or run `comet login` once"),
        ({}, {"COMET_API_KEY": f"{KEY}*no*key"}, "the configured API key is not one"),
        ({"offline": True}, {"COMET_API_KEY": KEY}, "`offline` is set; use another searcher"),
        ({"absent": True}, {"COMET_API_KEY": KEY}, 'install it with `pip install "detkit[comet]"`'),
        (
            {},
            {"COMET_API_KEY": KEY, "COMET_URL_OVERRIDE": "http://127.0.0.1:9/clientlib/"},
            "the server at http://127.0.0.1:9 does not answer (ConnectionError); see whether the network is up",
        ),
    ],
)
def test_what_is_refused_before_a_search(
    drive: Drive, wanted: dict[str, Any], variables: dict[str, str], words: str
) -> None:
    done = drive({"only_check": True, **wanted}, variables)
    assert done.result["error"][:2] == ["UserError", 2]
    assert done.error.startswith("comet_optimizer: ")
    assert words in done.error
    assert "logger" not in done.error
    assert done.printed == ""
    assert done.result["seconds"] < 10


@needs_client
@pytest.mark.parametrize(
    ("fail", "kind", "words"),
    [
        ({"/optimizer/spec": 401}, "UserError", "refuses the API key (401); set the environment variable"),
        ({"/optimizer/create": 500}, "UserError", "is out of order (500); try again later"),
        (
            {"/optimizer/next": 403},
            "DetkitError",
            "does not let this API key do that (403); ask for access to the workspace",
        ),
        ({"/optimizer/update": 500}, "DetkitError", "is out of order (500); try again later; the trials that have"),
    ],
)
def test_a_server_that_refuses(drive: Drive, stub: Stub, fail: dict[str, int], kind: str, words: str) -> None:
    stub.faults = {part: Fault(status=status) for part, status in fail.items()}
    done = drive({"options": {"algorithm": "grid"}, "space": SMALL}, online(stub))
    assert done.result["error"][0] == kind
    assert words in done.error
    assert done.printed == ""
    assert done.result["seconds"] < 10


@needs_client
def test_a_value_that_is_not_taken_and_an_option_that_is_not_used(drive: Drive, stub: Stub) -> None:
    no = 200, {"code": 400, "message": "the search is archived"}
    stub.extra.insert(0, lambda request: no if request.path.endswith("/update") else None)
    done = drive({"options": {"grid_size": 4, "retry_limit": 1}, "space": SMALL}, online(stub))
    assert done.result["error"][:2] == ["DetkitError", 1]
    assert done.error == "comet_optimizer: Comet does not take the value of trial 1: the search is archived"
    assert done.result["messages"][0] == ("comet_optimizer: Comet's bayes search names no gridSize: it may not use it")


@needs_client
def test_a_server_that_dies_ends_the_search_within_seconds(drive: Drive, stub: Stub) -> None:
    wanted = {"options": {"algorithm": "grid"}, "space": SMALL, "wait_at": 2}
    done = drive(wanted, online(stub), during=stub.stop)
    assert len(done.values) == 2
    assert done.result["error"][:2] == ["DetkitError", 1]
    assert "does not answer (ConnectionError)" in done.error
    assert done.error.endswith("the trials that have ended are kept: go on with the search when it answers")
    assert done.result["state"] == {"id": "search1", "proposed": 2, "told": [1]}
    print(f"the server died: {done.result['seconds']:.1f} s")
    assert done.result["seconds"] < 15


@needs_client
def test_a_server_that_hangs_ends_the_search_after_one_timeout(drive: Drive, stub: Stub) -> None:
    stub.faults = {"/next": Fault(hang=True)}
    done = drive({"options": {"timeout_s": 1}, "space": SMALL}, online(stub))
    assert "does not answer (ReadTimeout)" in done.error
    print(f"the server hung: {done.result['seconds']:.1f} s")
    assert 1 < done.result["seconds"] < 10


@needs_client
def test_what_is_proposed_outside_the_space_is_not_tried(drive: Drive, stub: Stub, optimizer: OptimizerStub) -> None:
    optimizer.proposes = {"train__lr": 1.00001, "train__ema": "perhaps"}
    done = drive({"options": {"algorithm": "bayes"}, "space": SPACE}, online(stub))
    assert done.result["proposals"] == []
    assert done.error == (
        "comet_optimizer: Comet proposes what was not asked for: train.lr = 1.00001 is not between 1e-05 and 0.1;"
        " train.ema = 'perhaps' is none of True, False; use another searcher"
    )


# --- without the client ----------------------------------------------------------------------------------------------


def test_a_range_with_points_is_a_list_to_a_grid_only() -> None:
    space = SearchSpace({"train.lr": Range(0.001, 0.1, log=True, points=3)})
    assert translate(space, "grid")[0].declared == {"type": "discrete", "values": [0.001, 0.01, 0.1]}
    assert translate(space, "bayes")[0].declared["type"] == "float"


def test_a_logarithm_and_back_stays_in_the_range() -> None:
    (parameter,) = translate(SearchSpace({"lr": Range(1e-5, 0.1, log=True)}), "bayes")
    assert parameter.decode(math.nextafter(0.1, 1)) == 0.1
    assert parameter.decode("0.01") == 0.01
    assert parameter.decode(0.2) == 0.2


def test_choices_of_several_types_come_back_as_they_were() -> None:
    choices: tuple[Any, ...] = ("auto", True, 1, 0.5, "1", "true")
    (parameter,) = translate(SearchSpace({"key": Choices(choices)}), "random")
    texts = parameter.declared["values"]
    assert len(set(texts)) == len(choices)
    found = [parameter.decode(text) for text in texts]
    assert [(type(value), value) for value in found] == [(type(value), value) for value in choices]


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ({"a.b": Range(0, 1), "a__b": Range(0, 1)}, "a.b and a__b would have one name in Comet, a__b"),
        ({"a": Range(0, 1, step=0.0001)}, f"a has more than {MOST_STEPS} steps; leave the step out"),
    ],
)
def test_what_comet_cannot_search(space: dict[str, Range | Choices], words: str) -> None:
    with pytest.raises(UserError, match=words):
        translate(SearchSpace(space), "random")


def test_what_took_its_time_is_not_tried_again() -> None:
    requests = pytest.importorskip("requests")
    assert _passing(requests.ConnectionError())
    assert not _passing(requests.ConnectTimeout())
    assert not _passing(requests.ReadTimeout())


def test_options_that_are_wrong() -> None:
    with pytest.raises(ValidationError, match="algorithm"):
        CometOptimizerOptions.model_validate({"algorithm": "tpe"})
    with pytest.raises(ValidationError, match="api_key"):
        CometOptimizerOptions.model_validate({"api_key": KEY})
