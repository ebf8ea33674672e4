"""The lines of keys: by hand for what is tricky, by hypothesis for everything else."""

from __future__ import annotations

from typing import Any

import pytest
import tomli
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from detkit.spec.scanner import KeyPath, format_key, scan

TRICKY = '''\
# [not.a.table]
title = "x # no comment"   # a comment with = and [

[experiment]
name = """
[nor.this]
key = 1 \\""" still inside
"""   # closed here
after = 'C:\\'
literal = \'\'\'
[or.this]
x = 1\'\'\'
quotes = """a""""
next = 1

[ "quoted.table" . 'inner' ]
a.b.c = 1
a . "d e" = 2
"esc\\u00e9\\"=" = 3

[inline]
point = { x = 1, y = { z = [1, 2] }, "w" = "}" }
when = 1979-05-27 07:32:00
list = [
  1,  # [fake]
  # comment = 2
  "]",
  [ "nested",
    "deeper" ],
  { k = 1 },
]
last = true

[[points]]
x = 1
[points.sub]
y = 2
[[points]]
x = 3
[[points.many]]
z = 4
[points.sub]
y = 5
[later.deep.table]
k = 1
[later]
k = 2
'''


def test_lines_of_a_tricky_text() -> None:
    tomli.loads(TRICKY)  # or the test would say nothing
    lines = scan(TRICKY)
    assert lines == {
        ("title",): 2,
        ("experiment",): 4,
        ("experiment", "name"): 5,
        ("experiment", "after"): 9,
        ("experiment", "literal"): 10,
        ("experiment", "quotes"): 13,
        ("experiment", "next"): 14,
        ("quoted.table",): 16,
        ("quoted.table", "inner"): 16,
        ("quoted.table", "inner", "a"): 17,
        ("quoted.table", "inner", "a", "b"): 17,
        ("quoted.table", "inner", "a", "b", "c"): 17,
        ("quoted.table", "inner", "a", "d e"): 18,
        ("quoted.table", "inner", 'esc\u00e9"='): 19,
        ("inline",): 21,
        ("inline", "point"): 22,
        ("inline", "point", "x"): 22,
        ("inline", "point", "y"): 22,
        ("inline", "point", "y", "z"): 22,
        ("inline", "point", "y", "z", 0): 22,
        ("inline", "point", "y", "z", 1): 22,
        ("inline", "point", "w"): 22,
        ("inline", "when"): 23,
        ("inline", "list"): 24,
        ("inline", "list", 0): 25,
        ("inline", "list", 1): 27,
        ("inline", "list", 2): 28,
        ("inline", "list", 2, 0): 28,
        ("inline", "list", 2, 1): 29,
        ("inline", "list", 3): 30,
        ("inline", "list", 3, "k"): 30,
        ("inline", "last"): 32,
        ("points",): 34,
        ("points", 0): 34,
        ("points", 0, "x"): 35,
        ("points", 0, "sub"): 36,
        ("points", 0, "sub", "y"): 37,
        ("points", 1): 38,
        ("points", 1, "x"): 39,
        ("points", 1, "many"): 40,
        ("points", 1, "many", 0): 40,
        ("points", 1, "many", 0, "z"): 41,
        ("points", 1, "sub"): 42,
        ("points", 1, "sub", "y"): 43,
        ("later",): 46,
        ("later", "deep"): 44,
        ("later", "deep", "table"): 44,
        ("later", "deep", "table", "k"): 45,
        ("later", "k"): 47,
    }


def test_windows_line_ends_and_no_end_of_line_at_the_end() -> None:
    text = TRICKY.rstrip("\n").replace("\n", "\r\n")
    assert scan(text) == scan(TRICKY)


def test_empty_texts() -> None:
    assert scan("") == {}
    assert scan("\n\n  # only a comment") == {}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("models", "fcos", "lr"), "models.fcos.lr"),
        (("a.b", "c d", 'e"'), '"a.b"."c d"."e\\""'),
        (("plugins", 1), "plugins[1]"),
        ((), ""),
    ],
)
def test_format_key(path: KeyPath, text: str) -> None:
    assert format_key(path) == text


# --- every key of every document -------------------------------------------------------------------------------------

KEYS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x7f"), max_size=6) | st.sampled_from(
    ["a", "a.b", "[x]", "#", "=", "'", '"', "é", "\n", "\\"]
)
SCALARS = (
    st.integers(-(2**60), 2**60)
    | st.booleans()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x7f"), max_size=12)
    | st.sampled_from(["[t]\nk = 1\n", '"""', "'''", "# no", "a = {", "]", "\r\n"])
    | st.datetimes()
    | st.dates()
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=12
)
DOCUMENTS = st.dictionaries(KEYS, VALUES, max_size=4)


def value_at(values: Any, path: KeyPath) -> Any:
    for part in path:
        values = values[part]
    return values


def all_paths(values: Any, path: KeyPath = ()) -> set[KeyPath]:
    items: Any = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    found: set[KeyPath] = set()
    for key, value in items:
        found |= {(*path, key)} | all_paths(value, (*path, key))
    return found


def marked(values: Any, counter: list[int]) -> Any:
    """The same shape, with a number of its own in the place of every scalar."""
    if isinstance(values, dict):
        return {key: marked(value, counter) for key, value in values.items()}
    if isinstance(values, list):
        return [marked(value, counter) for value in values]
    counter[0] += 1
    return f"mark{counter[0]}mark"


@settings(max_examples=60, deadline=None)
@given(DOCUMENTS, st.booleans())
def test_all_keys_are_found_in_what_tomli_w_writes(values: dict[str, Any], multiline: bool) -> None:
    text = tomli_w.dumps(values, multiline_strings=multiline)
    assert set(scan(text)) == all_paths(tomli.loads(text))


@settings(max_examples=60, deadline=None)
@given(DOCUMENTS)
def test_each_scalar_is_on_the_line_of_its_key(values: dict[str, Any]) -> None:
    shape = marked(values, [0])
    text = tomli_w.dumps(shape)
    lines = scan(text)
    rows = text.split("\n")
    for path in all_paths(shape):
        value = value_at(shape, path)
        if isinstance(value, str):
            assert value in rows[lines[path] - 1]


def by_hand(draw: Any, values: dict[str, Any], header: tuple[str, ...]) -> list[str]:
    """Another way to write a document: comments, blanks, dotted keys, literal and long strings, inline tables."""
    rows: list[str] = []
    tables: list[tuple[tuple[str, ...], dict[str, Any]]] = []
    for key, value in values.items():
        if isinstance(value, dict) and draw(st.booleans()):
            tables.append(((*header, key), value))
            continue
        if isinstance(value, dict) and len(value) == 1 and not isinstance(next(iter(value.values())), dict | list):
            ((inner, scalar),) = value.items()
            rows.append(f"{quoted(key)} . {quoted(inner)}={scalar_text(draw, scalar)}")
            continue
        rows += draw(st.sampled_from([[], ["", "  # [comment] a = 1"]]))
        rows.append(f"{quoted(key)} = {inline_text(draw, value)}  # note")
    for path, table in tables:
        rows.append(f"[ {' . '.join(map(quoted, path))} ] # {{")
        rows += by_hand(draw, table, path)
    return rows


def quoted(key: str) -> str:
    return tomli_w.dumps({key: 0}).removesuffix(" = 0\n")


def scalar_text(draw: Any, mark: str) -> str:
    forms = [f'"{mark}"', f"'{mark}'", f'"""{mark}\n[fake]\nk = 1\n"""', f"'''{mark}\n\\'''", f'"""{mark}"""""']
    return str(draw(st.sampled_from(forms)))


def inline_text(draw: Any, value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(key)} = {inline_text(draw, item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[ # open\n" + "".join(f"{inline_text(draw, item)} , # ]\n\n" for item in value) + "]"
    return scalar_text(draw, value)


@settings(max_examples=100, deadline=None)
@given(DOCUMENTS, st.sampled_from(["\n", "\r\n"]), st.data())
def test_each_scalar_is_on_its_line_in_hand_made_texts(values: dict[str, Any], end: str, data: st.DataObject) -> None:
    shape = marked(values, [0])
    text = "\n".join(by_hand(data.draw, shape, ())).replace("\n", end)
    lines = scan(text)
    parsed = tomli.loads(text)
    rows = text.split("\n")
    assert set(lines) == all_paths(parsed)
    for path in all_paths(shape):
        if isinstance(value := value_at(shape, path), str):
            assert value in rows[lines[path] - 1], (path, text)
