"""A Markdown page of an experiment: from its record alone, the same for the same record."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import Any

import tomli_w

from detkit.compare.leaderboard import make_leaderboard
from detkit.errors import RecordError
from detkit.record.files import read_json
from detkit.record.reader import ExperimentRecord
from detkit.report.portable import portable, portable_spec, portable_text
from detkit.report.runs import ShownRun, ShownRuns, in_metrics, read_runs
from detkit.report.text import MISSING, Column, code, escape, fenced, number_table, table

#: From this share on, what other programs took of the processors is worth a sentence.
BUSY = 0.1

#: Of a recipe, what the page shows; the spec below it has the rest.
RECIPE = {
    "strategy": "strategy",
    "epochs": "epochs",
    "batch_size": "batch size",
    "accumulate": "batches a step",
    "optimizer": "optimizer",
    "lr": "learning rate",
    "schedule": "schedule",
    "warmup_steps": "warm-up (steps)",
    "weight_decay": "weight decay",
    "clip_norm": "clip norm",
}


def markdown_page(record: ExperimentRecord) -> str:
    """The page: what was compared, on what, how well each model did, what it costs, how it was trained.

    It holds no path of the machine, no host name and no account, so that it can be published.

    Raises:
        RecordError: a file of the record is damaged.
    """
    runs = read_runs(record)
    spec = _read_spec(record)
    sections = [
        f"# {escape(record.name)}",
        _setting(record, runs, spec),
        *_accuracy(runs),
        *_final_figures(runs),
        *_means(record, runs),
        *_costs(record, runs),
        *_by_epoch(runs),
        *_recipes(runs),
        *_guards(runs),
        *_unfinished(record, runs),
        *_reproduce(record, spec),
    ]
    return "\n\n".join(sections) + "\n"


def _read_spec(record: ExperimentRecord) -> dict[str, Any]:
    try:
        return tomllib.loads(record.files.spec.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordError(f"{record.files.spec} cannot be read: {error}") from error


# --- what was compared -----------------------------------------------------------------------------------------------


def _setting(record: ExperimentRecord, runs: ShownRuns, spec: Mapping[str, Any]) -> str:
    begun = datetime.fromtimestamp(record.facts["created"], UTC).strftime("%d %B %Y").lstrip("0")
    versions = ", ".join(f"{name} {version}" for name, version in record.facts["versions"].items())
    points = {
        "Data": _data(record, spec),
        "Input": _shared(runs, _input),
        "Epochs": _shared(runs, lambda run: str(run.train.get("epochs", ""))),
        "Seeds": ", ".join(map(str, dict.fromkeys(run.seed for run in runs.runs))),
        "Weights at the start": _shared(runs, _origin),
        "Machine": _shared(runs, _machine),
        "Versions": escape(versions),
        "Begun": f"{begun} (UTC)",
    }
    return "\n".join(f"- **{name}:** {text}" for name, text in points.items() if text)


def _data(record: ExperimentRecord, spec: Mapping[str, Any]) -> str:
    if not record.files.fingerprint.exists():
        return code(str(spec["dataset"]["use"]))
    found = read_json(record.files.fingerprint)
    sizes = found["split_sizes"]
    names = ", ".join(map(escape, found["class_names"]))
    classes = f"{len(found['class_names'])} class{'es' if len(found['class_names']) > 1 else ''} ({names})"
    test = f"{sizes['test']} test" if sizes["test"] else "none are kept for a test"
    return (
        f"{code(str(spec['dataset']['use']))}, {found['images']} images with {found['objects']} objects of {classes};"
        f" {sizes['train']} images train, {sizes['validation']} validate, {test}"
        f" (split seed {spec['dataset'].get('split', {}).get('seed', 0)})"
    )


def _shared(runs: ShownRuns, tell: Callable[[ShownRun], str]) -> str:
    """One text where all runs have the same; else one a model."""
    told: dict[str, list[str]] = {}
    for run in runs.runs:
        text = tell(run)
        if text:
            told.setdefault(text, []).append(run.model)
    if len(told) < 2:
        return next(iter(told), "")
    return "; ".join(f"{text} ({', '.join(map(code, dict.fromkeys(models)))})" for text, models in told.items())


def _input(run: ShownRun) -> str:
    size = run.spec.get("model", {}).get("input", {})
    if not size:
        return ""
    return f"the shorter side of an image becomes {size['min_size']} px, the longer at most {size['max_size']} px"


def _origin(run: ShownRun) -> str:
    origin = run.facts.get("weights_origin")
    if origin is None:
        return ""
    if not origin:
        return "the model does not say"
    plain = portable(dict(origin))
    source = plain.pop("source", None)
    rest = ", ".join(f"{escape(str(key))} {escape(str(value))}" for key, value in plain.items())
    return " ".join(filter(None, (code(str(source)) if source is not None else "", rest)))


def _machine(run: ShownRun) -> str:
    hardware, compute = run.facts.get("hardware"), run.facts.get("compute")
    if not hardware or not compute:
        return ""
    gpu = compute["accelerator"] == "cuda" and hardware["gpus"]
    processes = f", {compute['processes']} processes" if compute["processes"] > 1 else ""
    name = run.costs.get("device_name") or (hardware["gpus"][0] if gpu else hardware["processor"])
    threads = f"{hardware['threads']} thread{'s' if hardware['threads'] > 1 else ''}"
    return (
        f"{escape(name)} ({compute['accelerator']}), {hardware['cores']} cores, {threads}{processes},"
        f" precision {compute['precision']}"
    )


# --- how well the models did -----------------------------------------------------------------------------------------


def _names(runs: ShownRuns, shown: Sequence[ShownRun]) -> list[str]:
    return [code(runs.label(run)) for run in shown]


def _best(runs: ShownRuns, name: str) -> Any:
    higher = runs.higher_is_better.get(name)
    return None if higher is None else "highest" if higher else "lowest"


def _accuracy(runs: ShownRuns) -> list[str]:
    """The last epoch and the selected one, on the images that selected it."""
    if not runs.quantities:
        return []

    def columns(epoch: Callable[[ShownRun], int | None]) -> list[Column]:
        return [
            Column(code(name), [run.value(epoch(run), name) for run in runs.runs], best=_best(runs, name))
            for name in runs.quantities
        ]

    last, selected = [run.last_epoch for run in runs.runs], [run.selected_epoch for run in runs.runs]
    numbers = number_table(
        "Run",
        _names(runs, runs.runs),
        [
            Column("Last epoch", last, digits=0),
            *columns(lambda run: run.last_epoch),
            Column("Best epoch", selected, digits=0),
            *columns(lambda run: run.selected_epoch),
        ],
    )
    direction = {True: "higher is better", False: "lower is better"}.get(runs.higher_is_better.get(runs.primary, None))  # type: ignore[arg-type]
    by = f"The best epoch is that of the best {code(runs.primary)}{f' ({direction})' if direction else ''}."
    return ["## Accuracy", numbers, f"{by} {_where_from(runs)}".rstrip()]


def _where_from(runs: ShownRuns) -> str:
    if not runs.finished:
        return ""
    scored = runs.finished[0].summary["scored"]
    images = f"{scored['images']} {escape(scored['split'])} images"
    if scored["same_images"]:
        return (
            f"All figures come from the {images}. The best epoch was selected on them, so its figures are a little too"
            " good."
        )
    return (
        "These figures come from the validation images. The best epoch was selected on them, so its figures are a"
        f" little too good; those on the {images}, below, are not."
    )


def _final_figures(runs: ShownRuns) -> list[str]:
    """The selected epoch on images that selected nothing; where there are none the table above has all."""
    done = runs.finished
    if not done or done[0].summary["scored"]["same_images"]:
        return []
    scored = done[0].summary["scored"]
    names = [name for name in scored["values"] if in_metrics(name) in runs.quantities]
    names.sort(key=lambda name: runs.quantities.index(in_metrics(name)))
    columns = [
        Column(
            code(name),
            [run.summary["scored"]["values"].get(name) for run in done],
            best=_best(runs, in_metrics(name)),
        )
        for name in names
    ]
    epochs = Column("Epoch", [run.selected_epoch for run in done], digits=0)
    return [
        f"## On the {scored['images']} {escape(scored['split'])} images",
        number_table("Run", _names(runs, done), [epochs, *columns]),
    ]


def _means(record: ExperimentRecord, runs: ShownRuns) -> list[str]:
    """Over seeds, where a model has several."""
    board = make_leaderboard(record)
    if not any(row.finished > 1 for row in board.rows):
        return []
    names = [name for name in board.columns if in_metrics(name) in runs.quantities]
    rows = [
        [code(row.model), f"{row.finished}/{len(row.states)}", *(str(row.values.get(name, MISSING)) for name in names)]
        for row in board.rows
    ]
    return [
        "## Means over seeds",
        table(["Model", "Finished runs", *map(code, names)], rows, right=1 + len(names)),
        f"Of the final figures, on the {board.split} images: mean ± standard deviation.",
    ]


def _by_epoch(runs: ShownRuns) -> list[str]:
    """The primary quantity, epochs down and runs across; the selected epoch is bold."""
    name = runs.primary
    shown = [run for run in runs.runs if any(name in row["values"] for row in run.epochs)]
    if not name or not shown:
        return []

    def cell(run: ShownRun, epoch: int) -> str:
        value = run.value(epoch, name)
        text = MISSING if value is None else f"{value:.3f}"
        return f"**{text}**" if epoch == run.selected_epoch else text

    epochs = sorted({row["epoch"] for run in shown for row in run.epochs if name in row["values"]})
    rows = [[str(epoch), *(cell(run, epoch) for run in shown)] for epoch in epochs]
    return [
        f"## {code(name)} by epoch",
        table(["Epoch", *_names(runs, shown)], rows, right=len(shown)),
        "On the validation images; the selected epoch is bold.",
    ]


# --- what they cost --------------------------------------------------------------------------------------------------


def _costs(record: ExperimentRecord, runs: ShownRuns) -> list[str]:
    done = runs.finished
    if not done:
        return []

    def column(title: str, value: Callable[[ShownRun], float | None], unit: float, digits: int) -> Column:
        values = [value(run) for run in done]
        scaled = [None if number is None else number / unit for number in values]
        return Column(title, scaled, digits=digits, best="lowest")

    numbers = number_table(
        "Run",
        _names(runs, done),
        [
            column("Training (ms an image)", _train_ms, 1, 1),
            column("Training (s an epoch)", lambda run: run.measured["train_s"] / run.summary["epochs"], 1, 1),
            column("Training in all (min)", lambda run: run.measured["train_s"], 60, 2),
            column("Peak memory of training (MB)", lambda run: run.measured["peak_memory_bytes"], 1e6, 0),
            column("Latency, median (ms)", lambda run: run.costs.get("latency_ms_median"), 1, 1),
            column("Latency, 95 % (ms)", lambda run: run.costs.get("latency_ms_p95"), 1, 1),
            column("Memory of inference (MB)", lambda run: run.costs.get("inference_memory_bytes"), 1e6, 0),
            column("Parameters (M)", lambda run: run.summary["parameters"], 1e6, 3),
            column("GFLOPs", lambda run: run.costs.get("flops"), 1e9, 3),
            column("Weights (MB)", lambda run: run.costs.get("weights_bytes"), 1e6, 1),
        ],
    )
    return ["## Costs", numbers, " ".join(_how_measured(record, runs))]


def _train_ms(run: ShownRun) -> float | None:
    """Records of an older detkit have the images a second only."""
    value: float | None = run.costs.get("train_ms_per_image")
    return value if value is not None or run.costs else 1000 / run.measured["images_per_s"]


def _how_measured(record: ExperimentRecord, runs: ShownRuns) -> list[str]:
    """What the numbers mean, as far as they are there."""
    told = ["Training time is without evaluations. On a CPU, memory is all that the process holds, libraries included."]
    timed = [run.costs for run in runs.finished if run.costs.get("latency_measurements")]
    if timed:
        told.append(_how_timed(timed))
    if any(run.costs.get("flops") is not None for run in runs.finished):
        told.append(
            "GFLOPs are of one forward pass over one image, a multiplication and an addition counted as two;"
            " normalisation, pooling, RoI align and non-maximum suppression are not counted."
        )
    told += [
        f"{escape(what)} of {code(runs.label(run))} could not be measured: {_told(record, why)}."
        for run in runs.finished
        for what, why in run.costs.get("troubles", {}).items()
    ]
    return told


def _how_timed(timed: Sequence[Mapping[str, Any]]) -> str:
    images = sorted({costs["latency_images"] for costs in timed})
    which = f"the same {images[0]}" if len(images) == 1 else f"the first {images[0]} to {images[-1]} of the same"
    others = max(costs.get("processors_used_by_others") or 0.0 for costs in timed)
    busy = f" Other programs used up to {others:.0%} of the processors meanwhile." if others >= BUSY else ""
    return (
        "Latency is of one image, from pixels to boxes, without decoding, with the model's own confidence threshold;"
        f" over {which} images for every model, each run once before it was measured"
        f" ({min(costs['latency_measurements'] for costs in timed)} measurements or more).{busy}"
    )


# --- how they were trained -------------------------------------------------------------------------------------------


def _recipes(runs: ShownRuns) -> list[str]:
    """One row a model: its seeds share the recipe."""
    by_model = {run.model: run.train for run in reversed(runs.runs) if run.train}
    models = [model for model in dict.fromkeys(run.model for run in runs.runs) if model in by_model]
    if not models:
        return []
    keys = [key for key in RECIPE if any(key in by_model[model] for model in models)]
    rows = [[code(model), *(_plain(by_model[model].get(key)) for key in keys)] for model in models]
    return ["## Recipes", table(["Model", *(RECIPE[key] for key in keys)], rows)]


def _plain(value: object) -> str:
    return MISSING if value is None else f"{value:g}" if isinstance(value, float) else escape(str(value))


def _guards(runs: ShownRuns) -> list[str]:
    """Steps that were skipped and trainings that were rolled back, where the runs say so."""
    guards = {runs.label(run): run.summary["guard"] for run in runs.finished if run.summary.get("guard")}
    told = [
        f"- {code(name)}: "
        + ", ".join(f"{escape(key.replace('_', ' '))} {_count(found)}" for key, found in guard.items())
        for name, guard in guards.items()
    ]
    return ["## Guard rails", "\n".join(told)] if told else []


def _count(value: object) -> str:
    return str(len(value)) if isinstance(value, list | dict) else _plain(value)


def _unfinished(record: ExperimentRecord, runs: ShownRuns) -> list[str]:
    told = [
        f"- {code(runs.label(run))} {_state(run)}" + (f": {_told(record, run.cause)}" if run.cause else "")
        for run in runs.runs
        if not run.summary
    ]
    return ["## Runs that have not finished", "\n".join(told)] if told else []


def _told(record: ExperimentRecord, text: str) -> str:
    """What a run said, for anybody to read."""
    folders = (record.folder, record.folder.absolute(), Path(str(record.facts["spec_file"])).parent, Path.home())
    return escape(portable_text(text, folders))


def _state(run: ShownRun) -> str:
    epoch = f" after epoch {run.epochs[-1]['epoch']} of {run.train.get('epochs', '?')}" if run.epochs else ""
    return {"failed": "failed", "running": "is running", "interrupted": "was interrupted", "pending": "has not begun"}[
        run.state
    ] + epoch


def _reproduce(record: ExperimentRecord, spec: Mapping[str, Any]) -> list[str]:
    name = PurePath(str(record.facts["spec_file"]).replace("\\", "/")).name
    return [
        "## Again",
        fenced(f"detkit run {name}", "sh"),
        f"with this spec as {code(name)}: every default filled in, paths reduced to their last part, loggers left out.",
        fenced(tomli_w.dumps(portable_spec(spec)), "toml"),
        f"This page was written by `detkit show --markdown` from the record of detkit"
        f" {escape(str(record.facts['versions'].get('detkit', '')))}.",
    ]
