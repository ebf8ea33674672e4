"""Specs of small experiments that are run for real, and a display that keeps what it is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from detkit.engine.display import SilentDisplay

EVERY_HOOK = Path(__file__).parents[2] / "examples" / "plugin_in_one_file" / "every_hook.py"


class RecordingDisplay(SilentDisplay):
    """Keeps what would have been shown."""

    def __init__(self) -> None:
        self.infos: list[str] = []
        self.warnings: list[str] = []
        self.lines: list[str] = []
        self.tables: list[tuple[Sequence[str], Sequence[Sequence[str]]]] = []
        self.titles: list[str] = []

    def info(self, text: str) -> None:
        self.infos.append(text)

    def warning(self, text: str) -> None:
        self.warnings.append(text)

    def table(
        self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "", right: Sequence[str] = ()
    ) -> None:
        self.tables.append((columns, rows))
        self.titles.append(title)

    def run_line(self, run: Any, line: str) -> None:
        self.lines.append(line)


def squares_spec(output: Path, **changes: Any) -> dict[str, Any]:
    """A spec of the example plugin alone: two epochs of six steps, a second or two beside the imports."""
    spec: dict[str, Any] = {
        "plugins": [str(EVERY_HOOK)],
        "experiment": {"name": "small", "output": str(output), "log_every_steps": 1},
        "dataset": {"use": "squares", "images": 16, "split": {"validation": 4}},
        "compute": {"device": "cpu", "precision": "fp32", "threads": 1},
        "train": {"epochs": 2, "batch_size": 2, "warmup_steps": 2},
        "models": {"centre_point": {}},
        "metrics": {"count_error": {}},
    }
    return merged(spec, changes)


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if both else value
    return result


def write_spec(file: Path, spec: Mapping[str, Any]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(tomli_w.dumps(spec).encode())
    return file
