"""`detkit compare`: which model is best for a case, how sure that is, and who comes next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from detkit.cli.options import json_option
from detkit.errors import RecordError, UserError

if TYPE_CHECKING:
    from detkit.compare.comparison import Comparison

#: How the ending of --output's file chooses a form.
FORMS = {".json": "json", ".csv": "csv", ".md": "markdown", ".markdown": "markdown"}


@click.command("compare")
@click.argument("named", nargs=-1, metavar="[EXPERIMENT|RUN]...")
@click.option("--best", metavar="RULE", help="Who wins, as 'ap where latency_ms < 50 and memory_mb < 500'.")
@click.option("--filter", "where", metavar="CONDITION", help="Show the models that meet it, as 'ap > 0.3'.")
@click.option("--by", metavar="QUANTITY", help="Compare in pairs by this number; by default the primary one.")
@click.option("--sort", metavar="QUANTITY", help="Order the rows by this number, the best first.")
@click.option("--columns", metavar="NAME,...", help="Show these columns; 'all' shows every one.")
@click.option("--per-class", is_flag=True, help="Show the number of every class too.")
@click.option("--pareto", multiple=True, metavar="X,Y", help="One more Pareto front, as f1,memory_mb. May be repeated.")
@click.option("--runs", "by_run", is_flag=True, help="A row for every run, instead of every model.")
@click.option("--pairs/--no-pairs", default=True, help="Say which models can be told apart.")
@click.option(
    "--resamples", type=int, metavar="N", help="Draw the images N times; by default as often as the spec says."
)
@click.option("--anyway", is_flag=True, help="Do not refuse models that were scored on other images.")
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values.")
@click.option("--markdown", is_flag=True, help="Print Markdown.")
@click.option(
    "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write to FILE, in the form of its name."
)
def command(
    named: tuple[str, ...],
    best: str | None,
    where: str | None,
    by: str | None,
    sort: str | None,
    columns: str | None,
    per_class: bool,
    pareto: tuple[str, ...],
    by_run: bool,
    pairs: bool,
    resamples: int | None,
    anyway: bool,
    as_json: bool,
    as_csv: bool,
    markdown: bool,
    output: Path | None,
) -> None:
    """Compare models: those of experiments, or single runs; by default of the newest experiment in runs/.

    EXPERIMENT and RUN are folders, or beginnings of names: runs/quick, quick/fcos.
    """
    from detkit.cli.compare_forms import FORM_WRITERS
    from detkit.cli.console import RichMessages
    from detkit.compare.comparison import comparison

    if not named:
        named = _newest()
    form = _form(output, json=as_json, csv=as_csv, markdown=markdown)
    found = comparison(
        named,
        by=by,
        best=best,
        where=where,
        sort=sort,
        pareto=[_two(text) for text in pareto],
        by_run=by_run,
        anyway=anyway,
        pairs=pairs,
        resamples=resamples,
        messages=RichMessages(),
    )
    shown = _columns(found, columns)
    text = FORM_WRITERS[form](found, shown, per_class)
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise RecordError(f"{output} cannot be written: {error.strerror}") from error
    click.echo(f"wrote {output}", err=True)


def _newest() -> tuple[str]:
    """The experiment that is taken where none is named; says which."""
    from detkit.compare.members import newest

    folder = newest().folder
    click.echo(f"comparing the newest experiment, {folder}", err=True)
    return (str(folder),)


def _form(output: Path | None, **asked: bool) -> str:
    wanted = [name for name, is_on in asked.items() if is_on]
    if len(wanted) > 1:
        raise click.UsageError(f"{', '.join(f'--{name}' for name in wanted)}: choose one of them")
    by_name = FORMS.get(output.suffix.lower(), "text") if output else "text"
    return wanted[0] if wanted else by_name


def _two(text: str) -> tuple[str, str]:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 2 or not all(parts):
        raise click.UsageError(f"--pareto wants two quantities, as f1,memory_mb, and not {text!r}")
    return parts[0], parts[1]


def _columns(found: Comparison, text: str | None) -> list[str] | None:
    """The columns that were asked for; None where nobody did.

    Raises:
        UserError: there is no such column.
    """
    from detkit.cli.compare_table import WORDS, all_columns

    if text is None:
        return None
    if text.strip() == "all":
        return all_columns(found)
    names = found.names
    wanted = [part.strip() for part in text.split(",") if part.strip()]
    if not wanted:
        raise UserError("--columns names no column; it wants names with commas between them, as ap,latency_ms")
    return [name if name in WORDS else names.number(name) for name in wanted if name not in ("name", "model")]
