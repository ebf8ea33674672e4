"""The Python of README and docs/ runs: on a record that the README's own example has made, in a folder of its own.

A block that cannot run has a comment before it, `<!-- not run: why -->`. Blocks of signatures alone are those of
docs/reference/hooks.md, which test_docs_hooks.py compares with the source.
"""

from __future__ import annotations

import ast
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import detkit
from detkit.plugins import collect
from made_search import make_search

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^(?:<!-- not run: (?P<why>[^\n]+) -->\n+)?```python\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A block of Python. `why`: it is not run; empty where it is."""

    page: str
    line: int
    text: str
    why: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def file_name(self) -> str:
        named = re.match(r"# ([\w-]+\.py)\b", self.text)
        return named.group(1) if named else ""

    @property
    def is_a_test(self) -> bool:
        return self.file_name.startswith("test_")

    @property
    def signatures_alone(self) -> bool:
        """Functions whose bodies are `...`, and nothing else."""
        nodes = ast.parse(self.text).body
        return all(isinstance(node, ast.FunctionDef) and ast.unparse(node.body[0]) == "..." for node in nodes)


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    name = page.relative_to(ROOT).as_posix()
    for found in BLOCK.finditer(text):
        yield Block(name, text.count("\n", 0, found.start("text")), found["text"], found["why"] or "")


BLOCKS = [block for page in PAGES for block in blocks_of(page) if not block.signatures_alone]
FILES = [block for block in BLOCKS if block.file_name]
RUN = [block for block in BLOCKS if not block.file_name and not block.why]
MAKES_THE_RECORD = "detkit.run("


def test_blocks_are_found_and_few_are_not_run() -> None:
    assert len(RUN) >= 7
    assert len(FILES) >= 3
    assert len([block for block in BLOCKS if block.why]) <= 8


@pytest.mark.parametrize("block", [block for block in FILES if not block.is_a_test], ids=str)
def test_a_file_of_the_docs_is_a_plugin(block: Block, tmp_path: Path) -> None:
    file = tmp_path / block.file_name
    file.write_text(block.text, encoding="utf-8")
    (plugin,) = [one for one in collect([file]).plugins if one.source == str(file)]
    assert plugin.state == "loaded", plugin.reason
    assert plugin.offers


@pytest.mark.slow
@pytest.mark.parametrize("block", [block for block in FILES if block.is_a_test], ids=str)
def test_a_test_of_the_docs_passes(block: Block, tmp_path: Path) -> None:
    """Beside the other files of its page."""
    for other in FILES:
        if other.page == block.page:
            (tmp_path / other.file_name).write_text(other.text, encoding="utf-8")
            if "transformers" in other.text:
                pytest.importorskip("transformers", reason="transformers is not installed")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT / "src", ROOT / "plugins")))}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", block.file_name]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert " passed" in ended.stdout


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.why.startswith("an excerpt of ")], ids=str)
def test_an_excerpt_is_in_its_file(block: Block) -> None:
    """Statement for statement, apart from docstrings."""
    source = ast.parse((ROOT / block.why.removeprefix("an excerpt of ")).read_text(encoding="utf-8"))
    there = {ast.unparse(_without_docstring(node)) for node in ast.walk(source) if isinstance(node, ast.FunctionDef)}
    for node in ast.parse(textwrap.dedent(block.text)).body:
        assert isinstance(node, ast.FunctionDef)
        assert ast.unparse(node) in there, f"{block}: {node.name} is another there"


def _without_docstring(node: ast.FunctionDef) -> ast.FunctionDef:
    if ast.get_docstring(node) is not None:
        node.body = node.body[1:]
    return node


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What the examples speak of: runs/quickstart, runs/search, street.jpg, results.json, instances.json."""
    place = tmp_path_factory.mktemp("examples_of_the_docs")
    quickstart = (ROOT / "examples/quickstart.toml").read_text(encoding="utf-8")
    small = quickstart.replace("images = 200", "images = 24").replace("validation = 40", "validation = 8")
    assert small != quickstart
    (place / "examples").mkdir()
    (place / "examples/quickstart.toml").write_text(small, encoding="utf-8")
    before = Path.cwd()
    os.chdir(place)
    try:
        (makes,) = [block for block in RUN if MAKES_THE_RECORD in block.text]
        execute(makes)
        record = detkit.open_record("runs/quickstart")
        (copy, *_) = [image.copy for image in record.images() if image.copy]
        shutil.copy(copy, "street.jpg")
        shutil.copy(record.files.ground_truth, "instances.json")
        (predictions, *_) = sorted(record.runs[0].files.folder.glob("predictions/*.json.gz"))
        Path("results.json").write_bytes(gzip.decompress(predictions.read_bytes()))
        make_search(Path("runs/search"))
        yield place
    finally:
        os.chdir(before)


def execute(block: Block) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(block.text, str(block), "exec"), names)
    return names


SCHEMA = json.loads((ROOT / "docs/reference/record.schema.json").read_text(encoding="utf-8"))["$defs"]


@pytest.mark.slow
@pytest.mark.parametrize("name", SCHEMA)
def test_a_file_of_the_record_has_the_form_that_is_documented(name: str, folder: Path) -> None:
    """Of both runs; and no key of its first level is there that the schema does not have."""
    jsonschema = pytest.importorskip("jsonschema", reason="nbformat brings jsonschema")
    experiment = folder / "runs/quickstart"
    files = [file for place in (experiment, *experiment.glob("*-seed1")) if (file := place / name).exists()]
    assert files
    for file in files:
        data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        for content in [json.loads(line) for line in data.splitlines()] if ".jsonl" in name else [json.loads(data)]:
            jsonschema.validate(content, SCHEMA[name])
            if isinstance(content, dict):
                assert sorted(set(content) - set(SCHEMA[name]["properties"])) == []


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("block", [block for block in RUN if MAKES_THE_RECORD not in block.text], ids=str)
def test_an_example_runs(block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    execute(block)
    if "print(" in block.text and "found.names" not in block.text:  # a young detector finds nothing
        assert capsys.readouterr().out.strip()
