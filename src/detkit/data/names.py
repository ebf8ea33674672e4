"""What images are called wherever the data lies: by their files' names below the folder that all of them share."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePath

from detkit.data.types import ImageInfo


def image_names(infos: Sequence[ImageInfo]) -> list[str]:
    """A name for each image, as "video3/0007.jpg": equal for a copy of the data in another folder.

    Images that are no files have their label. Folders are parted by "/" everywhere.
    """
    paths = [Path(os.path.abspath(info.path)) for info in infos if info.path is not None]
    common = common_folder(paths)
    names = iter([(path.relative_to(common) if common else PurePath(*path.parts[1:])).as_posix() for path in paths])
    return [info.label if info.path is None else next(names) for info in infos]


def common_folder(paths: Sequence[Path]) -> Path | None:
    """The innermost folder that holds all these absolute paths; None where there is none (several drives, no paths)."""
    try:
        return Path(os.path.commonpath([path.parent for path in paths])) if paths else None
    except ValueError:
        return None
