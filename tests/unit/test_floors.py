"""The floors of detkit: who may import whom. Every import counts, also inside functions and for type checking."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import detkit

ROOT = Path(__file__).parents[2]

#: From the ground up. A module imports from its own floor's group and from the floors below; groups of one floor do
#: not see each other. "contracts" are components.py, figures.py, resampling.py, search_space.py, student.py and data/:
#: targets are made of both.
FLOORS = (
    ("errors", "environment", "page", "deprecation"),
    ("contracts",),
    ("hookspecs",),
    ("requirements",),
    ("plugins", "record", "checks"),
    ("spec",),
    ("engine",),
    ("compare", "doctor", "survey"),
    ("report", "testing", "predict", "scaffold"),
    ("evaluation",),
    ("top",),
)
GROUPS = {
    **dict.fromkeys(("components", "figures", "resampling", "search_space", "student", "data"), "contracts"),
    **dict.fromkeys(("api", "cli"), "top"),
}
RANKS = {group: rank for rank, floor in enumerate(FLOORS) for group in floor}

#: What a bundled plugin may import of detkit, as anybody's: the package's own names, and these modules of its data.
PUBLIC_MODULES = (
    "detkit.data.boxes",
    "detkit.data.classes",
    "detkit.data.coco",
    "detkit.data.evaluated",
    "detkit.data.faults",
    "detkit.data.file_dataset",
    "detkit.data.images",
    "detkit.data.remarks",
    "detkit.data.targets",
    "detkit.data.types",
)
#: What the `__init__` of a bundled plugin may import when it is imported.
LIGHT = frozenset({"pydantic", "detkit", *sys.stdlib_module_names})


@dataclass(frozen=True)
class Import:
    """One imported module or name.

    Attributes:
        module: as written, made absolute. name: of `from module import name`; empty for `import module`.
        line: in the file. late: inside a function, or for type checking only.
    """

    module: str
    name: str
    line: int
    late: bool


def imports(source: str, package: str) -> Iterator[Import]:
    """Every import of a file; `package` resolves the relative ones."""
    yield from _imports(ast.parse(source), package, late=False)


def _imports(node: ast.AST, package: str, *, late: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Import(alias.name, "", node.lineno, late)
    elif isinstance(node, ast.ImportFrom):
        above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
        module = ".".join([*above, *([node.module] if node.module else [])])
        for alias in node.names:
            yield Import(module, alias.name, node.lineno, late)
    elif isinstance(node, ast.Call) and ast.unparse(node.func).rsplit(".", 1)[-1] in ("import_module", "__import__"):
        if node.args and isinstance(node.args[0], ast.Constant):
            yield Import(str(node.args[0].value), "", node.lineno, late)
    elif isinstance(node, ast.If) and ast.unparse(node.test).rsplit(".", 1)[-1] == "TYPE_CHECKING":
        for statement in node.body:
            yield from _imports(statement, package, late=True)
        for statement in node.orelse:
            yield from _imports(statement, package, late=late)
        return
    inside = late or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    for child in ast.iter_child_nodes(node):
        yield from _imports(child, package, late=inside)


def read(folder: Path) -> dict[str, str]:
    """Module name to source, of a package; packages carry `.__init__`."""
    return {
        ".".join(file.relative_to(folder.parent).with_suffix("").parts): file.read_text(encoding="utf-8")
        for file in sorted(folder.rglob("*.py"))
    }


def package_of(module: str) -> str:
    return module.rpartition(".")[0]


# --- detkit itself ---------------------------------------------------------------------------------------------------


def target(found: Import, modules: Mapping[str, str]) -> str:
    """The module that an import of detkit reaches; `from detkit.data import types` reaches detkit.data.types."""
    inner = f"{found.module}.{found.name}" if found.name else found.module
    return inner if inner in modules or f"{inner}.__init__" in modules else found.module


def group_of(module: str) -> str:
    part = module.split(".")[1]
    return GROUPS.get(part, part)


def floor_violations(modules: Mapping[str, str]) -> list[str]:
    """Imports that go up, or sideways into another group."""
    found = []
    for module, source in modules.items():
        if module in ("detkit.__init__", "detkit.__main__"):
            continue
        own = group_of(module)
        if own not in RANKS:
            found.append(f"{module}: has no floor; give it one in FLOORS")
            continue
        for imported in imports(source, package_of(module)):
            reached = target(imported, modules)
            place = f"{module}:{imported.line}"
            if reached == "detkit" and imported.name == "__version__":
                continue
            if reached == "detkit":
                found.append(f"{place}: imports {imported.name or 'detkit'} by way of the package; name its module")
            elif reached.startswith("detkit."):
                group = group_of(reached)
                if group != own and RANKS.get(group, len(FLOORS)) >= RANKS[own]:
                    found.append(f"{place}: {own} imports {reached}, which is not below it")
    return found


def cycles(modules: Mapping[str, str]) -> list[str]:
    """A circle of modules that import each other while they are imported; the package's own names are left out."""
    graph = {
        module.removesuffix(".__init__"): {
            target(imported, modules)
            for imported in imports(source, package_of(module))
            if not imported.late and imported.module.startswith("detkit.")
        }
        for module, source in modules.items()
        if module != "detkit.__init__"
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [" -> ".join(error.args[1])]
    return []


#: What `detkit new plugin` copies: plugins of other people, of no floor.
TEMPLATES = "detkit.scaffold.templates."


def test_no_module_imports_from_a_floor_above() -> None:
    modules = read(ROOT / "src/detkit")
    assert floor_violations({name: source for name, source in modules.items() if not name.startswith(TEMPLATES)}) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert cycles(read(ROOT / "src/detkit")) == []


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("detkit.record.layout", "from detkit.engine.loop import train", "record imports detkit.engine.loop"),
        ("detkit.record.layout", "import detkit.spec.model", "record imports detkit.spec.model"),
        ("detkit.record.layout", "from detkit.plugins import collect", "record imports detkit.plugins"),
        ("detkit.errors", "def f():\n    from detkit.data import types", "errors imports detkit.data.types"),
        ("detkit.data.types", "if TYPE_CHECKING:\n    import detkit.hookspecs", "contracts imports detkit.hookspecs"),
        ("detkit.plugins", "from .spec import model", "plugins imports detkit.spec.model"),
        ("detkit.spec.model", "from ..engine.loop import train", "spec imports detkit.engine.loop"),
        ("detkit.compare.board", "from detkit.predict import files", "compare imports detkit.predict.files"),
        ("detkit.engine.loop", "import detkit.compare.board as b", "engine imports detkit.compare.board"),
        (
            "detkit.engine.loop",
            "class A:\n    def f(self): from detkit.cli.main import run",
            "engine imports detkit.cli",
        ),
        ("detkit.engine.loop", "importlib.import_module('detkit.api')", "engine imports detkit.api"),
        ("detkit.engine.loop", "from detkit import Dataset", "imports Dataset by way of the package"),
        ("detkit.engine.loop", "from detkit import api", "engine imports detkit.api"),
        ("detkit.report.page", "from detkit.api import run", "report imports detkit.api"),
        ("detkit.compare.board", "from detkit.report import page", "compare imports detkit.report.page"),
        ("detkit.novel", "", "has no floor"),
    ],
)
def test_an_import_from_above_is_found(module: str, source: str, complaint: str) -> None:
    rest = dict.fromkeys(
        (
            "detkit.__init__",
            "detkit.api",
            "detkit.cli.main",
            "detkit.compare.board",
            "detkit.components",
            "detkit.data.types",
            "detkit.engine.loop",
            "detkit.errors",
            "detkit.hookspecs",
            "detkit.plugins",
            "detkit.predict.files",
            "detkit.record.layout",
            "detkit.report.page",
            "detkit.spec.model",
        ),
        "",
    )
    assert floor_violations(rest) == []
    found = floor_violations({**rest, module: source})
    assert len(found) == 1
    assert complaint in found[0]


def test_imports_downwards_are_allowed() -> None:
    modules = {
        "detkit.errors": "",
        "detkit.components": "import detkit.errors\ndef f():\n    from detkit.data import types",
        "detkit.data.types": "from detkit.components import Dataset",
        "detkit.cli.main": "from detkit import __version__\nfrom detkit import api",
        "detkit.api": "from detkit.cli import main",
    }
    assert floor_violations(modules) == []


def test_a_circle_is_found() -> None:
    modules = {
        "detkit.components": "from detkit.data.types import Target",
        "detkit.data.types": "from detkit.components import Dataset",
    }
    (circle,) = cycles(modules)
    assert set(circle.split(" -> ")) == {"detkit.components", "detkit.data.types"}
    late = {**modules, "detkit.data.types": "def f():\n    from detkit.components import Dataset"}
    assert cycles(late) == []


# --- bundled plugins -------------------------------------------------------------------------------------------------


def plugin_violations(modules: Mapping[str, str], bundled: frozenset[str]) -> list[str]:
    """What a bundled plugin imports and somebody else's could not, or what its `__init__` imports too early.

    Args:
        modules: of one plugin. bundled: names of all bundled plugins.
    """
    found = []
    early = imported_with_the_package(modules)
    for module, source in modules.items():
        package, own = package_of(module), module.split(".", 1)[0]
        for imported in imports(source, package):
            place = f"{module}:{imported.line}"
            top = imported.module.split(".", 1)[0]
            if top == "detkit" and not _is_public(imported):
                what = f"{imported.module}.{imported.name}" if imported.name else imported.module
                found.append(f"{place}: {what} is not public")
            elif top in bundled - {own}:
                found.append(f"{place}: imports the bundled plugin {top}")
            elif module in early and not imported.late and top not in LIGHT | {own}:
                found.append(f"{place}: imports {top} when it is imported; move it into `build`")
        found += [
            f"{module}:{node.lineno}: detkit.{node.attr} is not public"
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "detkit"
            and node.attr not in detkit.__all__
            and node.attr != "data"
        ]
    return found


def imported_with_the_package(modules: Mapping[str, str]) -> set[str]:
    """The modules of a plugin that are imported when it is: its `__init__`, and what that imports of its own."""
    early = {module for module in modules if module.count(".") == 1 and module.endswith(".__init__")}
    waiting = list(early)
    while waiting:
        module = waiting.pop()
        for imported in imports(modules[module], package_of(module)):
            for name in (imported.module, f"{imported.module}.{imported.name}"):
                for reached in (name, f"{name}.__init__"):
                    if not imported.late and reached in modules and reached not in early:
                        early.add(reached)
                        waiting.append(reached)
    return early


def _is_public(imported: Import) -> bool:
    if imported.module == "detkit":
        return not imported.name or imported.name in detkit.__all__
    if imported.module == "detkit.data":
        return f"detkit.data.{imported.name}" in PUBLIC_MODULES
    return imported.module in PUBLIC_MODULES and not imported.name.startswith("_")


def test_a_template_imports_what_anybodys_plugin_could() -> None:
    templates = {name: source for name, source in read(ROOT / "src/detkit").items() if name.startswith(TEMPLATES)}
    assert len(templates) > 17
    found = []
    for name, source in templates.items():
        for imported in imports(source, "my_plugin"):
            public = _is_public(imported) or imported.module == "detkit.testing"
            if imported.module.split(".")[0] == "detkit" and not public:
                found.append(f"{name}:{imported.line}: {imported.module}.{imported.name} is not public")
    assert found == []


BUNDLED = frozenset(folder.parent.name for folder in (ROOT / "plugins").glob("*/__init__.py"))


@pytest.mark.parametrize("plugin", sorted(BUNDLED))
def test_a_bundled_plugin_imports_what_anybodys_could(plugin: str) -> None:
    assert plugin_violations(read(ROOT / "plugins" / plugin), BUNDLED) == []


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("detkit_x.__init__", "import torch", "imports torch when it is imported"),
        ("detkit_x.__init__", "try:\n    import comet_ml\nexcept ImportError: ...", "imports comet_ml when"),
        ("detkit_x.__init__", "class A:\n    import numpy", "imports numpy when"),
        ("detkit_x.__init__", "from detkit.errors import did_you_mean", "did_you_mean is not public"),
        ("detkit_x.__init__", "def f():\n    import detkit.engine.loop", "detkit.engine.loop is not public"),
        ("detkit_x.__init__", "if TYPE_CHECKING:\n    from detkit.plugins import Kind", "Kind is not public"),
        ("detkit_x.model", "from detkit import engine", "detkit.engine is not public"),
        ("detkit_x.model", "from detkit.data import digests", "detkit.data.digests is not public"),
        ("detkit_x.model", "from detkit.data.targets import _encode", "_encode is not public"),
        ("detkit_x.model", "import detkit\ndetkit.plugins.collect()", "detkit.plugins is not public"),
        ("detkit_x.model", "def f():\n    import detkit_y.images", "imports the bundled plugin detkit_y"),
    ],
)
def test_an_import_that_others_could_not_make_is_found(module: str, source: str, complaint: str) -> None:
    found = plugin_violations({module: source}, frozenset({"detkit_x", "detkit_y"}))
    assert len(found) == 1
    assert complaint in found[0]


@pytest.mark.parametrize(
    "line", ["from detkit_x.model import Model", "from .model import Model", "from . import model"]
)
def test_what_an_init_imports_of_its_own_must_be_light_too(line: str) -> None:
    modules = {
        "detkit_x.__init__": line,
        "detkit_x.model": "from detkit_x import deep",
        "detkit_x.deep": "import torch",
    }
    (found,) = plugin_violations(modules, frozenset({"detkit_x"}))
    assert found.startswith("detkit_x.deep:1: imports torch when it is imported")
    assert plugin_violations({**modules, "detkit_x.deep": "import re"}, frozenset({"detkit_x"})) == []


def test_public_names_and_late_imports_are_allowed() -> None:
    modules = {
        "detkit_x.__init__": (
            "import re, pydantic, detkit\nfrom typing import TYPE_CHECKING\nfrom detkit import Dataset, hookimpl\n"
            "from detkit.data.types import Target\nif TYPE_CHECKING:\n    import torch\n"
            "def build(o, c):\n    import torch\n    from detkit_x.model import Model\n    return detkit.Table"
        ),
        "detkit_x.model": "import torch, numpy\nfrom detkit.data import targets\nfrom detkit_x import Options",
    }
    assert plugin_violations(modules, frozenset({"detkit_x", "detkit_y"})) == []
