"""Splits that are given as files of image names, one a line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from detkit.errors import DataError, did_you_mean

#: So many findings are listed; more are counted.
LISTED = 10
#: Near names are looked for among so many images at most: it takes long.
SEARCHED = 5000


def read_split_lists(files: Mapping[str, Path], names: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """The indices of the images that each file names, ascending.

    A line is the name of an image, with or without its ending. Where it has folders, and the image too, they must
    agree as far as both go: "./images/a.jpg" and "a" mean the image "images/a.jpg", and "other/a.jpg" does not. Blank
    lines and those that begin with "#" are left out.

    Args:
        files: by split. names: of all images, see `image_names`.

    Raises:
        DataError: a file cannot be read or names nothing; a line fits no image, or several; an image is in two splits.
            All findings at once.
    """
    finder = _Finder(names)
    findings: list[str] = []
    placed: dict[int, tuple[str, str]] = {}
    found: dict[str, tuple[int, ...]] = {}
    for split, file in files.items():
        indices = set()
        for where, line in _lines(file):
            fitting = finder.find(line)
            if len(fitting) != 1:
                findings.append(f"{where}: {finder.complaint(line, fitting)}")
                continue
            index = fitting[0]
            indices.add(index)
            other, there = placed.setdefault(index, (split, where))
            if other != split:
                findings.append(f"{where}: {names[index]!r} is in {other} too, by {there}")
        if not indices and not findings:
            raise DataError(f"[dataset.split] {split}: {file} names no image")
        found[split] = tuple(sorted(indices))
    if findings:
        more = f"\n  and {len(findings) - LISTED} more" if len(findings) > LISTED else ""
        listed = "\n  ".join(findings[:LISTED])
        count = f"{len(findings)} fault{'s' * (len(findings) > 1)}"
        raise DataError(f"[dataset.split] the lists of images have {count}:\n  {listed}{more}")
    return found


def _lines(file: Path) -> Iterator[tuple[str, str]]:
    """Where it stands, and each name."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"[dataset.split] the list of images {file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"[dataset.split] the list of images {file} is not text in UTF-8: {error.reason}") from error
    for number, line in enumerate(text.splitlines(), 1):
        name = line.strip()
        if name and not name.startswith("#"):
            yield f"{file}:{number}", name


class _Finder:
    """Images by their names."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._parts = [PurePosixPath(name).parts for name in names]
        self._by_name: dict[str, list[int]] = {}
        self._by_stem: dict[str, list[int]] = {}
        for index, name in enumerate(names):
            path = PurePosixPath(name)
            self._by_name.setdefault(path.name, []).append(index)
            self._by_stem.setdefault(path.stem, []).append(index)

    def find(self, line: str) -> list[int]:
        """Indices of the images that a line may mean."""
        path = PurePosixPath(line.replace("\\", "/"))
        candidates = self._by_name.get(path.name) or self._by_stem.get(path.name, [])
        exact = [index for index in candidates if self._names[index] == line]
        return exact or [index for index in candidates if _agree(path.parts[:-1], self._parts[index][:-1])]

    def complaint(self, line: str, fitting: Sequence[int]) -> str:
        if fitting:
            return f"{line!r} may mean {len(fitting)} images: {', '.join(self._names[index] for index in fitting[:3])}"
        near = did_you_mean(line, self._names) if len(self._names) <= SEARCHED else ""
        hint = near if near.startswith("; did you mean") else f"; one is named {self._names[0]!r}"
        return f"no image is named {line!r}{hint}"


def _agree(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether two folders are the same as far as both are given, from the innermost on."""
    shared = min(len(one), len(other))
    return not shared or tuple(one[-shared:]) == tuple(other[-shared:])
