"""What the Comet logger makes of the record's values, without the client: names, tables, curves within the limit."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from detkit import Curve, RunInfo, Table
from detkit_comet import CometOptions
from detkit_comet.curves import LIMIT, Curves
from detkit_comet.files import log_code, log_file, register
from detkit_comet.final import final_metrics
from detkit_comet.names import by_context, dotted_parameters, flatten, in_context
from detkit_comet.sent import SentBook
from detkit_comet.tables import all_epochs, leaderboard_table, to_csv


class Client:
    """Keeps the calls that an experiment of the client would get."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: self.calls.append((name, args, kwargs))

    def names(self) -> list[str]:
        return [name for name, _, _ in self.calls]

    def curves(self) -> list[tuple[str, int]]:
        return [(args[0], kwargs["step"]) for name, args, kwargs in self.calls if name == "log_curve"]


class Told:
    def __init__(self) -> None:
        self.infos: list[str] = []

    def info(self, text: str) -> None:
        self.infos.append(text)


def run_info(folder: Path = Path(), *, epochs: int = 4, every: int = 1, **parameters: Any) -> RunInfo:
    given = {"spec": {"model": {"train": {"eval_every_epochs": every}}}, **parameters}
    return RunInfo("fcos-seed7", "streets", "fcos", 7, folder, ("a",), "cpu", "fp32", epochs, 3, parameters=given)


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "context", "bare"),
    [
        ("train/loss", "train", "loss"),
        ("train/epoch_loss_box", "train", "epoch_loss_box"),
        ("validation/loss", "validate", "loss"),
        ("coco/ap50", "validate", "coco/ap50"),
        ("my-metric/a/b", "validate", "my-metric/a/b"),
        ("measured/images_per_s", "", "measured/images_per_s"),
    ],
)
def test_a_metric_has_its_context(name: str, context: str, bare: str) -> None:
    assert in_context(name) == (context, bare)


def test_metrics_are_grouped_and_what_is_not_finite_is_left_out() -> None:
    values = {"train/loss": 1.0, "train/lost": math.nan, "train/far": math.inf, "coco/ap": 0.5, "validation/loss": 2.0}
    assert by_context(values) == {"train": {"loss": 1.0}, "validate": {"coco/ap": 0.5, "loss": 2.0}}


def test_parameters_have_the_names_of_the_spec() -> None:
    given = {
        "spec": {
            "compute": {"device": "auto", "precision": "auto"},
            "dataset": {"use": "synthetic", "split": {"seed": 0}},
            "model": {
                "use": "fcos",
                "backbone": "tiny",
                "train": {"lr": 0.1, "clip_norm": None},
                "input": {"min_size": 64},
            },
        },
        "compute": {"accelerator": "cpu", "precision": "bf16"},
        "versions": {"torch": "2"},
        "weights_origin": {"source": "coco"},
        "class_names": ["a", "b"],
        "parts": [{"part": "neck"}],
        "plugins": [{"name": "x"}],
        "seed": 3,
    }
    assert dotted_parameters(given) == {
        "dataset.use": "synthetic",
        "dataset.split.seed": 0,
        "train.lr": 0.1,
        "train.clip_norm": "null",
        "input.min_size": 64,
        "model.use": "fcos",
        "model.backbone": "tiny",
        "compute.device": "auto",
        "compute.accelerator": "cpu",
        "compute.precision": "bf16",
        "versions.torch": "2",
        "seed": 3,
        "weights.source": "coco",
        "classes": 2,
    }


def test_parameters_are_flat_under_dotted_names() -> None:
    nested = {"a": {"b": {"c": 1}, "none": None}, "path": Path("x"), "list": [{"d": 2}], "empty": {}}
    assert flatten(nested) == {"a.b.c": 1, "a.none": "null", "path": '"x"', "list": '[{"d": 2}]'}


# --- tables ----------------------------------------------------------------------------------------------------------


def test_a_table_becomes_csv() -> None:
    assert to_csv(Table(("a", "b"), (("x, y", None), (1, 0.5)))) == 'a,b\n"x, y",\n1,0.5\n'


def test_one_table_holds_the_rows_of_all_epochs() -> None:
    first = Table(("image", "ap"), (("a.png", 0.5), ("b.png", None)))
    second = Table(("image", "ap", "ar"), (("a.png", 0.25, 1.0),))
    whole = all_epochs([(1, 10, first), (3, 30, second)])
    assert whole.columns == ("epoch", "step", "image", "ap", "ar")
    assert whole.rows == ((1, 10, "a.png", 0.5, None), (1, 10, "b.png", None, None), (3, 30, "a.png", 0.25, 1.0))


def test_the_leaderboard_has_deviations_over_seeds_and_the_interval_of_one_run() -> None:
    def row(model: str, states: list[str], deviation: float | None, **more: Any) -> dict[str, Any]:
        runs = {f"{model}-seed{number}": state for number, state in enumerate(states)}
        values = {"coco/ap": {"mean": 0.5, "deviation": deviation, "count": 1}}
        base = {"model": model, "states": runs, "values": values, "intervals": {}, "parameters": 10}
        return base | {"costs": {"flops": 3.0}, "measured": {"train_s": 2.0}} | more

    ends = {"coco/ap": {"lower": 0.4, "upper": 0.6, "level": 0.95, "resamples": 1000}}
    rows = [
        row("one", ["finished"], None, intervals={"one-seed0": ends}),
        row("two", ["finished", "finished"], 0.1, intervals={"two-seed0": ends, "two-seed1": ends}),
        row("none", ["failed"], None, values={}, costs={}, measured={}, parameters=None),
    ]
    table = leaderboard_table({"rows": rows})
    assert [dict(zip(table.columns, cells, strict=True)) for cells in table.rows] == [
        {
            "model": "one",
            "runs": 1,
            "finished": 1,
            "coco/ap": 0.5,
            "coco/ap_lower": 0.4,
            "coco/ap_upper": 0.6,
            "coco/ap_deviation": None,
            "parameters": 10,
            "flops": 3.0,
            "train_s": 2.0,
        },
        {
            "model": "two",
            "runs": 2,
            "finished": 2,
            "coco/ap": 0.5,
            "coco/ap_lower": None,
            "coco/ap_upper": None,
            "coco/ap_deviation": 0.1,
            "parameters": 10,
            "flops": 3.0,
            "train_s": 2.0,
        },
        {name: {"model": "none", "runs": 1, "finished": 0}.get(name) for name in table.columns},
    ]


def test_final_figures_have_intervals_and_costs() -> None:
    summary = {
        "scored": {
            "values": {"coco/ap": 0.5, "coco/ap_small": None},
            "intervals": {"coco/ap": {"lower": 0.4, "upper": 0.6}, "coco/ap_small": None},
        },
        "costs": {"flops": 2e9, "parameters": 7, "measured": {"latency_ms_median": 20.0, "latency_ms_p95": None}},
        "measured": {"peak_memory_bytes": 11, "images_per_s": 3.0},
    }
    assert final_metrics(summary) == {
        "final/coco/ap": 0.5,
        "final/coco/ap_lower": 0.4,
        "final/coco/ap_upper": 0.6,
        "cost/flops": 2e9,
        "cost/parameters": 7.0,
        "cost/latency_ms_median": 20.0,
        "cost/images_per_s": 50.0,
        "cost/peak_memory_bytes": 11.0,
        "cost/train_images_per_s": 3.0,
    }
    del summary["costs"]
    assert "cost/images_per_s" not in final_metrics(summary)


# --- curves ----------------------------------------------------------------------------------------------------------


def evaluate(curves: Curves, client: Client, epoch: int, classes: int) -> None:
    for name in (*(f"coco/pr50/c{number:03d}" for number in range(classes)), "coco/pr50", "coco/f1_confidence"):
        curves.add(name, Curve((0.0,), (1.0,)), step=10 * epoch, epoch=epoch)
    curves.send(client)  # type: ignore[arg-type]  # it keeps what the client would get


def selected(curves: Curves, client: Client, epoch: int, classes: int) -> None:
    names = ("coco/f1_confidence", "coco/pr50", *(f"coco/pr50/c{number:03d}" for number in range(classes)))
    given = {name: Curve((0.0,), (1.0,)) for name in names}
    curves.send_selected(client, given, step=10 * epoch, epoch=epoch)  # type: ignore[arg-type]


def new_curves(folder: Path, told: Told | None = None, *, done: int = 0, **info: Any) -> Curves:
    return Curves(run_info(**info), told or Told(), SentBook(folder, "key"), done=done)  # type: ignore[arg-type]  # info alone


def test_all_curves_are_sent_where_they_fit(tmp_path: Path) -> None:
    told, client = Told(), Client()
    curves = new_curves(tmp_path, told, epochs=4)
    for epoch in range(1, 5):
        evaluate(curves, client, epoch, classes=3)
    selected(curves, client, 2, classes=3)
    assert len(client.curves()) == len(set(client.curves())) == 20, "none is missing and none is sent twice"
    assert told.infos == []


@pytest.mark.parametrize(("epochs", "every", "classes"), [(50, 1, 120), (50, 7, 500), (999, 1, 30), (1500, 1, 3)])
def test_comets_limit_is_kept_and_it_is_said(tmp_path: Path, epochs: int, every: int, classes: int) -> None:
    told, client = Told(), Client()
    curves = new_curves(tmp_path, told, epochs=epochs, every=every)
    evaluated = [epoch for epoch in range(1, epochs + 1) if epoch % every == 0 or epoch == epochs]
    for epoch in evaluated:
        evaluate(curves, client, epoch, classes)
    selected(curves, client, evaluated[1], classes)
    sent = client.curves()
    assert len(sent) == len(set(sent)) <= LIMIT
    assert len(told.infos) == 1
    assert "because Comet takes 1,000 curves an experiment" in told.infos[0]


def test_where_curves_are_cut_those_over_all_classes_come_first_and_the_selected_epoch_gets_more(
    tmp_path: Path,
) -> None:
    client = Client()
    curves = new_curves(tmp_path, epochs=199)
    evaluate(curves, client, 1, classes=100)
    names = ["coco/f1_confidence", "coco/pr50", *(f"coco/pr50/c{number:03d}" for number in range(100))]
    assert client.curves() == [(name, 10) for name in names[:5]]
    client.calls.clear()
    selected(curves, client, 1, classes=100)
    assert client.curves() == [(name, 10) for name in names[5:]]


@pytest.mark.parametrize(("before", "after", "done"), [(4, 400, 4), (400, 1500, 399), (20, 21, 20), (1, 2, 1)])
def test_the_limit_holds_over_a_resume_that_trains_longer(tmp_path: Path, before: int, after: int, done: int) -> None:
    client = Client()
    first = new_curves(tmp_path, epochs=before)
    for epoch in range(1, done + 1):
        evaluate(first, client, epoch, classes=500)
    second = new_curves(tmp_path, epochs=after, done=done)
    for epoch in range(done + 1, after + 1):
        evaluate(second, client, epoch, classes=500)
    selected(second, client, after, classes=500)
    assert len(client.curves()) == len(set(client.curves())) <= LIMIT


def test_curves_of_before_a_resume_are_not_sent_again(tmp_path: Path) -> None:
    client = Client()
    evaluate(new_curves(tmp_path, epochs=2), client, 1, classes=3)
    second = new_curves(tmp_path, epochs=2, done=1)
    evaluate(second, client, 2, classes=3)
    selected(second, client, 1, classes=3)
    assert len(client.curves()) == len(set(client.curves())) == 10


@pytest.mark.parametrize("content", ["", "{", "[]", '{"experiments": 3}', '{"experiments": {"other": {"images": 5}}}'])
def test_a_damaged_book_counts_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "comet").mkdir()
    (tmp_path / "comet" / "sent.json").write_text(content)
    book = SentBook(tmp_path, "key")
    assert (book.images, book.curves) == (0, 0)
    book.add_images(2)
    book.add_curves(3, 4)
    again = SentBook(tmp_path, "key")
    assert (again.images, again.curves, again.curves_of(3), again.curves_of(1)) == (2, 4, 4, 0)


# --- files -----------------------------------------------------------------------------------------------------------


def test_files_go_where_comet_shows_them(tmp_path: Path) -> None:
    run = run_info(tmp_path)
    for name, text in {
        "model.txt": "Net()",
        "console.log": "x",
        "spec.toml": "[a]",
        "best.pt": "b",
        "last.pt": "l",
    }.items():
        (tmp_path / name).write_text(text)

    def calls(**options: Any) -> list[tuple[str, tuple[Any, ...], dict[str, Any]]]:
        client = Client()
        for name in ("model.txt", "console.log", "spec.toml", "best.pt", "last.pt"):
            log_file(client, CometOptions(**options), run, tmp_path / name, name)  # type: ignore[arg-type]
        return client.calls

    best = {"file_name": "best.pt", "overwrite": True, "metadata": {"run": "fcos-seed7", "checkpoint": "best"}}
    last = {"file_name": "last.pt", "overwrite": True, "metadata": {"run": "fcos-seed7", "checkpoint": "last"}}
    spec = ("log_asset", (str(tmp_path / "spec.toml"),), {"file_name": "spec.toml", "overwrite": True})
    assert calls() == [
        ("set_model_graph", ("Net()",), {}),
        spec,
        ("log_model", ("fcos", str(tmp_path / "best.pt")), best),
    ]
    assert calls(graph=False, console=True, checkpoints=("last",)) == [
        ("log_asset", (str(tmp_path / "console.log"),), {"file_name": "console.log", "overwrite": True}),
        spec,
        ("log_model", ("fcos-last", str(tmp_path / "last.pt")), last),
    ]
    assert calls(graph=False, checkpoints=()) == [spec]


def test_registering_takes_the_best_checkpoint_and_a_name_of_the_options() -> None:
    client = Client()
    register(client, CometOptions(register_as="{experiment}-{model}"), run_info())  # type: ignore[arg-type]
    ((name, args, kwargs),) = client.calls
    assert (name, args, kwargs["registry_name"]) == ("register_model", ("fcos",), "streets-fcos")
    for options in (CometOptions(), CometOptions(register_as="x", checkpoints=("last",))):
        register(client, options, run_info())  # type: ignore[arg-type]
    assert len(client.calls) == 1


def test_code_is_that_of_the_plugin_files_alone(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.touch()
    plugins = [
        {"name": "mine", "source": str(file), "distribution": ""},
        {"name": "gone", "source": str(tmp_path / "gone.py"), "distribution": ""},
        {"name": "coco", "source": "detkit_coco", "distribution": "detkit"},
    ]
    client = Client()
    log_code(client, run_info(plugins=plugins))  # type: ignore[arg-type]
    assert client.calls == [("log_code", (), {"file_name": str(file), "overwrite": True})]
