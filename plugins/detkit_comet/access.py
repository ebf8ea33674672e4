"""The way in to Comet for what is asked and answered at once: the key, the server, and what a failure means."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from detkit import DetkitError, LoggerRefused, UserError
from detkit_comet import client

ANOTHER_KEY = "set the environment variable COMET_API_KEY, or run `comet login`, again"


def require_access(who: str, timeout_s: int) -> str:
    """The API key, of a server that answers.

    Args:
        who: begins messages. timeout_s: how long the server may take.

    Raises:
        UserError: no client, no key, or no answer; says what to do.
    """
    try:
        key = client.api_key()
    except LoggerRefused as error:
        raise UserError(f"{who}: {str(error).removeprefix('comet: ').removesuffix(client.WITHOUT)}") from None
    if key is None:
        raise UserError(
            f"{who}: there is no API key; set the environment variable COMET_API_KEY, or run `comet login` once"
        )
    failure = client.unreachable(timeout_s)
    if failure:
        raise UserError(f"{who}: {_no_answer(failure)}")
    return key


@contextmanager
def asking(who: str, error_type: type[DetkitError], then: str = "") -> Iterator[None]:
    """Turn what the client raises within the block into an error for people, without the key.

    Args:
        who: begins the message. then: ends it.

    Raises:
        DetkitError: of the type asked for. Those that are raised within the block pass through.
    """
    try:
        yield
    except DetkitError:
        raise
    except Exception as error:  # noqa: BLE001 - the client raises what its libraries do, and keys of absent fields
        # "from None": the client's own texts quote what the server said, which may hold the key.
        raise error_type(f"{who}: {meaning(error)}{then}") from None


def meaning(error: Exception) -> str:
    """What a request's failure means, and what to do."""
    import requests

    status = status_of(error)
    if status == 401:
        return f"the server at {client.server()} refuses the API key (401); {ANOTHER_KEY}"
    if status == 403:
        return (
            f"the server at {client.server()} does not let this API key do that (403{_said(error)});"
            f" ask for access to the workspace, or {ANOTHER_KEY}"
        )
    if status is not None and status >= 500:
        return f"the server at {client.server()} is out of order ({status}{_said(error)}); try again later"
    if status == 429:
        return f"the server at {client.server()} has had too many requests (429); try again later"
    if status is not None:
        return f"the server at {client.server()} refuses ({status}{_said(error)})"
    if isinstance(error, requests.RequestException):
        return _no_answer(type(error).__name__)
    text = " ".join(client.redact(str(error)).split())
    return f"the client or its server failed: {type(error).__name__}: {text}"


def status_of(error: Exception) -> int | None:
    """The HTTP status with which the server refused; None where it was something else."""
    response = getattr(error, "response", None)
    if response is not None:
        return int(response.status_code)
    # The Optimizer's client keeps no response.
    return 401 if isinstance(error, ValueError) and "COMET_API_KEY" in str(error) else None


def _no_answer(failure: str) -> str:
    return (
        f"the server at {client.server()} does not answer ({failure});"
        " see whether the network is up, and whether COMET_URL_OVERRIDE, where it is set, is right"
    )


def _said(error: Any) -> str:
    """The server's own words, where it gave some."""
    try:
        body = error.response.json()
    except ValueError:
        return ""
    text = next((body[key] for key in ("msg", "message") if body.get(key)), "") if isinstance(body, dict) else ""
    return ": " + " ".join(client.redact(str(text)).split()) if text else ""
