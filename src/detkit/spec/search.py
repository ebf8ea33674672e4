"""`[search]`: what is searched, as the spec says it. Whether each value of it can be used is seen in `spec.trials`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol

from detkit.components import Options, SearcherComponent
from detkit.errors import did_you_mean
from detkit.plugins import Kind, Offered, Registry
from detkit.search_space import Choices, Range, SearchSpace, Value
from detkit.spec.complaints import Complaint, show
from detkit.spec.document import Document
from detkit.spec.model import ModelUse, Use
from detkit.spec.overrides import key_path
from detkit.spec.scanner import KeyPath, format_key
from detkit.spec.search_table import COSTS, LOSSES, RangeTable, SearchTable

#: Tables that models share, each with a table of its own of that name in a model's.
SHARED = ("train", "input", "augment")
#: Tables with one component for all models.
COMMON = ("training_step", "callbacks")
#: Nobody waits for more trials than that without having asked for them.
MOST_UNASKED = 1000
#: What cannot differ between runs that are compared, and why.
FIXED = {
    "dataset": "all runs of an experiment see the same images, or their figures could not be compared",
    "metrics": "all trials are measured in one way, or their figures could not be compared",
    "experiment": "it belongs to all runs together",
    "compute": "it says where runs are computed, not what",
    "loggers": "they report runs and change nothing in them",
    "search": "it is what searches",
    "plugins": "they are loaded once",
    "extends": "a file extends one other",
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A key of the spec that is searched.

    Attributes:
        path: of the key in the spec. values: what it may be.
        place: where the spec says so.
        folder: against which relative paths among the values resolve.
        inferred: whether it has still to be seen if only whole numbers are meant.
    """

    path: KeyPath
    values: Range | Choices
    place: KeyPath
    folder: Path
    inferred: bool = False

    @property
    def key(self) -> str:
        """As the spec writes it: `models.fcos.train.lr`."""
        return format_key(self.path)

    def path_of(self, model: str) -> KeyPath | None:
        """The key that is set for a model, in its own tables; None where it concerns other models only."""
        if self.path[0] in SHARED:
            return ("models", model, *self.path)
        if self.path[0] == "models" and self.path[1] != model:
            return None
        return self.path

    def plain(self) -> Any:
        """As TOML states it."""
        if isinstance(self.values, Choices):
            return list(self.values.values)
        stated = {item.name: getattr(self.values, item.name) for item in fields(Range)}
        if self.inferred:
            del stated["integer"]
        # What is false or none is left out, as people write it.
        return {name: value for name, value in stated.items() if name in ("low", "high") or value not in (False, None)}


@dataclass(frozen=True, slots=True)
class SearchUse:
    """The search of a spec.

    Attributes:
        use: the searcher. table: the host's part. parameters: by their keys, in the order of the spec.
        models: keys of those that are searched, in the order of the spec; each has trials of its own.
    """

    use: Use
    table: SearchTable
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    models: tuple[str, ...] = ()

    def of_model(self, model: str) -> dict[str, Parameter]:
        """What is searched for one model; a key in its own tables wins over the shared one."""
        concerned = {key: parameter for key, parameter in self.parameters.items() if parameter.path_of(model)}
        own = {parameter.path for parameter in concerned.values()}
        return {
            key: parameter
            for key, parameter in concerned.items()
            if parameter.path_of(model) == parameter.path or parameter.path_of(model) not in own
        }

    def space(self, model: str) -> SearchSpace:
        """What is searched for one model, as its searcher gets it."""
        return SearchSpace({key: parameter.values for key, parameter in self.of_model(model).items()})

    def combinations(self, model: str) -> int | None:
        """How many trials there can be for a model at most; None where the searcher goes on for ever."""
        component = self.use.offered.component
        assert isinstance(component, SearcherComponent)
        return component.trials_in(self.use.options, self.space(model))

    def trials(self, model: str) -> int:
        """How many trials a model has."""
        there = [number for number in (self.table.trials, self.combinations(model)) if number is not None]
        return min(there)

    def plain(self) -> dict[str, Any]:
        """The host's part, as TOML states it."""
        dumped = self.table.model_dump(mode="json", exclude={"space"})
        stated = {key: value for key, value in dumped.items() if value is not None}
        return stated | {"space": {key: parameter.plain() for key, parameter in self.parameters.items()}}


class Reader(Protocol):
    """What is asked of the spec's reader."""

    @property
    def document(self) -> Document: ...

    def problem(self, path: KeyPath, message: str, *, is_table: bool = False) -> None: ...

    def complain(self, table: KeyPath, complaints: Sequence[Complaint]) -> None: ...

    def table(self, path: KeyPath) -> dict[str, Any] | None: ...

    def use_name(self, path: KeyPath, default: str) -> str | None: ...

    def component(self, path: KeyPath, kind: Kind, name: str, registry: Registry) -> tuple[Offered, Options] | None: ...

    def options(
        self, path: KeyPath, options: type[SearchTable], values: Mapping[str, Any] | None = None
    ) -> SearchTable | None: ...

    def validated(
        self, path: KeyPath, options: type[RangeTable], values: Mapping[str, Any]
    ) -> RangeTable | list[Complaint]: ...


def read_search(
    reader: Reader, registry: Registry, models: Mapping[str, ModelUse], metrics: Mapping[str, Use]
) -> SearchUse | None:
    """The search, as far as it can be read; what is wrong with it is noted. None without one, or with one disabled."""
    table = reader.table(("search",))
    if not table:
        return None
    own = {key: value for key, value in table.items() if key in SearchTable.model_fields}
    host = reader.options(("search",), SearchTable, own)
    use = _searcher(reader, registry)
    parameters = dict(_parameters(reader, own.get("space")))
    _refuse_foreign_keys(reader, parameters.values(), models)
    if host is None or use is None:
        return None
    search = SearchUse(use, host, parameters, _models(reader, host, parameters, models))
    _check_objectives(reader, search, metrics)
    if parameters and search.models:
        _check_trials(reader, search)
    return search if host.enabled else None


def _searcher(reader: Reader, registry: Registry) -> Use | None:
    if reader.document.get(("search", "use")) is None:
        there = ", ".join(registry.names("searcher")) or "none, for want of plugins"
        algorithm = reader.document.get(("search", "algorithm")) is not None
        hint = " (`use` names the component here, as in every other table)" if algorithm else ""
        reader.problem(("search", "use"), f"missing: the name of a searcher; there are: {there}{hint}")
        return None
    name = reader.use_name(("search",), "")
    built = None if name is None else reader.component(("search",), "searcher", name, registry)
    return built and Use(key=str(name), kind="searcher", offered=built[0], options=built[1])


# --- the space -------------------------------------------------------------------------------------------------------


def _parameters(reader: Reader, space: Any) -> Iterator[tuple[str, Parameter]]:
    """The parameters of the space that can be read."""
    if not isinstance(space, dict):
        return
    if not space:
        reader.problem(("search", "space"), "is empty; name a key of the spec with its values", is_table=True)
    seen: dict[KeyPath, KeyPath] = {}
    for place, path, value in _entries(reader, ("search", "space"), (), space):
        if path in seen:
            reader.problem(place, f"is there twice: as {format_key(seen[path][2:])} too")
            continue
        seen[path] = place
        found = _parameter(reader, path, place, value)
        if found is not None:
            yield found.key, found


def _entries(
    reader: Reader, place: KeyPath, path: KeyPath, table: Mapping[str, Any]
) -> Iterator[tuple[KeyPath, KeyPath, Any]]:
    """Where each parameter stands, the key that it means, and what is said of it.

    A key may be quoted as a whole, or be a table in a table, which is what TOML makes of an unquoted dotted key.
    """
    for name, value in table.items():
        here = (*place, name)
        parts = key_path(name)
        if parts is None:
            reader.problem(here, "is not a dotted key as TOML writes them, as train.lr")
            continue
        whole = (*path, *parts)
        if isinstance(value, dict) and not _means_a_range(value):
            if not value:
                reader.problem(here, "is empty; say low and high, or list the values")
            yield from _entries(reader, here, whole, value)
        else:
            yield here, whole, value


def _means_a_range(table: Mapping[str, Any]) -> bool:
    """A table of keys has lists and tables in it; one with numbers is a range, be its keys misspelt."""
    return bool({"low", "high"} & set(table)) or any(not isinstance(value, dict | list) for value in table.values())


def _parameter(reader: Reader, path: KeyPath, place: KeyPath, value: Any) -> Parameter | None:
    folder = reader.document.place(place).folder
    try:
        if isinstance(value, list):
            wrong = next((index for index, item in enumerate(value) if not isinstance(item, Value)), None)
            if wrong is not None:
                reader.problem((*place, wrong), f"must be text, a number, true or false, not {show(value[wrong])}")
                return None
            return Parameter(path, Choices(tuple(value)), place, folder)
        if isinstance(value, dict):
            found = reader.validated(place, RangeTable, value)
            if isinstance(found, list):
                if {"min", "max"} & set(value):
                    reader.problem(place, "the ends of a range are called low and high, not min and max")
                else:
                    reader.complain(place, found)
                return None
            return Parameter(path, _range(found, value), place, folder, inferred=found.integer is None)
    except ValueError as error:
        reader.problem(place, str(error))
        return None
    reader.problem(place, f"must be a list of values, or a range as {{ low = 0.1, high = 1 }}, not {show(value)}")
    return None


def _range(table: RangeTable, stated: Mapping[str, Any]) -> Range:
    """Whole numbers stay such: `low = 2` is not 2.0."""
    values = {name: value for name, value in table.model_dump().items() if value is not None}
    return Range(**{name: stated.get(name, value) for name, value in values.items()})


def _refuse_foreign_keys(reader: Reader, parameters: Any, models: Mapping[str, ModelUse]) -> None:
    """Keys that no trial may change, or that lead nowhere. Whether the last part exists is seen with its values."""
    for parameter in parameters:
        first, rest = str(parameter.path[0]), parameter.path[1:]
        if first in FIXED:
            reader.problem(parameter.place, f"[{first}] cannot be searched: {FIXED[first]}")
        elif first not in (*SHARED, *COMMON, "models"):
            reader.problem(parameter.place, f"there is no table [{first}]{did_you_mean(first, _searchable())}")
        elif first == "models" and (not rest or rest[0] not in (reader.document.get(("models",)) or {})):
            there = reader.document.get(("models",)) or {}
            name = str(rest[0]) if rest else ""
            reader.problem(parameter.place, f"there is no model {name!r}{did_you_mean(name, there)}")
        elif len(parameter.path) < {"train": 2, "input": 2, "training_step": 2}.get(first, 3):
            reader.problem(parameter.place, f"{parameter.key} is a table; name a key in it")
        elif "preset" in parameter.path and "augment" in parameter.path:
            reader.problem(parameter.place, "a preset is replaced by its tables; search their keys, as augment.flip.p")
        elif parameter.path[-1] == "use" or (first == "models" and rest[1:] == ("enabled",)):
            reader.problem(parameter.place, f"{parameter.path[-1]} says what there is, and cannot be searched")


def _searchable() -> list[str]:
    return ["models", *SHARED, *COMMON]


def _models(
    reader: Reader, table: SearchTable, parameters: Mapping[str, Parameter], models: Mapping[str, ModelUse]
) -> tuple[str, ...]:
    """The keys of the models that are searched."""
    concerned = [
        key
        for key, use in models.items()
        if use.enabled and any(parameter.path_of(key) for parameter in parameters.values())
    ]
    for index, key in enumerate(table.models or ()):
        place: KeyPath = ("search", "models", index)
        if key not in models:
            reader.problem(place, f"there is no model {key!r}{did_you_mean(key, models)}")
        elif not models[key].enabled:
            reader.problem(place, f"[models.{key}] is not enabled")
        elif key not in concerned and parameters:
            reader.problem(place, f"no key of [search.space] concerns {key!r}")
    return tuple(key for key in concerned if table.models is None or key in table.models)


# --- objectives and trials -------------------------------------------------------------------------------------------


def _check_objectives(reader: Reader, search: SearchUse, metrics: Mapping[str, Use]) -> None:
    """That the metric is there; whether it has the quantity, only its result can tell."""
    names = search.table.objectives
    place: KeyPath = ("search", "objective")
    several = not isinstance(search.table.objective, str)
    component = search.use.offered.component
    assert isinstance(component, SearcherComponent)
    enabled = [key for key, use in metrics.items() if use.enabled]
    if search.table.objective is None and not enabled:
        reader.problem(place, "missing: there is no metric whose primary quantity could be improved")
    if several and search.table.objective is not None and not 1 <= len(names) <= 2:
        reader.problem(place, f"one or two quantities, not {len(names)}")
    if len(set(names)) < len(names):
        reader.problem(place, "the two objectives must differ")
    if len(names) == 2 and not component.pareto:
        reader.problem(place, f"{search.use.offered.title} looks for one objective; for two there are others, as tpe")
    for index, name in enumerate(names):
        at = (*place, index) if several else place
        metric, _, quantity = name.partition("/")
        if not quantity and name not in COSTS:
            begun = [cost for cost in COSTS if cost.startswith(name)]
            hint = did_you_mean(name, [*COSTS, *(f"{key}/" for key in enabled)])
            hint = f"; did you mean {' or '.join(map(repr, begun))}?" if name and begun else hint
            reader.problem(at, f"no cost is named {name!r}, and a metric's quantity is written as coco/ap{hint}")
        elif quantity and metric not in (*enabled, LOSSES):
            reader.problem(at, f"no metric {metric!r} is enabled{did_you_mean(metric, [*enabled, LOSSES])}")


def _check_trials(reader: Reader, search: SearchUse) -> None:
    if search.table.trials is not None:
        return
    place: KeyPath = ("search", "trials")
    for model in search.models:
        there = search.combinations(model)
        if there is None:
            reader.problem(place, f"missing: {search.use.key!r} has no end of its own; say how many trials")
            return
        if there > MOST_UNASKED:
            text = (
                f"missing: there are {there:,} combinations for {model!r}; say how many of them, or give fewer values"
            )
            reader.problem(place, text)
            return
