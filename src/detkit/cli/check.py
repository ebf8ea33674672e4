"""`detkit check`: everything that is wrong with a spec, or one line that says it is fine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import click

from detkit.cli.options import SpecOptions, json_option, load, spec_options
from detkit.errors import Problem, SpecError

if TYPE_CHECKING:
    from detkit.spec.model import ExperimentSpec


@click.command("check")
@click.argument("spec", type=click.Path(path_type=Path))
@spec_options
@click.option("--explain", is_flag=True, help="Print each resolved value and where it came from.")
@click.option("--deep", is_flag=True, help="Look at devices, data, class names and weight files too.")
@json_option
def command(spec: Path, explain: bool, deep: bool, as_json: bool, **options: Unpack[SpecOptions]) -> int:
    """Check SPEC without training: its syntax, its options, what its parts need of each other.

    Prints every problem at once, in the order of the file. Exit code 2 if there is one.
    """
    try:
        found = load(spec, options)
    except SpecError as error:
        return _report(error.problems, spec, as_json)
    problems = _deep(found) if deep else []
    if problems:
        return _report(problems, spec, as_json)
    if as_json:
        click.echo(json.dumps(_as_json(found, explain), indent=2))
        return 0
    if explain:
        _print_explained(found)
    click.echo(_summary(found))
    return 0


def _deep(spec: ExperimentSpec) -> list[Problem]:
    from detkit.cli.console import RichMessages
    from detkit.engine.prepare import deep_check

    return list(deep_check(spec, RichMessages()))


def _report(problems: Any, spec: Path, as_json: bool) -> int:
    if as_json:
        click.echo(json.dumps({"ok": False, "problems": [_problem_json(problem) for problem in problems]}, indent=2))
    else:
        for problem in problems:
            click.echo(str(problem))
        click.echo(f"error: {len(problems)} problem{'s' if len(problems) > 1 else ''} in {spec}", err=True)
    return SpecError.exit_code


def _problem_json(problem: Problem) -> dict[str, Any]:
    return {
        "file": str(problem.where),
        "line": problem.line,
        "table": problem.table,
        "key": problem.key,
        "message": problem.message,
    }


def _as_json(spec: ExperimentSpec, explain: bool) -> dict[str, Any]:
    models, runs = _counts(spec)
    report: dict[str, Any] = {"ok": True, "problems": [], "models": models, "runs": runs}
    if spec.search is not None:
        report["trials"] = {model: spec.search.trials(model) for model in spec.search.models}
    if explain:
        from detkit.spec.explain import explain as explained

        report["values"] = [row.as_json() for row in explained(spec)]
    return report


def _counts(spec: ExperimentSpec) -> tuple[int, int]:
    models = sum(use.enabled for use in spec.models.values())
    trials = [
        spec.search.trials(key) if spec.search is not None and key in spec.search.models else 1
        for key, use in spec.models.items()
        if use.enabled
    ]
    return models, sum(trials) * len(spec.experiment.seeds) * (spec.split.folds or 1)


def _summary(spec: ExperimentSpec) -> str:
    models, runs = _counts(spec)
    return (
        f"ok: {models} model{'s' * (models != 1)}, {runs} run{'s' * (runs != 1)}"
        f" on {spec.dataset.key}, recorded in {spec.record_folder}{_search(spec)}"
    )


def _search(spec: ExperimentSpec) -> str:
    """A line on the search: how many trials of each model, of how many that there could be."""
    if spec.search is None:
        return ""
    counts = []
    for model in spec.search.models:
        trials, there = spec.search.trials(model), spec.search.combinations(model)
        whole = "" if there is None else " (all combinations)" if trials == there else f" of {there} combinations"
        keys = ", ".join(spec.search.space(model).parameters)
        counts.append(f"{trials} trial{'s' * (trials != 1)} of {model}{whole} over {keys}")
    return f"\nsearch by {spec.search.use.key}: {'; '.join(counts)}"


def _print_explained(spec: ExperimentSpec) -> None:
    from detkit.cli.console import print_table
    from detkit.spec.explain import explain, origin_words, value_words

    rows = [(row.key, value_words(row.value), origin_words(row.origin)) for row in explain(spec)]
    print_table(("key", "value", "origin"), rows)
