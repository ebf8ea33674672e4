"""From a folder to a dataset: the one format that it is in, opened by its component."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detkit.components import BuildContext, Messages
from detkit.engine.converting import built
from detkit.errors import DataError, RunFailed, UserError, did_you_mean
from detkit.plugins import Registry
from detkit.scaffold.facts import DataFacts, data_facts
from detkit.scaffold.recognise import Candidate, described, recognise
from detkit.scaffold.spec import stated_path
from detkit.spec.parts import load_dataset

#: What people may do whose data is in a format of its own.
OWN_FORMAT = "a format of your own is a plugin: detkit new plugin NAME --kind dataset"


@dataclass(frozen=True, slots=True)
class Looked:
    """Attributes: candidate: what the data is. facts: of it. options: of [dataset] beside its place, as in a spec."""

    candidate: Candidate
    facts: DataFacts
    options: Mapping[str, Any]


def candidates(place: Path, use: str | None, registry: Registry) -> list[Candidate]:
    """What the data may be: one, or several to choose from.

    Args:
        use: what somebody says that it is; None: look.

    Raises:
        UserError: there is no such format. DataError: the data is not there, or nothing is recognised.
    """
    formats = sorted(registry.components["dataset"])
    if use is not None and use not in formats:
        raise UserError(f"--format: no dataset named {use!r}{did_you_mean(use, formats)}")
    found = recognise(place)
    if use is not None:
        # What was said wins; what was seen may know the folder or the key.
        seen = [one for one in found if one.use == use]
        fields = registry.components["dataset"][use].component.options.model_fields
        key = next((name for name in ("annotations", "data", "file") if place.is_file() and name in fields), "root")
        if not seen and key not in fields:
            raise UserError(f"--format: {use} has no option root, so that it needs no --data; write a spec by hand")
        return seen[:1] or [Candidate(use, place, "as --format says", key)]
    found = [one for one in found if one.use in formats]
    if not found:
        raise DataError(
            f"{place}: no format is recognised; {described(place)}. detkit knows {', '.join(formats)}: say which with"
            f" --format, or name a folder in it; {OWN_FORMAT}"
        )
    return found


def ambiguity(found: Sequence[Candidate]) -> str:
    """What to tell somebody whose data may be several things."""
    places = {one.place for one in found}
    lines = []
    for one in found:
        flags = f"--data {one.place}" if len(places) > 1 else ""
        flags += f" --format {one.use}" if len({other.use for other in found if other.place == one.place}) > 1 else ""
        lines.append(f"  {flags.strip()}  {one.use}: {one.why}")
    return "the data may be several things; say which:\n" + "\n".join(lines)


def look(
    candidate: Candidate, settings: Mapping[str, Any], folder: Path, blocked: Sequence[str], messages: Messages
) -> Looked:
    """Open the dataset and count what is in it.

    Args:
        settings: options of the dataset by name, as `masks`, as they were given on the command line.
        folder: of the spec that is to be.

    Raises:
        SpecError: the options are wrong. DataError: the data cannot be read.
    """
    try:
        str(candidate.place).encode()
    except UnicodeEncodeError:  # bytes of another encoding
        odd = ascii(str(candidate.place))
        raise DataError(f"the path {odd} cannot be named in a spec, which is UTF-8: rename it") from None
    stated: dict[str, Any] = {"use": candidate.use, candidate.key: str(candidate.place), **settings}
    use, _ = load_dataset(None, set={f"dataset.{key}": value for key, value in stated.items()}, blocked=blocked)
    try:
        dataset = built(use, BuildContext(spec_folder=Path.cwd(), messages=messages))
        facts = data_facts(dataset, messages)
    except (DataError, RunFailed) as error:
        again = f"detkit data check --from {candidate.use} --root {candidate.place}"
        told = f" ({again} tells more)" if candidate.key == "root" else ""
        raise DataError(
            f"the data is taken for {candidate.use} ({candidate.why}), and cannot be read{told}:\n{error}"
        ) from error
    options = {key: _stated(getattr(use.options, key, value), value, folder) for key, value in settings.items()}
    return Looked(candidate, facts, options)


def _stated(resolved: Any, given: Any, folder: Path) -> Any:
    """An option as a spec in that folder has it: paths were relative to where somebody is."""
    if isinstance(resolved, Path) and isinstance(given, str) and not Path(given).is_absolute():
        return stated_path(Path(given), folder)
    return given
