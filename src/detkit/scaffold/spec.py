"""The text of a spec for some data, with a comment wherever something was decided."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from detkit.components import NAME_PATTERN
from detkit.scaffold.facts import DataFacts
from detkit.scaffold.plan import Plan
from detkit.scaffold.recognise import Candidate

#: A comment begins here where the line allows, and a line ends here.
COLUMN, WIDTH = 32, 120


def spec_text(
    candidate: Candidate,
    facts: DataFacts,
    chosen: Plan,
    *,
    name: str,
    file: Path,
    options: Mapping[str, Any],
    loggers: Sequence[str],
    goal: str,
) -> str:
    """TOML that `detkit check` accepts.

    Args:
        name: of the experiment. file: the spec; paths are relative to its folder, unless they were given absolute.
        options: of the dataset beside its place. loggers: beside the console and tables. goal: "" for none.
    """
    lines = [
        *_head(candidate, facts, name, file, goal),
        *_dataset(candidate, chosen, file.parent, options),
        *_training(chosen),
        *_models(chosen),
        *_ends(loggers, name),
    ]
    return "\n".join(lines).rstrip() + "\n"


def experiment_name(place: Path) -> str:
    """A name for the experiment after the folder of the data."""
    known = place.resolve()
    stem = known.stem if known.is_file() else known.name
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-_")
    return plain if NAME_PATTERN.fullmatch(plain) else "experiment"


def _head(candidate: Candidate, facts: DataFacts, name: str, file: Path, goal: str) -> Iterator[str]:
    counts = ", ".join(f"{label} {count}" for label, count in list(facts.classes.items())[:12])
    more = f" and {len(facts.classes) - 12} more classes" if len(facts.classes) > 12 else ""
    looked = f", of which {facts.looked_at} were looked at" if facts.looked_at < facts.images else ""
    yield from _wrapped(f"{facts.images} images{looked}, {facts.objects} objects: {counts}{more}.")
    yield from _wrapped(f"Recognised as {candidate.use}: {candidate.why}.")
    yield "#"
    yield f"#     detkit run {_quoted(file.name)} --smoke     rehearse; says how long the whole will take"
    yield f"#     detkit run {_quoted(file.name)}"
    if goal:
        yield f"#     detkit compare runs/{name} --best {_quoted(goal)}"
    yield ""
    yield "[experiment]"
    yield _line({"name": name}, "the folder below runs/ in which all of it is recorded")
    yield _line({"seeds": [1]}, "[1, 2, 3] says how much of a difference is luck, and takes three times as long")
    yield ""


def _dataset(candidate: Candidate, chosen: Plan, folder: Path, options: Mapping[str, Any]) -> Iterator[str]:
    yield "[dataset]"
    yield _line({"use": candidate.use})
    yield _line({candidate.key: stated_path(candidate.place, folder)}, _told_of(candidate.place))
    for key, value in options.items():
        yield _line({key: value})
    if chosen.degenerate and "degenerate" not in options:
        yield _line({"degenerate": chosen.degenerate}, chosen.why["degenerate"])
    yield ""
    if chosen.validation is None:
        yield from _wrapped(f"No [dataset.split]: {chosen.why['split']}.")
    else:
        yield from _wrapped(f"{_capital(chosen.why['split'])}.")
        yield "[dataset.split]"
        yield _line({"validation": chosen.validation})
        if chosen.test is not None:
            yield _line({"test": chosen.test})
        yield _line({"seed": 0}, "shuffles the images before they are divided")
    yield ""


def _training(chosen: Plan) -> Iterator[str]:
    yield from _wrapped(f"{_capital(chosen.why['input'])}.")
    yield "[input]"
    yield _line({"min_size": chosen.min_size}, "the shorter side, pixels")
    yield _line({"max_size": chosen.max_size}, "what the longer side must not exceed")
    yield ""
    yield "[compute]"
    yield _line({"device": "auto"}, f"here: {chosen.device}")
    yield ""
    yield "[train]"
    yield _line({"epochs": chosen.epochs}, chosen.why["epochs"])
    yield _line({"batch_size": chosen.batch_size}, chosen.why["batch_size"])
    yield ""


def _models(chosen: Plan) -> Iterator[str]:
    yield "# Each brings a learning rate of its own; [models.KEY.train] overrides it. `detkit plugins` lists others."
    for number, model in enumerate(chosen.models):
        yield f"[models.{model.name}]"
        for key, value in model.options.items():
            fetched = key == "weights" and value != "none" and number == 0
            yield _line({key: value}, 'fetched once; "none" learns from nothing, which takes longer' if fetched else "")
        yield ""
    yield _line_of("[metrics.coco]", "coco/ap selects the best epoch")
    yield ""


def _ends(loggers: Sequence[str], name: str) -> Iterator[str]:
    yield "[loggers.console]"
    yield ""
    yield _line_of("[loggers.csv]", "tables of all numbers, in each run's folder")
    yield ""
    for logger in loggers:
        if logger == "comet":
            yield _line_of("[loggers.comet]", 'needs: pip install "detkit[comet]", and a key from `comet login`')
            yield _line({"project": name})
        else:
            yield f"[loggers.{logger}]"
        yield ""


def _told_of(place: Path) -> str:
    return "" if place.is_absolute() else "relative to this file"


def stated_path(place: Path, folder: Path) -> str:
    """As a spec in that folder names it."""
    if place.is_absolute():
        return str(place)
    # Not resolved: a link to the data is meant to be followed where it is read.
    return Path(os.path.relpath(os.path.abspath(place), os.path.abspath(folder))).as_posix()


def _line(entry: Mapping[str, Any], comment: str = "") -> str:
    import tomli_w

    (key, value) = next(iter(entry.items()))
    if isinstance(value, list | tuple):
        inner = ", ".join(tomli_w.dumps({"x": item}).strip().removeprefix("x = ") for item in value)
        return _line_of(f"{tomli_w.dumps({key: 0}).strip().removesuffix('0')}[{inner}]", comment)
    return _line_of(tomli_w.dumps({key: value}).strip(), comment)


def _line_of(text: str, comment: str) -> str:
    if not comment:
        return text
    return f"{text:<{COLUMN - 1}} # {_one_line(comment)}"


def _wrapped(text: str) -> Iterator[str]:
    line = "#"
    for word in _one_line(text).split(" "):
        if len(line) + 1 + len(word) > WIDTH and line != "#":
            yield line
            line = "#"
        line += f" {word}"
    yield line


def _one_line(text: str) -> str:
    """A comment must not hold what would end it, or what TOML forbids in it."""
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _quoted(text: str) -> str:
    import shlex

    return shlex.quote(_one_line(text))
