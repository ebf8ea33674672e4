"""Opens a run's experiment: new or gone on with, online or as an archive; decides what a failed handshake means."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from detkit import LoggerRefused, Messages, RunInfo
from detkit_comet import upload_command
from detkit_comet.client import (
    OTHERWISE,
    WITHOUT,
    ClientError,
    ErrorLog,
    api_key,
    configured,
    load_client,
    redact,
    require_key,
    server,
    set_limits,
    unreachable,
)
from detkit_comet.names import filled

if TYPE_CHECKING:
    from comet_ml import CometExperiment, ExperimentConfig

    from detkit_comet import CometOptions

#: Status codes that say "not now" rather than "no".
PASSING_STATUS = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class Opened:
    """A started experiment.

    Attributes:
        experiment: of the client; alive, or switched off.
        online: whether what is logged goes to the server.
        folder: where archives are written.
        instead: an archive because the server could not be reached, or refused.
        unanswered: it was asked for the experiment before that, and may have made it.
    """

    experiment: CometExperiment
    online: bool
    folder: Path
    instead: bool = False
    unanswered: bool = False


def open_experiment(
    options: CometOptions, run: RunInfo, errors: ErrorLog, messages: Messages, *, offline: bool, key: str | None
) -> Opened:
    """Start the run's experiment in Comet: a new one, or the one of that key.

    Args:
        errors: attached to the client's log.
        offline: the spec wants nothing from a network: "auto" then means offline.
        key: of the experiment; one that exists is gone on with.

    Raises:
        LoggerRefused: `mode = "online"` without a key, with one that the server refuses, or with a project or
            workspace that it refuses; or the folder for archives cannot be written.
    """
    load_client()
    set_limits(options)
    folder = options.offline_directory or run.folder / "comet"
    if not _wants_online(options, folder, messages, offline):
        return _opened_offline(options, run, folder, key, messages)
    experiment, failed = _handshake(options, run, errors, folder, key)
    if failed is None:
        return _switched_on(Opened(experiment, True, folder), messages)
    if failed.refused and options.mode == "online":
        raise LoggerRefused(f"comet: {failed.reason}" + OTHERWISE)
    messages.warning(
        f"comet: {failed.reason}; the run is archived in {folder} instead; once it has ended, send it with:"
        f" {upload_command(run.folder)}"
    )
    # The same key, should the server have made the experiment and only its answer been lost.
    opened = _opened_offline(options, run, folder, failed.key or key, messages)
    return replace(opened, instead=True, unanswered=failed.key is not None)


def open_for_upload(
    options: CometOptions, run: RunInfo, errors: ErrorLog, messages: Messages, *, key: str | None
) -> Opened:
    """As `open_experiment`, online or not at all, and patiently.

    Raises:
        LoggerRefused: there is no key, or the server cannot be reached or refuses it.
    """
    load_client()
    set_limits(options, patient=True)
    require_key()
    folder = options.offline_directory or run.folder / "comet"
    experiment, failed = _handshake(options, run, errors, folder, key)
    if failed is not None:
        raise LoggerRefused(f"comet: {failed.reason}; nothing was sent")
    return _switched_on(Opened(experiment, True, folder), messages)


def open_nothing(options: CometOptions, run: RunInfo) -> Opened:
    """An experiment of which every call does nothing."""
    import comet_ml

    folder = run.folder / "comet"
    config = _config(options, run, folder, disabled=True)
    return Opened(comet_ml.start(online=False, experiment_config=config), False, folder)


def _switched_on(opened: Opened, messages: Messages) -> Opened:
    if opened.experiment.disabled:
        messages.warning("comet: the client is switched off by COMET_AUTO_LOG_DISABLE; nothing is logged")
    return opened


def _wants_online(options: CometOptions, folder: Path, messages: Messages, offline: bool) -> bool:
    if options.mode == "online":
        require_key()
        return True
    if options.mode == "offline":
        return False
    if offline:
        messages.info(f"comet: nothing may be sent in an offline experiment, so the run is archived in {folder}")
        return False
    if api_key() is None:
        messages.info(
            f"comet: no API key found, so the run is archived in {folder}; set COMET_API_KEY or run `comet login` to"
            " log online"
        )
        return False
    return True


# --- online ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Failed:
    """Why there is no experiment. `refused`: the server said no. `key`: what it was asked for, if it was asked."""

    reason: str
    refused: bool
    key: str | None


def _handshake(
    options: CometOptions, run: RunInfo, errors: ErrorLog, folder: Path, key: str | None
) -> tuple[Any, _Failed | None]:
    """The experiment, or why there is none."""
    import comet_ml

    failure = unreachable(options.timeout_s)
    if failure:
        return None, _Failed(f"{server()} cannot be reached ({failure})", False, None)
    experiment = None
    cause: BaseException | None = None
    try:
        experiment = comet_ml.start(
            workspace=options.workspace,
            project_name=_project(options, run),
            experiment_key=key,
            mode="create" if key is None else "get_or_create",
            online=True,
            experiment_config=_config(options, run, folder),
        )
    except Exception as error:  # noqa: BLE001 - the client raises whatever its transport raised; sorted out below
        cause = error
    logged = errors.take()
    if experiment is not None and (experiment.alive or experiment.disabled):
        return experiment, None
    reason, refused = _why(logged, cause)
    return None, _Failed(reason, refused, None if experiment is None else str(experiment.get_key()))


def _why(logged: list[ClientError], raised: BaseException | None) -> tuple[str, bool]:
    """What kept the handshake from succeeding, for a person, and whether it was the server's refusal."""
    import requests
    from comet_ml.exceptions import CometException, CometRestApiException, InvalidAPIKey

    causes = [cause for cause in (raised, *(error.cause for error in logged)) if cause is not None]
    cause = causes[0] if causes else None
    text = logged[0].text if logged else redact(str(raised or "it gave no reason"))
    if isinstance(cause, InvalidAPIKey):
        return f"the API key was refused by {server()}; set COMET_API_KEY or run `comet login` again", True
    if isinstance(cause, CometRestApiException):
        status = cause.response.status_code
        if status == 401:
            return f"the API key was refused by {server()} (401); set COMET_API_KEY or run `comet login` again", True
        refused = 400 <= status < 500 and status not in PASSING_STATUS
        said = f": {redact(str(cause.safe_msg))}" if cause.safe_msg else ""
        return f"{server()} answered {status}{said}", refused
    if isinstance(cause, requests.RequestException | OSError):
        return f"{server()} cannot be reached ({type(cause).__name__})", False
    if cause is None or isinstance(cause, CometException):
        return text, True
    return f"{server()} gave an answer that the client does not understand ({type(cause).__name__})", False


# --- offline ---------------------------------------------------------------------------------------------------------


def _opened_offline(options: CometOptions, run: RunInfo, folder: Path, key: str | None, messages: Messages) -> Opened:
    return _switched_on(Opened(_open_offline(options, run, folder, key), False, folder), messages)


def _open_offline(options: CometOptions, run: RunInfo, folder: Path, key: str | None) -> CometExperiment:
    import comet_ml
    from comet_ml.exceptions import CometException

    try:
        folder.mkdir(parents=True, exist_ok=True)
        # "get_or_create" with a key: an upload makes the experiment, or adds to the one that is already there, so
        # that the archives of a resumed run come together in either order.
        return comet_ml.start(
            workspace=options.workspace,
            project_name=_project(options, run),
            experiment_key=key or uuid4().hex,
            mode="get_or_create",
            online=False,
            experiment_config=_config(options, run, folder),
        )
    except (OSError, CometException) as error:
        raise LoggerRefused(
            f"comet: cannot write an archive in {folder} ({redact(str(error))}); set `offline_directory` to a"
            " folder that can be written" + WITHOUT
        ) from error


# --- what both share -------------------------------------------------------------------------------------------------


def _project(options: CometOptions, run: RunInfo) -> str:
    return options.project or configured("comet.project_name") or run.experiment


def _config(options: CometOptions, run: RunInfo, folder: Path, *, disabled: bool = False) -> ExperimentConfig:
    from comet_ml import ExperimentConfig

    return ExperimentConfig(
        disabled=disabled,
        log_code=False,
        log_graph=False,
        parse_args=False,
        display_summary_level=0,
        log_git_metadata=options.git,
        log_git_patch=options.git,
        log_env_details=options.system_metrics,
        # Names the machine, its address and its user; and prints a traceback where there is no network.
        log_env_host=False,
        auto_output_logging="simple" if options.console else "",
        auto_param_logging=False,
        auto_metric_logging=False,
        auto_log_co2=False,
        offline_directory=str(folder),
        name=filled(options.name, run),
        tags=list(options.tags),
    )
