"""`detkit new spec`: a spec for data that is there, with a comment wherever something was decided."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from detkit.cli.options import json_option, no_plugin_option
from detkit.errors import DetkitError, SpecError, UserError

if TYPE_CHECKING:
    from detkit.scaffold.data import Looked
    from detkit.scaffold.facts import Machine
    from detkit.scaffold.plan import Plan
    from detkit.scaffold.recognise import Candidate

#: Always written: the console, and tables.
OWN_LOGGERS = ("console", "csv")


@click.command("spec")
@click.option(
    "--data", type=click.Path(path_type=Path), metavar="FOLDER", help="The data; or its JSON, YAML or CSV file."
)
@click.option("--format", "use", metavar="FORMAT", help="What it is: coco, voc, yolo, csv, masks, or a plugin's.")
@click.option("--models", metavar="NAME,...", help="Which models to compare; by default two or three that suit.")
@click.option("--logger", metavar="NAME", help="Where to report beside the console: comet, none, or a plugin's.")
@click.option("--goal", metavar="RULE", help="What is to be best, as 'ap where latency_ms < 50'.")
@click.option("--name", metavar="NAME", help="The experiment's name; by default the folder's.")
@click.option("--to", type=click.Path(path_type=Path), default=Path("experiment.toml"), metavar="FILE",
              show_default=True, help="Where to write.")  # fmt: skip
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE",
              help="An option of the dataset, as dataset.masks=off. May be repeated.")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@click.option("--yes", is_flag=True, help="Ask nothing: take the defaults.")
@no_plugin_option
@json_option
def command(
    data: Path | None,
    use: str | None,
    models: str | None,
    logger: str | None,
    goal: str | None,
    name: str | None,
    to: Path,
    settings: tuple[str, ...],
    force: bool,
    yes: bool,
    blocked: tuple[str, ...],
    as_json: bool,
) -> None:
    """Look at a folder of data, and write a spec for it that `detkit check` accepts.

    Says what it recognised and why, and what it decided: sizes, epochs and batch by the images and by this machine.
    On a terminal it asks for what no option says; elsewhere it takes the defaults.
    """
    from detkit.cli.console import RichMessages
    from detkit.plugins import collect
    from detkit.scaffold.data import ambiguity, candidates, look
    from detkit.scaffold.facts import this_machine
    from detkit.scaffold.goal import read_goal
    from detkit.scaffold.plan import check_logger, default_models, plan
    from detkit.scaffold.spec import experiment_name, spec_text

    asks = not yes and not as_json and sys.stdin.isatty() and sys.stderr.isatty()
    _refuse_old(to, force)
    registry = collect(blocked=blocked)
    if data is None:
        data = _ask_data() if asks else _missing_data()
    found = candidates(data, use, registry)
    if len(found) > 1 and not asks:
        raise UserError(ambiguity(found))
    candidate = found[0] if len(found) == 1 else _ask_which(found)
    looked = look(candidate, _options(settings), to.parent, blocked, RichMessages())
    machine = this_machine()

    def planned(text: str) -> Plan:
        return plan(looked.facts, machine, [one.strip() for one in text.split(",") if one.strip()], registry)

    def reported(text: str) -> list[str]:
        names = [one.strip() for one in text.split(",") if one.strip() not in ("", "none", *OWN_LOGGERS)]
        for one in names:
            check_logger(one, registry)
        return names

    if asks:
        _say_data(looked)
        models = models if models is not None else _ask("Models", ",".join(default_models(looked.facts)), planned)
        logger = logger if logger is not None else _ask("Report to, beside the console", "none", reported)
        goal = goal if goal is not None else _ask("What is to be best (empty: the highest AP)", "", _goal_or_empty)
    chosen, loggers = planned(models or ""), reported(logger or "")
    if goal:
        read_goal(goal)
    name = name or experiment_name(candidate.place)
    text = spec_text(
        candidate,
        looked.facts,
        chosen,
        name=name,
        file=to,
        options=looked.options,
        loggers=loggers,
        goal=goal or "",
    )
    _write(to, text, blocked)
    commands = _next(to, name, goal or "")
    if as_json:
        click.echo(json.dumps(_as_json(to, looked, chosen, loggers, commands), indent=2))
        return
    if not asks:
        _say_data(looked)
    _say_plan(chosen, loggers, machine)
    click.echo(f"written: {to}\nnext:")
    for line in commands:
        click.echo(f"  {line}")


def _options(settings: Sequence[str]) -> dict[str, Any]:
    from detkit.spec.overrides import parse_overrides

    options = {}
    for key, value in parse_overrides(settings).items():
        table, _, option = key.partition(".")
        if table != "dataset" or not option or "." in option:
            raise click.UsageError(f"--set {key}: only options of the dataset, as dataset.masks=off; edit the rest")
        if option == "use":
            raise click.UsageError("--set dataset.use: say it with --format")
        options[option] = value
    return options


# --- questions -------------------------------------------------------------------------------------------------------


def _missing_data() -> Path:
    raise click.UsageError("--data FOLDER is missing: where are the images and their annotations?")


def _ask_data() -> Path:
    return Path(click.prompt("Folder of the data", err=True, value_proc=_existing))


def _existing(text: str) -> str:
    if not Path(text).expanduser().exists():
        raise click.BadParameter(f"there is no {text}")
    return str(Path(text).expanduser())


def _ask_which(found: Sequence[Candidate]) -> Candidate:
    click.echo("The data may be several things:", err=True)
    for number, one in enumerate(found, 1):
        click.echo(f"  {number}. {one.use} in {one.place}: {one.why}", err=True)
    number = click.prompt("Which", type=click.IntRange(1, len(found)), err=True)
    return found[int(number) - 1]


def _ask(question: str, default: str, check: Callable[[str], object]) -> str:
    """The answer, asked for until it is one."""

    def checked(text: str) -> str:
        try:
            check(text)
        except DetkitError as error:
            raise click.BadParameter(str(error)) from error
        return text

    return str(click.prompt(question, default=default, show_default=bool(default), err=True, value_proc=checked))


def _goal_or_empty(text: str) -> None:
    from detkit.scaffold.goal import read_goal

    if text.strip():
        read_goal(text)


# --- writing ---------------------------------------------------------------------------------------------------------


def _refuse_old(to: Path, force: bool) -> None:
    """Before anything is looked at, which may take a while."""
    if to.is_dir():
        raise UserError(f"--to: {to} is a folder; name a file, as {to / 'experiment.toml'}")
    if os.path.lexists(to) and not force:
        raise UserError(f"{to} is there already, and nothing was written: name another file with --to, or use --force")


def _write(to: Path, text: str, blocked: Sequence[str]) -> None:
    """The file, after `detkit check` has accepted it."""
    from detkit.spec.loader import load_spec

    trial = to.with_name(f".{to.name}.{os.getpid()}.toml")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        trial.write_text(text, encoding="utf-8")
        load_spec(trial, blocked=blocked)
        trial.replace(to)
    except SpecError as error:
        told = "\n".join(f"  [{problem.table}] {problem.key}: {problem.message}" for problem in error.problems)
        raise UserError(f"this would be no valid spec, and nothing was written:\n{told}") from error
    except OSError as error:
        raise UserError(f"{to} cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):  # where a folder is a file, even looking for it fails
            trial.unlink()


# --- what is said ----------------------------------------------------------------------------------------------------


def _say_data(looked: Looked) -> None:
    facts, candidate = looked.facts, looked.candidate
    click.echo(f"data: {candidate.place} is {candidate.use}: {candidate.why}")
    counts = ", ".join(f"{label} {count}" for label, count in facts.classes.items())
    many = f" ({facts.empty} without objects)" if facts.empty else ""
    part = f", of which {facts.looked_at} were looked at" if facts.looked_at < facts.images else ""
    click.echo(
        f"  {facts.images} images{many}{part}, {facts.objects} objects, {'masks' if facts.masks else 'boxes only'}"
    )
    click.echo(f"  {len(facts.classes)} {'class' if len(facts.classes) == 1 else 'classes'}: {counts}")
    if facts.broken:
        broken = "1 image" if facts.broken == 1 else f"{facts.broken} images"
        click.echo(f"warning: {broken} cannot be read, as {facts.first_broken}", err=True)


def _say_plan(chosen: Plan, loggers: Sequence[str], machine: Machine) -> None:
    from importlib.util import find_spec

    why = chosen.why
    click.echo("decided:")
    click.echo(f"  split: {why['split']}")
    if chosen.degenerate:
        click.echo(f'  degenerate = "{chosen.degenerate}": {why["degenerate"]}')
    click.echo(f"  input {chosen.min_size} to {chosen.max_size} pixels: {why['input']}")
    click.echo(f"  batch_size {chosen.batch_size}: {why['batch_size']}")
    click.echo(f"  epochs {chosen.epochs}: {why['epochs']}")
    models = [", ".join([one.name, *map(str, one.options.values())]) for one in chosen.models]
    click.echo(f"  models: {'; '.join(models)}")
    click.echo(f"  reports to: {', '.join([*OWN_LOGGERS, *loggers])}")
    if "comet" in loggers and find_spec("comet_ml") is None:
        click.echo('warning: comet needs its library: pip install "detkit[comet]"', err=True)


def _next(to: Path, name: str, goal: str) -> list[str]:
    spec = shlex.quote(str(to))
    folder = shlex.quote(str(to.parent / "runs" / name))
    last = f"detkit compare {folder} --best {shlex.quote(goal)}" if goal else f"detkit compare {folder}"
    return [f"detkit check {spec} --deep", f"detkit run {spec}", last]


def _as_json(
    to: Path, looked: Looked, chosen: Plan, loggers: Sequence[str], commands: Sequence[str]
) -> Mapping[str, Any]:
    from detkit.record.layout import FORMAT_VERSION

    return {
        "format_version": FORMAT_VERSION,
        "spec": str(to),
        "data": {
            "format": looked.candidate.use,
            "place": str(looked.candidate.place),
            "why": looked.candidate.why,
            **asdict(looked.facts),
        },
        "decided": asdict(chosen),
        "loggers": [*OWN_LOGGERS, *loggers],
        "next": list(commands),
    }
