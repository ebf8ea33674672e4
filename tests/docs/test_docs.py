"""What README and docs/ say is true: specs load, plugins import, commands and options exist, links lead somewhere.

A block of TOML is a whole spec where it has an [experiment] table; otherwise it is checked as an addition to a small
whole one. A block of Python whose first line is a comment with a file name (`# my_detector.py`) is that file, for the
TOML blocks of the same page that name it.
"""

from __future__ import annotations

import ast
import inspect
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from torch import nn

import detkit
from detkit.cli.main import COMMANDS, Commands
from detkit.components import BuildContext
from detkit.engine.strategy import plan_strategy
from detkit.errors import SpecError
from detkit.spec.loader import load_spec
from detkit.spec.model import TrainTable

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]

FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
FILE_NAME = re.compile(r"# ([\w-]+\.(?:py|toml))\b")
BASE = """
[experiment]
name = "base"
[dataset]
use = "synthetic"
[models.{model}]
backbone = "mobilenet_v2_fpn"
[metrics.coco]
"""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def file_name(self) -> str:
        """The file that the block shows, where its first line says so."""
        named = FILE_NAME.match(self.text)
        return named.group(1) if named else ""


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, found.start()) + 1, found.group(1), found.group(2))
        for found in FENCE.finditer(text)
    ]


BLOCKS = [block for page in PAGES for block in blocks(page)]
TOML = [block for block in BLOCKS if block.language == "toml"]
PYTHON = [block for block in BLOCKS if block.language == "python"]


# --- specs and plugins -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", TOML, ids=str)
def test_a_spec_in_the_docs_is_valid(block: Block, tmp_path: Path) -> None:
    spec = write_spec(block, tmp_path)
    try:
        load_spec(spec)
    except SpecError as error:
        pytest.fail(f"{block}: {error}")


def write_spec(block: Block, folder: Path) -> Path:
    """The block as a file, with all that it needs: the page's other files, and a base where it is no whole spec."""
    values = tomllib.loads(block.text)
    for other in blocks(block.page):
        if other.file_name and other != block:
            (folder / other.file_name).write_text(other.text, encoding="utf-8")
    for plugin in values.get("plugins", []):
        example = ROOT / "examples" / "plugin_in_one_file" / Path(plugin).name
        if not (folder / plugin).exists() and example.exists():
            (folder / plugin).write_text(example.read_text(encoding="utf-8"), encoding="utf-8")
    text = block.text
    if "experiment" not in values:
        # A model of a key that no page uses, so that the base adds nothing to what the block says of its own.
        base = BASE.replace("[models.{model}]", '[models.of_the_base]\nuse = "fcos"')
        (folder / "base_of_the_test.toml").write_text(base, encoding="utf-8")
        if "extends" not in values:
            text = f'extends = "base_of_the_test.toml"\n{text}'
    spec = folder / (block.file_name or "block.toml")
    spec.write_text(text, encoding="utf-8")
    return spec


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[train]\nepoch = 3\n", "epoch"),
        ("[models.fcoz]\n", "fcoz"),
        ('[experiment]\nname = "x"\n', "dataset"),
        ("[loggers.console]\nevery_epochs = 0\n", "every_epochs"),
    ],
)
def test_a_spec_that_is_wrong_is_found(text: str, complaint: str, tmp_path: Path) -> None:
    spec = write_spec(Block(ROOT / "CHANGELOG.md", 1, "toml", text), tmp_path)
    with pytest.raises(SpecError, match=complaint):
        load_spec(spec)


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_python_in_the_docs_compiles_and_names_what_exists(block: Block) -> None:
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and node.module == "detkit":
            assert {alias.name for alias in node.names} <= set(detkit.__all__)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "detkit":
            assert node.attr in detkit.__all__
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "detkit.run":
            known = inspect.signature(detkit.run).parameters
            assert {keyword.arg for keyword in node.keywords} <= set(known)


# --- commands --------------------------------------------------------------------------------------------------------


def test_the_model_of_ones_own_is_known_to_strategies() -> None:
    """The page's example, with a detector and a loader behind it."""
    (block,) = [block for block in PYTHON if block.page.name == "fine-tune.md"]

    class MyDetector(nn.Module):
        def __init__(self, _classes: int) -> None:
            super().__init__()
            self.stem, self.body, self.head = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)

    def load_what_fits(_model: nn.Module, _weights: object) -> set[str]:
        return {"stem.weight", "stem.bias", "body.weight", "body.bias"}

    names: dict[str, Any] = {"MyDetector": MyDetector, "load_what_fits": load_what_fits}
    exec(compile(block.text, str(block), "exec"), names)
    options = SimpleNamespace(weights="mine.pth")
    model = names["build_mine"](options, BuildContext(class_names=("a",)))
    rows = plan_strategy(model, TrainTable(trainable_layers=1)).rows(0.1)
    assert [(row["part"], row["weights"], row["from_epoch"]) for row in rows] == [
        ("backbone stem", "pretrained", None),
        ("backbone body", "pretrained", 1),
        ("head", "new", 1),
    ]


def commands(page: Path) -> Iterator[tuple[str, str]]:
    """Every `detkit ...` and `make ...` of a page, in code spans and blocks, with its place."""
    text = page.read_text(encoding="utf-8")
    for block in blocks(page):
        if block.language not in ("", "console", "sh", "bash"):
            continue
        for number, line in enumerate(block.text.splitlines(), block.line + 1):
            command = line.removeprefix("$ ").strip()
            if re.match(r"(detkit|make)( |$)", command):
                yield f"{page.relative_to(ROOT)}:{number}", command.split("  ")[0].split(" #")[0]
    prose = FENCE.sub(lambda found: "\n" * found.group(0).count("\n"), text)
    for found in re.finditer(r"`((?:detkit|make) [^`]+)`", prose):
        yield f"{page.relative_to(ROOT)}:{prose.count(chr(10), 0, found.start()) + 1}", found.group(1)


COMMAND_LINES = [(place, line) for page in PAGES for place, line in commands(page)]


@pytest.mark.parametrize(("place", "line"), COMMAND_LINES, ids=[f"{p} {c}" for p, c in COMMAND_LINES])
def test_a_command_in_the_docs_exists(place: str, line: str) -> None:
    assert command_problem(line) == ""


def command_problem(line: str) -> str:
    """What is wrong with a command line: its command, an option, a target of make, a spec under examples/."""
    program, *words = shlex.split(line.replace("\n", " "))
    if program == "make":
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
        unknown = [word for word in words if "=" not in word and word not in targets]
        return f"make has no target {unknown[0]}" if unknown else ""
    missing = [word for word in words if word.startswith("examples/") and not (ROOT / word).exists()]
    if missing:
        return f"there is no {missing[0]}"
    group: click.Command = Commands("detkit", params=[click.Option(["--debug"]), click.Option(["--version"])])
    context = click.Context(group)
    while words and isinstance(group, click.Group) and not words[0].startswith("-"):
        found = group.get_command(context, words[0])
        if found is None:
            return f"there is no command {words[0]}" if group.name == "detkit" else ""
        group, words = found, words[1:]
    known = {option for parameter in group.params for option in (*parameter.opts, *parameter.secondary_opts)}
    known |= {"--help", "-h"}
    unknown = [word for word in words if word.startswith("-") and word.split("=")[0] not in known]
    return f"{group.name} has no option {unknown[0]}" if unknown else ""


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("detkit runn x.toml", "no command runn"),
        ("detkit run x.toml --resum", "no option --resum"),
        ("detkit plugins show --deep coco", "no option --deep"),
        ("detkit run examples/nowhere.toml", "no examples/nowhere.toml"),
        ("make demo PYTHON=python3.12 tets", "no target tets"),
    ],
)
def test_a_command_that_is_wrong_is_found(line: str, problem: str) -> None:
    assert problem in command_problem(line)


def test_the_reference_names_every_command_with_every_option() -> None:
    page = (ROOT / "docs/reference/cli.md").read_text(encoding="utf-8")
    group = Commands("detkit")
    for name in COMMANDS:
        command = group.get_command(click.Context(group), name)
        assert command is not None
        section = re.search(rf"^## `detkit {name}\b.*?(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
        assert section, f"docs/reference/cli.md has no section on detkit {name}"
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                for option in (parameter.opts[0], *parameter.secondary_opts):
                    assert f"`{option}" in section.group(), f"detkit {name} {option} is not in cli.md"


# --- the other references --------------------------------------------------------------------------------------------


def test_the_reference_of_specs_names_every_key_with_its_default() -> None:
    from detkit.spec import model, search_table

    page = (ROOT / "docs/reference/spec.md").read_text(encoding="utf-8")
    tables = (model.ExperimentTable, model.SplitTable, model.InputTable, model.ComputeTable, model.TrainTable)
    for table in (*tables, search_table.SearchTable):
        for key, field in table.model_fields.items():
            row = re.search(rf"^\| `{key}` \|([^\n]*)", page, re.MULTILINE)
            assert row, f"docs/reference/spec.md has no row for {key} of {table.__name__}"
            if isinstance(field.default, int | float) and not field.is_required():
                shown = str(field.default).lower()
                assert f"`{shown}`" in row.group(1), f"spec.md: the default of {key} is {shown}"


def test_the_reference_of_the_record_names_every_file() -> None:
    from detkit.record import layout

    page = (ROOT / "docs/reference/record.md").read_text(encoding="utf-8")
    run = layout.RunLayout(Path("r"))
    experiment = layout.ExperimentLayout(Path("e"))
    files = [
        getattr(owner, name)
        for owner in (run, experiment)
        for name, value in vars(type(owner)).items()
        if isinstance(value, property)
    ]
    assert len(files) > 15
    assert [file.name for file in files if file.name not in page] == []


# --- links -----------------------------------------------------------------------------------------------------------

LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> list[str]:
    """Links to files or headings that are not there; other sites are not asked."""
    broken = []
    for link in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"https?:|mailto:", link):
            continue
        path, _, anchor = link.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(link)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert broken_links(page) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One two\n[a](#one-two) [b](#three) [c](page.md#one-two) [d](none.md) [e](https://x.org)\n")
    assert broken_links(page) == ["#three", "none.md"]


def test_the_first_page_leads_to_every_page() -> None:
    """Where there is no site, as in a repository, it is the table of contents."""
    first = ROOT / "docs/index.md"
    linked = {(first.parent / link.partition("#")[0]).resolve() for link in LINK.findall(first.read_text("utf-8"))}
    readme = ROOT / "README.md"
    assert [str(page.relative_to(ROOT)) for page in PAGES if page not in {*linked, first, readme}] == []


# --- make ------------------------------------------------------------------------------------------------------------


def test_make_without_a_target_lists_them() -> None:
    listed = subprocess.run(["make", "-C", str(ROOT)], capture_output=True, text=True, check=True).stdout
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert [target for target in phony.split() if target != "help" and f"make {target}" not in listed] == []


def test_make_says_where_python_is_missing_or_too_old(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "pyproject.toml").touch()
    assert "there is no python-of-nobody" in _make(tmp_path, "python-of-nobody")
    assert "needs 3.11 or later" in _make(tmp_path, _script(tmp_path, '[ "$1" = --version ] && echo Python 3.9.2'))
    assert "no venv module" in _make(tmp_path, _script(tmp_path, 'case "$2" in *venv*) exit 1;; esac'))
    assert not (tmp_path / ".venv").exists()


def _script(folder: Path, body: str) -> str:
    """A stand-in for a Python interpreter."""
    file = folder / "python"
    file.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    file.chmod(0o755)
    return str(file)


def _make(folder: Path, python: str) -> str:
    ended = subprocess.run(
        ["make", "-C", str(folder), "demo", f"PYTHON={python}"], capture_output=True, text=True, check=False
    )
    assert ended.returncode != 0
    return ended.stderr
