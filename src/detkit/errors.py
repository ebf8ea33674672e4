"""Every error that a user can cause, as one tree. Each is printed without a traceback, with its exit code.

DetkitError                     something went wrong that a person can mend
├── UserError            (2)    what was asked cannot be done as asked; nothing was started
│   ├── SpecError               problems in the spec, all at once, each with its line
│   ├── DataError               the dataset is missing, broken or does not fit
│   ├── WeightsError            a weight file is missing, cut or of another model
│   ├── ComputeError            the device, precision or number of processes cannot be had
│   ├── RecordError             the folder of an experiment cannot be used as asked
│   ├── LoggerRefused           a logger is misconfigured: no key, a key that is refused
│   └── SearchRefused           what a search is to improve is not measured: no trial could give it
├── NotDelivered         (1)    a logger's server did not get everything of a run
├── PluginError          (2)    a plugin does not load or breaks its contract
├── RunFailed            (1)    a run stopped in the middle; other runs go on
│   ├── ComponentError          a plugin's component raised, named with its plugin and distribution
│   ├── NonFiniteLoss           a loss or a prediction is NaN or infinite: names the step, the images and the term
│   └── OutOfMemory             says what was being done and what to lower
└── Interrupted          (130)  Ctrl-C or SIGTERM; says how to go on
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path


class DetkitError(Exception):
    """The root: a message for a person, and the exit code of the command that ends with it."""

    exit_code = 1


class UserError(DetkitError):
    """What was asked cannot be done as asked; nothing was started."""

    exit_code = 2


class DataError(UserError):
    """The dataset is missing, broken or does not fit."""


class WeightsError(UserError):
    """A weight file is missing, cut or of another model."""


class ComputeError(UserError):
    """The device, precision or number of processes cannot be had."""


class RecordError(UserError):
    """The folder of an experiment cannot be used as asked."""


class CannotWrite(RecordError):
    """The disk is full, or the folder of a record cannot be written: what is written next would meet the same."""


class LoggerRefused(UserError):
    """Raise it from a logger's `check` or `start` where the configuration cannot work: the run is not begun."""


class SearchRefused(UserError):
    """What a search is to improve is not measured: no trial could give it."""


class NotDelivered(DetkitError):
    """Raise it from a logger's `close` where its server did not get everything: the run's one warning about it.

    The text says what happened and how to send the rest.
    """


class PluginError(DetkitError):
    """A plugin does not load or breaks its contract."""

    exit_code = 2


class RunFailed(DetkitError):
    """A run stopped in the middle; other runs go on."""


class ComponentError(RunFailed):
    pass


class NonFiniteLoss(RunFailed):
    pass


class OutOfMemory(RunFailed):
    pass


class Interrupted(DetkitError):
    exit_code = 130


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a spec.

    Attributes:
        where: the file, or what stands for it ("command line").
        line: counted from 1; None where there is none.
        table: the TOML table, as `models.fcos`; empty for the top level.
        key: the key inside the table; empty where the table itself is meant.
        message: what is wrong; what exists; what to do.
    """

    where: Path | str
    line: int | None
    table: str
    key: str
    message: str

    def __str__(self) -> str:
        place = f"{self.where}:{self.line}" if self.line is not None else f"{self.where}"
        parts = [f"[{self.table}]" if self.table else "", self.key]
        label = " ".join(part for part in parts if part)
        return f"{place}: {label}: {self.message}" if label else f"{place}: {self.message}"


class SpecError(UserError):
    """All problems of a spec, in file order."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def did_you_mean(name: str, existing: Iterable[str]) -> str:
    """A sentence that names the nearest of the existing names, or all of them; starts with '; ' or is empty."""
    names = sorted(existing)
    near = get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]!r}?"
    if names:
        return f"; there are: {', '.join(names)}"
    return ""
