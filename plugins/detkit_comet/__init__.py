"""Reports runs to Comet, online or as archives that `comet upload` sends later."""

from __future__ import annotations

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
    checkpoints: bool = Field(True, description="send the best checkpoint as a model")
    system_metrics: bool = Field(
        True, description="let Comet sample CPU, memory, GPU, disk and network, and list the installed packages"
    )
    offline_directory: OptionPath | None = Field(
        None, description="where archives are written; by default `comet` in the run's folder"
    )
    timeout_s: int = Field(10, ge=1, description="how long one request to Comet may take, seconds")
    close_timeout_s: float = Field(
        60.0, gt=0, description="how long the end of a run waits for what is still to be sent, seconds"
    )

    @field_validator("name")
    @classmethod
    def _name_is_a_template(cls, name: str) -> str:
        fields = [field for _, field, _, _ in Formatter().parse(name) if field is not None]
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


def _close_timeout(options: CometOptions) -> float:
    return options.close_timeout_s


COMET = LoggerComponent(
    name="comet",
    options=CometOptions,
    build=build_comet,
    summary="Comet: parameters, losses, metrics, tables, curves and the best checkpoint, online or as an archive",
    check=check_comet,
    close_timeout_s=_close_timeout,
)


@hookimpl
def detkit_loggers() -> list[LoggerComponent[Any]]:
    return [COMET]
