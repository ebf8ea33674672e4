"""The class list: names that look like one class, classes that hardly anything is of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations

from detkit.checks.finding import Check, Finding
from detkit.data.classes import is_background
from detkit.data.types import ImageInfo

BACKGROUND = Check(
    "class-background",
    "error",
    "a class for what is no object, as `background`: models have their own",
    "take it out of the data, or name the other classes in [dataset] classes",
)
UNFIT = Check(
    "class-names-unfit",
    "error",
    "class names that are empty or repeat, or none at all",
    "give each class a name of its own",
    vital=True,
)
ALIKE = Check(
    "class-names-alike",
    "warning",
    "two class names that differ in case, blanks, hyphens, a plural or one letter only",
    "if they mean one class, give its objects one name in the files",
)
UNUSED = Check(
    "class-unused",
    "warning",
    "a class of which there is no object: its figures mean nothing",
    "take it out of the list, or label its objects",
)
IMBALANCE = Check(
    "class-imbalance",
    "note",
    "a class with fewer than a tenth of the objects of the most common one",
    "look at its own figures; collect more of it if they are low",
)
CHECKS = (BACKGROUND, UNFIT, ALIKE, UNUSED, IMBALANCE)

#: Names as short as this differ in one letter without being alike: cat, car.
SHORT_NAME = 5
IMBALANCED = 10


def class_findings(names: Sequence[str], infos: Sequence[ImageInfo], *, complete: bool) -> Iterator[Finding]:
    """All that is to be said of the classes.

    Args:
        complete: whether these are all images; an unused class may be in those that cannot be read.
    """

    def found(check: Check, text: str) -> Finding:
        return Finding(check, check.severity, text)

    if not names:
        yield found(UNFIT, "the dataset has no classes")
    for number, name in enumerate(names, 1):
        if is_background(name):
            yield found(BACKGROUND, f"class {number} is {name!r}")
        if not name.strip() or name in names[: number - 1]:
            yield found(UNFIT, f"class {number} is {name!r}" + ", as another one is" * bool(name.strip()))
    plain = {name: _plain(name) for name in names}
    for one, other in combinations(plain, 2):
        if _alike(plain[one], plain[other]):
            yield found(ALIKE, f"{one!r} and {other!r}: are they one class?")
    counts = Counter(item.label for info in infos for item in info.annotations)
    most = max(range(1, len(names) + 1), key=lambda label: counts[label], default=0)
    for number, name in enumerate(names, 1):
        if not counts[number] and complete:
            yield found(UNUSED, f"no object is of class {name!r}")
        elif counts[number] and counts[number] * IMBALANCED < counts[most]:
            yield found(IMBALANCE, f"{name!r} has {counts[number]} objects, {names[most - 1]!r} {counts[most]}")


def alike(one: str, other: str) -> bool:
    """Whether two names look like one class: the same without case and blanks, a plural, or one letter apart."""
    return _alike(_plain(one), _plain(other))


def _alike(a: str, b: str) -> bool:
    if a.removesuffix("s") == b.removesuffix("s"):
        return True
    if min(len(a), len(b)) <= SHORT_NAME or any(map(str.isdigit, a + b)):
        return False
    return _one_letter_apart(a, b)


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum()) or name


def _one_letter_apart(a: str, b: str) -> bool:
    """One letter more, less or other, or two neighbours exchanged."""
    start = 0
    while start < min(len(a), len(b)) and a[start] == b[start]:
        start += 1
    rest_a, rest_b = a[start:], b[start:]
    return (
        rest_a[1:] == rest_b
        or rest_a == rest_b[1:]
        or rest_a[1:] == rest_b[1:]
        or (rest_a[:2] == rest_b[:2][::-1] and rest_a[2:] == rest_b[2:])
    )
