"""Run panels outside Comet: the same code, the same client, the page as an HTML file.

    python run_locally.py accuracy_speed.py --workspace W --project P --out pages

The experiments come from the Comet server that the client is configured for, with its key (`COMET_API_KEY`, or
`comet login`); `COMET_URL_OVERRIDE` names another server. `--choose` answers a widget by its label.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

sys.path.insert(0, str(Path(__file__).parent))

from local_page import ChoiceError, LocalStreamlit, page

#: Comet runs each panel as a file named so, and the client finds the panel's settings by that name.
PAGE_FILE = "page_local.py"


@click.command()
@click.argument("panels", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--workspace", required=True, help="the workspace in Comet")
@click.option("--project", required=True, help="the project in it")
@click.option("--experiment", "experiments", multiple=True, metavar="KEY", help="only this experiment; may be repeated")
@click.option("--choose", "choices", multiple=True, metavar="LABEL=VALUE", help="answer a widget; may be repeated")
@click.option("--options", "options", default="{}", metavar="JSON", help="what the panel's Options hold")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("."), help="folder for the pages")
@click.option("--json", "as_json", is_flag=True, help="write what is shown as JSON too")
def main(
    panels: tuple[Path, ...],
    workspace: str,
    project: str,
    experiments: tuple[str, ...],
    choices: tuple[str, ...],
    options: str,
    out: Path,
    as_json: bool,
) -> None:
    """Run Comet panels here and write the page of each as HTML."""
    settings: dict[str, Any] = {"comet.workspace": workspace, "comet.project_name": project}
    settings["COMET_PANEL_OPTIONS"] = parse_options(options)
    if experiments:
        settings["COMET_EXPERIMENT_KEYS"] = list(experiments)
    chosen = parse_choices(choices)
    labels: set[str] = set()
    out.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("COMET_DISABLE_AUTO_LOGGING", "1")
    with clear_refusals():
        require_experiments(experiments)
    for panel in panels:
        try:
            with clear_refusals():
                shown = run(panel, settings, chosen)
        except ChoiceError as error:
            raise click.ClickException(f"{panel.name}: {error}") from None
        labels |= set(shown.labels)
        file = out / f"{panel.stem}.html"
        file.write_text(page(panel.stem.replace("_", " ").capitalize(), shown.elements), encoding="utf-8")
        click.echo(file)
        if as_json:
            file.with_suffix(".json").write_text(json.dumps(shown.elements, indent=1), encoding="utf-8")
    unknown = sorted(set(chosen) - labels)
    if unknown:
        raise click.ClickException(f"no widget is named {unknown[0]!r}; there are: {', '.join(sorted(labels))}")


def run(panel: Path, settings: dict[str, Any], choices: dict[str, list[str]]) -> LocalStreamlit:
    """Run the panel as Comet does, `settings` being what its server tells the client about a panel."""
    local = LocalStreamlit(choices)
    local.session_state["comet_config_override"] = {PAGE_FILE: settings}
    sys.modules["streamlit"] = local
    # The client holds the module that it found when it was imported: it is told of each panel's own.
    from comet_ml.config import streamlit_config

    streamlit_config.st = local
    exec(compile(panel.read_text(encoding="utf-8"), PAGE_FILE, "exec"), {"__name__": "__main__"})
    return local


def require_experiments(keys: tuple[str, ...]) -> None:
    """Before any panel runs: a key of the API, and the experiments that were asked for.

    Raises:
        click.ClickException: saying what is missing.
    """
    from comet_ml import API
    from comet_ml.config import get_api_key, get_config

    if get_api_key(None, get_config()) is None:
        raise click.ClickException("there is no API key for Comet; run `comet login`, or set COMET_API_KEY")
    if keys:
        api = API()
        missing = [key for key in keys if api.get_experiment_by_key(key) is None]
        if missing:
            raise click.ClickException(f"--experiment: Comet has no experiment {', '.join(missing)}")


@contextmanager
def clear_refusals() -> Iterator[None]:
    """Turn what the server refuses, or that it cannot be reached, into one line."""
    from comet_ml.exceptions import CometRestApiException
    from requests import RequestException

    try:
        yield
    except CometRestApiException as error:
        answer = error.response
        raise click.ClickException(f"Comet answered {answer.status_code}: {answer.text[:300]}") from None
    except RequestException as error:
        raise click.ClickException(f"Comet's server cannot be reached: {error}") from None


def parse_options(text: str) -> dict[str, Any]:
    try:
        options = json.loads(text)
    except ValueError as error:
        raise click.ClickException(f"--options: not JSON: {error}") from None
    if not isinstance(options, dict):
        raise click.ClickException("--options: give a JSON object, {...}")
    return options


def parse_choices(texts: tuple[str, ...]) -> dict[str, list[str]]:
    """Label to values; a label that is repeated has several, for a widget that takes several."""
    choices: dict[str, list[str]] = {}
    for text in texts:
        label, equals, value = text.partition("=")
        if not equals:
            raise click.ClickException(f"--choose: write LABEL=VALUE, not {text!r}")
        choices.setdefault(label, []).append(value)
    return choices


if __name__ == "__main__":
    main()
