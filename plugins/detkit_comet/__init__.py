"""Reports runs to Comet, online or as archives that `comet upload` sends later; its Optimizer searches."""

from __future__ import annotations

import shlex
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from detkit import (
    BuildContext,
    Command,
    Logger,
    LoggerComponent,
    OptionPath,
    Options,
    Searcher,
    SearcherComponent,
    UserError,
    hookimpl,
)

if TYPE_CHECKING:
    import click

#: What `name` may hold between braces: attributes of `detkit.RunInfo`.
NAME_FIELDS = ("experiment", "model", "run_id", "seed")


class CometOptions(Options):
    """`[loggers.comet]`. The API key is none of them: it comes from `COMET_API_KEY` or from `comet login`."""

    mode: Literal["auto", "online", "offline"] = Field(
        "auto", description="auto: online where an API key is found, else offline; offline writes archives"
    )
    project: str | None = Field(
        None, min_length=1, description="Comet's project; by default the configured one, else the experiment's name"
    )
    workspace: str | None = Field(None, min_length=1, description="Comet's workspace; by default your own")
    name: str = Field(
        "{run_id}",
        min_length=1,
        description="of the experiment in Comet, one a run; may hold {experiment}, {model}, {run_id}, {seed}",
    )
    tags: tuple[str, ...] = Field((), description="given to every run's experiment in Comet")
    images: bool = Field(
        True, description="send the evaluated images with what is there and what was found, every epoch"
    )
    max_images: int | None = Field(
        None, ge=1, description="at most so many of them, spread over the split; by default all that the record keeps"
    )
    image_every_epochs: int = Field(
        1, ge=1, description="of the evaluated epochs, every so many sends images; the last one always does"
    )
    original_images: bool = Field(
        False, description="send the dataset's own image files where they are, instead of the record's smaller copies"
    )
    annotations_in: Literal["annotations", "metadata"] = Field(
        "annotations",
        description="by which argument of `log_image` objects go; Comet shows both alike, and checks the first",
    )
    min_score: float = Field(0.05, ge=0, le=1, description="detections below it are not drawn, 0 to 1")
    max_boxes: int = Field(100, ge=1, description="at most so many detections are drawn on an image, the surest ones")
    polygon_tolerance: float = Field(
        1.0, ge=0, description="how far a mask's outline may be simplified, pixels; 0 keeps every corner"
    )
    tables: bool = Field(
        True, description="send the tables of metrics, each epoch's and one of all epochs, and the leaderboard"
    )
    curves: bool = Field(True, description="send the curves of metrics, as many as Comet takes")
    confusion_matrix: bool = Field(True, description="send confusion matrices, with examples behind their cells")
    checkpoints: tuple[Literal["best", "last"], ...] = Field(
        ("best",), description="which checkpoints are sent, as models"
    )
    register_as: str | None = Field(
        None,
        min_length=1,
        description="register the best checkpoint under this name; may hold {experiment}, {model}, {run_id}, {seed}",
    )
    dataset: Literal["reference", "upload", "none"] = Field(
        "reference",
        description="the dataset as an Artifact: reference names its files with their digests, upload sends them too",
    )
    graph: bool = Field(True, description="send the model's structure as text")
    code: bool = Field(True, description="send the source of the plugin files that the spec names")
    git: bool = Field(
        False, description="send the git state of the working directory: commit, branch, uncommitted changes"
    )
    console: bool = Field(False, description="send what the run's process printed")
    system_metrics: bool = Field(
        True, description="let Comet sample CPU, memory, GPU, disk and network, and list the installed packages"
    )
    upload_at_end: bool = Field(
        False, description="after the last run, send what has not reached Comet, as `detkit comet upload` does"
    )
    offline_directory: OptionPath | None = Field(
        None, description="where archives are written; by default `comet` in the run's folder"
    )
    # The beginning of a run waits for three of them, and for a minute at most.
    timeout_s: int = Field(10, ge=1, le=15, description="how long one request to Comet may take, seconds")
    close_timeout_s: float = Field(
        60.0, gt=0, description="how long the end of a run waits for what is still to be sent, seconds"
    )

    @field_validator("name", "register_as")
    @classmethod
    def _name_is_a_template(cls, name: str | None) -> str | None:
        parsed = [part for part in Formatter().parse(name or "") if part[1] is not None]
        if any(form or conversion for _, _, form, conversion in parsed):
            raise ValueError("between braces stands a name alone, without : or !")
        unknown = [field for _, field, _, _ in parsed if field not in NAME_FIELDS]
        if unknown:
            known = ", ".join(f"{{{field}}}" for field in NAME_FIELDS)
            raise ValueError(f"there is no {{{unknown[0]}}}; there are: {known}")
        return name


def check_comet(options: CometOptions, _context: BuildContext) -> None:
    """Look whether the client is installed and, for `mode = "online"`, whether it finds an API key.

    Raises:
        LoggerRefused: one of them is missing; says what to do.
    """
    from detkit_comet.client import load_client, require_key

    load_client()
    if options.mode == "online":
        require_key()


def build_comet(options: CometOptions, context: BuildContext) -> Logger:
    """The logger; nothing is sent or written before its `start`.

    Raises:
        LoggerRefused: as `check_comet`.
    """
    from detkit_comet.logger import CometLogger

    check_comet(options, context)
    return CometLogger(options, context)


def publish_comet(options: CometOptions, context: BuildContext, folder: Path) -> None:
    """Send the leaderboard of the experiment in `folder`; with `upload_at_end` the runs that did not arrive, too."""
    from detkit_comet.leaderboard import publish_leaderboard

    if options.upload_at_end:
        from detkit_comet.sending import upload_at_end

        upload_at_end(options, context, folder)
    else:
        publish_leaderboard(options, context, folder)


def upload_command(run_folder: Path) -> str:
    """The command that sends a run from its record."""
    return f"detkit comet upload {shlex.quote(str(run_folder))}"


def _close_timeout(options: CometOptions) -> float:
    return options.close_timeout_s


def _publish_timeout(options: CometOptions) -> float | None:
    """Its beginning may take as long as that of a run: three requests that are not answered."""
    return None if options.upload_at_end else 3 * options.timeout_s + options.close_timeout_s


COMET = LoggerComponent(
    name="comet",
    options=CometOptions,
    build=build_comet,
    summary="Comet: parameters, losses, metrics, tables, curves and the best checkpoint, online or as an archive",
    check=check_comet,
    close_timeout_s=_close_timeout,
    upload_command=upload_command,
    publish=publish_comet,
    single=True,  # the client ends an experiment when it starts another one
    publish_timeout_s=_publish_timeout,
)


# --- search ----------------------------------------------------------------------------------------------------------


class CometOptimizerOptions(Options):
    """Of the searcher `comet_optimizer`. Where a value is left out, Comet's server has its own."""

    algorithm: Literal["grid", "random", "bayes"] = Field(
        "bayes", description="bayes: learns from the values that were found; random; grid: every combination"
    )
    name: str | None = Field(None, min_length=1, description="of the search in Comet")
    seed: int | None = Field(None, ge=0, lt=2**32, description="of the search; by default derived from the run's")
    max_combinations: int | None = Field(
        None, ge=1, description="at most so many combinations of values; by default as many as there are trials"
    )
    grid_size: int | None = Field(
        None, ge=2, description="into how many values Comet divides a range that says nothing of its own"
    )
    randomize: bool | None = Field(None, description="grid: whether the combinations come in random order")
    min_sample_size: int | None = Field(
        None, ge=1, description="how many samples Comet draws to find the bounds of a grid"
    )
    retry_limit: int | None = Field(
        None, ge=0, description="how often Comet looks for a combination that is new, before the search is over"
    )
    retry_assign_limit: int | None = Field(
        None, ge=0, description="how often Comet proposes a combination again whose trial gave no value"
    )
    timeout_s: int = Field(10, ge=1, description="how long one request to Comet may take, seconds")


def check_comet_optimizer(options: CometOptimizerOptions, context: BuildContext) -> None:
    """Look whether there is an API key, and a server that answers: Comet's Optimizer chooses values there.

    Raises:
        UserError: there is none, or the run is to be offline; says what to do.
    """
    if context.offline:
        raise UserError("comet_optimizer: works on Comet's server, but `offline` is set; use another searcher")
    from detkit_comet.access import require_access

    require_access("comet_optimizer", options.timeout_s)


def build_comet_optimizer(options: CometOptimizerOptions, context: BuildContext) -> Searcher:
    """The searcher; nothing is founded on the server before its `begin`.

    Raises:
        UserError: as `check_comet_optimizer`.
    """
    from detkit_comet.search import CometSearcher

    check_comet_optimizer(options, context)
    return CometSearcher(options, context)


COMET_OPTIMIZER = SearcherComponent(
    name="comet_optimizer",
    options=CometOptimizerOptions,
    build=build_comet_optimizer,
    summary="Comet's Optimizer: grid, random or Bayesian search, chosen by its server",
    check=check_comet_optimizer,
)


# --- commands --------------------------------------------------------------------------------------------------------


def load_commands() -> click.Command:
    from detkit_comet.commands import comet

    return comet


@hookimpl
def detkit_searchers() -> list[SearcherComponent[Any]]:
    return [COMET_OPTIMIZER]


@hookimpl
def detkit_commands() -> list[Command]:
    return [Command("comet", "Work with Comet: upload of recorded runs, views of projects", load_commands)]


@hookimpl
def detkit_loggers() -> list[LoggerComponent[Any]]:
    return [COMET]
