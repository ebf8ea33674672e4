"""The notebook runs from top to bottom, and shows what it promises; it is committed without outputs."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "examples/compare_detectors.ipynb"

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")


def read() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


def test_it_is_committed_without_outputs_and_paths_of_a_machine() -> None:
    notebook = read()
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.outputs for cell in code if cell.outputs] == []
    assert [cell.execution_count for cell in code if cell.execution_count is not None] == []
    assert not re.search(r"/home/|/Users/|/tmp/|[A-Z]:\\\\", NOTEBOOK.read_text(encoding="utf-8"))


def test_the_pages_that_it_names_exist() -> None:
    named = re.findall(r"docs/[\w/-]+\.md", NOTEBOOK.read_text(encoding="utf-8"))
    assert named
    assert [page for page in named if not (ROOT / page).exists()] == []


@pytest.mark.slow
def test_it_runs_and_shows_the_comparison_and_the_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    shutil.copy(ROOT / "examples/quickstart.toml", tmp_path)
    # The kernel takes this process's import path: what is tested is this checkout.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (ROOT / "src", ROOT / "plugins"))))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = read()
    nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()

    shown = {number: _shown(cell) for number, cell in enumerate(notebook.cells) if cell.cell_type == "code"}
    cells = {number: cell.source for number, cell in enumerate(notebook.cells)}

    def of(words: str) -> str:
        (found,) = [shown[number] for number, source in cells.items() if words in source and number in shown]
        return found

    assert "did you mean 'epochs'" in of('train.epoch"')
    assert "faster_rcnn" in of("fresh=True")
    assert "<table" in of("detkit.compare(record)\n")
    assert re.search(r"(beats|cannot be told apart)", of("comparison.sentence"))
    assert of("in_rows(rows)").count("image/png") == 1
    assert "AP50" in of("def table")
    assert "True" in of("report.exists()")
    assert "localisation" in of("error_kinds").lower()
    assert (tmp_path / "runs/notebook/leaderboard.json").exists()


def _shown(cell: Any) -> str:
    """All that a cell shows: text, HTML, and for pictures their kind."""
    parts = []
    for output in cell.outputs:
        parts.append(str(output.get("text", "")))
        for kind, content in output.get("data", {}).items():
            parts.append(kind if kind.startswith("image/") else str(content))
    return "\n".join(parts)
