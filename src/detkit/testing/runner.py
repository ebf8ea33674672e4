"""Rules held against components: one rule, all rules of a component, all components of a plugin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detkit.components import Component, Messages, Silent
from detkit.errors import PluginError, UserError, did_you_mean
from detkit.plugins import Kind, Offered, Plugin, Registry
from detkit.testing.rule import Broken, CannotBuild, NotApplicable, Rule, Verdict, rules_of, told
from detkit.testing.subject import Subject

#: Why other rules are skipped where the rule `component-builds` is not kept.
NOT_BUILT = "it cannot be built: see the rule component-builds"


def judge(rule: Rule, subject: Subject) -> Verdict:
    """What becomes of one rule; whatever a component raises is a break of the rule that was looked at."""
    from detkit.testing.surroundings import restored

    try:
        with restored():
            rule.check(subject)
    except Broken as broken:
        state = "noted" if rule.advice else "broken"
        return Verdict(rule, state, broken.found, broken.expected or rule.statement)  # type: ignore[arg-type]  # one of the two words
    except CannotBuild as error:
        reason = str(error) if rule.id == "component-builds" else NOT_BUILT
        return Verdict(rule, "skipped", reason=reason)
    except NotApplicable as reason:
        return Verdict(rule, "skipped", reason=str(reason))
    except UserError as error:
        return Verdict(rule, "skipped", reason=f"it refuses: {' '.join(str(error).split())}")
    except Exception as error:  # noqa: BLE001 - a plugin is foreign code: what it raises is what the kit is there to tell
        return Verdict(rule, "broken", f"it raises {told(error)}", rule.statement)
    return Verdict(rule, "kept")


def judge_all(subject: Subject) -> Iterator[Verdict]:
    """Every rule of the component's kind, in the order of the contract's page."""
    for rule in rules_of(subject.kind):
        yield judge(rule, subject)


@dataclass(frozen=True, slots=True)
class Found:
    """A component to test, and where it comes from."""

    kind: Kind
    component: Component[Any, Any]
    plugin: Plugin

    def subject(self, options: Mapping[str, Any], messages: Messages | None = None) -> Subject:
        """What rules are held against."""
        file = Path(self.plugin.source) if not self.plugin.distribution and self.plugin.source.endswith(".py") else None
        module = "" if file else self.plugin.source.split(":")[0]
        return Subject(self.kind, self.component, options, module=module, file=file, messages=messages or Silent())


def find(registry: Registry, name: str, only: Sequence[str] = ()) -> list[Found]:
    """The components that a name stands for: those of the plugin of that name, else those that are named so.

    Args:
        only: names of components; empty for all.

    Raises:
        PluginError: nothing is named so, the plugin failed or was left out, or it offers no component of those names.
    """
    every = [Found(kind, each.component, each.plugin) for kind, each in _offered(registry)]
    plugin = next((each for each in registry.plugins if name in (each.name, each.source)), None)
    if plugin is not None and plugin.state != "loaded":
        raise PluginError(f"{plugin.title} {plugin.state}: {plugin.reason}")
    found = [each for each in every if each.plugin is plugin] if plugin else []
    if not found:
        found = [each for each in every if each.component.name == name]
    if not found and plugin is not None:
        raise PluginError(f"{plugin.title} offers no component that could be tested")
    if not found:
        names = {each.name for each in registry.plugins} | {each.component.name for each in every}
        raise PluginError(f"no plugin and no component named {name!r}{did_you_mean(name, names)}")
    return [each for each in found if each.component.name in only] if only else found


def _offered(registry: Registry) -> Iterator[tuple[Kind, Offered]]:
    for kind, components in registry.components.items():
        for each in components.values():
            yield kind, each
