"""Reports runs to Comet, online or as archives that `comet upload` sends later."""

from __future__ import annotations

from pathlib import Path
from string import Formatter
from typing import Any, Literal

from pydantic import Field, field_validator

from detkit import BuildContext, Logger, LoggerComponent, OptionPath, Options, hookimpl

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
        description="register the best checkpoint under this name; may hold {experiment}, {model}, {seed}",
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
    timeout_s: int = Field(10, ge=1, description="how long one request to Comet may take, seconds")
    close_timeout_s: float = Field(
        60.0, gt=0, description="how long the end of a run waits for what is still to be sent, seconds"
    )

    @field_validator("name", "register_as")
    @classmethod
    def _name_is_a_template(cls, name: str | None) -> str | None:
        fields = [field for _, field, _, _ in Formatter().parse(name or "") if field is not None]
        unknown = [field for field in fields if field not in NAME_FIELDS]
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
    """Send the leaderboard of the experiment in `folder`."""
    from detkit_comet.leaderboard import publish_leaderboard

    publish_leaderboard(options, context, folder)


def _close_timeout(options: CometOptions) -> float:
    return options.close_timeout_s


def _publish_timeout(options: CometOptions) -> float | None:
    return None if options.upload_at_end else options.close_timeout_s


COMET = LoggerComponent(
    name="comet",
    options=CometOptions,
    build=build_comet,
    summary="Comet: parameters, losses, metrics, tables, curves and the best checkpoint, online or as an archive",
    check=check_comet,
    close_timeout_s=_close_timeout,
    publish=publish_comet,
    publish_timeout_s=_publish_timeout,
)


@hookimpl
def detkit_loggers() -> list[LoggerComponent[Any]]:
    return [COMET]
