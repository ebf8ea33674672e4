"""The image files that are meant by files and folders on a command line."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from detkit.data.images import ENDINGS
from detkit.errors import DataError
from detkit.predict.results import RESULTS


@dataclass(frozen=True, slots=True)
class Found:
    """An image file.

    Attributes:
        path: as it was named, or below the folder that was. inside: its path inside that folder; its name otherwise.
    """

    path: Path
    inside: Path


def find_images(paths: Sequence[Path], *, recursive: bool = True) -> list[Found]:
    """The named files, and the images in the named folders, each once, a folder's in the order of their names.

    Hidden files and folders are left out, and folders that `detkit predict` wrote. Links are followed.

    Raises:
        DataError: a path does not exist, a folder cannot be read, or holds no image.
    """
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        raise DataError(f"there is no file or folder {', '.join(missing)}")
    found: dict[str, Found] = {}
    for path in paths:
        inside = [Found(path, Path(path.name))] if not path.is_dir() else list(_in_folder(path, recursive))
        if not inside:
            where = "" if recursive else "; folders inside it are left out (--no-recursive)"
            raise DataError(f"{path} holds no image: no file ends in {', '.join(sorted(ENDINGS))}{where}")
        for image in inside:
            found.setdefault(os.path.abspath(image.path), image)
    return list(found.values())


def _in_folder(folder: Path, recursive: bool) -> Iterator[Found]:
    seen: set[str] = set()  # links to folders may lead in a circle
    for current, folders, files in os.walk(folder, followlinks=True, onerror=_refuse):
        here = Path(current)
        seen.add(os.path.realpath(here))
        folders[:] = sorted(
            name
            for name in folders
            if recursive
            and not name.startswith(".")
            and os.path.realpath(here / name) not in seen
            and not RESULTS.is_in(here / name)
        )
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix.lower() in ENDINGS:
                yield Found(here / name, (here / name).relative_to(folder))


def _refuse(error: OSError) -> None:
    raise DataError(f"the folder {error.filename} cannot be read: {error.strerror}") from error
