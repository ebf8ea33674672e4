"""What datasets promise."""

from __future__ import annotations

from detkit.components import Dataset
from detkit.testing.rule import Broken, rule
from detkit.testing.subject import Subject


@rule("dataset", "dataset-type", "what is built is a `detkit.Dataset` that holds images")
def is_dataset(subject: Subject) -> None:
    """The built object is an instance of `detkit.Dataset`, and its length is a whole number of at least 1."""
    built = subject.build()
    if not isinstance(built, Dataset):
        raise Broken(f"it built a {type(built).__name__}", "a subclass of detkit.Dataset")
    with subject.doing("len(dataset)"):
        count = len(built)
    if count < 1:
        raise Broken(f"it holds {count} images", "at least one")
