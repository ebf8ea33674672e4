"""What was compared: data, input, machine, versions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from detkit.record.files import read_json
from detkit.record.reader import ExperimentRecord
from detkit.report.portable import portable
from detkit.report.runs import ShownRun, ShownRuns
from detkit.report.say import shared
from detkit.report.text import code, escape

#: Characters of a value that are shown: those of a sha256.
LONGEST_VALUE = 64


def setting(record: ExperimentRecord, runs: ShownRuns, spec: Mapping[str, Any]) -> str:
    begun = datetime.fromtimestamp(record.facts["created"], UTC).strftime("%d %B %Y").lstrip("0")
    versions = ", ".join(f"{name} {version}" for name, version in record.facts["versions"].items())
    points = {
        "Data": _data(record, spec),
        "Input": shared(runs, _input),
        "Epochs": shared(runs, lambda run: str(run.train.get("epochs", ""))),
        "Seeds": ", ".join(map(str, dict.fromkeys(run.seed for run in runs.runs))),
        "Weights at the start": shared(runs, _origin),
        "Machine": shared(runs, _machine),
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
    folds = [size for name, size in sizes.items() if name.startswith("fold ")]
    divided = (
        f"{len(folds)} folds of {', '.join(map(str, folds))} images, each of which validates once"
        if folds
        else f"{sizes['train']} images train, {sizes['validation']} validate"
    )
    return (
        f"{code(str(spec['dataset']['use']))}, {found['images']} images with {found['objects']} objects of {classes};"
        f" {divided}, {test}"
        f" (split seed {spec['dataset'].get('split', {}).get('seed', 0)})"
    )


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
    # Lists and tables, such as the names of all tensors that were taken, are for the record.
    single = {key: value for key, value in plain.items() if isinstance(value, (str, int, float))}
    rest = ", ".join(f"{escape(str(key))} {escape(str(value)[:LONGEST_VALUE])}" for key, value in single.items())
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
