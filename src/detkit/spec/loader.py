"""`load_spec`: from a TOML file to an `ExperimentSpec`, or to everything that is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from pydantic_core import from_json, to_json

from detkit.components import (
    NAME_PATTERN,
    Capabilities,
    LoggerComponent,
    ModelComponent,
    Options,
    SearcherComponent,
    TransformComponent,
)
from detkit.errors import PluginError, Problem, SpecError, did_you_mean
from detkit.plugins import Kind, Offered, Registry, collect
from detkit.spec.augment import expand_presets
from detkit.spec.complaints import Complaint, path_base, show, validate
from detkit.spec.document import Document, read_document
from detkit.spec.layers import layers
from detkit.spec.model import (
    ComputeTable,
    ExperimentSpec,
    ExperimentTable,
    InputTable,
    ModelUse,
    SplitTable,
    TrainTable,
    Use,
)
from detkit.spec.overrides import apply_overrides, switch_loggers
from detkit.spec.resolve import plain, resolve
from detkit.spec.scanner import KeyPath, format_key
from detkit.spec.search import read_search
from detkit.spec.secrets import REFUSAL, secret_paths
from detkit.spec.strategies import strategy_problems

Degenerate = Literal["error", "drop", "clip"]
T = TypeVar("T")
O = TypeVar("O", bound=Options)  # noqa: E741 - as in detkit.components

#: The tables of a spec, and its two keys outside of any.
TABLES = (
    "experiment",
    "dataset",
    "input",
    "compute",
    "train",
    "augment",
    "training_step",
    "models",
    "metrics",
    "loggers",
    "callbacks",
    "search",
)
TOP_KEYS = ("extends", "plugins")
#: The tables that hold one table a component, by the kind of component.
GROUPS: Mapping[str, Kind] = {
    "augment": "transform",
    "models": "model",
    "metrics": "metric",
    "loggers": "logger",
    "callbacks": "callback",
}
#: The keys that the host takes out of a component's table before its options see it.
HOST_KEYS: Mapping[Kind, tuple[str, ...]] = {
    "dataset": ("use", "split", "degenerate", "skip_checks"),
    "training_step": ("use",),
    "model": ("use", "enabled", "train", "input", "augment"),
    "transform": ("use", "enabled"),
    "metric": ("use", "enabled"),
    "logger": ("use", "enabled"),
    "callback": ("use", "enabled"),
    "searcher": tuple(sorted(SearcherComponent.reserved)),
}
DEFAULT_TRAINING_STEP = "standard"


def load_spec(
    path: str | Path,
    *,
    set: Mapping[str, Any] | None = None,
    enable_loggers: Sequence[str] = (),
    disable_loggers: Sequence[str] = (),
    blocked: Sequence[str] = (),
    working_folder: Path | None = None,
) -> ExperimentSpec:
    """Read, merge and validate a spec. Imports no torch, unless a plugin file that the spec names does.

    Args:
        path: the TOML file.
        set: dotted keys, quoted as in TOML, to values that win over the file's; None takes a key out again, so that
            its default applies.
        enable_loggers, disable_loggers: names of loggers of the spec.
        blocked: names of plugins not to load.
        working_folder: against which relative paths in `set` resolve; the current one by default.

    Raises:
        SpecError: every problem at once, in the order of the file.
        PluginError: a blocked plugin does not exist, or two plugins offer one name.
    """
    document = read_document(Path(path))
    folder = (working_folder or Path.cwd()).absolute()
    problems = apply_overrides(document, set or {}, folder)
    problems += switch_loggers(document, enable_loggers, disable_loggers, folder)
    reader = SpecReader(document, Path(path), problems)
    reader.refuse_secrets()
    reader.refuse_unknown_tables()
    files = reader.plugin_files()
    registry = collect([file for file in files if file.is_file()], blocked=blocked)
    reader.refuse_failed_files(registry, files)
    spec = reader.experiment(registry, files, tuple(blocked))
    if spec.search is None:
        return spec
    from detkit.spec.trials import checked_search  # which reads specs of its own

    return checked_search(spec, reader)


def named_plugins(path: Path) -> tuple[list[Path], bool]:
    """The plugin files that a spec names, absolute, and whether it extends another file; the rest is not looked at.

    Raises:
        SpecError: the file cannot be read, or a plugin file is not there.
    """
    document = read_document(path)
    reader = SpecReader(document, path, [])
    files = reader.plugin_files()
    if problems := reader.all_problems():
        raise SpecError(problems)
    return files, document.extends


@dataclass(slots=True)
class SpecReader:
    """One pass over a document: every method validates a part of it and adds what is wrong to `problems`.

    `all_problems` gives them in the order of the file.
    """

    document: Document
    path: Path
    problems: list[Problem]
    _ranked: list[tuple[int, Problem]] = field(default_factory=list)

    # --- problems ---

    def problem(self, path: KeyPath, message: str, *, is_table: bool = False) -> None:
        """Note a problem at the place of a key; with `is_table`, of the table that the path leads to."""
        place = self.document.place(path)
        if place.text:
            message = f"{message} (from {place.text})"
        split = len(path) if is_table else _table_length(path)
        table, key = format_key(path[:split]), format_key(path[split:])
        self._ranked.append((place.rank, Problem(place.where, place.line, table, key, message)))

    def complain(self, table: KeyPath, complaints: Sequence[Complaint]) -> None:
        for complaint in complaints:
            path = (*table, *complaint.path)
            self.problem(path, self._with_quoting_hint(path, complaint), is_table=not complaint.path)

    def _with_quoting_hint(self, path: KeyPath, complaint: Complaint) -> str:
        value = self.document.get(path)
        if not complaint.wants_text or self.document.place(path).origin != "command line":
            return complaint.message
        return f"{complaint.message}; for text write --set {format_key(path)}='\"{value}\"'"

    def all_problems(self) -> list[Problem]:
        def order(item: tuple[int, Problem]) -> tuple[int, float]:
            rank, problem = item
            return rank, float("inf") if problem.line is None else problem.line

        ordered = [problem for _, problem in sorted(self._ranked, key=order)]
        return list(dict.fromkeys([*ordered, *self.problems]))

    # --- the top level ---

    def refuse_secrets(self) -> None:
        for path in list(secret_paths(self.document.values)):
            place = self.document.place(path)
            problem = Problem(place.where, place.line, format_key(path[:-1]), str(path[-1]), REFUSAL)
            self._ranked.append((place.rank, problem))
            self.document.drop(path)

    def refuse_unknown_tables(self) -> None:
        for name in list(self.document.values):
            value = self.document.values[name]
            if name not in (*TABLES, *TOP_KEYS):
                what = f"there is no table [{name}]" if isinstance(value, dict) else "unknown key"
                self.problem((name,), f"{what}{did_you_mean(name, TABLES)}", is_table=isinstance(value, dict))
            elif name in TABLES and not isinstance(value, dict):
                self.problem((name,), f"must be a table, as [{name}], not {show(value)}")
                self.document.values[name] = {}

    def table(self, path: KeyPath) -> dict[str, Any] | None:
        """A table's values; None, with a problem noted, where something else stands there."""
        value = self.document.get(path)
        if value is None or isinstance(value, dict):
            return value or {}
        self.problem(path, f"must be a table, as [{format_key(path)}], not {show(value)}")
        return None

    def plugin_files(self) -> list[Path]:
        """The files under `plugins`, absolute, without those that are not there."""
        stated = self.document.get(("plugins",))
        if stated is None:
            return []
        if not isinstance(stated, list) or not all(isinstance(item, str) for item in stated):
            self.problem(("plugins",), 'must be an array of paths of Python files, as ["my_detector.py"]')
            return []
        files = []
        for index, item in enumerate(stated):
            path: KeyPath = ("plugins", index)
            file = (self.document.place(path).folder / Path(item).expanduser()).absolute()
            if not file.is_file():
                self.problem(path, f"there is no file {file}")
            elif file in files:
                self.problem(path, f"{file} is named twice")
            else:
                files.append(file)
        return files

    def refuse_failed_files(self, registry: Registry, files: Sequence[Path]) -> None:
        sources = [str(file) for file in files]
        for plugin in registry.plugins:
            if plugin.trouble and plugin.source in sources:
                self.problem(("plugins",), plugin.trouble)

    # --- everything ---

    def experiment(self, registry: Registry, files: Sequence[Path], blocked: tuple[str, ...]) -> ExperimentSpec:
        experiment = self.experiment_table()
        dataset = self.dataset(registry)
        split = self.options(("dataset", "split"), SplitTable)
        degenerate = self.degenerate()
        skip_checks = self.skip_checks()
        self.shared_table("input", InputTable)
        compute = self.options(("compute",), ComputeTable)
        self.shared_table("train", TrainTable)
        step = self.training_step(registry)
        expand_presets(self)
        shared = {use.key: use for use in self.uses("augment", registry)}
        found = (use for use in self.uses("models", registry) if isinstance(use, ModelUse))
        models = {use.key: self.with_augmentation(use, shared, registry) for use in found}
        metrics = {use.key: use for use in self.uses("metrics", registry)}
        loggers = {use.key: use for use in self.uses("loggers", registry)}
        self.require_single_loggers(loggers)
        callbacks = {use.key: use for use in self.uses("callbacks", registry)}
        search = read_search(self, registry, models, metrics)
        self.require_models(registry, models)
        self.check_strategies(models, compute)
        self.refuse_idle_augmentation(models)
        if dataset is not None:
            needy = [*models.values(), *([step] if step else []), *metrics.values()]
            self.check_capabilities(dataset, needy)
            self.check_transforms(dataset, models)
        problems = self.all_problems()
        if problems or not (experiment and dataset and split and degenerate and compute and step):
            raise SpecError(problems)
        folder = self.document.root.folder
        spec = ExperimentSpec(
            path=folder / self.path.name,
            folder=folder,
            plugin_files=tuple(files),
            experiment=experiment,
            dataset=dataset,
            split=split,
            degenerate=degenerate,
            skip_checks=skip_checks,
            compute=compute,
            training_step=step,
            models=models,
            metrics=metrics,
            loggers=loggers,
            callbacks=callbacks,
            search=search,
            registry=registry,
            blocked=blocked,
        )
        return resolve(spec, self.document)

    # --- the host's own tables ---

    def options(self, path: KeyPath, options: type[O], values: Mapping[str, Any] | None = None) -> O | None:
        """A table's validated options; None, with problems noted, where it has any."""
        table = values if values is not None else self.table(path)
        if table is None:
            return None
        found = self.validated(path, options, table)
        if isinstance(found, list):
            self.complain(path, found)
            return None
        return found

    def validated(
        self, path: KeyPath, options: type[O], values: Mapping[str, Any], sources: Mapping[str, KeyPath] | None = None
    ) -> O | list[Complaint]:
        folder = self.document.root.folder
        base = path_base(options, folder, _foreign_texts(self.document, path, values, sources or {}))
        return validate(options, values, base)

    def experiment_table(self) -> ExperimentTable | None:
        table = self.table(("experiment",))
        if table is None:
            return None
        return self.options(("experiment",), ExperimentTable, {"name": default_name(self.path), **table})

    def degenerate(self) -> Degenerate | None:
        value = self.document.get(("dataset", "degenerate"))
        choices = get_args(Degenerate)
        for choice in choices:
            if value == choice or (value is None and choice == "error"):
                return choice  # type: ignore[no-any-return]  # get_args forgets the literal
        hint = did_you_mean(value, choices) if isinstance(value, str) else ""
        near = hint if hint.startswith("; did you mean") else ""
        listed = ", ".join(map(repr, choices))
        self.problem(("dataset", "degenerate"), f"must be one of {listed}, not {show(value)}{near}")
        return None

    def skip_checks(self) -> tuple[str, ...]:
        """The checks of data that the spec does without; what is no such check is noted as a problem."""
        stated = self.document.get(("dataset", "skip_checks"))
        if stated is None:
            return ()
        if not isinstance(stated, list) or not all(isinstance(item, str) for item in stated):
            message = f'must be an array of checks, as ["split-leak"], not {show(stated)}'
            self.problem(("dataset", "skip_checks"), message)
            return ()
        from detkit.checks.catalogue import CHECKS  # with the readers of images, which few specs need

        checks = {check.id: check for check in CHECKS}
        for index, name in enumerate(stated):
            place: KeyPath = ("dataset", "skip_checks", index)
            if name not in checks:
                near = did_you_mean(name, checks)
                hint = near if near.startswith("; did you mean") else ""  # all of them would be a page
                self.problem(place, f"no check {name!r}{hint}; detkit data check --list has them")
            elif checks[name].vital:
                message = f"{name!r} cannot be skipped: nothing can be done with such data; {checks[name].remedy}"
                self.problem(place, message)
        return tuple(dict.fromkeys(stated))

    def shared_table(self, name: str, options: type[Options]) -> None:
        """Look at the keys of [train] or [input] by themselves; what depends on several waits for the models."""
        table = self.table((name,))
        if table is None:
            self.document.values[name] = {}
            return
        found = self.validated((name,), options, table)
        if isinstance(found, list):
            self.complain((name,), [complaint for complaint in found if complaint.path])

    # --- components ---

    def dataset(self, registry: Registry) -> Use | None:
        if self.document.get(("dataset", "use")) is None:
            there = ", ".join(registry.names("dataset")) or "none, for want of plugins"
            self.problem(("dataset", "use"), f"missing: the name of a dataset; there are: {there}")
            return None
        use = self.use_name(("dataset",), "")
        if use is None:
            return None
        built = self.component(("dataset",), "dataset", use, registry)
        return built and Use(key=use, kind="dataset", offered=built[0], options=built[1])

    def require_single_loggers(self, loggers: Mapping[str, Use]) -> None:
        """Some loggers can be there only once."""
        first: dict[str, str] = {}
        for key, use in loggers.items():
            component = use.offered.component
            if use.enabled and isinstance(component, LoggerComponent) and component.single:
                other = first.setdefault(component.name, key)
                if other != key:
                    message = f"{component.name!r} can be there only once, and [loggers.{other}] has it; disable one"
                    self.problem(("loggers", key), message, is_table=True)

    def training_step(self, registry: Registry) -> Use | None:
        use = self.use_name(("training_step",), DEFAULT_TRAINING_STEP)
        if use is None:
            return None
        built = self.component(("training_step",), "training_step", use, registry)
        return built and Use(key=use, kind="training_step", offered=built[0], options=built[1])

    def uses(self, group: str, registry: Registry, under: KeyPath = ()) -> Iterator[Use]:
        """The valid components of [models], [metrics], [loggers], [callbacks], [augment] or [models.KEY.augment].

        Args:
            under: the table that holds the group's, where it is not at the top.
        """
        kind = GROUPS[group]
        for key in self.table((*under, group)) or {}:
            path = (*under, group, key)
            if not NAME_PATTERN.fullmatch(key):
                message = f"names of {group} are made of letters, digits, - and _, and begin with a letter or digit"
                self.problem(path, message, is_table=True)
                continue
            if self.table(path) is None:
                continue
            enabled = self.enabled(path)
            use = self.use_name(path, key)
            built = self.component(path, kind, use, registry) if use is not None else None
            if kind == "model":
                recipe_and_input = self.recipe_and_input(path, built)
                if built and recipe_and_input:
                    train, size = recipe_and_input
                    yield ModelUse(
                        key=key,
                        kind=kind,
                        offered=built[0],
                        options=built[1],
                        enabled=enabled,
                        train=train,
                        input=size,
                    )
            elif built:
                yield Use(key=key, kind=kind, offered=built[0], options=built[1], enabled=enabled)

    def with_augmentation(self, model: ModelUse, shared: Mapping[str, Use], registry: Registry) -> ModelUse:
        """The model with its own transforms, where it has a table for them, else with the shared ones."""
        if self.document.get(("models", model.key, "augment")) is None:
            return replace(model, augment=shared)
        own = self.uses("augment", registry, ("models", model.key))
        return replace(model, augment={use.key: use for use in own})

    def enabled(self, path: KeyPath) -> bool:
        value = self.document.get((*path, "enabled"))
        if value is None or isinstance(value, bool):
            return value is not False
        self.problem((*path, "enabled"), f"must be true or false, not {show(value)}")
        return True

    def use_name(self, path: KeyPath, default: str) -> str | None:
        value = self.document.get((*path, "use"))
        if value is None or isinstance(value, str):
            return default if value is None else value
        self.problem((*path, "use"), f"must be text, not {show(value)}")
        return None

    def component(self, path: KeyPath, kind: Kind, name: str, registry: Registry) -> tuple[Offered, Options] | None:
        """The component of that name with its validated options; None, with problems noted, if there is any."""
        try:
            offered = registry.find(kind, name)
        except PluginError as error:
            if self.document.get((*path, "use")) is not None or kind == "training_step":
                self.problem((*path, "use"), str(error))
            else:
                self.problem(path, f"{error} (a table without `use` means what its name says)", is_table=True)
            return None
        values = self.table(path)
        if values is None:
            return None
        own = {key: value for key, value in values.items() if key not in HOST_KEYS[kind]}
        options = self.guarded(path, offered, "the options", lambda: self._own_options(path, offered, own))
        return (offered, options) if options is not None else None

    def _own_options(self, path: KeyPath, offered: Offered, own: Mapping[str, Any]) -> Options | None:
        options: type[Options] = offered.component.options
        found = self.validated(path, options, own)
        if isinstance(found, list):
            hosts = HOST_KEYS[_kind_of(path)]
            self.complain(path, [_with_host_keys(complaint, options, hosts) for complaint in found])
            return None
        plain(found)  # options that cannot be written down again would fail later, when the record is begun
        return found

    def guarded(self, path: KeyPath, offered: Offered, what: str, call: Callable[[], T]) -> T | None:
        """Call into a plugin; what it raises is a problem that names it."""
        try:
            return call()
        except Exception as error:  # noqa: BLE001 - foreign code; whatever it raises is the plugin's failure
            text = " ".join(f"{type(error).__name__}: {error}".split())
            self.problem(path, f"{what} of {offered.title} failed: {text}", is_table=True)
            return None

    # --- recipes ---

    def recipe_and_input(
        self, path: KeyPath, built: tuple[Offered, Options] | None
    ) -> tuple[TrainTable, InputTable] | None:
        """A model's own [train] and [input]; they are looked at even where the model itself is not valid."""
        recipe: Mapping[str, Any] = {}
        if built is not None:
            recipe = self.recipe(path, *built)
        train = self.layered(path, "train", TrainTable, built and built[0], recipe)
        size = self.layered(path, "input", InputTable, built and built[0], {})
        return (train, size) if train is not None and size is not None else None

    def recipe(self, path: KeyPath, offered: Offered, options: Options) -> Mapping[str, Any]:
        component = offered.component
        assert isinstance(component, ModelComponent)
        found = self.guarded(path, offered, "the recipe", lambda: from_json(to_json(dict(component.recipe(options)))))
        return found or {}

    def layered(
        self, path: KeyPath, name: str, options: type[O], offered: Offered | None, recipe: Mapping[str, Any]
    ) -> O | None:
        own = (*path, name)
        if self.table(own) is None:
            return None
        stated, sources = layers(self.document, path, name)
        found = self.validated(own, options, {**recipe, **stated}, sources)
        if not isinstance(found, list):
            return found
        for complaint in found:
            self._complain_layered(path, name, complaint, sources, offered, recipe)
        return None

    def _complain_layered(
        self,
        path: KeyPath,
        name: str,
        complaint: Complaint,
        sources: Mapping[str, KeyPath],
        offered: Offered | None,
        recipe: Mapping[str, Any],
    ) -> None:
        if not complaint.path:
            stated = [table for table in ((*path, name), (name,)) if table in self.document.places]
            self.problem(stated[0] if stated else path, complaint.message, is_table=True)
            return
        key = str(complaint.path[0])
        if key in sources:
            self.complain(sources[key][:-1], [complaint])
        elif offered is not None:
            self.problem(
                path,
                f"the recipe of {offered.title} sets {key} = {recipe.get(key)!r}: {complaint.message};"
                f" tell its author, and set {key} in [{format_key((*path, name))}] to go on",
                is_table=True,
            )

    # --- what depends on several tables ---

    def require_models(self, registry: Registry, models: Mapping[str, ModelUse]) -> None:
        stated = self.document.get(("models",)) or {}
        if not stated:
            there = ", ".join(registry.names("model"))
            message = f"missing; name at least one model, as [models.NAME]; there are: {there}"
            self.problem(("models",), message, is_table=True)
        elif len(models) == len(stated) and not any(use.enabled for use in models.values()):
            self.problem(("models",), "none is enabled; there is nothing to train", is_table=True)

    def check_strategies(self, models: Mapping[str, ModelUse], compute: ComputeTable | None) -> None:
        """Refuse strategies that do not fit the weights, as far as options tell; the built model has its own say."""
        for model in models.values():
            component = model.offered.component
            assert isinstance(component, ModelComponent)
            find_stages = component.stages
            stages = self.guarded(
                table_of(model),
                model.offered,
                "`stages`",
                lambda find=find_stages, use=model: find(use.options),  # type: ignore[misc]  # bound per pass
            )
            if not model.enabled:
                continue
            for key, message in strategy_problems(model, stages, compute.devices if compute else 1):
                self._problem_of_train(table_of(model), key, message)

    def _problem_of_train(self, path: KeyPath, key: str, message: str) -> None:
        """Where the value stands: the model's own [train] or the shared one; the model, where its recipe set it."""
        _, sources = layers(self.document, path, "train")
        if key in sources:
            self.problem(sources[key], message)
        else:
            self.problem(path, f"{key} {message}", is_table=True)

    def check_capabilities(self, dataset: Use, users: Sequence[Use]) -> None:
        """Refuse what needs more of a target than the dataset may provide, as far as options tell."""
        provided = self.ask(dataset, "may_provide")
        for use in users:
            needed = self.ask(use, "needs") if use.enabled else None
            missing = sorted(needed - provided) if needed and provided else []
            if missing:
                self.problem(
                    table_of(use),
                    f"{use.title} needs {' and '.join(missing)}, which {dataset.title} does not provide"
                    f" (it provides {' and '.join(sorted(provided or ()))})",
                    is_table=True,
                )

    def check_transforms(self, dataset: Use, models: Mapping[str, ModelUse]) -> None:
        """The same for transforms; those that models share are looked at once."""
        provided = self.ask(dataset, "may_provide")
        seen: set[int] = set()
        for model in models.values():
            own = self.document.get(("models", model.key, "augment")) is not None
            for use in model.augment.values() if model.enabled else ():
                path = (*(("models", model.key) if own else ()), "augment", use.key)
                component = use.offered.component
                assert isinstance(component, TransformComponent)
                if not use.enabled or id(use) in seen:
                    continue
                seen.add(id(use))
                find, options = component.needs, use.options
                needed = self.guarded(
                    path,
                    use.offered,
                    "`needs`",
                    lambda find=find, options=options: frozenset(find(options)),  # type: ignore[misc]  # bound per pass
                )
                missing = sorted((needed or frozenset()) - provided) if provided else []
                if missing:
                    self.problem(
                        path,
                        f"{use.title} needs {' and '.join(missing)}, which {dataset.title} does not provide"
                        f" (it provides {' and '.join(sorted(provided or ()))}); switch it off with enabled = false",
                        is_table=True,
                    )

    def refuse_idle_augmentation(self, models: Mapping[str, ModelUse]) -> None:
        """A shared [augment] that no model would use is a misunderstanding."""
        if not self.document.get(("augment",)):
            return
        stated = [model for model in models.values() if model.enabled]
        if stated and all(self.document.get(("models", model.key, "augment")) is not None for model in stated):
            self.problem(
                ("augment",),
                "no model uses it, for each has an augment table of its own, which replaces this one as a whole;"
                f" set values there, as in [models.{stated[0].key}.augment]",
                is_table=True,
            )

    def ask(self, use: Use, question: str) -> Capabilities | None:
        function: Callable[[Options], Capabilities] = getattr(use.offered.component, question)
        return self.guarded(table_of(use), use.offered, f"`{question}`", lambda: frozenset(function(use.options)))


# --- helpers without state -------------------------------------------------------------------------------------------


def default_name(path: Path) -> str:
    """An experiment's name from its file's: what a folder's name must not hold becomes a dash."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", path.stem).strip("-_") or "experiment"


def table_of(use: Use) -> KeyPath:
    """The path of the table that a component was named in."""
    for group, kind in GROUPS.items():
        if use.kind == kind:
            return (group, use.key)
    return ("search",) if use.kind == "searcher" else (use.kind,)


def _table_length(path: KeyPath) -> int:
    """How many parts of a path name its table: all but the key, with the indices that follow it."""
    length = len(path) - 1
    while length > 0 and isinstance(path[length], int):
        length -= 1
    return length


def _kind_of(path: KeyPath) -> Kind:
    if path[2:3] == ("augment",):  # of one model
        return "transform"
    alone: Mapping[str | int, Kind] = {"dataset": "dataset", "search": "searcher"}
    return GROUPS.get(str(path[0])) or alone.get(path[0], "training_step")


def _with_host_keys(complaint: Complaint, options: type[Options], hosts: Sequence[str]) -> Complaint:
    """For an unknown key, the host's keys of the table are choices too."""
    if len(complaint.path) != 1 or not complaint.message.startswith("unknown key"):
        return complaint
    names = [*(info.alias or name for name, info in options.model_fields.items()), *hosts]
    return Complaint(complaint.path, f"unknown key{did_you_mean(str(complaint.path[0]), names)}")


def _foreign_texts(
    document: Document, table: KeyPath, values: Mapping[str, Any], sources: Mapping[str, KeyPath]
) -> Iterator[tuple[KeyPath, str, Path]]:
    """The texts in a table that were not written in the spec file itself, with the folder of their own file."""

    def walk(path: KeyPath, value: Any) -> Iterator[tuple[KeyPath, str, Path]]:
        if isinstance(value, Mapping):
            for key, item in value.items():
                yield from walk((*path, key), item)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                yield from walk((*path, index), item)
        elif isinstance(value, str):
            source = sources.get(str(path[0]), (*table, path[0]))
            place = document.place((*source, *path[1:]))
            if place.rank:
                yield path, value, place.folder

    return walk((), values)
