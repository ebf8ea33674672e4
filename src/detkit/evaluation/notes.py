"""What is told while an evaluation is prepared, and must stand beside its figures."""

from __future__ import annotations

from contextlib import AbstractContextManager

from detkit.components import Messages, Progress


class Notes:
    """`detkit.components.Messages` that are handed on; the warnings are kept.

    Attributes:
        warnings: all so far, each once.
    """

    def __init__(self, messages: Messages) -> None:
        self._messages = messages
        self.warnings: list[str] = []

    def info(self, text: str) -> None:
        self._messages.info(text)

    def warning(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)
            self._messages.warning(text)

    def progress(self, description: str, total: int | None, unit: str = "") -> AbstractContextManager[Progress]:
        return self._messages.progress(description, total, unit)
