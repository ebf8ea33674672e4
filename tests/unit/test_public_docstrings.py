"""Everything public says what it is: shapes and dtypes of tensors, units of numbers, what is raised.

Read from the source, as a person reads it: what a decorator or dataclass adds does not count as documentation.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest
from pydantic import BaseModel, Field

import detkit
from detkit import Options
from detkit.plugins import collect
from detkit.spec.model import ComputeTable, ExperimentTable, InputTable, SplitTable, TrainTable
from detkit.spec.search_table import SearchTable
from unit.test_floors import PUBLIC_MODULES

ROOT = Path(__file__).parents[2]
#: Where the public names of the package itself come from, beside the modules that are public as a whole.
HOOKS = ("OfferHooks", "RunEvents")
#: Parts of components' contracts that have no name in `detkit`: what Python's own protocols say of them is enough.
CONTRACTS = ("Parted", "Thresholded", "Stateful", "Component")

TENSOR = re.compile(r"\b(Tensor|ndarray|NDArray\w*|Image|BoundingBoxes|Mask)\b")
SHAPE = re.compile(r"\[(\.\.\., )?[A-Z0-9][\w*+, ]*\]|0-d|scalar|any shape")
DTYPE = re.compile(r"\b(u?int(8|16|32|64)|float(16|32|64)?|bool)\b")
#: Words in names of numbers that have a unit, and words one of which must then be said; a name that ends with its unit
#: says it itself.
UNITS: Mapping[str, tuple[str, ...]] = {
    r"(^|_)(timeout|deadline|duration|wait|seconds|delay)(_|$)": ("second", "time.monotonic"),
    r"(^|_)(size|width|height|side|margin|stride)$": ("pixel", "(height, width)"),
    r"(^|_)area$": ("pixel",),
    r"(^|_)(memory|bytes)(_|$)": ("byte", "MiB", "GiB", "GB"),
}
#: Numbers of images, or of values.
NOT_PIXELS = re.compile(r"(batch|grid|sample)_size$")
OWN_UNIT = re.compile(r"_(s|ms|bytes|px|mb|gb)$")
NUMBER = re.compile(r"\b(int|float)\b")


@dataclass(frozen=True)
class Thing:
    """A documented thing: a function, method, class or field.

    Attributes:
        name: dotted. place: file and line. node: of the syntax tree. doc: its own docstring.
        around: what is said of it elsewhere: the docstring of its class and of that class's bases.
    """

    name: str
    place: str
    node: ast.FunctionDef | ast.ClassDef
    doc: str
    around: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)


def things(source: str, names: frozenset[str] | None, place: str) -> Iterator[Thing]:
    """The public functions and classes at the top of a module, and the methods of the classes.

    Args:
        names: which of them; None for all that do not begin with an underscore.
    """
    tree = ast.parse(source)
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or (
            isinstance(node, ast.FunctionDef) and _is_overload(node)
        ):
            continue
        if node.name.startswith("_") if names is None else node.name not in names:
            continue
        at = f"{place}:{node.lineno}"
        if isinstance(node, ast.FunctionDef):
            yield Thing(node.name, at, node, ast.get_docstring(node) or "")
            continue
        around = "\n".join(ast.get_docstring(base) or "" for base in _with_bases(node, classes))
        yield Thing(node.name, at, node, ast.get_docstring(node) or "", around, _fields(node))
        inherited = {
            method.name: ast.get_docstring(method) or ""
            for base in reversed(_with_bases(node, classes)[1:])
            for method in base.body
            if isinstance(method, ast.FunctionDef)
        }
        for method in node.body:
            if isinstance(method, ast.FunctionDef) and _is_public(method):
                doc = ast.get_docstring(method) or inherited.get(method.name, "")
                yield Thing(f"{node.name}.{method.name}", f"{place}:{method.lineno}", method, doc, around)


def _is_public(method: ast.FunctionDef) -> bool:
    special = ("__getitem__", "__call__", "__post_init__")
    return method.name in special or not (method.name.startswith("_") or _is_overload(method))


def _is_overload(node: ast.FunctionDef) -> bool:
    return any(ast.unparse(decorator).endswith("overload") for decorator in node.decorator_list)


def _with_bases(node: ast.ClassDef, classes: Mapping[str, ast.ClassDef]) -> list[ast.ClassDef]:
    found = [node]
    for base in node.bases:
        name = ast.unparse(base.value if isinstance(base, ast.Subscript) else base)
        if name in classes and classes[name] is not node:
            found += _with_bases(classes[name], classes)
    return found


def _fields(node: ast.ClassDef) -> dict[str, str]:
    """Annotated names of a class, with their annotations."""
    return {
        statement.target.id: ast.unparse(statement.annotation)
        for statement in node.body
        if isinstance(statement, ast.AnnAssign)
        and isinstance(statement.target, ast.Name)
        and not statement.target.id.startswith("_")
        and "ClassVar" not in ast.unparse(statement.annotation)
    }


def _parameters(node: ast.FunctionDef) -> dict[str, str]:
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return {one.arg: ast.unparse(one.annotation) for one in arguments if one.annotation is not None}


def complaints(thing: Thing) -> Iterator[str]:
    """What its documentation leaves open."""
    label = f"{thing.place}: {thing.name}"
    special = thing.name.endswith("__post_init__")
    if not thing.doc and not special:
        yield f"{label}: no docstring"
    text = f"{thing.doc}\n{thing.around}"
    if isinstance(thing.node, ast.ClassDef):
        given, returned = dict(thing.fields), ""
        for name in given:
            if not re.search(rf"\b{name}\b", text):
                yield f"{label}: says nothing of its attribute {name}"
    else:
        given = _parameters(thing.node)
        returned = ast.unparse(thing.node.returns) if thing.node.returns is not None else ""
        if raises(thing.node) and not re.search(r"\b[Rr]aises?\b", text):
            yield f"{label}: does not say what it raises ({', '.join(sorted(raises(thing.node)))})"
    tensors = [name for name, kind in {**given, "what it returns": returned}.items() if TENSOR.search(kind)]
    if tensors and not (SHAPE.search(text) and DTYPE.search(text)):
        yield f"{label}: no shape and dtype of {', '.join(tensors)}"
    for name, kind in given.items():
        if NUMBER.search(kind) and lacks_unit(name, text):
            yield f"{label}: no unit of {name}"


def lacks_unit(name: str, text: str) -> bool:
    """Whether a number's name tells that it has a unit, and neither the name nor the text tells which."""
    if OWN_UNIT.search(name) or NOT_PIXELS.search(name):
        return False
    return any(re.search(pattern, name) and not any(word in text for word in words) for pattern, words in UNITS.items())


def raises(node: ast.FunctionDef) -> set[str]:
    """What a function raises itself; inner functions, and what is only passed on, are left out."""
    found = set()
    waiting: list[ast.AST] = list(node.body)
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            continue
        if isinstance(inner, ast.Raise) and inner.exc is not None:
            error = inner.exc.func if isinstance(inner.exc, ast.Call) else inner.exc
            found.add(ast.unparse(error))
        waiting += ast.iter_child_nodes(inner)
    return found - {"NotImplementedError"}


def constants(source: str, names: frozenset[str] | None, place: str) -> Iterator[str]:
    """The public constants at the top of a module that no `#:` comment stands above of."""
    lines = source.splitlines()
    for node in ast.parse(source).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets:
            if not isinstance(target, ast.Name) or not isinstance(node, ast.Assign | ast.AnnAssign):
                continue
            wanted = not target.id.startswith("_") if names is None else target.id in names
            # Constants that belong together stand in a block: one comment above it.
            first = node.lineno
            while first > 1 and lines[first - 2].strip() and not lines[first - 2].startswith("#:"):
                first -= 1
            if wanted and target.id != "T" and not (first > 1 and lines[first - 2].startswith("#:")):
                yield f"{place}:{node.lineno}: {target.id}: no '#:' comment above it"


def _source(module: ModuleType) -> tuple[str, str]:
    file = Path(str(module.__file__))
    return file.read_text(encoding="utf-8"), str(file.relative_to(ROOT))


def public_modules() -> dict[str, frozenset[str] | None]:
    """Module to the public names in it; None: all that have no underscore."""
    found: dict[str, set[str]] = {"detkit.hookspecs": set(HOOKS), "detkit.components": set(CONTRACTS)}
    for name in detkit.__all__:
        found.setdefault(home_of(name), set()).add(name)
    for module in PUBLIC_MODULES:  # one of them only gives names of others
        exported = importlib.import_module(module)
        for given in (getattr(exported, name) for name in getattr(exported, "__all__", ())):
            found.setdefault(given.__module__, set()).add(given.__name__)
    return {**{module: frozenset(names) for module, names in found.items()}, **dict.fromkeys(PUBLIC_MODULES)}


def home_of(name: str) -> str:
    """The module that a name of `detkit` is defined in: where the package's own source imports it from."""
    tree = ast.parse(Path(str(detkit.__file__)).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and name in {alias.name for alias in node.names}:
            module = str(node.module)
            defined = getattr(getattr(detkit, name), "__module__", module)
            return defined if isinstance(defined, str) and defined.startswith("detkit.") else module
    return "detkit"


@pytest.mark.parametrize("module", sorted(public_modules()))
def test_what_is_public_is_documented(module: str) -> None:
    imported = importlib.import_module(module)
    assert imported.__doc__
    source, place = _source(imported)
    names = public_modules()[module]
    found = list(things(source, names, place))
    assert found or names is not None or imported.__all__
    assert [complaint for thing in found for complaint in complaints(thing)] == []
    assert list(constants(source, names, place)) == []


def test_every_public_name_was_looked_at() -> None:
    """That the test above does not pass over names which it fails to find."""
    seen = set()
    for module, names in public_modules().items():
        tree = ast.parse(_source(importlib.import_module(module))[0])
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                seen.add(node.name)
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            seen |= {target.id for target in targets if isinstance(target, ast.Name)}
        assert names is None or names <= seen
    assert set(detkit.__all__) <= seen


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("def f(): pass", "f: no docstring"),
        ("class A: pass", "A: no docstring"),
        ('class A:\n    """A."""\n    def f(self): pass', "A.f: no docstring"),
        ('class A:\n    """A."""\n    @property\n    def f(self): pass', "A.f: no docstring"),
        ('class A:\n    """A."""\n    wide: int = 3', "A: says nothing of its attribute wide"),
        ('def f(x: Tensor):\n    """x: a tensor."""', "f: no shape and dtype of x"),
        ('def f(x: Tensor):\n    """x: [N, 4]."""', "f: no shape and dtype of x"),
        ('def f(x: Tensor):\n    """x: float32."""', "f: no shape and dtype of x"),
        ('def f() -> np.ndarray:\n    """An array."""', "f: no shape and dtype of what it returns"),
        ('def f():\n    """F."""\n    raise ValueError("x")', "f: does not say what it raises (ValueError)"),
        ('def f():\n    """F."""\n    if 1:\n        raise ValueError', "f: does not say what it raises (ValueError)"),
        ('def f(timeout: float):\n    """F."""', "f: no unit of timeout"),
        ('def f(size: int | None):\n    """Of a size."""', "f: no unit of size"),
        ('class A:\n    """The width."""\n    width: int', "A: no unit of width"),
    ],
)
def test_what_lacks_is_found(source: str, complaint: str) -> None:
    found = [line for thing in things(source, None, "a.py") for line in complaints(thing)]
    assert len(found) == 1
    assert found[0].endswith(complaint)


@pytest.mark.parametrize(
    "source",
    [
        'def f(x: Tensor) -> Tensor:\n    """x: float32 [N, 4]."""',
        'def f():\n    """F.\n\n    Raises:\n        ValueError: x.\n    """\n    raise ValueError("x")',
        'def f():\n    """F."""\n    try:\n        g()\n    except ValueError:\n        raise',
        'def f():\n    """F."""\n    def g():\n        raise ValueError\n    return g',
        'def f(timeout_s: float):\n    """F."""',
        'def f(size: int):\n    """Size: pixels."""',
        "def _f(): pass",
        'class A:\n    """A."""\n    def f(self):\n        """F."""\nclass B(A):\n    """B."""\n    def f(self): pass',
    ],
)
def test_what_is_whole_passes(source: str) -> None:
    assert [line for thing in things(source, None, "a.py") for line in complaints(thing)] == []


def test_a_constant_without_a_comment_is_found() -> None:
    assert list(constants("#: How many.\nA = 1\n_B = 2\n", None, "a.py")) == []
    assert list(constants("A = 1\n\nB = 2\n", frozenset({"B"}), "a.py")) == ["a.py:3: B: no '#:' comment above it"]


# --- options ---------------------------------------------------------------------------------------------------------

TABLES = (ExperimentTable, SplitTable, InputTable, ComputeTable, TrainTable, SearchTable)


def option_complaints(options: type[BaseModel], label: str) -> Iterator[str]:
    """Options that nothing is said of, or that have a unit which is not said."""
    for name, known in options.model_fields.items():
        text = known.description or ""
        if not text.strip():
            yield f"{label}: {name} has no description"
        elif NUMBER.search(str(known.annotation)) and lacks_unit(name, text):
            yield f"{label}: {name} has a unit, and its description does not say which"
        for inner in (known.annotation, *get_args(known.annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from option_complaints(inner, f"{label}.{name}")


def test_every_option_is_described() -> None:
    found = [line for table in TABLES for line in option_complaints(table, table.__name__)]
    for kind, offers in collect().components.items():
        for name, offered in offers.items():
            found += option_complaints(offered.component.options, f"{kind} {name}")
    assert found == []


def test_an_option_without_description_or_unit_is_found() -> None:
    class Inner(Options):
        side: int = Field(1, description="how long")

    class Wrong(Options):
        bare: int = 1
        inner: Inner = Field(Inner(), description="more")
        margin: int = Field(1, description="pixels around it")

    assert list(option_complaints(Wrong, "x")) == [
        "x: bare has no description",
        "x.inner: side has a unit, and its description does not say which",
    ]
