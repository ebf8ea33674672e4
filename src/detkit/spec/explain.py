"""Each resolved value of a spec, and where it came from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from detkit.spec.model import ExperimentSpec, Provenance
from detkit.spec.resolve import leaves
from detkit.spec.scanner import format_key


@dataclass(frozen=True, slots=True)
class Explained:
    """One value: its dotted key, the value as plain data, and its origin."""

    key: str
    value: Any
    origin: Provenance

    def as_json(self) -> dict[str, Any]:
        """Plain data for `--json`."""
        return {"key": self.key, "value": self.value, **asdict(self.origin)}


def explain(spec: ExperimentSpec) -> list[Explained]:
    """Every resolved value in the order of the tables."""
    rows = []
    for path, value in leaves(spec.resolved):
        key = format_key(path)
        rows.append(Explained(key, value, spec.provenance[key]))
    return rows


def origin_words(origin: Provenance) -> str:
    """As `default`, `recipe of model fcos`, `preset light`, `spec a.toml:3`, `base file base.toml:9`, `command line
    --set a=1`.
    """
    if origin.origin == "default":
        return "default"
    if origin.origin == "recipe":
        return f"recipe of model {origin.where}"
    if origin.origin == "preset":
        return f"preset {origin.where}"
    line = f":{origin.line}" if origin.line is not None else ""
    return f"{origin.origin} {origin.where}{line}"


def value_words(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    if isinstance(value, list):
        return f"[{', '.join(map(value_words, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{format_key((key,))} = {value_words(item)}" for key, item in value.items()) + "}"
    return str(value)
