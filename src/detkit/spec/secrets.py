"""Keys that would hold a secret: refused by name, so that none ends in a repository, a record or a log."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from detkit.spec.scanner import KeyPath

_SECRET = re.compile(r"(?:.*[_-])?(?:api[_-]?key|token|password|secret)", re.IGNORECASE)

REFUSAL = (
    "keys never go in a spec; set the environment variable that the service reads instead, such as COMET_API_KEY,"
    " and take this line out"
)


def is_secret(key: str) -> bool:
    """Whether a key is one of api_key, token, password, secret, or ends with one, as comet_api_key."""
    return _SECRET.fullmatch(key) is not None


def secret_paths(values: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    """The paths of all such keys in nested tables and arrays."""
    if isinstance(values, dict):
        for key, value in values.items():
            if is_secret(key):
                yield (*path, key)
            else:
                yield from secret_paths(value, (*path, key))
    elif isinstance(values, list):
        for index, value in enumerate(values):
            yield from secret_paths(value, (*path, index))
