"""Discovery of plugins, isolation of those that fail, and the registry of what the others offer.

pluggy verifies the hooks' names and arguments. Its entry-point loader has no `try`, and its hook calls stop at the
first exception without naming the plugin; so loading and calling are done here, one plugin at a time.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
from detkit.errors import PluginError, did_you_mean
from detkit.hookspecs import PROJECT, OfferHooks

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
        state: loaded, blocked (by the user) or failed.
        reason: why it is blocked or failed.
        offers: kind to names of components; "command" for commands.
    """

    name: str
    source: str
    distribution: str = ""
    version: str = ""
    state: Literal["loaded", "blocked", "failed"] = "loaded"
    reason: str = ""
    offers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """How messages name it: plugin 'x' (distribution y 1.2), or plugin 'x' (file)."""
        origin = f"{self.distribution} {self.version}" if self.distribution else self.source
        return f"plugin {self.name!r} ({origin})"


@dataclass(frozen=True, slots=True)
class Offered:
    """A component together with the plugin that offers it."""

    component: Component[Any, Any]
    plugin: Plugin

    @property
    def title(self) -> str:
        return f"{self.component.name!r} of {self.plugin.title}"


@dataclass(frozen=True, slots=True)
class Registry:
    """What the loaded plugins offer. A plain value: two registries never share state."""

    plugins: tuple[Plugin, ...]
    components: Mapping[Kind, Mapping[str, Offered]]
    commands: Mapping[str, tuple[Command, Plugin]]

    def names(self, kind: Kind) -> list[str]:
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
    """Something to load a plugin from, before it is tried."""

    plugin: Plugin
    load: Any


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
        try:
            offers, offered_commands = _offers_of(source)
        except Exception as error:  # noqa: BLE001 - a plugin is foreign code; its failure is recorded, not ours
            plugins.append(replace(source.plugin, state="failed", reason=_describe(error)))
            continue
        named: dict[str, tuple[str, ...]] = {
            kind: tuple(item.name for item in items) for kind, items in offers.items() if items
        }
        if offered_commands:
            named["command"] = tuple(command.name for command in offered_commands)
        plugin = replace(source.plugin, offers=named)
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
    return [_Source(_plugin_of(point), point.load) for point in found]


def _plugin_of(point: EntryPoint) -> Plugin:
    distribution = point.dist
    return Plugin(
        name=point.name,
        source=point.value,
        distribution=distribution.name if distribution else "",
        version=distribution.version if distribution else "",
    )


def _file_source(file: Path) -> _Source:
    return _Source(Plugin(name=file.stem, source=str(file)), lambda: load_file(file))


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


def _offers_of(source: _Source) -> tuple[dict[Kind, list[Component[Any, Any]]], list[Command]]:
    """Import one plugin, verify its hooks, and call each of them."""
    module = source.load()
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(OfferHooks)
    known = {name for name, _ in OFFERS.values()} | {COMMANDS_HOOK}
    _refuse_unmarked(module, known)
    manager.register(module, name=source.plugin.name)
    for call in vars(manager.hook).values():
        if isinstance(call, pluggy.HookCaller) and call.name not in known:
            raise PluginError(f"there is no hook {call.name!r}{did_you_mean(call.name, known)}")

    offers: dict[Kind, list[Component[Any, Any]]] = {}
    for kind, (hook, component_type) in OFFERS.items():
        offers[kind] = _call(manager, hook, component_type)
    return offers, _call(manager, COMMANDS_HOOK, Command)


def _refuse_unmarked(module: ModuleType, known: set[str]) -> None:
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
