"""From which score on a detection counts, class by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from detkit.errors import UserError

#: Where neither the user nor a metric has chosen one.
DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Attributes:
    values: class name to the lowest score that counts.
    origin: who chose them, as people are told: "given", "chosen by coco", "default".
    """

    values: Mapping[str, float]
    origin: str

    def __str__(self) -> str:
        different = sorted(set(self.values.values()))
        if len(different) == 1:
            return f"{different[0]:.3g} ({self.origin})"
        return f"{different[0]:.3g} to {different[-1]:.3g}, by class ({self.origin})"


def choose_thresholds(
    class_names: Sequence[str], chosen: Mapping[str, Mapping[str, float]], given: float | None
) -> Thresholds:
    """The user's; else those of the first metric that chose some; else the default.

    Args:
        chosen: of a checkpoint: metric key to class name to threshold; "" stands for all classes without their own.
        given: by the user, for all classes.

    Raises:
        UserError: what was given is no score.
    """
    if given is not None:
        if not 0 <= given <= 1:
            raise UserError(f"a threshold is a score from 0 to 1, not {given:g}")
        return Thresholds(dict.fromkeys(class_names, float(given)), "given")
    for metric, by_class in chosen.items():
        if by_class:
            rest = by_class.get("", DEFAULT_THRESHOLD)
            return Thresholds({name: by_class.get(name, rest) for name in class_names}, f"chosen by {metric}")
    return Thresholds(dict.fromkeys(class_names, DEFAULT_THRESHOLD), "default")
