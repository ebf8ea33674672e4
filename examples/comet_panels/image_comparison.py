# One image, several runs: what does each of them see?
#
# Shows: an image of the validation set side by side for the chosen runs at a chosen step, with the true objects (green,
# dotted) and the predictions (orange): outlines where there are masks, else boxes. Move one slider to flip through the
# images, by name or from the one with the most mistakes on, another to flip through the epochs, a third to leave out
# unsure predictions. Point at an outline for its class, score and IoU; drag to zoom, double-click to go back.
#
# Needs, from runs that the Comet logger of detkit reported with its images:
#   images   with annotations in the layers "Ground truth" and "Predictions", scores from 0 to 100; an image has one
#            name in all epochs, its step is that of the epoch's end; in its metadata image_id, epoch, missed, unmatched
#
# To add it: in a project, Add > New Panel > Create New, choose Python, paste this file, Run, Save. The panel's Options
# may hold other first choices, by the names on the screen: {"Image": "street-07.jpg", "Order of images": "by name"}.

import base64
import io
import json
import re
from collections import Counter
from typing import Any, NamedTuple, Optional

import plotly.graph_objects as go
import streamlit as st
from comet_ml import API
from PIL import Image

TRUTH = "Ground truth"
COLOURS = {TRUTH: "#00A651", "Predictions": "#FF7F0E"}
OTHER_COLOUR = "#2F6FDE"
FIRST_RUNS = 2  # how many are chosen to begin with
IN_A_ROW = 3
LONGEST_SIDE = 1280  # larger images are made smaller before they are sent to the browser


class Shape(NamedTuple):
    """One annotation to be drawn.

    Attributes:
        score: 0 to 100; None for true objects.
        iou: with the object or the detection that it goes with; None where that is not told.
        paths: closed lines, each a list of (x, y) in pixels of the original image.
    """

    layer: str
    label: str
    score: Optional[float]
    iou: Optional[float]
    paths: list[list[tuple[float, float]]]


class Picture(NamedTuple):
    """An image for the browser: its data URI, and the width and height in pixels that its annotations refer to."""

    uri: str
    width: int
    height: int


ORDERS = ("most mistakes first", "by name")


class Sent(NamedTuple):
    """One image at one step, as it was sent.

    Attributes:
        layers: its annotations.
        facts: of its metadata; detkit's have image_id, epoch, how many objects were `missed`, how many predictions are
            `unmatched`.
    """

    asset: str
    layers: list[dict[str, Any]]
    facts: dict[str, Any]


# The images of a run: name to step to what was sent.
Images = dict[str, dict[int, Sent]]


# --- what the panel computes: no call to Comet or to the screen -------------------------------------------------------


def read_metadata(metadata: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """An asset's annotation layers, and what else it has. Comet gives metadata as JSON text, layers maybe once more."""
    if isinstance(metadata, str):
        metadata = json.loads(metadata) if metadata else None
    facts = dict(metadata) if isinstance(metadata, dict) else {}
    layers = facts.pop("annotations", None)
    if isinstance(layers, str):
        layers = json.loads(layers) if layers else None
    return layers if isinstance(layers, list) else [], facts


def shapes_of(layers: list[dict[str, Any]]) -> list[Shape]:
    """All annotations, true objects first, so that predictions lie over them."""
    shapes = [shape_of(layer["name"], annotation) for layer in layers for annotation in layer.get("data") or []]
    return sorted(shapes, key=lambda shape: shape.layer != TRUTH)


def shape_of(layer: str, annotation: dict[str, Any]) -> Shape:
    """Its polygons where it has any, else its boxes."""
    polygons = [list(zip(flat[0::2], flat[1::2])) for flat in annotation.get("points") or []]
    boxes = [[(x, y), (x + w, y), (x + w, y + h), (x, y + h)] for x, y, w, h in annotation.get("boxes") or []]
    score, iou = annotation.get("score"), (annotation.get("metadata") or {}).get("iou")
    is_truth = layer == TRUTH
    return Shape(
        layer,
        str(annotation.get("label", "?")),
        None if score is None or is_truth else float(score),
        None if iou is None else float(iou),
        [[*path, path[0]] for path in polygons or boxes if path],
    )


def chosen_shapes(shapes: list[Shape], layers: list[str], labels: list[str], confidence: float) -> list[Shape]:
    """Those of these layers and classes, and of the predictions those at least so sure. No classes means all."""
    return [
        shape
        for shape in shapes
        if shape.layer in layers
        and (not labels or shape.label in labels)
        and (shape.score is None or shape.score >= confidence)
    ]


def at_step(steps: list[int], wanted: int) -> int:
    """The last step that is not after the wanted one, else the first there is: runs may be evaluated at other steps."""
    before = [step for step in steps if step <= wanted]
    return max(before) if before else min(steps)


def picture_of(data: bytes) -> Picture:
    """An image file for the browser, made smaller where it is large."""
    with Image.open(io.BytesIO(data)) as image:
        width, height = image.size
        kind = image.format or "PNG"
        if max(width, height) > LONGEST_SIDE:
            small = image.convert("RGB")
            small.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
            buffer = io.BytesIO()
            small.save(buffer, "JPEG", quality=90)
            data, kind = buffer.getvalue(), "JPEG"
    return Picture(f"data:image/{kind.lower()};base64,{base64.b64encode(data).decode()}", width, height)


def draw(picture: Picture, shapes: list[Shape], named: bool) -> go.Figure:
    """The image with the shapes over it; the axes are pixels of the original image."""
    figure = go.Figure()
    for shape in shapes:
        figure.add_trace(outline(shape))
    if named:
        figure.update_layout(
            annotations=[name_of(shape) for shape in shapes if shape.score is not None and shape.paths]
        )
    figure.add_layout_image(
        source=picture.uri,
        xref="x",
        yref="y",
        x=0,
        y=0,
        sizex=picture.width,
        sizey=picture.height,
        sizing="stretch",
        layer="below",
    )
    figure.update_xaxes(range=[0, picture.width], visible=False, constrain="domain")
    figure.update_yaxes(range=[picture.height, 0], visible=False, scaleanchor="x", constrain="domain")
    figure.update_layout(
        template="plotly_white",
        height=round(min(640, max(260, 480 * picture.height / picture.width))),
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        showlegend=False,
        hovermode="closest",
        dragmode="zoom",
    )
    return figure


def outline(shape: Shape) -> go.Scatter:
    """Its closed lines as one trace, with a gap between two."""
    xs: list[Optional[float]] = []
    ys: list[Optional[float]] = []
    for path in shape.paths:
        if xs:
            xs.append(None)
            ys.append(None)
        xs += [x for x, _ in path]
        ys += [y for _, y in path]
    colour = COLOURS.get(shape.layer, OTHER_COLOUR)
    return go.Scatter(
        x=xs,
        y=ys,
        mode="lines",
        name=shape.layer,
        line={"color": colour, "width": 2.5, "dash": "dot" if shape.layer == TRUTH else "solid"},
        fill="toself",
        fillcolor=f"rgba({int(colour[1:3], 16)},{int(colour[3:5], 16)},{int(colour[5:7], 16)},0.10)",
        text=hover_text(shape),
        hoverinfo="text",
        hoveron="fills",
    )


def name_of(shape: Shape) -> dict[str, Any]:
    """Class and score of a prediction, above its upper left corner."""
    return {
        "x": min(x for path in shape.paths for x, _ in path),
        "y": min(y for path in shape.paths for _, y in path),
        "xanchor": "left",
        "yanchor": "bottom",
        "text": f"{shape.label} {shape.score:.0f}",
        "font": {"color": "black", "size": 11},
        "bgcolor": COLOURS.get(shape.layer, OTHER_COLOUR),
        "borderpad": 1,
        "opacity": 0.85,
        "showarrow": False,
    }


def hover_text(shape: Shape) -> str:
    lines = [f"<b>{shape.label}</b>", shape.layer]
    if shape.score is not None:
        lines.append(f"score {shape.score:.1f}")
    if shape.iou is not None:
        lines.append(f"IoU {shape.iou:.2f}")
    return "<br>".join(lines)


def caption(step: int, epoch: Any, shapes: list[Shape]) -> str:
    """Of one picture: its step, and how much is drawn on it."""
    counts = [f"{layer}: {count}" for layer, count in Counter(shape.layer for shape in shapes).items()]
    return "; ".join(
        [f"Step {step}" if epoch is None else f"Epoch {epoch}, step {step}", *(counts or ["nothing to draw"])]
    )


def names_evaluated(runs: list[Images]) -> set[str]:
    """Names of images of the validation set: detkit tells their ids; others need annotations in any run at any step."""
    return {
        name
        for images in runs
        for name, steps in images.items()
        if any(sent.layers or "image_id" in sent.facts for sent in steps.values())
    }


def mistakes(runs: list[Images], name: str) -> int:
    """Objects missed and predictions without an object at the last step of each run, as detkit counted them."""
    last = [images[name][max(images[name])].facts for images in runs if name in images]
    return sum(int(facts.get(kind) or 0) for facts in last for kind in ("missed", "unmatched"))


def ordered(names: set[str], runs: list[Images], order: str) -> list[str]:
    return sorted(names, key=lambda name: (-mistakes(runs, name) if order == ORDERS[0] else 0, by_number(name)))


def by_number(name: str) -> list[Any]:
    """Sorts "image 4" before "image 10"."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


# --- what it reads from Comet -----------------------------------------------------------------------------------------


@st.cache_resource(ttl=300, show_spinner="Reading the list of images ...")
def read_images(_experiment: Any, key: str) -> tuple[Images, set[str], set[str]]:
    """The images of a run, the classes and the layers of all their annotations; `key` is what the cache knows it by.

    A resource is not copied at every turn of a slider, as data would be; nothing here changes it.
    """
    images: Images = {}
    labels: set[str] = set()
    layers: set[str] = set()
    for asset in _experiment.get_asset_list("image"):
        sent = Sent(asset["assetId"], *read_metadata(asset.get("metadata")))
        images.setdefault(asset["fileName"], {})[asset.get("step") or 0] = sent
        for shape in shapes_of(sent.layers):
            labels.add(shape.label)
            layers.add(shape.layer)
    return images, labels, layers


@st.cache_data(max_entries=200, show_spinner="Reading an image ...")
def read_image(_experiment: Any, key: str, asset: str) -> tuple[str, int, int]:
    picture = picture_of(_experiment.get_asset(asset))
    return picture.uri, picture.width, picture.height


# --- the screen -------------------------------------------------------------------------------------------------------


def choose(label: str, choices: list[str], options: dict[str, Any]) -> Any:
    """A drop-down list that begins with what the panel's options hold for its label."""
    first = choices.index(options[label]) if options.get(label) in choices else 0
    return st.selectbox(label, choices, index=first)


def flip(label: str, choices: list[Any], first: Any) -> Any:
    """A slider through the choices; with a single one there is nothing to slide."""
    if len(choices) < 2:
        return choices[0]
    return st.select_slider(label, choices, value=first if first in choices else choices[0])


def main() -> None:
    st.set_page_config(layout="wide")
    api = API()
    options = api.get_panel_options()
    experiments = {experiment.id: experiment for experiment in api.get_panel_experiments()}
    read = {key: read_images(experiment, key) for key, experiment in experiments.items()}
    images = {key: found for key, (found, _, _) in read.items()}
    evaluated = names_evaluated(list(images.values()))
    holders = {key: experiment for key, experiment in experiments.items() if evaluated & set(images[key])}
    if not holders:
        st.info(f"None of the {len(images)} experiments here has images with annotations.")
        return

    titles = {key: experiment.name or key for key, experiment in holders.items()}
    first = list(titles)[:FIRST_RUNS]
    runs = st.multiselect("Runs", list(titles), default=first, format_func=lambda key: titles[key])
    if not runs:
        st.info("Choose a run or more.")
        return
    chosen = [images[key] for key in runs]
    left, middle, right = st.columns(3)
    with left:
        order = choose("Order of images", list(ORDERS), options)
    with middle:
        names = ordered({name for one in chosen for name in evaluated & set(one)}, chosen, order)
        name = flip("Image", names, options.get("Image", names[0]))
    steps = sorted({step for one in chosen for step in one.get(name, {})})
    with right:
        step = flip("Step", steps, steps[-1])
    left, middle, right = st.columns(3)
    with left:
        confidence = st.slider("Least confidence of a prediction", 0, 100, 50)
    # Of all images, so that a choice stays while one flips through them.
    with middle:
        every = sorted({label for key in runs for label in read[key][1]})
        labels = st.multiselect("Classes (none chosen: all)", every, default=[])
    with right:
        every = sorted({layer for key in runs for layer in read[key][2]})
        layers = st.multiselect("Layers", every, default=every)
        named = st.checkbox("Write class and score", value=True)

    for start in range(0, len(runs), IN_A_ROW):
        row = runs[start : start + IN_A_ROW]
        for column, key in zip(st.columns(len(row)), row):
            with column:
                st.markdown(f"**{titles[key]}**")
                if name not in images[key]:
                    st.info(f"This run has no image {name}.")
                    continue
                at = at_step(list(images[key][name]), step)
                sent = images[key][name][at]
                drawn = chosen_shapes(shapes_of(sent.layers), layers, labels, confidence)
                picture = Picture(*read_image(holders[key], key, sent.asset))
                st.plotly_chart(draw(picture, drawn, named), key=f"picture of {key}")
                st.caption(caption(at, sent.facts.get("epoch"), drawn))
    st.caption("Green, dotted: the true objects. Orange: predictions. Point at an outline for its score and IoU.")


main()
