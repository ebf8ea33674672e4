"""A model's own [train] and [input]: which of the shared table, its own and the command line says what."""

from __future__ import annotations

from typing import Any

from detkit.spec.document import Document
from detkit.spec.scanner import KeyPath


def layers(document: Document, path: KeyPath, name: str) -> tuple[dict[str, Any], dict[str, KeyPath]]:
    """What the files and the command line say about a model's [train] or [input]: values, and where each stands.

    A model's own table wins over the shared one, and the command line over both.

    Args:
        path: of the model's table. name: "train" or "input".
    """
    values: dict[str, Any] = {}
    sources: dict[str, KeyPath] = {}
    for from_command_line in (False, True):
        for table in ((name,), (*path, name)):
            stated = document.get(table)
            for key, value in stated.items() if isinstance(stated, dict) else ():
                if (document.place((*table, key)).origin == "command line") is from_command_line:
                    values[key] = value
                    sources[key] = (*table, key)
    return values, sources
