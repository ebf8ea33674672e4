"""What is wrong with the files of a dataset: all of it at once, each with its file and its place there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from detkit.errors import DataError

#: So many faults are listed in a message; more are counted.
LISTED = 20

#: What must go for a dataset to be opened without the fault: an id that nothing refers to, an object (or a line of a
#: list), an image, or all of it.
Extent = Literal["id", "object", "image", "dataset"]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        file: where. place: in the file, as "object 12 (line 140)"; empty where the file itself is meant.
        text: what is wrong; what to do.
        extent: what would have to be left out.
        image: of extent "image": its file, or that of its labels, where `file` is not one of them.
    """

    file: Path
    place: str
    text: str
    extent: Extent = "dataset"
    image: Path | None = None

    def __str__(self) -> str:
        return f"{self.file}, {self.place}: {self.text}" if self.place else f"{self.file}: {self.text}"


class DataFaults(DataError):
    """The faults of a dataset, in the order of its files.

    Attributes:
        faults: all of them; the message lists the first.
    """

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        listed = "\n  ".join(map(str, self.faults[:LISTED]))
        more = f"\n  and {len(self.faults) - LISTED} more" if len(self.faults) > LISTED else ""
        what = "a fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
        super().__init__(f"the dataset has {what} (objects are counted from 0):\n  {listed}{more}")

    def __reduce__(self) -> tuple[type[DataFaults], tuple[tuple[Fault, ...]]]:
        # Loader processes send their errors by pickle, which would call the class with the message.
        return DataFaults, (self.faults,)


def raise_faults(faults: Sequence[Fault]) -> None:
    """End here if there is any.

    Raises:
        DataFaults: there is.
    """
    if faults:
        raise DataFaults(faults)


def settle_faults(faults: Sequence[Fault], leave_out: Callable[[Fault], None] | None) -> frozenset[Path]:
    """End here if there is any fault, unless all of them can be left out and somebody wants to know which.

    Args:
        leave_out: `BuildContext.leave_out`.

    Returns:
        The images that must go, each by its file or that of its labels.

    Raises:
        DataFaults: there is a fault that stays.
    """
    if leave_out is None or any(fault.extent == "dataset" for fault in faults):
        raise_faults(faults)
        return frozenset()
    for fault in faults:
        leave_out(fault)
    return frozenset(fault.image or fault.file for fault in faults if fault.extent == "image")
