"""The class list of a dataset: from its files, or as the spec gives it; a background class has no place in it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from detkit.errors import DataError, did_you_mean

#: What people call the class of what is no object, in lower case and without underscores, spaces or hyphens.
BACKGROUND = frozenset({"background", "bg"})


def is_background(name: str) -> bool:
    """Whether a class of this name stands for what is no object, as "__background__"."""
    return name.strip().lower().replace("_", "").replace("-", "").replace(" ", "") in BACKGROUND


def refuse_background(names: Sequence[str], where: str, remedy: str) -> None:
    """Refuse a class list with a background class in it.

    Args:
        where: the list is, as "classes in the spec". remedy: what to do.

    Raises:
        DataError: there is one.
    """
    for place, name in enumerate(names):
        if is_background(name):
            raise DataError(
                f"{where}: class {place} is {name!r}. The background is no class here: labels are 1 to K for the K"
                f" classes of objects, and models add what they need for the rest themselves; {remedy}"
            )


def refuse_unfit(names: Sequence[str], where: str) -> None:
    """Refuse names that are empty, repeat, or cannot stand in a line.

    Raises:
        DataError: says which.
    """
    for place, name in enumerate(names):
        if not name.strip():
            raise DataError(f"{where}: the name of class {place} is empty")
        if any(unicodedata.category(letter) == "Cc" for letter in name):
            raise DataError(
                f"{where}: the name of class {place}, {name!r}, holds a line break or another control character"
            )
        if name in names[:place]:
            raise DataError(
                f"{where}: classes {list(names).index(name)} and {place} are both {name!r}; names must differ"
            )


def chosen_classes(found: Sequence[str], given: Sequence[str] | None, where: str) -> tuple[str, ...]:
    """The K classes in their order: as given, else as found.

    Args:
        found: in the data, in the order of its own. given: the spec's `classes`. where: the data's list is.

    Raises:
        DataError: a background class is among them, or a name is empty or repeats.
    """
    names = tuple(found if given is None else given)
    place = where if given is None else "[dataset] classes"
    refuse_unfit(names, place)
    remedy = (
        "take it out of the data, or name the other classes in [dataset] classes" if given is None else "leave it out"
    )
    refuse_background(names, place, remedy)
    return names


def labels_by_name(names: Sequence[str]) -> Mapping[str, int]:
    """Class name to its label in 1..K."""
    return {name: number for number, name in enumerate(names, 1)}


def unlisted(name: str, names: Iterable[str]) -> str:
    """What is wrong with an object of a class that is not in the list."""
    return (
        f"is of class {name!r}, which is not in [dataset] classes{did_you_mean(name, names)};"
        ' add it there, or leave such objects out with unlisted = "drop"'
    )
