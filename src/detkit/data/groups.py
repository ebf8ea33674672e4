"""Images that belong together, as the frames of one video: known by a pattern that their names match."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from detkit.errors import DataError

#: So many names are shown in a message.
SHOWN = 3


@dataclass(frozen=True, slots=True)
class Groups:
    """Attributes: keys: the group of each image. note: what people should know; empty where nothing."""

    keys: Sequence[str]
    note: str = ""

    @property
    def count(self) -> int:
        return len(set(self.keys))


def group_images(names: Sequence[str], pattern: str) -> Groups:
    """Group images by what the pattern finds in their names.

    Args:
        names: of the images, see `image_names`.
        pattern: a regular expression, searched for anywhere in a name. Its capture groups name the group, together
            where there are several; without any, all that it matches does. An image whose name it does not match is a
            group of its own.

    Raises:
        DataError: it matches no name.
    """
    compiled = re.compile(pattern)
    keys, alone = [], []
    for name in names:
        match = compiled.search(name)
        if match is None:
            alone.append(name)
            keys.append(f"alone/{name}")
        else:
            # Lengths first: no two different tuples make one key.
            parts = [part or "" for part in (match.groups() or (match[0],))]
            keys.append("/".join(["group", *(str(len(part)) for part in parts), *parts]))
    if len(alone) == len(names):
        raise DataError(
            f"[dataset.split] group: {pattern!r} matches none of the {len(names)} images' names, as {names[0]!r};"
            " it is searched for in the name below the images' common folder, with / between folders"
        )
    note = ""
    if alone:
        shown = ", ".join(alone[:SHOWN]) + (", ..." if len(alone) > SHOWN else "")
        note = f"{len(alone)} of {len(names)} images do not match `group` and stand alone: {shown}"
    return Groups(keys, note)
