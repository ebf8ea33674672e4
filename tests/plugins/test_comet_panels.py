"""The panels of examples/comet_panels: what they compute, and what they show of a project that the stub answers for."""

from __future__ import annotations

import ast
import base64
import importlib.util
import io
import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from plugins.comet_panels_stub import PROJECT, SIZE, STEPS, TRIANGLE, WORKSPACE, Experiment, experiments, reading
from plugins.comet_stub import Stub

pytest.importorskip("plotly", reason="plotly is not installed")
FOLDER = Path(__file__).parents[2] / "examples" / "comet_panels"
PANELS = [FOLDER / f"{name}.py" for name in ("accuracy_speed", "per_image_table", "image_comparison")]
KEY = "K3yK3yK3yK3yK3yK3yK3yK3yK"
RUNNER = FOLDER / "run_locally.py"
MASKED = ["mask_rcnn seed 1", "mask_rcnn seed 2"]


# --- what they compute -----------------------------------------------------------------------------------------------


def local_page() -> ModuleType:
    spec = importlib.util.spec_from_file_location("local_page", FOLDER / "local_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load(panel: Path) -> Any:
    """What the panel defines: its code without the call at its end, and without Comet's client."""
    tree = ast.parse(panel.read_text(encoding="utf-8"))
    assert ast.unparse(tree.body.pop()) == "main()"
    comet = ModuleType("comet_ml")
    comet.__dict__["API"] = None
    names: dict[str, Any] = {"__name__": panel.stem}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "streamlit", local_page().LocalStreamlit({}))
        patch.setitem(sys.modules, "comet_ml", comet)
        exec(compile(tree, str(panel), "exec"), names)
    return SimpleNamespace(**names)


SPEED, TABLE, IMAGES = map(load, PANELS)


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.stem)
def test_a_panel_keeps_to_the_python_of_comets_panels(panel: Path) -> None:
    """Comet documents CPython 3.9: neither its grammar nor its types know what came later."""
    tree = ast.parse(panel.read_text(encoding="utf-8"), feature_version=(3, 9))
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            assert not any(isinstance(side, ast.Constant) and side.value is None for side in (node.left, node.right))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "zip":
            assert "strict" not in {keyword.arg for keyword in node.keywords}
    assert not any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in tree.body), (
        "Comet may put lines before the panel's"
    )


def point(name: str, x: float, y: float, seed: str = "1") -> Any:
    return SPEED.Point(name, name, x, y, None, None, None, (seed,))


def test_the_front_is_what_nothing_beats() -> None:
    points = [point("best", 30, 0.5), point("fast", 10, 0.3), point("same", 10, 0.3), point("worse", 31, 0.5)]
    assert [p.name for p in SPEED.pareto_front(points, True, False)] == ["fast", "same", "best"]
    assert [p.name for p in SPEED.pareto_front(points, False, False)] == ["worse"]
    assert [p.name for p in SPEED.pareto_front(points, True, True)] == ["fast", "same"]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=30))
def test_a_point_is_on_the_front_or_beaten_by_one_that_is(places: list[tuple[int, int]]) -> None:
    points = [point(str(place), x, y) for place, (x, y) in enumerate(places)]
    front = SPEED.pareto_front(points, True, False)
    assert front
    for left, right in itertools.pairwise(front):
        assert (left.x, left.y) == (right.x, right.y) or (left.x < right.x and left.y < right.y)
    for p in points:
        assert (p in front) != any(f.x <= p.x and f.y >= p.y and (f.x, f.y) != (p.x, p.y) for f in front)


def test_seeds_become_one_point_and_other_runs_of_a_model_do_not() -> None:
    seeds = [point("m", 10, 0.2, "1"), point("m", 20, 0.4, "2")]
    (mean,) = SPEED.one_point_a_model(seeds)
    assert (mean.x, mean.y, mean.low, mean.high, mean.seeds) == (15, pytest.approx(0.3), 0.2, 0.4, ("1", "2"))
    trials = [seed._replace(seeds=("1",)) for seed in seeds]
    assert SPEED.one_point_a_model(trials) == trials


def test_models_of_two_experiments_are_not_one() -> None:
    runs = [SPEED.Run("r", {"experiment": name, "model": "m", "seed": "1"}, {"x": 1.0, "y": 1.0}) for name in "ab"]
    assert [p.model for p in SPEED.points_of(runs, "x", "y", "size")] == ["a: m", "b: m"]
    assert [p.model for p in SPEED.points_of(runs[:1], "x", "y", "size")] == ["m"]


def test_a_bar_may_lie_beside_its_point() -> None:
    """A number that is likely too high has an interval below it; the bar shows the interval all the same."""
    biased = point("m", 1, 0.5)._replace(low=0.35, high=0.45)
    latency = SPEED.SPEEDS["cost/latency_ms_median"]
    figure = SPEED.scatter([biased], [], [biased], latency, latency, SPEED.SIZES["cost/weights_bytes"])
    bars = figure.data[1].error_y
    assert (bars.array[0], bars.arrayminus[0]) == pytest.approx((-0.05, 0.15))


def test_metrics_that_are_better_when_lower() -> None:
    assert {
        name: SPEED.is_lower_better(name) for name in ("final/loss/loss", "final/x/box_error", "final/coco/ap")
    } == {
        "final/loss/loss": True,
        "final/x/box_error": True,
        "final/coco/ap": False,
    }


ROWS = [
    {"image": "a", "ap": 0.5, "fp": 0},
    {"image": "b", "ap": None, "fp": 3},
    {"image": "Bc", "ap": 0.1, "fp": 1},
]


def test_what_does_not_apply_is_last_in_both_orders() -> None:
    assert [row["image"] for row in TABLE.ordered(ROWS, "ap", True)] == ["Bc", "a", "b"]
    assert [row["image"] for row in TABLE.ordered(ROWS, "ap", False)] == ["a", "Bc", "b"]
    assert [row["image"] for row in TABLE.ordered(ROWS, "fp", True)] == ["b", "Bc", "a"]


def test_the_filters_of_the_table() -> None:
    def names(part: str, low: float, high: float, applicable: bool) -> list[str]:
        return [row["image"] for row in TABLE.filtered(ROWS, "ap", part, low, high, applicable)]

    assert names("", 0, 1, False) == ["a", "b", "Bc"]
    assert names("b", 0, 1, False) == ["b", "Bc"]
    assert names("b", 0, 1, True) == ["Bc"]
    assert names("", 0, 0.1, True) == ["Bc"]
    assert names("", 0.2, 1, True) == ["a"]


def test_the_cells_of_the_table() -> None:
    (row,) = TABLE.parse("epoch,image,objects,f1,lowest_iou,ap\n1,0001.png,2,-1,,0.25\n")
    assert row == {"epoch": 1, "image": "0001.png", "objects": 2, "f1": None, "lowest_iou": None, "ap": 0.25}


def test_the_names_of_tables_and_evaluations() -> None:
    names = ["coco/per_image.csv", "coco/per_image-step-000120.csv", "coco/mask_per_image.csv", "coco/per_class.csv"]
    assert TABLE.tables_of([{"fileName": name, "assetId": name} for name in names]) == {
        "coco/per_image": {None: names[0], 120: names[1]},
        "coco/mask_per_image": {None: names[2]},
    }
    assert TABLE.titles_of([{40: 2, 20: 1}, {40: None, 60: 3}, {60: 4}]) == {
        20: "epoch 1 (step 20)",
        40: "epoch 2 (step 40)",
        60: "step 60",
    }


LAYERS = [{"name": "Ground truth", "data": []}]


@pytest.mark.parametrize(
    ("metadata", "layers"),
    [
        ({"annotations": LAYERS}, LAYERS),
        (json.dumps({"annotations": LAYERS}), LAYERS),
        (json.dumps({"annotations": json.dumps(LAYERS)}), LAYERS),
        (None, []),
        ("", []),
        ("{}", []),
        ('{"annotations": null}', []),
    ],
)
def test_annotations_are_found_however_comet_gives_them(metadata: Any, layers: list[Any]) -> None:
    assert IMAGES.read_metadata(metadata) == (layers, {})


def test_the_other_facts_of_an_image_are_kept() -> None:
    assert IMAGES.read_metadata('{"annotations": [], "epoch": 3}') == ([], {"epoch": 3})


def test_a_run_without_the_step_shows_the_one_before() -> None:
    assert [IMAGES.at_step([10, 20], wanted) for wanted in (5, 10, 15, 99)] == [10, 10, 10, 20]


def test_images_are_in_the_order_of_their_numbers() -> None:
    names = {"image 10", "image 4", "10.jpg", "street.jpg", "9.jpg"}
    assert IMAGES.ordered(names, [], "by name") == ["9.jpg", "10.jpg", "image 4", "image 10", "street.jpg"]


def test_a_large_image_is_sent_smaller_and_keeps_its_pixels_for_the_boxes() -> None:
    buffer = io.BytesIO()
    Image.new("RGBA", (3000, 1500), "red").save(buffer, "PNG")
    picture = IMAGES.picture_of(buffer.getvalue())
    assert (picture.width, picture.height) == (3000, 1500)
    assert decoded(picture.uri).size == (IMAGES.LONGEST_SIDE, IMAGES.LONGEST_SIDE // 2)


def decoded(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition("base64,")[2])))


# --- what they show --------------------------------------------------------------------------------------------------


class Shown:
    """What a panel showed, columns opened out."""

    def __init__(self, elements: list[dict[str, Any]], page: str) -> None:
        self.elements = list(opened(elements))
        self.page = page

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [element for element in self.elements if element["kind"] == kind]

    @property
    def widgets(self) -> dict[str, tuple[str, list[str]]]:
        return {widget["label"]: (widget["value"], widget["options"]) for widget in self.of("widget")}

    @property
    def figures(self) -> list[Any]:
        return [element["figure"] for element in self.of("figure")]

    @property
    def rows(self) -> list[dict[str, str]]:
        (table,) = self.of("table")
        rows: list[dict[str, str]] = table["rows"]
        return rows

    @property
    def text(self) -> str:
        return "\n".join(element["text"] for element in self.elements if "text" in element)


def opened(elements: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for element in elements:
        yield element
        for column in element.get("columns", []):
            yield from opened(column)


def run(
    folder: Path, stub: Stub, *arguments: str, panels: list[Path] = PANELS, **variables: str
) -> subprocess.CompletedProcess[str]:
    """The panels with the real client, in a process of their own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COMET_")}
    command = [sys.executable, str(RUNNER), *map(str, panels), "--workspace", WORKSPACE, "--project", PROJECT, "--json"]
    return subprocess.run(
        [*command, "--out", str(folder), *arguments],
        env=kept | {"HOME": str(folder), "COMET_API_KEY": KEY, "COMET_URL_OVERRIDE": stub.url} | variables,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def show(folder: Path, stub: Stub, *arguments: str, panels: list[Path] = PANELS) -> list[Shown]:
    done = run(folder, stub, *arguments, panels=panels)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == [str(folder / f"{panel.stem}.html") for panel in panels]
    return [
        Shown(json.loads((folder / f"{panel.stem}.json").read_text()), (folder / f"{panel.stem}.html").read_text())
        for panel in panels
    ]


needs_client = pytest.mark.skipif(not importlib.util.find_spec("comet_ml"), reason="comet_ml is not installed")


@pytest.fixture(scope="module")
def stub() -> Iterator[Stub]:
    with Stub(extra=[reading(experiments())]) as stub:
        yield stub


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, stub: Stub) -> list[Shown]:
    """As nobody has chosen anything, but an image."""
    return show(tmp_path_factory.mktemp("first"), stub, "--choose", "Image=a.png")


@pytest.fixture(scope="module")
def chosen(tmp_path_factory: pytest.TempPathFactory, stub: Stub) -> list[Shown]:
    choices = {
        "Accuracy": ["final/loss/loss"],
        "Speed": ["Images per second"],
        "One point for all seeds of a model": ["no"],
        "Logarithmic speed": ["yes"],
        "Evaluation": ["epoch 1 (step 20)"],
        "Sort by": ["fp"],
        "Image name contains": ["B"],
        "Runs": ["mask_rcnn seed 1", "fcos seed 1", "slow seed 1"],
        "Order of images": ["by name"],
        "Image": ["a.png"],
        "Step": ["20"],
        "Least confidence of a prediction": ["20"],
        "Classes (none chosen: all)": ["disc"],
    }
    pairs = [f"{label}={value}" for label, values in choices.items() for value in values]
    return show(tmp_path_factory.mktemp("chosen"), stub, *(part for pair in pairs for part in ("--choose", pair)))


@needs_client
def test_the_page_holds_the_figures_that_the_panel_shows(first: list[Shown]) -> None:
    """And plotly's script, so that it needs no network; a page without figures goes without."""
    for shown, count in zip(first, (1, 0, 2), strict=True):
        found = re.findall(r'<script type="application/json" class="figure">(.*?)</script>', shown.page, re.DOTALL)
        assert [json.loads(text) for text in found] == shown.figures
        assert len(shown.figures) == count
        assert ("plotly.js v" in shown.page) == (count > 0)
        assert not re.search(r"""<(script|link|img)[^>]+(src|href)=["']http""", shown.page)


# --- accuracy and speed ---


def traces(figure: Any) -> dict[str, Any]:
    return {trace["name"]: trace for trace in figure["data"]}


@needs_client
def test_the_accuracy_speed_chart_has_front_sizes_and_bars(first: list[Shown]) -> None:
    (figure,) = first[0].figures
    shown = traces(figure)
    assert list(shown) == ["Pareto front", "fcos", "mask_rcnn", "mask_rcnn, each seed", "slow"]
    front = shown["Pareto front"]
    assert front["mode"] == "lines"
    assert (front["x"], front["y"]) == ([25.0, 102.0], [0.4, pytest.approx(0.52)])
    # Areas in proportion to memory, 100 MB to 400 MB; not measured: a ring.
    diameters = {name: shown[name]["marker"]["size"] for name in ("fcos", "mask_rcnn", "slow")}
    assert diameters == {"fcos": [22.0], "mask_rcnn": [44.0], "slow": [14]}
    assert [shown[name]["marker"]["symbol"] for name in diameters] == [["circle"], ["circle"], ["circle-open"]]
    assert bars(shown["fcos"]) == ([pytest.approx(0.06)], [pytest.approx(0.07)]), "the interval of the run"
    assert bars(shown["mask_rcnn"]) == ([pytest.approx(0.02)], [pytest.approx(0.02)]), "the range of the seeds"
    assert "error_y" not in shown["slow"]
    assert (shown["mask_rcnn, each seed"]["x"], shown["mask_rcnn, each seed"]["y"]) == ([100.0, 104.0], [0.5, 0.54])
    assert shown["fcos"]["text"] == [" fcos seed 1 "]
    assert "400.0 MB" in shown["mask_rcnn"]["hovertext"][0]
    assert figure["layout"]["xaxis"]["title"]["text"] == "Latency, median, ms (lower is better)"
    assert figure["layout"]["yaxis"]["title"]["text"] == "final/coco/ap (higher is better)"


def bars(trace: Any) -> Any:
    return trace["error_y"]["array"], trace["error_y"]["arrayminus"]


@needs_client
def test_the_accuracy_speed_table_and_what_it_says(first: list[Shown]) -> None:
    assert [(row["Name"], row["final/coco/ap"], row["On the front"]) for row in first[0].rows] == [
        ("mask_rcnn (2 seeds)", "0.520", "yes"),
        ("fcos seed 1", "0.400", "yes"),
        ("slow seed 1", "0.300", ""),
    ]
    assert first[0].rows[0] == {
        "Name": "mask_rcnn (2 seeds)",
        "Model": "mask_rcnn",
        "Seeds": "1, 2",
        "final/coco/ap": "0.520",
        "From": "0.500",
        "To": "0.540",
        "Latency, median (ms)": "102.0",
        "Memory of one image (MB)": "400.0",
        "On the front": "yes",
    }
    assert first[0].rows[2]["From"] == first[0].rows[2]["Memory of one image (MB)"] == "n/a"
    assert "are not shown: 1." in first[0].text, "the leaderboard has no such metrics"
    assert first[0].of("warning") == []
    accuracies = first[0].widgets["Accuracy"][1]
    assert accuracies == ["final/coco/ap", "final/coco/ap50", "final/loss/loss"], "no intervals, no text, no validation"


@needs_client
def test_a_loss_against_images_per_second(chosen: list[Shown]) -> None:
    (figure,) = chosen[0].figures
    front = traces(figure)["Pareto front"]
    assert chosen[0].widgets["Better accuracy is"][0] == "lower"
    # Faster is further right, better is further down: seed 2 has the lowest loss, seed 1 is a little faster.
    assert front["x"] == [pytest.approx(1000 / 104), 10.0, 40.0]
    assert front["y"] == [pytest.approx(0.46), 0.5, 0.6]
    assert traces(figure)["mask_rcnn"]["text"] == [f" {name} " for name in MASKED]
    assert figure["layout"]["xaxis"]["type"] == "log"
    assert chosen[0].rows[0]["Name"] == "mask_rcnn seed 2", "the lowest loss first"


# --- the table by image ---


@needs_client
def test_the_table_by_image_begins_with_the_worst(first: list[Shown]) -> None:
    rows = first[1].rows
    assert [(row["run"], row["image"], row["ap"]) for row in rows] == [
        ("slow seed 1", "b.png", "0.025"),
        ("slow seed 1", "a.png", "0.100"),
        ("fcos seed 1", "b.png", "0.125"),
        ("mask_rcnn seed 2", "b.png", "0.200"),
        ("mask_rcnn seed 1", "b.png", "0.225"),
        ("fcos seed 1", "a.png", "0.500"),
        ("mask_rcnn seed 2", "a.png", "0.800"),
        ("mask_rcnn seed 1", "a.png", "0.900"),
        *(
            (f"{name} seed {seed}", "empty.png", "n/a")
            for name, seed in (("mask_rcnn", 1), ("mask_rcnn", 2), ("fcos", 1))
        ),
        ("slow seed 1", "empty.png", "n/a"),
    ]
    assert list(rows[0])[:3] == ["run", "image", "ap"]
    assert {row["ap_small"] for row in rows} == {"n/a"}
    assert rows[-1]["fp"] == "1"
    assert "12 of 12 rows, the worst ap first." in first[1].text
    assert "as ap to 4 of them" in first[1].text
    evaluations = ["last of each run", *(f"epoch {epoch} (step {step})" for epoch, step in STEPS.items())]
    assert first[1].widgets["Evaluation"] == ("last of each run", evaluations)


@needs_client
def test_the_table_of_an_epoch_comes_from_either_kind_of_table(chosen: list[Shown]) -> None:
    """The slow run has no table of all epochs, as before its end; its table of step 20 is read."""
    assert [(row["run"], row["image"], row["fp"], row["ap"]) for row in chosen[1].rows] == [
        ("mask_rcnn seed 1", "b.png", "3", "0.113"),
        ("fcos seed 1", "b.png", "3", "0.062"),
        ("slow seed 1", "b.png", "3", "0.013"),
    ]


# --- the images ---


@needs_client
def test_the_images_stand_side_by_side_with_their_boxes(first: list[Shown]) -> None:
    assert len(first[2].figures) == 2
    assert [element["text"] for element in first[2].of("markdown")] == [f"**{name}**" for name in MASKED]
    # By mistakes: two objects missed, one prediction too many, none. What detkit has not sent is not listed.
    assert first[2].widgets["Image"] == ("a.png", ["b.png", "a.png", "empty.png"])
    assert first[2].widgets["Step"] == ("40", ["20", "40"])
    figure = first[2].figures[0]
    assert_is_the_image(figure)
    disc, box, found = figure["data"]
    assert (disc["x"], disc["y"]) == closed([(10, 10), (50, 10), (50, 40), (10, 40)])
    assert (box["x"], box["y"]) == closed([(70, 40), (100, 40), (100, 60), (70, 60)])
    assert {disc["line"]["dash"], box["line"]["dash"]} == {"dot"}
    assert (found["x"], found["y"]) == closed(list(zip(TRIANGLE[0::2], TRIANGLE[1::2], strict=True)))
    assert found["line"]["dash"] == "solid"
    assert found["text"] == "<b>disc</b><br>Predictions<br>score 90.0<br>IoU 0.75"
    (label,) = figure["layout"]["annotations"]
    assert (label["text"], label["x"], label["y"]) == ("disc 90", 10, 10)
    assert "Epoch 2, step 40; Ground truth: 2; Predictions: 1" in first[2].text, "the unsure prediction is left out"


def closed(corners: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in [*corners, corners[0]]], [y for _, y in [*corners, corners[0]]]


def assert_is_the_image(figure: Any) -> None:
    """One unit of the axes is one pixel, the first at the top left."""
    (image,) = figure["layout"]["images"]
    assert decoded(image["source"]).size == SIZE
    assert [image[name] for name in ("x", "y", "sizex", "sizey", "layer")] == [0, 0, *SIZE, "below"]
    assert (image["xref"], image["yref"]) == ("x", "y")
    assert (figure["layout"]["xaxis"]["range"], figure["layout"]["yaxis"]["range"]) == ([0, SIZE[0]], [SIZE[1], 0])
    assert figure["layout"]["yaxis"]["scaleanchor"] == "x"


@needs_client
def test_an_earlier_step_a_lower_confidence_and_one_class(chosen: list[Shown]) -> None:
    assert [len(figure["data"]) for figure in chosen[2].figures] == [2, 2, 1]
    assert chosen[2].widgets["Image"] == ("a.png", ["a.png", "b.png", "empty.png"])
    fcos = chosen[2].figures[1]["data"][1]
    assert (fcos["x"], fcos["y"]) == closed([(12, 8), (52, 8), (52, 38), (12, 38)])
    assert "score 25.0" in fcos["text"]
    assert "Epoch 1, step 20; Ground truth: 1; Predictions: 1" in chosen[2].text


@needs_client
def test_an_image_of_which_a_run_knows_nothing(tmp_path: Path) -> None:
    """Of two runs one has another image, and one has the image without any layer."""
    one, two = (experiment for experiment in experiments() if experiment.key in ("fcos1", "slow1"))
    other = replace(two, assets=[replace(asset, name=f"other-{asset.name}") for asset in two.assets])
    bare = replace(two, key="bare", name="bare", assets=[replace(asset, metadata={}) for asset in two.assets])
    with Stub(extra=[reading([one, other, bare])]) as stub:
        arguments = [part for name in (one, other, bare) for part in ("--choose", f"Runs={name.name}")]
        (shown,) = show(tmp_path, stub, *arguments, "--choose", "Image=a.png", panels=PANELS[2:])
    assert [element["text"] for element in shown.of("info")] == ["This run has no image a.png."]
    assert [len(figure["data"]) for figure in shown.figures] == [3, 0]
    assert "Step 40; nothing to draw" in shown.text


def test_an_image_without_objects_and_predictions_can_be_looked_at(tmp_path: Path, stub: Stub) -> None:
    """And the first image is that with the most mistakes."""
    first, empty = (
        show(tmp_path, stub, *arguments, panels=PANELS[2:])[0] for arguments in ([], ["--choose", "Image=empty.png"])
    )
    assert first.widgets["Image"][0] == "b.png"
    assert first.widgets["Classes (none chosen: all)"] == ("none", ["box", "disc"])
    assert (
        first.widgets["Layers"]
        == empty.widgets["Layers"]
        == ("Ground truth, Predictions", ["Ground truth", "Predictions"])
    )
    assert [len(figure["data"]) for figure in empty.figures] == [0, 0]
    assert_is_the_image(empty.figures[0])
    assert "Epoch 2, step 40; nothing to draw" in empty.text


# --- what is not as it should be ---


@needs_client
def test_a_project_without_what_a_panel_needs(tmp_path: Path) -> None:
    with Stub(extra=[reading([Experiment("x", "bare")])]) as stub:
        texts = [shown.text for shown in show(tmp_path, stub)]
    assert texts == [
        "Of the 1 experiments here none has both a metric final/... and one of cost/...; detkit sends them when a "
        "run has ended.",
        "None of the 1 experiments here has a table .../per_image.csv.",
        "None of the 1 experiments here has images with annotations.",
    ]


@needs_client
def test_runs_that_must_not_be_compared_are_told_and_options_are_first_choices(tmp_path: Path) -> None:
    one, _, other, *_ = experiments()
    other = replace(other, others={**other.others, "device": "cuda", "dataset_fingerprint": "beef"})
    with Stub(extra=[reading([one, other])]) as stub:
        options = json.dumps({"Accuracy": "final/coco/ap50", "Speed": "cost/flops", "Marker size": "none such"})
        (shown,) = show(tmp_path, stub, "--options", options, panels=PANELS[:1])
    (warning,) = shown.of("warning")
    assert warning["text"] == (
        "Not all of these runs have the same data (beef, f00d); device (cpu, cuda). Compare them with care."
    )
    assert shown.widgets["Accuracy"][0] == "final/coco/ap50"
    assert shown.widgets["Speed"][0] == "Operations of one image"
    assert traces(shown.figures[0])["fcos"]["x"] == [25.0], "GFLOPs"


@needs_client
def test_only_the_experiments_asked_for(tmp_path: Path, stub: Stub) -> None:
    (shown,) = show(tmp_path, stub, "--experiment", "fcos1", "--experiment", "slow1", panels=PANELS[:1])
    assert [row["Name"] for row in shown.rows] == ["fcos seed 1", "slow seed 1"]


@needs_client
@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--choose", "Acuracy=x"], "no widget is named 'Acuracy'; there are: Accuracy, Better accuracy is,"),
        (["--choose", "Accuracy=x"], "accuracy_speed.py: Accuracy: there is no 'x'; there are: final/coco/ap, final/"),
        (["--choose", "Accuracy"], "write LABEL=VALUE, not 'Accuracy'"),
        (["--choose", "Logarithmic speed=maybe"], "Logarithmic speed: 'maybe' is neither yes nor no"),
        (["--experiment", "none", "--experiment", "fcos1"], "--experiment: Comet has no experiment none\n"),
        (["--options", "{"], "--options: not JSON"),
        (["--options", "[]"], "give a JSON object"),
    ],
)
def test_a_wrong_choice_is_told(tmp_path: Path, stub: Stub, arguments: list[str], error: str) -> None:
    done = run(tmp_path, stub, *arguments, panels=PANELS[:1])
    assert done.returncode == 1
    assert error in done.stderr
    assert "Traceback" not in done.stderr


@needs_client
@pytest.mark.parametrize(
    ("variables", "error"),
    [
        ({"COMET_API_KEY": ""}, "there is no API key for Comet; run `comet login`"),
        ({"COMET_URL_OVERRIDE": "http://127.0.0.1:9/clientlib/"}, "Comet's server cannot be reached"),
        ({}, 'Comet answered 403: {"msg": "no such workspace"}'),
    ],
)
def test_a_server_that_refuses_is_told_in_a_line(tmp_path: Path, variables: dict[str, str], error: str) -> None:
    with Stub(
        extra=[lambda request: (403, {"msg": "no such workspace"}) if "/rest/" in request.path else None]
    ) as stub:
        retries = {"COMET_HTTP_SESSION_RETRY_TOTAL": "0"}
        done = run(tmp_path, stub, panels=PANELS[:1], **retries, **variables)
    assert done.returncode == 1
    assert error in done.stderr
    assert "Traceback" not in done.stderr
    assert KEY not in done.stderr + done.stdout


def test_the_stand_in_refuses_what_it_does_not_know() -> None:
    module = local_page()
    local = module.LocalStreamlit({"a": ["7"], "b": ["3,x"], "c": ["4"]})
    with pytest.raises(AttributeError, match=r"st\.balloons is not among"):
        local.balloons()
    with pytest.raises(module.ChoiceError, match="a: 7 is not within 0 and 5"):
        local.slider("a", 0, 5, 1)
    with pytest.raises(module.ChoiceError, match="b: '3,x' is not a number"):
        local.slider("b", 0, 5, 1)
    with pytest.raises(module.ChoiceError, match="c: give two numbers, LOW,HIGH"):
        local.slider("c", 0, 5, (0, 5))
