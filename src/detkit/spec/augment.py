"""`[augment]`: presets, written out as the tables that they stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from detkit.errors import did_you_mean
from detkit.spec.complaints import show
from detkit.spec.document import Document, Place
from detkit.spec.scanner import KeyPath

#: The key that names a preset; no transform can have it.
PRESET_KEY = "preset"
#: Installing detkit changes no run, nor does a new version of it: nothing is augmented that nobody asked for.
DEFAULT_PRESET = "none"
#: Preset to its transforms in order, each a table as a spec would state it.
PRESETS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "none": {},
    "light": {"flip": {"horizontal": 0.5}},
    "standard": {
        "flip": {"horizontal": 0.5},
        "photometric": {"probability": 0.5},
        "scale_jitter": {"probability": 0.5, "scale": [0.75, 1.33]},
    },
    "strong": {
        "flip": {"horizontal": 0.5},
        "crop": {"probability": 0.5},
        "scale_jitter": {"probability": 0.8, "scale": [0.5, 2.0]},
        "rotation": {"probability": 0.3, "degrees": 8.0},
        "photometric": {"probability": 0.8},
        "grayscale": {"probability": 0.05},
        "blur": {"probability": 0.1},
    },
}


class Reader(Protocol):
    """What is asked of the spec's reader."""

    @property
    def document(self) -> Document: ...

    def problem(self, path: KeyPath, message: str, *, is_table: bool = False) -> None: ...


def expand_presets(reader: Reader) -> None:
    """Put each preset's tables into the document, in its order and before the others; what is stated wins.

    Afterwards there is no key `preset` any more.
    """
    models = reader.document.get(("models",))
    names = [key for key, value in models.items() if isinstance(value, dict)] if isinstance(models, dict) else []
    for path in [("augment",), *(("models", name, "augment") for name in names)]:
        stated = reader.document.get(path)
        if isinstance(stated, dict) and PRESET_KEY in stated:
            _expand(reader, path, stated)


def _expand(reader: Reader, path: Sequence[str], stated: dict[str, Any]) -> None:
    document, key = reader.document, (*path, PRESET_KEY)
    name = stated[PRESET_KEY]
    if not isinstance(name, str) or name not in PRESETS:
        shown = repr(name) if isinstance(name, str) else show(name)
        hint = did_you_mean(name, PRESETS) if isinstance(name, str) else f"; there are: {', '.join(PRESETS)}"
        reader.problem(key, f"no preset named {shown}{hint}")
        document.drop(key)
        return
    written = document.place(key)
    document.drop(key)
    others = dict(stated)
    stated.clear()
    for transform, options in PRESETS[name].items():
        own = others.pop(transform, {})
        stated[transform] = own
        if not isinstance(own, dict):
            continue  # complained of where it is read
        table = (*path, transform)
        document.places.setdefault(table, written)
        if own.get("use", transform) != transform:
            continue  # another component under the preset's name: these options are not its own
        for option, value in options.items():
            if option not in own:
                own[option] = list(value) if isinstance(value, list) else value
                document.places[(*table, option)] = _place(written, name)
    stated.update(others)


def _place(written: Place, name: str) -> Place:
    return replace(written, origin="preset", where=name, line=None, text="")
