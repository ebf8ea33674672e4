"""A whole experiment of two models through the real client: online, as archives, and archives sent by Comet's upload.

The requests, or the archives, are decoded and compared with the record: all three ways must hold the same.
"""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from detkit import ExperimentRecord, RecordedImage, RunRecord, open_record
from detkit.record.files import read_json_gz
from detkit_comet.final import final_metrics
from detkit_comet.names import by_context, dotted_parameters
from plugins.comet_artifact_stub import Artifacts
from plugins.comet_received import Asset, Metric, Received, read_archive
from plugins.comet_stub import Stub
from plugins.test_comet import KEY, environment, needs_client

pytestmark = needs_client

EVERY_HOOK = Path(__file__).parents[2] / "examples" / "plugin_in_one_file" / "every_hook.py"
EPOCHS = 2
LAYERS = ("Ground truth", "Predictions")


def write_spec(folder: Path, mode: str) -> Path:
    spec = {
        "plugins": [str(EVERY_HOOK)],
        "experiment": {"name": "two", "output": str(folder / "runs"), "log_every_steps": 2, "resamples": 100},
        "dataset": {"use": "synthetic", "images": 16, "split": {"validation": 4}},
        "input": {"min_size": 64, "max_size": 96},
        "compute": {"device": "cpu", "precision": "fp32", "threads": 1},
        "train": {"epochs": EPOCHS, "batch_size": 4},
        "models": {
            "mask_rcnn": {"backbone": "tiny_fpn", "score_threshold": 0.0},
            "fcos": {"backbone": "tiny_fpn"},
        },
        "metrics": {"coco": {}, "torchmetrics": {}},
        "loggers": {
            "comet": {
                "mode": mode,
                "project": "detectors",
                "workspace": "lab",
                "tags": ["night"],
                "checkpoints": ["best", "last"],
                "register_as": "{experiment}-{model}",
                "system_metrics": False,
                # So sure of most images is neither model after two epochs: images without detections.
                "min_score": 0.2,
                "close_timeout_s": 30.0,
            }
        },
    }
    file = folder / "spec.toml"
    file.write_bytes(tomli_w.dumps(spec).encode())
    return file


@dataclass
class Sent:
    """An experiment that was run, and what Comet got of it.

    Attributes:
        runs: run id to what its experiment in Comet got. board: the same of the leaderboard.
        printed: by `detkit run`. archives: of the runs and of the leaderboard.
        online: whether it went to a server, as Artifacts do and archives do not.
    """

    record: ExperimentRecord
    runs: dict[str, Received]
    board: Received
    online: bool
    printed: str = ""
    archives: list[Path] = field(default_factory=list)


def run_experiment(folder: Path, mode: str, env: Mapping[str, str]) -> tuple[ExperimentRecord, str]:
    done = subprocess.run(
        [sys.executable, "-m", "detkit", "run", str(write_spec(folder, mode))],
        env=environment(folder, **env),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert KEY not in done.stdout + done.stderr
    return open_record(folder / "runs" / "two"), done.stdout + done.stderr


def by_name(received: list[Received], printed: str = "") -> tuple[dict[str, Received], Received]:
    named = {str(one.name): one for one in received}
    assert set(named) == {"mask_rcnn-seed1", "fcos-seed1", "two leaderboard"}, printed
    board = named.pop("two leaderboard")
    return named, board


@pytest.fixture(scope="module")
def online(tmp_path_factory: pytest.TempPathFactory) -> Sent:
    with Stub(extra=[Artifacts()]) as stub:
        env = {"COMET_API_KEY": KEY, "COMET_URL_OVERRIDE": stub.url}
        record, printed = run_experiment(tmp_path_factory.mktemp("online"), "online", env)
        runs, board = by_name([stub.received(key) for key in stub.known], printed)
    return Sent(record, runs, board, True, printed)


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Sent:
    record, printed = run_experiment(tmp_path_factory.mktemp("offline"), "offline", {})
    archives = sorted(record.folder.glob("**/comet/*.zip"))
    runs, board = by_name([read_archive(file) for file in archives])
    return Sent(record, runs, board, False, printed, archives)


@pytest.fixture(scope="module")
def uploaded(offline: Sent) -> Sent:
    """The archives, sent by Comet's own command."""
    folder = offline.record.folder
    with Stub() as stub:
        subprocess.run(
            [sys.executable, "-m", "comet_ml.scripts.comet_upload", *map(str, offline.archives)],
            env=environment(folder, COMET_API_KEY=KEY, COMET_URL_OVERRIDE=stub.url),
            cwd=folder,
            check=True,
            capture_output=True,
            timeout=300,
        )
        runs, board = by_name([stub.received(key) for key in stub.known])
    return Sent(offline.record, runs, board, False)


@pytest.fixture(params=["online", "offline", "uploaded"])
def sent(request: pytest.FixtureRequest) -> Sent:
    found: Sent = request.getfixturevalue(request.param)
    return found


def pairs(sent: Sent) -> list[tuple[RunRecord, Received]]:
    assert set(sent.runs) == {"mask_rcnn-seed1", "fcos-seed1"}
    return [(run, sent.runs[run.run_id]) for run in sent.record.runs]


def validation(sent: Sent) -> dict[str, RecordedImage]:
    return {image.truth.label: image for image in sent.record.images() if image.split == "validation"}


# --- numbers ---------------------------------------------------------------------------------------------------------


def test_every_parameter_arrives_under_the_names_of_the_spec(sent: Sent) -> None:
    for run, got in pairs(sent):
        facts = run.facts
        kept = ("spec", "compute", "versions", "weights_origin", "seed")
        expected = dotted_parameters({key: facts[key] for key in kept})
        assert {name: got.parameters.get(name) for name in expected} == expected
        assert got.parameters["model.use"] == run.model
        assert got.parameters["train.epochs"] == EPOCHS
        assert got.parameters["versions.torch"]
        assert got.parameters["weights.source"] == "none"
        assert (got.project, got.workspace) == ("detectors", "lab")
        assert got.tags == ["night"]


def test_every_metric_of_the_record_arrives_with_step_epoch_and_context(sent: Sent) -> None:
    for run, got in pairs(sent):
        expected = set()
        for row in run.steps():
            if row["step"] == 1 or row["step"] % 2 == 0:
                values = {"train/loss": row["loss"], "train/lr": row["lr"]}
                values |= {f"train/{name}": value for name, value in row["losses"].items()}
                step_s, images_per_s = row["measured"]["step_s"], row["measured"]["images_per_s"]
                values |= {"measured/step_s": step_s, "measured/step_images_per_s": images_per_s}
                expected |= metrics_of(values, row)
        for row in run.epochs():
            values = {**row["values"], **{f"measured/{name}": value for name, value in row["measured"].items()}}
            expected |= metrics_of({name: value for name, value in values.items() if value is not None}, row)
        summary = run.summary
        assert summary is not None
        selected = summary["selected"]
        final = final_metrics(summary)
        expected |= {Metric(name, value, selected["step"], selected["epoch"], None) for name, value in final.items()}
        assert set(got.metrics) == expected
        assert len({(metric.name, metric.context, metric.step) for metric in got.metrics}) == len(got.metrics)
        assert {"final/coco/ap", "final/coco/ap_lower", "cost/latency_ms_median", "cost/flops"} <= set(final)
        assert {("loss", "train"), ("lr", "train"), ("loss", "validate"), ("coco/ap50", "validate")} <= {
            (metric.name, metric.context) for metric in got.metrics
        }


def metrics_of(values: Mapping[str, float], row: Mapping[str, Any]) -> set[Metric]:
    return {
        Metric(name, value, row["step"], row["epoch"], context or None)
        for context, named in by_context(values).items()
        for name, value in named.items()
    }


def test_what_the_run_was_is_told(sent: Sent) -> None:
    for run, got in pairs(sent):
        expected = {
            "Name": run.run_id,
            "experiment": "two",
            "model": run.model,
            "seed": 1,
            "device": "cpu",
            "precision": "fp32",
            "dataset": "synthetic",
            "dataset_fingerprint": sent.record.fingerprint["sha256"],
            "scored_on": "validation",
            "selected_epoch": (run.summary or {})["selected"]["epoch"],
            "outcome": "finished",
        }
        assert {name: got.others.get(name) for name in expected} == expected


# --- images ----------------------------------------------------------------------------------------------------------


def test_every_validation_image_is_there_every_epoch_under_its_name_and_encoded_once(sent: Sent) -> None:
    images = validation(sent)
    assert len(images) == 4
    for run, got in pairs(sent):
        steps = [row["step"] for row in run.epochs()]
        assert len(steps) == EPOCHS
        assert got.image_steps == dict.fromkeys(images, steps)
        for image in got.images:
            copy = images[image.name].copy
            assert copy is not None
            assert image.content == copy.read_bytes(), "the picture's bytes are not those of the record's copy"


def test_the_layers_are_the_ground_truth_and_the_detections_of_the_epoch(sent: Sent) -> None:
    images = validation(sent)
    names = sent.record.fingerprint["class_names"]
    counts = {"with": 0, "without": 0}
    for run, got in pairs(sent):
        predictions = {row["step"]: read_json_gz(run.files.predictions(row["epoch"])) for row in run.epochs()}
        for image in got.images:
            truth = images[image.name].truth
            drawn = image.layers.get("Ground truth", [])
            assert [item["boxes"] for item in drawn] == [
                [pytest.approx(list(item.coco_box), abs=0.01)] for item in truth.annotations
            ]
            assert {(item["label"], item["score"]) for item in drawn} <= {(name, 100) for name in names}
            found = sorted(
                (row for row in predictions[image.step] if row["image_id"] == truth.image_id and row["score"] >= 0.2),
                key=lambda row: -row["score"],
            )
            counts["with" if found else "without"] += 1
            assert ("Predictions" in image.layers) == bool(found)
            for item, row in zip(image.layers.get("Predictions", []), found, strict=True):
                assert item["label"] == names[row["category_id"] - 1]
                assert item["score"] == pytest.approx(100 * row["score"], abs=0.01)
                assert item["boxes"] == [pytest.approx(row["bbox"], abs=0.01)]
                assert 0 <= item["metadata"]["iou"] <= 1
    assert counts["without"], "no image without detections: nothing shows that such images appear"
    assert counts["with"]


def test_masks_are_polygons(sent: Sent) -> None:
    images = sent.runs["mask_rcnn-seed1"].images
    objects, found = ([item for image in images for item in image.layers.get(name, ())] for name in LAYERS)
    assert all("points" in item for item in objects)
    outlined = [item for item in found if "points" in item]  # an empty mask has no outline
    assert objects
    assert outlined
    for item in [*objects, *outlined]:
        assert all(len(ring) >= 6 and len(ring) % 2 == 0 for ring in item["points"])
    for item in objects:  # their boxes are their masks' extents
        (x, y, width, height), points = item["boxes"][0], item["points"]
        xs, ys = [v for ring in points for v in ring[0::2]], [v for ring in points for v in ring[1::2]]
        assert [min(xs), max(xs), min(ys), max(ys)] == pytest.approx([x, x + width, y, y + height], abs=1.01)


# --- tables, curves, matrix ------------------------------------------------------------------------------------------


def rows_of(asset: Asset) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(asset.content.decode())))


def test_the_tables_of_each_epoch_and_of_all_epochs_arrive(sent: Sent) -> None:
    images = validation(sent)
    for run, got in pairs(sent):
        steps = [row["step"] for row in run.epochs()]
        for epoch, step, table in run.tables("coco/per_image"):
            asset = got.files[f"coco/per_image-step-{step:06d}.csv"]
            assert (asset.step, asset.epoch) == (step, epoch)
            assert tuple(asset.rows[0]) == table.columns
            assert len(asset.rows) - 1 == len(table.rows) == len(images)
        whole = rows_of(got.files["coco/per_image.csv"])
        assert {"epoch", "step", "ap", "ap50", "ar100", "ap_small"} <= set(whole[0])
        assert [int(row["step"]) for row in whole] == [step for step in steps for _ in images]
        assert [row for row in whole if row["step"] == str(steps[0])] == [
            {"epoch": "1", "step": str(steps[0]), **row}
            for row in rows_of(got.files[f"coco/per_image-step-{steps[0]:06d}.csv"])
        ]


def test_the_leaderboard_is_an_experiment_of_its_own(sent: Sent) -> None:
    board = sent.record.leaderboard
    assert board is not None
    rows = rows_of(sent.board.files["leaderboard.csv"])
    assert [row["model"] for row in rows] == [row["model"] for row in board["rows"]]
    assert float(rows[0]["coco/ap"]) == board["rows"][0]["values"]["coco/ap"]["mean"]
    assert float(rows[0]["latency_ms_median"]) > 0
    assert sent.board.tags == ["leaderboard", "night"]
    assert sent.board.others["best"] == rows[0]["model"]
    assert sent.board.metrics == []


def test_curves_arrive_with_their_steps(sent: Sent) -> None:
    for run, got in pairs(sent):
        for row in run.epochs():
            curves = run.curves(row["epoch"])
            assert {"coco/pr50", "coco/f1_confidence"} <= set(curves)
            arrived = {asset.name: asset.json for asset in got.curves if asset.step == row["step"]}
            assert {name: (curve["x"], curve["y"]) for name, curve in arrived.items()} == {
                name: (list(curve.x), list(curve.y)) for name, curve in curves.items()
            }


def test_the_confusion_matrix_has_its_counts_and_pictures_behind_its_cells(sent: Sent) -> None:
    for run, got in pairs(sent):
        for row in run.epochs():
            asset = got.matrices[f"coco/confusion-step-{row['step']:06d}.json"]
            written = json.loads(run.files.matrix("coco", "confusion", row["epoch"]).read_text())
            assert asset.json["matrix"] == written["counts"]
            assert asset.json["labels"] == written["labels"]
            assert (asset.json["rowLabel"], asset.json["columnLabel"]) == ("true class", "predicted class")
            pictures = {image.id: image.name for image in got.images if image.step == row["step"]}
            names = {image.truth.image_id: name for name, image in validation(sent).items()}
            for line, samples in zip(written["images"], asset.json["sampleMatrix"], strict=True):
                for image_ids, shown in zip(line, samples, strict=True):
                    # A click on the cell shows the pictures of the images behind it, as of this epoch.
                    expected = sorted(names[image_id] for image_id in image_ids)
                    assert sorted(pictures[sample["assetId"]] for sample in shown or ()) == expected
            assert any(image_ids for line in written["images"] for image_ids in line)


# --- files -----------------------------------------------------------------------------------------------------------


def test_checkpoints_are_models_and_the_best_is_registered(sent: Sent) -> None:
    for run, got in pairs(sent):
        files = run.files
        assert got.models == {
            run.model: {"best.pt": files.best.read_bytes()},
            f"{run.model}-last": {"last.pt": files.last.read_bytes()},
        }
        assert [one.get("registry_name") or one.get("registryModelName") for one in got.registered] == [
            f"two-{run.model}"
        ]


def test_spec_structure_and_code_arrive(sent: Sent) -> None:
    for run, got in pairs(sent):
        assert got.files["spec.toml"].content == sent.record.files.spec.read_bytes()
        assert got.files["run.json"].json["run_id"] == run.run_id
        assert got.files["summary.json"].json == {"format_version": 1, **(run.summary or {})}
        assert {"system.jsonl", "messages.jsonl"} <= set(got.files)
        assert "console.log" not in got.files
        assert got.graph == run.files.model.read_text()
        assert list(got.code.values()) == [EVERY_HOOK.read_bytes()]


def test_the_dataset_is_one_version_of_an_artifact_online_and_a_manifest_in_archives(sent: Sent) -> None:
    for number, (_, got) in enumerate(pairs(sent)):
        assert len(got.parameters["dataset_hash"]) == 12
        if not sent.online:
            assert got.artifacts == []
            assert len(got.files["dataset/manifest.json"].json["images"]) == 16
        elif number == 1:  # the same data is no second version
            assert got.artifacts == []
            assert got.others["dataset_version"] == sent.runs["mask_rcnn-seed1"].others["dataset_version"]
        else:
            (artifact,) = got.artifacts
            assert (artifact.name, artifact.type, artifact.state) == ("synthetic", "dataset", "CLOSED")
            assert artifact.metadata["fingerprint"] == sent.record.fingerprint["sha256"]
            assert {"manifest.json", "ground_truth.json", "splits.json"} <= set(artifact.assets)


def test_the_server_is_told_that_the_runs_have_ended_and_nothing_was_wrong(online: Sent) -> None:
    for _, got in pairs(online):
        assert got.alive == [True, False]
        assert got.errors == []
    assert "warning" not in online.printed.lower()
    assert online.board.ended


def test_archives_say_how_they_are_sent(offline: Sent) -> None:
    assert "warning" not in offline.printed.lower()
    assert len(offline.archives) == 3
    for run in offline.record.runs:
        assert f"`detkit comet upload {run.files.folder}` sends it" in offline.printed
