"""Folders of results that commands write where nobody named a record: numbered, and never somebody else's emptied."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from detkit.errors import UserError


@dataclass(frozen=True, slots=True)
class ResultsKind:
    """What one command writes.

    Attributes:
        what: it writes, for people.
        marks: files that all its folders have, by which they are known.
        contents: all files and folders that it writes into one, the marks included.
    """

    what: str
    marks: tuple[str, ...]
    contents: tuple[str, ...]

    def is_in(self, folder: Path) -> bool:
        """Whether the command has written this folder."""
        return all((folder / name).is_file() for name in self.marks)

    def remove_from(self, folder: Path) -> None:
        """Delete what the command writes, and nothing else.

        Raises:
            UserError: a file cannot be deleted.
        """
        try:
            for path in (folder / name for name in self.contents):
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise _cannot_write(folder, error) from error

    @contextmanager
    def renewed(self, folder: Path) -> Iterator[Path]:
        """An empty folder to write into: at the end its contents take the place of what the command wrote before.

        It lies in the folder itself, so that contents are only renamed. Where the writing fails, or is interrupted,
        everything stays as it was.

        Raises:
            UserError: the folder cannot be written.
        """
        try:
            scratch = Path(mkdtemp(prefix=".new-", dir=folder))
            (scratch / "old").mkdir()
            (scratch / "new").mkdir()
        except OSError as error:
            raise _cannot_write(folder, error) from error
        try:
            yield scratch / "new"
            self._swap(folder, scratch)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _swap(self, folder: Path, scratch: Path) -> None:
        try:
            with ExitStack() as undo:  # the last first, whatever ends the swap before its end
                undo.callback(self._move, scratch / "old", folder)
                self._move(folder, scratch / "old")
                undo.callback(self._move, folder, scratch / "new")
                self._move(scratch / "new", folder)
                undo.pop_all()
        except OSError as error:
            raise _cannot_write(folder, error) from error

    def _move(self, folder: Path, to: Path) -> None:
        for name in self.contents:
            if (folder / name).exists():
                (folder / name).rename(to / name)


def take_folder(folder: Path, kind: ResultsKind, *, overwrite: bool) -> Path:
    """A folder to write to, which exists then: the wanted one, or the first free one of FOLDER-2, FOLDER-3, ...

    Args:
        overwrite: take the wanted one even where it holds results of this kind; they are still there afterwards.

    Raises:
        UserError: it cannot be written, or holds what is not to be replaced.
    """
    try:
        if overwrite and folder.is_dir() and any(folder.iterdir()) and not kind.is_in(folder):
            raise UserError(f"{folder} holds other files than {kind.what}; only those are overwritten")
        chosen, number = folder, 1
        while not overwrite and chosen.exists() and not (chosen.is_dir() and not any(chosen.iterdir())):
            number += 1
            chosen = folder.with_name(f"{folder.name}-{number}")
        chosen.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(folder, error) from error
    return chosen


def _cannot_write(folder: Path, error: OSError) -> UserError:
    return UserError(f"cannot write to {folder}: {error.strerror}; name another folder to write to")
