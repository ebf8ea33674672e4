# Accuracy against speed: which model is worth its cost?
#
# Shows: every run as a point; the area of its marker is memory, its bar the interval of the accuracy. Runs of one model
# share a colour, and by default its seeds are one point. A line joins the runs that no other run beats in both (the
# Pareto front). Below it a table of the same numbers.
#
# Needs, from runs that the Comet logger of detkit reported:
#   metrics  final/<metric>/<quantity>, with ..._lower and ..._upper where there is an interval; cost/...
#   others   experiment, model, seed, dataset_fingerprint, scored_on, device, precision
#
# To add it: in a project, Add > New Panel > Create New, choose Python, paste this file, Run, Save. The panel's Options
# may hold other first choices, by the names on the screen: {"Accuracy": "final/coco/ap50", "Speed": "cost/flops"}.

import math
import re
from typing import Any, NamedTuple, Optional

import plotly.graph_objects as go
import streamlit as st
from comet_ml import API


class Quantity(NamedTuple):
    """How a metric is shown: its title, its unit, what it is divided by to be in that unit, what is better."""

    title: str
    unit: str
    divisor: float
    lower_is_better: bool

    @property
    def axis(self) -> str:
        unit = f", {self.unit}" if self.unit else ""
        return f"{self.title}{unit} ({'lower' if self.lower_is_better else 'higher'} is better)"


SPEEDS = {
    "cost/latency_ms_median": Quantity("Latency, median", "ms", 1, True),
    "cost/latency_ms_p95": Quantity("Latency, 95th percentile", "ms", 1, True),
    "cost/images_per_s": Quantity("Images per second", "", 1, False),
    "cost/flops": Quantity("Operations of one image", "GFLOPs", 1e9, True),
    "cost/parameters": Quantity("Parameters", "millions", 1e6, True),
    "cost/train_images_per_s": Quantity("Training, images per second", "", 1, False),
    "cost/train_ms_per_image": Quantity("Training time of one image", "ms", 1, True),
}
SIZES = {
    "cost/inference_memory_bytes": Quantity("Memory of one image", "MB", 1e6, True),
    "cost/peak_memory_bytes": Quantity("Peak memory of training", "MB", 1e6, True),
    "cost/weights_bytes": Quantity("Weights", "MB", 1e6, True),
}
FIRST_ACCURACY = "final/coco/ap"
# Where runs differ in one of these, their numbers must not be compared without a second thought.
COMPARED_UNDER = {
    "dataset_fingerprint": "data",
    "scored_on": "the split they are scored on",
    "device": "device",
    "precision": "precision",
}
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#7A7A7A", "#8C564B")
SMALLEST_MARKER, RING, LARGEST_MARKER = 7, 14, 44  # pixels across
SHOWN_OF_A_FACT = 24  # letters; a fingerprint is longer
NAMED_ALL = 12  # up to so many points each bears its name; beyond, those on the front


class Run(NamedTuple):
    """One experiment in Comet: its name, what detkit told about it, and the last value of each metric."""

    name: str
    others: dict[str, str]
    metrics: dict[str, float]

    def model(self, with_experiment: bool) -> str:
        """What its colour stands for; models of two of detkit's experiments are not the same."""
        model = self.others.get("model") or self.name
        return f"{self.others.get('experiment', '?')}: {model}" if with_experiment else model


class Point(NamedTuple):
    """What is drawn as one marker, in the metrics' own units.

    Attributes:
        low, high: the ends of the accuracy's bar; None where there is no interval.
        size: of the marker; None where it was not measured.
        seeds: of the runs that it stands for.
    """

    name: str
    model: str
    x: float
    y: float
    low: Optional[float]
    high: Optional[float]
    size: Optional[float]
    seeds: tuple[str, ...]


# --- what the panel computes: no call to Comet or to the screen -------------------------------------------------------


def accuracy_names(runs: list[Run]) -> list[str]:
    """The final metrics of any run, the ends of intervals left out, COCO's AP first."""
    names = {name for run in runs for name in run.metrics if re.fullmatch(r"final/[^/]+/.+", name)}
    ends = {f"{name}{end}" for name in names for end in ("_lower", "_upper")}
    return sorted(names - ends, key=lambda name: (name != FIRST_ACCURACY, name))


def is_lower_better(name: str) -> bool:
    """Comet keeps no direction with a metric; losses and errors are told by their names."""
    return not {"loss", "error"}.isdisjoint(re.split(r"[/_]", name))


def measured(runs: list[Run], x: str, y: str) -> list[Run]:
    """The runs that have both metrics."""
    return [run for run in runs if x in run.metrics and y in run.metrics]


def points_of(runs: list[Run], x: str, y: str, size: str) -> list[Point]:
    """The runs as points; they have both metrics."""
    several = len({run.others.get("experiment") for run in runs}) > 1
    return [
        Point(
            run.name,
            run.model(several),
            run.metrics[x],
            run.metrics[y],
            run.metrics.get(f"{y}_lower"),
            run.metrics.get(f"{y}_upper"),
            run.metrics.get(size),
            (run.others.get("seed", "?"),),
        )
        for run in runs
    ]


def one_point_a_model(points: list[Point]) -> list[Point]:
    """Seeds of one model as their mean. Runs that share a seed differ in something else, and stay apart."""
    grouped: list[Point] = []
    for group in by_model(points).values():
        alike = len(group) > 1 and len({point.seeds for point in group}) == len(group)
        grouped += [mean_of_seeds(group)] if alike else group
    return grouped


def mean_of_seeds(points: list[Point]) -> Point:
    """Several seeds of one model as one point; its bar goes from the lowest seed to the highest."""
    sizes = [point.size for point in points if point.size is not None]
    accuracies = [point.y for point in points]
    return Point(
        f"{points[0].model} ({len(points)} seeds)",
        points[0].model,
        mean([point.x for point in points]),
        mean(accuracies),
        min(accuracies),
        max(accuracies),
        mean(sizes) if sizes else None,
        tuple(seed for point in points for seed in point.seeds),
    )


def mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


def by_model(points: list[Point]) -> dict[str, list[Point]]:
    """In the order of the models' names, so that colours stay when runs come and go."""
    groups: dict[str, list[Point]] = {}
    for point in sorted(points, key=lambda point: (point.model, point.name)):
        groups.setdefault(point.model, []).append(point)
    return groups


def pareto_front(points: list[Point], x_lower: bool, y_lower: bool) -> list[Point]:
    """The points that no other beats: better in one, at least as good in the other. From the lowest x on."""

    def gains(point: Point) -> tuple[float, float]:
        return (-point.x if x_lower else point.x, -point.y if y_lower else point.y)

    def beats(one: Point, other: Point) -> bool:
        (a, b), (c, d) = gains(one), gains(other)
        return a >= c and b >= d and (a > c or b > d)

    front = [point for point in points if not any(beats(other, point) for other in points)]
    return sorted(front, key=lambda point: (point.x, point.y))


def differences(runs: list[Run]) -> list[str]:
    """What forbids a plain comparison: the facts that are not the same for all runs, with their values."""
    found = []
    for name, title in COMPARED_UNDER.items():
        values = sorted({run.others[name] for run in runs if name in run.others})
        if len(values) > 1:
            found.append(f"{title} ({', '.join(value[:SHOWN_OF_A_FACT] for value in values)})")
    return found


def number(value: Optional[float], digits: int = 3) -> str:
    return "n/a" if value is None else f"{value:.{digits}f}"


def amount(value: Optional[float]) -> str:
    """Of what is no share: with as many digits as its size asks for."""
    return number(value, 1 if value is not None and abs(value) >= 10 else 2)


def table_rows(
    points: list[Point], front: list[Point], x: Quantity, y: Quantity, size: Quantity
) -> list[dict[str, str]]:
    """The best accuracy first."""
    best_first = sorted(points, key=lambda point: point.y if y.lower_is_better else -point.y)
    return [
        {
            "Name": point.name,
            "Model": point.model,
            "Seeds": ", ".join(point.seeds),
            y.title: number(point.y),
            "From": number(point.low),
            "To": number(point.high),
            f"{x.title}{f' ({x.unit})' if x.unit else ''}": amount(point.x / x.divisor),
            f"{size.title} ({size.unit})": amount(None if point.size is None else point.size / size.divisor),
            "On the front": "yes" if point in front else "",
        }
        for point in best_first
    ]


class Chart(NamedTuple):
    """What the markers of a chart have in common.

    Attributes:
        largest: the largest size of a marker, in the metric's unit.
        middle: names of points right of it stand to their left, so that they stay within the chart.
        named: the points that bear their names.
    """

    x: Quantity
    y: Quantity
    size: Quantity
    largest: float
    middle: float
    named: list[Point]


def scatter(
    points: list[Point], seeds: list[Point], front: list[Point], x: Quantity, y: Quantity, size: Quantity
) -> go.Figure:
    """The chart. `seeds` are drawn as small dots beside the points that stand for them."""
    xs = [point.x for point in points]
    chart = Chart(
        x,
        y,
        size,
        largest=max((point.size for point in points if point.size), default=1.0),
        middle=min(xs) + 0.6 * (max(xs) - min(xs)),
        named=points if len(points) <= NAMED_ALL else front,
    )
    figure = go.Figure(front_line(front, x))
    for place, (model, group) in enumerate(by_model(points).items()):
        colour = PALETTE[place % len(PALETTE)]
        figure.add_trace(markers(group, model, colour, chart))
        dots = [seed for seed in seeds if seed.model == model]
        if dots:
            figure.add_trace(seed_dots(dots, model, colour, x, y))
    figure.update_layout(
        template="plotly_white",
        height=520,
        margin={"l": 60, "r": 20, "t": 30, "b": 60},
        legend={"orientation": "h", "yanchor": "top", "y": -0.16, "x": 0, "itemsizing": "constant"},
        hovermode="closest",
    )
    figure.update_xaxes(title_text=x.axis)
    figure.update_yaxes(title_text=y.axis)
    return figure


def front_line(front: list[Point], x: Quantity) -> go.Scatter:
    return go.Scatter(
        x=[point.x / x.divisor for point in front],
        y=[point.y for point in front],
        mode="lines",
        name="Pareto front",
        line={"color": "#555555", "width": 1.5, "dash": "dash"},
        hoverinfo="skip",
    )


def seed_dots(seeds: list[Point], model: str, colour: str, x: Quantity, y: Quantity) -> go.Scatter:
    return go.Scatter(
        x=[seed.x / x.divisor for seed in seeds],
        y=[seed.y for seed in seeds],
        mode="markers",
        name=f"{model}, each seed",
        legendgroup=model,
        showlegend=False,
        marker={"color": colour, "size": 6, "line": {"color": "white", "width": 1}},
        text=[hover_text(seed, x, y, None) for seed in seeds],
        hoverinfo="text",
    )


def markers(group: list[Point], model: str, colour: str, chart: Chart) -> go.Scatter:
    """One model's points: area in proportion to memory, a ring where it was not measured."""
    x = chart.x
    figure = go.Scatter(
        x=[point.x / x.divisor for point in group],
        y=[point.y for point in group],
        mode="markers+text",
        name=model,
        legendgroup=model,
        marker={
            "color": colour,
            "opacity": 0.75,
            "line": {"color": colour, "width": 2},
            "symbol": ["circle-open" if point.size is None else "circle" for point in group],
            "size": [diameter(point.size, chart.largest) for point in group],
        },
        text=[f" {point.name} " if point in chart.named else "" for point in group],
        textposition=["middle left" if point.x > chart.middle else "middle right" for point in group],
        cliponaxis=False,
        hovertext=[hover_text(point, x, chart.y, chart.size) for point in group],
        hoverinfo="text",
    )
    if any(point.low is not None for point in group):
        figure.error_y = {
            "type": "data",
            "symmetric": False,
            "array": [None if point.high is None else point.high - point.y for point in group],
            "arrayminus": [None if point.low is None else point.y - point.low for point in group],
            "color": colour,
            "thickness": 1.5,
        }
    return figure


def diameter(size: Optional[float], largest: float) -> float:
    """Of a marker, in pixels: its area in proportion to the size, within what can be seen."""
    return RING if size is None else max(SMALLEST_MARKER, LARGEST_MARKER * math.sqrt(size / largest))


def hover_text(point: Point, x: Quantity, y: Quantity, size: Optional[Quantity]) -> str:
    interval = "" if point.low is None else f" ({number(point.low)} to {number(point.high)})"
    lines = [
        f"<b>{point.name}</b>",
        f"{y.title}: {number(point.y)}{interval}",
        f"{x.title}: {amount(point.x / x.divisor)} {x.unit}".rstrip(),
    ]
    if size is not None:
        memory = "not measured" if point.size is None else f"{amount(point.size / size.divisor)} {size.unit}"
        lines.append(f"{size.title}: {memory}")
    return "<br>".join(lines)


# --- what it reads from Comet -----------------------------------------------------------------------------------------


@st.cache_data(ttl=60, show_spinner="Reading metrics ...")
def read_run(_experiment: Any, key: str) -> tuple[str, dict[str, str], dict[str, float]]:
    """The name, the others and the metrics of an experiment; `key` is what the cache knows it by."""
    others = {entry["name"]: str(entry["valueCurrent"]) for entry in _experiment.get_others_summary()}
    metrics = {}
    for entry in _experiment.get_metrics_summary():
        try:
            value = float(entry["valueCurrent"])
        except (TypeError, ValueError):
            continue  # a metric may hold text; it is not one of ours
        if math.isfinite(value):
            metrics[entry["name"]] = value
    return _experiment.name or key, others, metrics


# --- the screen -------------------------------------------------------------------------------------------------------


def choose(label: str, choices: list[Any], options: dict[str, Any], titles: Optional[dict[str, str]] = None) -> Any:
    """A drop-down list that begins with what the panel's options hold for its label."""
    first = choices.index(options[label]) if options.get(label) in choices else 0
    return st.selectbox(label, choices, index=first, format_func=lambda choice: (titles or {}).get(choice, choice))


def main() -> None:
    st.set_page_config(layout="wide")
    api = API()
    options = api.get_panel_options()
    runs = [Run(*read_run(experiment, experiment.id)) for experiment in api.get_panel_experiments()]
    accuracies = accuracy_names(runs)
    speeds = [name for name in SPEEDS if any(name in run.metrics for run in runs)]
    sizes = [name for name in SIZES if any(name in run.metrics for run in runs)] or list(SIZES)[:1]
    if not accuracies or not speeds:
        st.info(
            f"Of the {len(runs)} experiments here none has both a metric final/... and one of cost/...; detkit sends "
            "them when a run has ended."
        )
        return

    left, middle, right, last = st.columns(4)
    with left:
        y_name = choose("Accuracy", accuracies, options)
    with middle:
        x_name = choose("Speed", speeds, options, {name: SPEEDS[name].title for name in speeds})
    with right:
        size_name = choose("Marker size", sizes, options, {name: SIZES[name].title for name in sizes})
    with last:
        better = choose(
            "Better accuracy is", ["lower", "higher"] if is_lower_better(y_name) else ["higher", "lower"], options
        )
        grouped = st.checkbox("One point for all seeds of a model", value=True)
        log_scale = st.checkbox("Logarithmic speed", value=False)

    x, size = SPEEDS[x_name], SIZES[size_name]
    y = Quantity(y_name, "", 1, better == "lower")
    shown = measured(runs, x_name, y_name)
    every = points_of(shown, x_name, y_name, size_name)
    points = one_point_a_model(every) if grouped else every
    stood_for = [point for point in every if point not in points]
    front = pareto_front(points, x.lower_is_better, y.lower_is_better)
    figure = scatter(points, stood_for, front, x, y, size)
    if log_scale:
        figure.update_xaxes(type="log")

    unlike = differences(shown)
    if unlike:
        st.warning(f"Not all of these runs have the same {'; '.join(unlike)}. Compare them with care.")
    st.plotly_chart(figure, key="chart")
    st.caption(caption(points, stood_for, len(runs) - len(every), size))
    st.dataframe(table_rows(points, front, x, y, size), hide_index=True)


def caption(points: list[Point], seeds: list[Point], left_out: int, size: Quantity) -> str:
    """What the marks mean here, and what is missing."""
    sentences = [f"Area of a marker: {size.title[0].lower()}{size.title[1:]}."]
    if seeds:
        sentences.append("Bar of several seeds, which are the small dots: from the lowest to the highest.")
    if any(point.low is not None and len(point.seeds) == 1 for point in points):
        sentences.append("Bar of a single run: the interval of its accuracy.")
    if any(point.size is None for point in points):
        sentences.append("A ring: memory was not measured.")
    if left_out:
        sentences.append(f"Experiments that lack one of the two metrics, and are not shown: {left_out}.")
    return " ".join(sentences)


main()
