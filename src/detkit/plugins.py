"""Discovery of plugins, isolation of those that fail, and the registry of what the others offer.

pluggy verifies the hooks' names and arguments. Its entry-point loader has no `try`, and its hook calls stop at the
first exception without naming the plugin; so loading and calling are done here, one plugin at a time.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Literal

import pluggy

from detkit.components import (
    CallbackComponent,
    Command,
    Component,
    DatasetComponent,
    LoggerComponent,
    MetricComponent,
    ModelComponent,
    SearcherComponent,
    TrainingStepComponent,
    TransformComponent,
)
from detkit.deprecation import warn_once_at
from detkit.errors import PluginError, did_you_mean
from detkit.hookspecs import HOOK_API, PROJECT, OfferHooks
from detkit.requirements import (
    API,
    REQUIRES,
    Stated,
    misfit,
    source_of_file,
    source_of_module,
    stated_by,
    stated_in,
)

ENTRY_POINT_GROUP = "detkit.plugins"

Kind = Literal["dataset", "model", "training_step", "metric", "logger", "callback", "transform", "searcher"]

#: Which hook offers which kind, and what it must return a sequence of.
OFFERS: Mapping[Kind, tuple[str, type[Component[Any, Any]]]] = {
    "dataset": ("detkit_datasets", DatasetComponent),
    "model": ("detkit_models", ModelComponent),
    "training_step": ("detkit_training_steps", TrainingStepComponent),
    "metric": ("detkit_metrics", MetricComponent),
    "logger": ("detkit_loggers", LoggerComponent),
    "callback": ("detkit_callbacks", CallbackComponent),
    "transform": ("detkit_transforms", TransformComponent),
    "searcher": ("detkit_searchers", SearcherComponent),
}
COMMANDS_HOOK = "detkit_commands"


@dataclass(frozen=True, slots=True)
class Plugin:
    """A plugin and what became of it.

    Attributes:
        name: the entry point's name, or the file's stem.
        source: the module of an entry point, or the path of a file.
        distribution, version: who installed it; empty for files.
        state: loaded, blocked (by the user), refused (it needs another detkit) or failed.
        reason: why it is not loaded.
        offers: kind to names of components; "command" for commands.
        requires_detkit: the releases that it says it works with; empty where it says nothing that can be read.
        detkit_api: the hook API that it says it was written for; None where it says nothing that can be read.
        deprecations: what it uses that is going to be removed, and what to use instead.
    """

    name: str
    source: str
    distribution: str = ""
    version: str = ""
    state: Literal["loaded", "blocked", "refused", "failed"] = "loaded"
    reason: str = ""
    offers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    requires_detkit: str = ""
    detkit_api: int | None = None
    deprecations: tuple[str, ...] = ()

    @property
    def trouble(self) -> str:
        """What a user should know of a plugin that nobody left out on purpose and that is not there; else empty."""
        return f"{self.title} {self.state}: {self.reason}" if self.state in ("failed", "refused") else ""

    @property
    def title(self) -> str:
        """How messages name it: plugin 'x' (distribution y 1.2), or plugin 'x' (file)."""
        origin = f"{self.distribution} {self.version}" if self.distribution else self.source
        return f"plugin {self.name!r} ({origin})"


@dataclass(frozen=True, slots=True)
class Offered:
    """A component together with the plugin that offers it.

    Attributes:
        component: a module constant of the plugin. plugin: that offers it.
    """

    component: Component[Any, Any]
    plugin: Plugin

    @property
    def title(self) -> str:
        """How messages name it: 'fcos' of plugin 'x' (...)."""
        return f"{self.component.name!r} of {self.plugin.title}"


@dataclass(frozen=True, slots=True)
class Registry:
    """What the loaded plugins offer. A plain value: two registries never share state.

    Attributes:
        plugins: all that were found, also those that are not loaded.
        components: kind to name to what is offered. commands: name to the command and whose it is.
        hook_api: the version of the hook API that they were loaded by.
    """

    plugins: tuple[Plugin, ...]
    components: Mapping[Kind, Mapping[str, Offered]]
    commands: Mapping[str, tuple[Command, Plugin]]
    hook_api: int = HOOK_API

    def names(self, kind: Kind) -> list[str]:
        """The names of one kind's components, sorted."""
        return sorted(self.components[kind])

    def find(self, kind: Kind, name: str) -> Offered:
        """The component of that name.

        Raises:
            PluginError: there is none; names the nearest one, and the plugins that failed to load or are blocked.
        """
        found = self.components[kind].get(name)
        if found is None:
            raise PluginError(self.missing(kind, name))
        return found

    def missing(self, kind: Kind, name: str) -> str:
        """What to tell somebody who named a component that is not there."""
        text = f"no {kind.replace('_', ' ')} named {name!r}{did_you_mean(name, self.components[kind])}"
        absent = [
            f"{plugin.title} {plugin.state}: {plugin.reason}" for plugin in self.plugins if plugin.state != "loaded"
        ]
        return "; ".join([text, *absent])


@dataclass(slots=True)
class _Source:
    """Something to load a plugin from, before it is tried; `text` gives its source without importing it."""

    plugin: Plugin
    load: Callable[[], Any]
    text: Callable[[], str]


class _Refused(PluginError):
    """The plugin needs another detkit."""


def collect(files: Sequence[Path] = (), *, blocked: Iterable[str] = ()) -> Registry:
    """Load every installed plugin and the given files; a plugin that fails is recorded and left out.

    Args:
        files: plugin files that a spec names, absolute.
        blocked: names of plugins that must not be loaded.

    Raises:
        PluginError: a blocked name does not exist, or two plugins offer one name.
    """
    sources = [*_installed(), *map(_file_source, files)]
    unknown = set(blocked) - {source.plugin.name for source in sources}
    if unknown:
        name = min(unknown)
        raise PluginError(
            f"--no-plugin {name}: there is no such plugin{did_you_mean(name, (s.plugin.name for s in sources))}"
        )

    plugins: list[Plugin] = []
    components: dict[Kind, dict[str, Offered]] = {kind: {} for kind in OFFERS}
    commands: dict[str, tuple[Command, Plugin]] = {}
    for source in sources:
        if source.plugin.name in blocked:
            plugins.append(replace(source.plugin, state="blocked", reason="by --no-plugin"))
            continue
        stated = stated_in(source.text())
        source.plugin = _with_statements(source.plugin, stated)
        try:
            _refuse_misfit(source.plugin, stated)
            module = source.load()
            stated |= stated_by(module)
            source.plugin = _with_statements(source.plugin, stated)
            _refuse_misfit(source.plugin, stated)
            offers, offered_commands, deprecations = _offers_of(source.plugin, module)
        except _Refused as error:
            plugins.append(replace(source.plugin, state="refused", reason=str(error)))
            continue
        except Exception as error:  # noqa: BLE001 - a plugin is foreign code; its failure is recorded, not ours
            plugins.append(replace(source.plugin, state="failed", reason=_describe(error)))
            continue
        named: dict[str, tuple[str, ...]] = {
            kind: tuple(item.name for item in items) for kind, items in offers.items() if items
        }
        if offered_commands:
            named["command"] = tuple(command.name for command in offered_commands)
        plugin = replace(source.plugin, offers=named, deprecations=deprecations)
        plugins.append(plugin)
        for kind, items in offers.items():
            for item in items:
                _add(components[kind], kind, item.name, Offered(item, plugin))
        for command in offered_commands:
            if command.name in commands:
                raise _clash("command", command.name, commands[command.name][1], plugin)
            commands[command.name] = (command, plugin)
    return Registry(tuple(plugins), components, commands)


def _add(table: dict[str, Offered], kind: str, name: str, offered: Offered) -> None:
    if name in table:
        raise _clash(kind, name, table[name].plugin, offered.plugin)
    table[name] = offered


def _clash(kind: str, name: str, first: Plugin, second: Plugin) -> PluginError:
    return PluginError(
        f"two plugins offer the {kind.replace('_', ' ')} {name!r}: {first.title} and {second.title};"
        f" rename one, or leave one out with --no-plugin {second.name}"
    )


def _installed() -> list[_Source]:
    found = sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda point: point.name)
    return [_Source(_plugin_of(point), point.load, partial(source_of_module, point.module)) for point in found]


def _plugin_of(point: EntryPoint) -> Plugin:
    distribution = point.dist
    return Plugin(
        name=point.name,
        source=point.value,
        distribution=distribution.name if distribution else "",
        version=distribution.version if distribution else "",
    )


def _file_source(file: Path) -> _Source:
    return _Source(Plugin(name=file.stem, source=str(file)), partial(load_file, file), partial(source_of_file, file))


def _with_statements(plugin: Plugin, stated: Mapping[str, Stated]) -> Plugin:
    requires, api = (stated[name].value if name in stated else None for name in (REQUIRES, API))
    return replace(
        plugin,
        requires_detkit=requires if isinstance(requires, str) else "",
        detkit_api=api if isinstance(api, int) and not isinstance(api, bool) else None,
    )


def _refuse_misfit(plugin: Plugin, stated: Mapping[str, Stated]) -> None:
    from detkit import __version__

    if reason := misfit(stated, __version__, name=plugin.name, distribution=plugin.distribution):
        raise _Refused(reason)


def load_file(file: Path) -> ModuleType:
    """Import a plugin file under a name of its own, so that two files of one stem never meet.

    The module stays in `sys.modules`: what it defines can be pickled to the workers of a data loader.

    Raises:
        PluginError: there is no such file. Whatever the file raises passes through.
    """
    if not file.is_file():
        raise PluginError(f"there is no file {file}")
    name = f"detkit_file_{hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:12]}_{file.stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise PluginError(f"{file} is not a Python file; a plugin's name ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except SystemExit as error:
        del sys.modules[name]
        raise PluginError(f"it ends the program when it is imported (sys.exit, code {error.code})") from error
    except Exception:
        del sys.modules[name]
        raise
    return module


def _offers_of(
    plugin: Plugin, module: Any
) -> tuple[dict[Kind, list[Component[Any, Any]]], list[Command], tuple[str, ...]]:
    """Verify the hooks of an imported plugin, and call each of them; beside it what it uses that is deprecated."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(OfferHooks)
    known = {name for name, _ in OFFERS.values()} | {COMMANDS_HOOK}
    _refuse_unmarked(module, known)
    deprecations = _register(manager, plugin, module)
    for call in vars(manager.hook).values():
        if isinstance(call, pluggy.HookCaller) and call.name not in known:
            raise PluginError(f"there is no hook {call.name!r}{did_you_mean(call.name, known)}")

    offers: dict[Kind, list[Component[Any, Any]]] = {}
    for kind, (hook, component_type) in OFFERS.items():
        offers[kind] = _call(manager, hook, component_type)
    return offers, _call(manager, COMMANDS_HOOK, Command), deprecations


def _register(manager: pluggy.PluginManager, plugin: Plugin, module: Any) -> tuple[str, ...]:
    """Register it; pluggy's warnings of deprecated hooks are given again, with the plugin's name."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        manager.register(module, name=plugin.name)
    for warning in caught:
        warn_once_at(f"{plugin.title}: {warning.message}", warning.filename, warning.lineno)
    return tuple(str(warning.message) for warning in caught)


def _refuse_unmarked(module: Any, known: set[str]) -> None:
    for name, value in vars(module).items():
        if name in known and isinstance(value, FunctionType) and not hasattr(value, f"{PROJECT}_impl"):
            raise PluginError(f"{name} is not marked: write @hookimpl (from detkit import hookimpl) above it")


def _call(manager: pluggy.PluginManager, hook: str, expected: type[Any]) -> list[Any]:
    found: list[Any] = []
    for implementation in getattr(manager.hook, hook).get_hookimpls():
        try:
            items = list(implementation.function())
        except Exception as error:
            raise PluginError(f"hook {hook}: {_describe(error)}") from error
        for item in items:
            if not isinstance(item, expected):
                raise PluginError(f"hook {hook}: returned {item!r}; it must return a list of {expected.__name__}")
        found += items
    return found


def _describe(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, PluginError) else f"{type(error).__name__}: {text}"
