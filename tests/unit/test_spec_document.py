"""Reading files: syntax, encodings, `extends`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from detkit.errors import SpecError
from detkit.spec.document import read_document

WriteFile = Callable[[str, str], Path]


def problem(file: Path) -> str:
    with pytest.raises(SpecError) as caught:
        read_document(file)
    (found,) = caught.value.problems
    return str(found).replace(f"{file.parent}/", "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[a]\nb = \nc = 1", "a.toml:2: not valid TOML: Invalid value (column 5)"),
        ("[a]\nb = 1\nb = 2\n", "a.toml:3: not valid TOML: Cannot overwrite a value (column 6)"),
        ('[a]\nb = """never closed\n', "a.toml:2: not valid TOML: Unterminated string (at the end of the file)"),
    ],
)
def test_syntax_errors_have_a_line(write: WriteFile, text: str, message: str) -> None:
    assert problem(write("a.toml", text)) == message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert problem(tmp_path / "none.toml") == "none.toml: there is no such file"
    (tmp_path / "folder.toml").mkdir()
    assert problem(tmp_path / "folder.toml") == "folder.toml: is a folder; name the TOML file in it"
    (tmp_path / "latin.toml").write_bytes(b'a = 1\nb = "\xe9"\n')
    assert problem(tmp_path / "latin.toml") == "latin.toml:2: not UTF-8 text (byte 0xe9); save the file as UTF-8"


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_bytes(b"\xef\xbb\xbf[train]\r\nepochs = 3\r\n")
    document = read_document(file)
    assert document.values == {"train": {"epochs": 3}}
    assert document.place(("train", "epochs")).line == 2


def test_tables_merge_arrays_and_values_replace(write: WriteFile, tmp_path: Path) -> None:
    write("low/lowest.toml", "[a]\nx = 1\ny = 1\nlist = [1, 2, 3]\n[a.deep]\nk = 1\n[gone]\nz = 1\n")
    write("low/base.toml", 'extends = "lowest.toml"\n[a]\ny = 2\n[a.deep]\nl = 2\n')
    file = write("a.toml", 'extends = "low/base.toml"\ngone = 5\n\n[a]\nlist = [4]\nnew = 3\n')
    document = read_document(file)
    assert document.extends
    assert document.values == {"a": {"x": 1, "y": 2, "list": [4], "deep": {"k": 1, "l": 2}, "new": 3}, "gone": 5}

    def place(*path: str | int) -> tuple[str, str, int | None, Path]:
        found = document.place(path)
        return found.origin, found.where.replace(f"{tmp_path}/", ""), found.line, found.folder

    assert place("a", "x") == ("base file", "low/lowest.toml", 2, tmp_path / "low")
    assert place("a", "y") == ("base file", "low/base.toml", 3, tmp_path / "low")
    assert place("a", "deep", "k") == ("base file", "low/lowest.toml", 6, tmp_path / "low")
    assert place("a", "list") == ("spec", "a.toml", 5, tmp_path)
    assert place("a", "list", 0) == ("spec", "a.toml", 5, tmp_path)
    assert place("a") == ("spec", "a.toml", 4, tmp_path)
    # What is replaced leaves nothing behind.
    assert place("gone", "z") == ("spec", "a.toml", 2, tmp_path)
    assert ("a", "list", 2) not in document.places


def test_the_keys_of_a_base_file_come_first(write: WriteFile) -> None:
    write("base.toml", "[metrics.coco]\n[metrics.voc]\n")
    document = read_document(write("a.toml", 'extends = "base.toml"\n[metrics.own]\n[metrics.coco]\n'))
    assert list(document.values["metrics"]) == ["coco", "voc", "own"]


def test_circles_are_refused_with_the_chain(write: WriteFile) -> None:
    write("b.toml", 'extends = "c.toml"')
    write("c.toml", '\nextends = "a.toml"')
    file = write("a.toml", 'extends = "./b.toml"')
    assert problem(file) == "c.toml:1: extends: goes round in a circle: a.toml -> b.toml -> c.toml -> a.toml"
    assert problem(write("self.toml", 'extends = "self.toml"')) == (
        "self.toml:1: extends: goes round in a circle: self.toml -> self.toml"
    )


def test_a_base_file_that_is_missing_or_wrong(write: WriteFile) -> None:
    assert problem(write("a.toml", 'x = 1\nextends = "none.toml"')) == ("a.toml:2: extends: there is no file none.toml")
    assert problem(write("a.toml", 'extends = ["b.toml"]')) == (
        "a.toml:1: extends: must be the path of one TOML file, not ['b.toml']"
    )
    write("base.toml", "x = 1\ny =\n")
    assert problem(write("a.toml", 'extends = "base.toml"')) == "base.toml:2: not valid TOML: Invalid value (column 4)"
