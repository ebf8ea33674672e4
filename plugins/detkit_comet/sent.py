"""How much of what Comet limits an experiment holds already: a resumed run, and one that was extended, go on in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from detkit import RecordError, write_atomically

SENT_FILE = "sent.json"
SENT_FORMAT = 1


class SentBook:
    """Of one experiment in Comet: its images, and its curves by epoch. In `comet/sent.json` of the run's folder.

    A book that cannot be read counts nothing, and one that cannot be written is let be: it only bounds what is sent.
    """

    def __init__(self, run_folder: Path, key: str) -> None:
        self._file = run_folder / "comet" / SENT_FILE
        self._key = key
        own = _experiments(self._file).get(key, {})
        self.images = int(own.get("images", 0))
        self._curves = {int(epoch): int(count) for epoch, count in own.get("curves", {}).items()}

    @property
    def curves(self) -> int:
        return sum(self._curves.values())

    def curves_of(self, epoch: int) -> int:
        """How many of an epoch's curves; they always go in the same order."""
        return self._curves.get(epoch, 0)

    def add_images(self, count: int) -> None:
        self.images += count
        self._write()

    def add_curves(self, epoch: int, count: int) -> None:
        self._curves[epoch] = self.curves_of(epoch) + count
        self._write()

    def _write(self) -> None:
        own = {"images": self.images, "curves": {str(epoch): count for epoch, count in self._curves.items()}}
        content = {"format_version": SENT_FORMAT, "experiments": {**_experiments(self._file), self._key: own}}
        with suppress(RecordError):
            write_atomically(self._file, lambda stream: stream.write(json.dumps(content).encode()), durable=False)


def _experiments(file: Path) -> Mapping[str, Any]:
    try:
        return dict(json.loads(file.read_text(encoding="utf-8"))["experiments"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}
