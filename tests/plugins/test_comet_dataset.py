"""The dataset as a version of an Artifact: the manifest alone, and sent by the real client to a stub and an archive."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from detkit import ExperimentRecord, RunInfo, open_record
from detkit.components import Silent
from detkit.data.coco_form import ground_truth_json
from detkit.data.digests import ImageDigest, digest_files
from detkit.data.fingerprint import fingerprint
from detkit.data.splits import Splits
from detkit.data.types import Annotation, ImageInfo
from detkit.record.digests import digests_content
from detkit.record.files import write_json
from detkit.record.images import RecordedImage, SplitName, images_content
from detkit.record.layout import ExperimentLayout
from detkit_comet import CometOptions
from detkit_comet.dataset import DatasetVersion, artifact_name
from detkit_comet.manifest import DIGESTS_FILE, GONE, NOT_A_FILE, NOT_KNOWN, Digests, make_manifest
from plugins.comet_artifact_stub import Artifacts
from plugins.comet_received import read_archive
from plugins.comet_stub import Fault, Stub

KEY = "K3yK3yK3yK3yK3yK3yK3yK3yK"
HERE = Path(__file__).parent
CLASSES = ("cat", "dog")
SPLIT_OF: dict[int, SplitName] = {1: "train", 2: "train", 3: "validation", 9: "test"}

needs_client = pytest.mark.skipif(
    not __import__("importlib.util").util.find_spec("comet_ml"), reason="comet_ml is not installed"
)


def picture(file: Path, value: int) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), (value, 0, 0)).save(file, "PNG")
    return file


def write_record(folder: Path, infos: list[ImageInfo], *, with_images: bool = True) -> ExperimentRecord:
    """A record of an experiment that looked at these images, as detkit writes it before the first run."""
    layout = ExperimentLayout(folder)
    positions = {name: [i for i, info in enumerate(infos) if SPLIT_OF[info.image_id] == name] for name in SPLITS}
    write_json(layout.ground_truth, ground_truth_json(infos, CLASSES))
    write_json(
        layout.splits,
        {name: [{"index": i, "image_id": infos[i].image_id} for i in positions[name]] for name in positions},
    )
    splits = Splits(*(tuple(positions[name]) for name in SPLITS))
    write_json(layout.fingerprint, fingerprint(infos, CLASSES, splits))
    write_json(layout.experiment, {"name": folder.name, "runs": []})
    if with_images:
        images = [RecordedImage(info, SPLIT_OF[info.image_id]) for info in infos]
        write_json(layout.images, images_content(images, layout.copies))
    for run in ("a-seed1", "b-seed1"):
        (folder / run).mkdir(exist_ok=True)
    return open_record(folder)


SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")


def pets(data: Path) -> list[ImageInfo]:
    """Three files in two folders, names with a space and an umlaut, and one image that is no file."""
    files = {1: data / "b" / "two words.png", 2: data / "a" / "kätzchen.png", 3: data / "a" / "dog.png"}
    objects = (Annotation(label=1, box=(0.0, 0.0, 2.0, 2.0), area=4.0),)
    infos = [
        ImageInfo(image_id, picture(file, image_id) if not file.exists() else file, 8, 6, objects)
        for image_id, file in files.items()
    ]
    return [*infos, ImageInfo(9, None, 8, 6, (), "drawn")]


@pytest.fixture
def record(tmp_path: Path) -> ExperimentRecord:
    return write_record(tmp_path / "files", pets(tmp_path / "data"))


def sha256sum(file: Path) -> str:
    return subprocess.run(["sha256sum", str(file)], capture_output=True, text=True, check=True).stdout.split()[0]


# --- the manifest ----------------------------------------------------------------------------------------------------


def test_the_manifest_names_every_image_with_its_files_digest(record: ExperimentRecord, tmp_path: Path) -> None:
    content = json.loads(make_manifest(record, "pets").content())

    data = tmp_path / "data"
    expected: list[tuple[str, int, str, int | None, str | None]] = []
    for name, image_id, split in (("a/dog.png", 3, "validation"), ("a/kätzchen.png", 2, "train")):
        file = data / name
        expected.append((name, image_id, split, file.stat().st_size, sha256sum(file)))
    two_words = data / "b" / "two words.png"
    expected.append(("b/two words.png", 1, "train", two_words.stat().st_size, sha256sum(two_words)))
    expected.append(("drawn", 9, "test", None, None))
    rows = content.pop("images")
    assert [tuple(row[key] for key in ("name", "image_id", "split", "bytes", "sha256")) for row in rows] == expected
    assert [row.get("reason") for row in rows] == [None, None, None, NOT_A_FILE]
    assert content == {
        "format_version": 1,
        "dataset": "pets",
        "fingerprint": record.fingerprint["sha256"],
        "class_names": ["cat", "dog"],
        "splits": {"train": 2, "validation": 1, "test": 1},
    }


def test_the_same_data_elsewhere_has_the_same_digest_and_a_changed_byte_another(tmp_path: Path) -> None:
    one, two = (write_record(tmp_path / name / "record", pets(tmp_path / name / "data")) for name in "xy")
    assert str(tmp_path) not in make_manifest(one, "pets").content().decode()
    assert make_manifest(one, "pets").digest == make_manifest(two, "pets").digest != make_manifest(two, "cats").digest

    file = tmp_path / "y" / "data" / "a" / "dog.png"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 1))  # clocks of file systems may be coarse
    assert fingerprint_of(two) == fingerprint_of(one)  # it is of names, sizes and objects
    changed = make_manifest(two, "pets")
    assert changed.digest != make_manifest(one, "pets").digest
    assert changed.files[0].sha256 == sha256sum(file)


def fingerprint_of(record: ExperimentRecord) -> str:
    return str(record.fingerprint["sha256"])


def test_digests_are_made_once_and_again_for_a_changed_file_only(
    record: ExperimentRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    digest = __import__("hashlib").file_digest

    def noted(stream: Any, algorithm: str) -> Any:
        read.append(Path(stream.name).name)
        return digest(stream, algorithm)

    monkeypatch.setattr("hashlib.file_digest", noted)
    first = make_manifest(record, "pets")
    assert sorted(read) == ["dog.png", "kätzchen.png", "two words.png"]
    assert make_manifest(record, "pets").digest == first.digest
    assert len(read) == 3

    os.utime(tmp_path / "data" / "a" / "dog.png", ns=(0, 1))
    assert make_manifest(record, "pets").digest == first.digest
    assert read[3:] == ["dog.png"]

    (record.folder / DIGESTS_FILE).write_text("{ cut")
    assert make_manifest(record, "pets").digest == first.digest
    assert len(read) == 7


def test_the_records_own_digests_are_taken_and_only_changed_files_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    infos = pets(tmp_path / "data")
    plain, record = (write_record(tmp_path / name, infos) for name in ("plain", "digested"))
    of_files = digest_files([info.path for info in infos[:3] if info.path], cache_folder=tmp_path, messages=Silent())
    digests = [*of_files.values(), ImageDigest("pixels", "0" * 64)]
    write_json(record.files.digests, digests_content(infos, digests))
    expected = make_manifest(plain, "pets")
    read: list[str] = []
    make = Digests.make

    def noted(self: Digests, path: Path) -> Any:
        read.append(path.name)
        return make(self, path)

    monkeypatch.setattr(Digests, "make", noted)
    assert make_manifest(record, "pets", reading_s=-1.0) == expected
    assert read == []

    dog, made = tmp_path / "data/a/dog.png", record.files.digests.stat().st_mtime_ns
    content = bytearray(dog.read_bytes())
    content[-1] ^= 1
    dog.write_bytes(content)  # as many bytes as before
    os.utime(dog, ns=(0, made + 1))
    (tmp_path / "data/a/kätzchen.png").unlink()
    changed = make_manifest(record, "pets")
    assert read == ["dog.png"]
    assert changed.files[0].sha256 == sha256sum(dog)
    lost = changed.files[1]
    assert (lost.reason, lost.sha256) == (GONE, expected.files[1].sha256)


def test_a_lost_file_keeps_the_digest_that_was_made_and_is_listed(record: ExperimentRecord, tmp_path: Path) -> None:
    before = make_manifest(record, "pets")
    (tmp_path / "data" / "a" / "dog.png").unlink()
    after = make_manifest(record, "pets")
    assert after.digest == before.digest
    assert [(file.name, file.reason, file.is_there) for file in after.missing] == [("a/dog.png", GONE, False)]

    (record.folder / DIGESTS_FILE).unlink()
    never_read = make_manifest(record, "pets")
    assert never_read.digest != before.digest
    assert json.loads(never_read.content())["images"][0] == {
        "name": "a/dog.png",
        "image_id": 3,
        "split": "validation",
        "bytes": None,
        "sha256": None,
        "reason": GONE,
    }


def test_reading_stops_in_time_and_goes_on_the_next_time(record: ExperimentRecord) -> None:
    assert make_manifest(record, "pets", reading_s=-1.0).pending == 3
    whole = make_manifest(record, "pets")
    assert (whole.pending, len(whole.files)) == (0, 4)
    assert make_manifest(record, "pets", reading_s=-1.0) == whole


def test_an_older_record_and_one_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    infos = pets(tmp_path / "data")
    older = write_record(tmp_path / "older", infos, with_images=False)
    assert {file.reason for file in make_manifest(older, "pets").files} == {NOT_KNOWN}

    fixed = write_record(tmp_path / "fixed", infos)
    (fixed.folder / "comet").write_text("a file where the folder should be")
    assert make_manifest(fixed, "pets").pending == 0


@pytest.mark.parametrize(
    ("name", "expected"),
    [("coco", "coco"), ("my pets: 2/3", "my-pets-2-3"), ("äöü", "dataset"), ("x" * 200, "x" * 100)],
)
def test_names_that_comet_takes(name: str, expected: str) -> None:
    assert artifact_name(name) == expected


class Notes(Silent):
    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.infos: list[str] = []

    def info(self, text: str) -> None:
        self.infos.append(text)

    def warning(self, text: str) -> None:
        self.warnings.append(text)


@pytest.mark.parametrize(
    ("run", "disabled", "says"),
    [
        ("files/a-seed1", True, ""),  # by COMET_AUTO_LOG_DISABLE, of which the logger tells itself
        ("nowhere/a-seed1", False, "comet: the dataset is not described: RecordError: there is no folder"),
    ],
)
def test_what_cannot_be_described_is_one_warning(
    run: str, disabled: bool, says: str, record: ExperimentRecord, tmp_path: Path
) -> None:
    notes = Notes()
    info = RunInfo("a-seed1", "files", "a", 1, tmp_path / run, CLASSES, "cpu", "fp32", 1, 1)
    experiment: Any = SimpleNamespace(disabled=disabled)
    DatasetVersion(CometOptions(), info, notes).log(experiment, True)
    assert len(notes.warnings) == bool(says)
    assert all(text.startswith(says) for text in notes.warnings)


def test_lost_files_and_unfinished_reading_are_told_once(
    record: ExperimentRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a/dog.png", "b/two words.png"):
        (tmp_path / "data" / name).unlink()
    sent: list[str] = []
    experiment: Any = SimpleNamespace(
        disabled=False,
        log_others=sent.extend,
        log_parameter=lambda name, value: sent.append(name),
        log_dataset_info=lambda name, version: sent.append(name),
        log_asset_data=lambda content, name: sent.append(name),
    )
    parameters = {"spec": {"dataset": {"use": "pets"}}}
    folder = record.folder / "a-seed1"
    info = RunInfo("a-seed1", "files", "a", 1, folder, CLASSES, "cpu", "fp32", 1, 1, parameters=parameters)
    notes = Notes()
    monkeypatch.setattr("detkit_comet.dataset.make_manifest", lambda *given: make_manifest(*given, reading_s=-1.0))
    DatasetVersion(CometOptions(), info, notes).log(experiment, False)
    assert (sent, notes.warnings) == (["dataset", "dataset_fingerprint"], [])
    (text,) = notes.infos
    assert "1 of 4 images have no digest yet" in text

    monkeypatch.undo()
    DatasetVersion(CometOptions(), info, notes).log(experiment, False)
    assert sent[2:] == ["dataset", "dataset_fingerprint", "dataset_hash", "pets", "dataset/manifest.json"]
    dog = tmp_path / "data" / "a" / "dog.png"
    assert notes.warnings == [
        f"comet: 2 of 4 image files cannot be referred to, as {dog} (its file is gone); the manifest lists them"
    ]


# --- what is sent ----------------------------------------------------------------------------------------------------


def log(record: ExperimentRecord, *runs: dict[str, Any], stub: Stub | None = None) -> list[dict[str, Any]]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COMET_")}
    online = {"COMET_API_KEY": KEY, "COMET_URL_OVERRIDE": stub.url} if stub else {}
    done = subprocess.run(
        [
            sys.executable,
            str(HERE / "comet_dataset_driver.py"),
            json.dumps({"record": str(record.folder), "runs": [{"online": stub is not None, **run} for run in runs]}),
        ],
        env=kept | {"HOME": str(record.folder), "OMP_NUM_THREADS": "1"} | online,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert KEY not in done.stdout + done.stderr
    assert done.stderr == ""
    return list(json.loads(done.stdout))


@needs_client
def test_runs_of_the_same_data_use_one_version(record: ExperimentRecord, tmp_path: Path) -> None:
    artifacts = Artifacts()
    with Stub(extra=[artifacts]) as stub:
        first, second, uploaded, used = log(
            record,
            {"run": "a-seed1"},
            {"run": "b-seed1"},
            {"run": "b-seed1", "options": {"dataset": "upload"}},
            {"run": "b-seed1", "options": {"dataset": "none"}},
            stub=stub,
        )
        received = [stub.received(done["key"]) for done in (first, second, uploaded, used)]

    assert [done["messages"] + done["errors"] for done in (first, second, uploaded, used)] == [[]] * 4
    manifest = make_manifest(record, "my pets: 2/3")
    digits = manifest.digest[:12]
    version, with_files = artifacts.versions  # the second run made none, "upload" one that has the files
    assert (version.name, version.number, version.body["artifactType"]) == ("my-pets-2-3", "1.0.0", "dataset")
    assert version.users == [second["key"]]
    assert version.body["experimentKey"] == first["key"]
    assert set(version.body["alias"]) == {record.fingerprint["sha256"][:12], f"content-{digits}"}
    assert version.state == with_files.state == "CLOSED"
    assert version.metadata == {
        "fingerprint": record.fingerprint["sha256"],
        "manifest_sha256": manifest.digest,
        "class_names": ["cat", "dog"],
        "images": 4,
        "objects": 3,
        "splits": {"train": 2, "validation": 1, "test": 1},
        "missing_files": 0,
    }
    data = record.files
    assert version.files == {
        "manifest.json": manifest.content(),
        "ground_truth.json": data.ground_truth.read_bytes(),
        "splits.json": data.splits.read_bytes(),
    }
    files = {f"images/{name}": tmp_path / "data" / name for name in ("a/dog.png", "a/kätzchen.png", "b/two words.png")}
    assert version.remote == {
        name: (file.as_uri(), {"sha256": sha256sum(file), "split": SPLIT_OF[image_id], "image_id": image_id})
        for (name, file), image_id in zip(files.items(), (3, 2, 1), strict=True)
    }
    assert with_files.remote == {}
    assert with_files.files == version.files | {name: file.read_bytes() for name, file in files.items()}
    assert f"files-{digits}" in with_files.aliases
    for what in received[:3]:
        assert what.parameters["dataset_hash"] == digits
        assert what.others["dataset_info"] == f"my pets: 2/3-{digits}"
        assert "dataset/manifest.json" not in what.files
    assert [what.others.get("dataset_version") for what in received] == [
        "lab/my-pets-2-3:1.0.0",
        "lab/my-pets-2-3:1.0.0",
        "lab/my-pets-2-3:2.0.0",
        None,
    ]


@needs_client
def test_an_archive_holds_the_manifest(record: ExperimentRecord) -> None:
    (done,) = log(record, {"run": "a-seed1"})
    (archive,) = (record.folder / "a-seed1" / "comet").glob("*.zip")

    received = read_archive(archive)
    manifest = make_manifest(record, "my pets: 2/3")
    assert received.files["dataset/manifest.json"].content == manifest.content()
    assert received.parameters["dataset_hash"] == manifest.digest[:12]
    assert done["messages"] + done["errors"] == []


@needs_client
@pytest.mark.parametrize(
    ("path", "fault", "said"),
    [
        ("/artifacts/version", Fault(status=500), "the server answered 500"),
        ("/artifacts/version", Fault(status=401), "the server answered 401"),
        ("/artifacts/upsert", Fault(status=403), "the server answered 403"),
        ("/artifacts/version", Fault(hang=True), "the server does not answer (ConnectionError)"),
    ],
)
def test_a_version_that_cannot_be_made_is_one_warning_and_a_manifest(
    record: ExperimentRecord, path: str, fault: Fault, said: str
) -> None:
    with Stub(extra=[Artifacts()], faults={path: fault}) as stub:
        (done,) = log(record, {"run": "a-seed1"}, stub=stub)
        assets = stub.received(done["key"]).files

    print(f"{said}: log {done['log_s']:.1f} s, end {done['end_s']:.1f} s")
    ((level, text),) = done["messages"]
    assert level == "warning"
    assert text.startswith("comet: the dataset's version was not sent (")
    assert said in text
    assert assets["dataset/manifest.json"].content == make_manifest(record, "my pets: 2/3").content()
    assert done["log_s"] < 6


@needs_client
def test_references_that_are_refused_are_told_once_and_made_again(record: ExperimentRecord) -> None:
    artifacts = Artifacts()
    with Stub(extra=[artifacts], faults={"/assets/remote/batch": Fault(status=500)}) as stub:
        (done,) = log(record, {"run": "a-seed1"}, stub=stub)
        assert len([text for text in done["errors"] if "Asset" in text]) == 1, done
        assert artifacts.versions[0].state == "ERROR"
        stub.faults.clear()
        log(record, {"run": "b-seed1"}, stub=stub)

    assert [version.state for version in artifacts.versions] == ["ERROR", "CLOSED"]
    print(f"end {done['end_s']:.1f} s")


@needs_client
@pytest.mark.slow
def test_as_many_images_as_coco_has(tmp_path: Path) -> None:
    count = 118_000
    file = picture(tmp_path / "data" / "one.png", 1)
    content = file.read_bytes()
    infos = [ImageInfo(i, file.with_name(f"{i:012d}.png"), 8, 6) for i in range(count)]
    for info in infos:
        assert info.path is not None
        info.path.write_bytes(content)
    SPLIT_OF.update(dict.fromkeys(range(count), "train"))
    record = write_record(tmp_path / "record", infos)
    artifacts = Artifacts()
    began = time.monotonic()
    make_manifest(record, "many")
    read = time.monotonic() - began
    with Stub(extra=[artifacts]) as stub:
        (done,) = log(record, {"run": "a-seed1", "options": {"close_timeout_s": 60.0}}, stub=stub)
    print(f"digests {read:.1f} s, log {done['log_s']:.1f} s, end {done['end_s']:.1f} s")
    assert len(artifacts.versions[0].remote) == count
    assert artifacts.versions[0].state == "CLOSED"
