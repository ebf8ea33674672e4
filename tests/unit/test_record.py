"""Files that are whole or not there, streams that can be cut, locks, and checkpoints that are refused."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from detkit.engine.checkpoint import (
    capture_generators,
    load_checkpoint,
    load_weights,
    restore_generators,
    save_checkpoint,
)
from detkit.errors import ComponentError, RecordError, WeightsError
from detkit.figures import Curve, Matrix, Table
from detkit.record.figures import read_curve, read_matrix, read_table, write_figure
from detkit.record.files import read_json, read_json_gz, write_atomically, write_json, write_json_gz
from detkit.record.layout import RunLayout, figure_name
from detkit.record.lock import exclusive, is_held
from detkit.record.streams import StreamWriter, read_stream


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    write_json(file, {"value": 1})

    def full(stream: Any) -> None:
        stream.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(RecordError, match=r"cannot write .*a\.json: No space left on device.*--resume"):
        write_atomically(file, full)
    assert read_json(file)["value"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_json_carries_its_version_and_refuses_nan_and_newer_ones(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(file, {"value": float("nan")})
    write_json(file, {"value": None})
    assert json.loads(file.read_text()) == {"format_version": 1, "value": None}
    file.write_text('{"format_version": 99}')
    with pytest.raises(RecordError, match="has format version 99; this detkit reads up to 1"):
        read_json(file)
    file.write_text('{"format_version": 1, "val')
    with pytest.raises(RecordError, match="is damaged"):
        read_json(file)
    with pytest.raises(RecordError, match="is missing"):
        read_json(tmp_path / "b.json")


def test_gzipped_json_depends_on_its_content_alone(tmp_path: Path) -> None:
    for name in ("a.json.gz", "b.json.gz"):
        write_json_gz(tmp_path / name, [1, {"x": 0.1}])
    assert (tmp_path / "a.json.gz").read_bytes() == (tmp_path / "b.json.gz").read_bytes()
    assert read_json_gz(tmp_path / "a.json.gz") == [1, {"x": 0.1}]
    (tmp_path / "a.json.gz").write_bytes(b"\x1f\x8bhalf")
    with pytest.raises(RecordError, match="is damaged"):
        read_json_gz(tmp_path / "a.json.gz")


def test_figures_are_read_as_they_were_written(tmp_path: Path) -> None:
    table = Table(("class", "ap"), (("car", 0.5), ("dog", None)), "by class", printed=True)
    curve = Curve((0.0, 1.0), (1.0, 0.5), "recall", "precision")
    matrix = Matrix(("car", "dog"), ((3, 0), (1, 2)), (((1, 2), ()), ((3,), (1,))))
    layout = RunLayout(tmp_path)
    files = layout.table("coco", "t", 1), layout.curve("coco", "pr/car", "test"), layout.matrix("coco", "m", 1)
    write_figure(files[0], "coco", "t", table)
    write_figure(files[1], "coco", "pr/car", curve)
    write_figure(files[2], "coco", "m", matrix)
    assert read_table(files[0]) == ("coco/t", table)
    assert read_curve(files[1]) == ("coco/pr/car", curve)
    assert read_matrix(files[2]) == ("coco/m", matrix)


def test_a_table_of_before_tables_had_titles_is_read(tmp_path: Path) -> None:
    write_json(tmp_path / "t.json", {"metric": "coco", "name": "t", "columns": ["class"], "rows": [["car"]]})
    assert read_table(tmp_path / "t.json") == ("coco/t", Table(("class",), (("car",),)))


@pytest.mark.parametrize("name", ["pr50/a:b", "pr50/a?b", "pr50/" + "x" * 300, "pr50/" + "ü" * 200, "pr50/a\nb"])
def test_a_figure_of_any_name_has_a_file_of_its_own(tmp_path: Path, name: str) -> None:
    (tmp_path / figure_name("coco", name)).touch()
    assert figure_name("coco", name) != figure_name("coco", name + "x")
    assert figure_name("coco", "pr50/traffic light") == "coco-pr50-traffic light.json"


def test_figures_whose_names_look_alike_to_some_disk_have_files_of_their_own() -> None:
    names = ["pr50/a/b", "pr50/a-b", "pr50-a/b", "pr50/A/b", "pr50/a:b", "pr50/a|b", "pr50/\u00e9", "pr50/e\u0301"]
    files = [figure_name("coco", name) for name in names]
    files += [figure_name("coco-pr50", "a/b"), figure_name("coco-pr50-a", "b")]
    assert len({file.casefold() for file in files}) == len(files)
    assert figure_name("coco", "per_class") == "coco-per_class.json"


def test_a_stream_is_cut_back_to_a_length_and_reads_whole_lines(tmp_path: Path) -> None:
    file = tmp_path / "s.jsonl"
    writer = StreamWriter(file)
    writer.append({"step": 1})
    length = writer.sync()
    writer.append({"step": 2})
    writer.cut(length)
    writer.append({"step": 3, "name": "Jürgen"})
    file.open("ab").write(b'{"step": 4')
    assert list(read_stream(file)) == [{"step": 1}, {"step": 3, "name": "Jürgen"}]
    with pytest.raises(RecordError, match="it was changed since"):
        writer.cut(10_000)
    file.write_text("no json\n")
    with pytest.raises(RecordError, match=r"s\.jsonl:1 is damaged"):
        list(read_stream(file))
    assert list(read_stream(tmp_path / "none.jsonl")) == []


def test_a_torn_line_is_dropped_before_the_next_is_written(tmp_path: Path) -> None:
    file = tmp_path / "s.jsonl"
    file.write_bytes(b'{"step": 1}\n{"step": 2, "los')
    StreamWriter(file).append({"step": 3})
    assert list(read_stream(file)) == [{"step": 1}, {"step": 3}]
    file.write_bytes(b'{"torn')
    StreamWriter(file).append({"step": 4})
    assert list(read_stream(file)) == [{"step": 4}]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk_is_told_as_one() -> None:
    with pytest.raises(RecordError, match="No space left on device"):
        StreamWriter(Path("/dev/full")).append({"step": 1})


def test_a_lock_excludes_and_is_freed(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    assert not is_held(lock)
    with exclusive(lock, "the experiment"):
        assert is_held(lock)
        with (
            pytest.raises(RecordError, match="the experiment is in use by another detkit process"),
            exclusive(lock, "the experiment"),
        ):
            pass
    assert not is_held(lock)


class TestCheckpoints:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        file = tmp_path / "last.pt"
        save_checkpoint(file, {"run_id": "a-seed1", "model": torch.nn.Linear(2, 3).state_dict()})
        return file

    def test_of_another_run(self, file: Path) -> None:
        assert load_checkpoint(file, run_id="a-seed1")["run_id"] == "a-seed1"
        with pytest.raises(WeightsError, match="is of the run 'a-seed1', not of 'b-seed1'"):
            load_checkpoint(file, run_id="b-seed1")

    @pytest.mark.parametrize(("version", "do"), [(1, "an older detkit wrote it: train anew with"), (99, "update")])
    def test_of_another_format(self, version: int, do: str, file: Path) -> None:
        torch.save({**load_checkpoint(file), "format_version": version}, file)
        with pytest.raises(WeightsError, match=f"has format version {version}; this detkit reads 2; {do}"):
            load_checkpoint(file)

    @pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
    def test_cut(self, file: Path, part: float) -> None:
        data = file.read_bytes()
        file.write_bytes(data[: int(len(data) * part)])
        with pytest.raises(WeightsError, match="is cut or no checkpoint of detkit"):
            load_checkpoint(file)

    def test_missing_or_of_something_else(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match="there is no checkpoint"):
            load_checkpoint(tmp_path / "none.pt")
        torch.save({"weights": 1}, tmp_path / "other.pt")
        with pytest.raises(WeightsError, match="is no checkpoint of detkit"):
            load_checkpoint(tmp_path / "other.pt")

    def test_code_in_a_file_is_not_executed(self, tmp_path: Path) -> None:
        class Evil:
            def __reduce__(self) -> Any:
                return (Path.touch, (tmp_path / "executed",))

        torch.save({"format_version": 1, "evil": Evil()}, tmp_path / "evil.pt")
        with pytest.raises(WeightsError):
            load_checkpoint(tmp_path / "evil.pt")
        assert not (tmp_path / "executed").exists()

    def test_what_could_not_be_read_again_is_not_written(self, file: Path) -> None:
        before = file.read_bytes()
        with pytest.raises(ComponentError, match=r"checkpoint's /components/mine/1 is a numpy\.float64"):
            save_checkpoint(file, {"components": {"mine": [1.0, np.float64(2.0)]}})
        assert file.read_bytes() == before

    def test_of_another_model(self, file: Path) -> None:
        weights = load_checkpoint(file)["model"]
        with pytest.raises(WeightsError, match=r"0 keys missing, 0 too many, 2 of another shape .*weight is \(3, 2\)"):
            load_weights(torch.nn.Linear(3, 2), weights, file)
        with pytest.raises(WeightsError, match="1 keys missing, 1 too many"):
            load_weights(torch.nn.PReLU(), {"bias": torch.zeros(1)}, file)

    def test_generators_come_back_from_a_file(self, tmp_path: Path) -> None:
        import random

        torch.manual_seed(3)
        np.random.seed(3)
        random.seed(3)
        random.gauss(0, 1)
        np.random.randn()
        save_checkpoint(tmp_path / "g.pt", {"generators": capture_generators()})
        wanted = (torch.rand(2).tolist(), np.random.randn(3).tolist(), random.gauss(0, 1), random.random())
        torch.manual_seed(4)
        np.random.seed(4)
        random.seed(4)
        restore_generators(load_checkpoint(tmp_path / "g.pt")["generators"])
        assert (torch.rand(2).tolist(), np.random.randn(3).tolist(), random.gauss(0, 1), random.random()) == wanted
