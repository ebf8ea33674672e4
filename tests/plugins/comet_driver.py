"""Takes the Comet logger through a small run, in a process of its own: the client keeps global state.

    python comet_driver.py '{"options": {"mode": "offline"}, "start_step": 0}'

Writes what happened to `result.json` in the working directory; prints nothing, so that whatever is printed is noise.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from detkit import BuildContext, Curve, Logger, LoggerRefused, Matrix, NotDelivered, Outcome, Progress, RunInfo, Table
from detkit_comet import COMET, CometOptions

PARAMETERS = {
    "train": {"lr": 0.005, "schedule": "cosine", "clip_norm": None, "milestones": [0.7, 0.9]},
    "models": {"fcos": {"backbone": "resnet50_fpn", "pretrained": True}},
}


class Notes:
    """Messages, kept."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def info(self, text: str) -> None:
        self.lines.append(("info", text))

    def warning(self, text: str) -> None:
        self.lines.append(("warning", text))

    def progress(self, description: str, total: int | None, unit: str = "") -> AbstractContextManager[Progress]:
        raise AssertionError("the logger shows no progress")


def log_everything(logger: Logger, folder: Path) -> None:
    logger.log_parameters(PARAMETERS)
    logger.log_metrics({"train/loss": 1.5, "train/loss_box": 0.25, "train/lost": float("nan")}, step=3, epoch=1)
    logger.log_metrics({"coco/ap50": 0.75}, step=6, epoch=2)
    logger.log_table("coco/per_class", Table(("class", "ap"), (("a", 0.5), ("b, c", None))), step=6, epoch=2)
    logger.log_curve("coco/pr", Curve((0.0, 1.0), (1.0, 0.5), "recall", "precision"), step=6, epoch=2)
    logger.log_confusion_matrix("coco/confusion", Matrix(("a", "b"), ((1, 2), (3, 4))), step=6, epoch=2)
    for name, content in {"best.pt": b"weights", "spec.toml": b"[experiment]\n"}.items():
        file = folder / name
        file.write_bytes(content)
        logger.log_file(file, name=name)


def drive(wanted: dict[str, Any], result: dict[str, Any], notes: Notes) -> None:
    if wanted.get("absent"):
        sys.modules["comet_ml"] = None  # type: ignore[assignment] # how an import is made to fail
    options = CometOptions.model_validate_json(json.dumps(wanted["options"]))
    context = BuildContext(messages=notes, offline=wanted.get("offline", False))
    assert COMET.check is not None
    COMET.check(options, context)
    if wanted.get("only_check"):
        return
    logger = COMET.build(options, context)
    folder = Path("run").absolute()
    folder.mkdir(exist_ok=True)
    (folder / "run.json").write_text(json.dumps({"format_version": 1, "model": "fcos", "seed": 7}))
    run = RunInfo(
        run_id="fcos-seed7",
        experiment="penn-fudan",
        model="fcos",
        seed=7,
        folder=folder,
        class_names=("a", "b"),
        device="cpu",
        precision="fp32",
        epochs=2,
        steps_per_epoch=3,
        start_step=wanted.get("start_step", 0),
        rehearsal=wanted.get("rehearsal", False),
    )
    began = time.monotonic()
    logger.start(run)
    # What the client sets up on import where it is allowed to patch other libraries.
    result["patches"] = hasattr(sys.modules["comet_ml"], "MODULE_FINDER")
    result["start_s"] = time.monotonic() - began
    if wanted.get("wait"):
        Path("started").touch()
        sys.stdin.readline()
    log_everything(logger, folder)
    began = time.monotonic()
    try:
        logger.close(Outcome("failed", "out of memory") if wanted.get("fails") else Outcome("finished"))
    finally:
        result["close_s"] = time.monotonic() - began


def main() -> None:
    result: dict[str, Any] = {}
    notes = Notes()
    try:
        drive(json.loads(sys.argv[1]), result, notes)
    except LoggerRefused as error:
        result["refused"] = str(error)
    except NotDelivered as error:
        result["lost"] = str(error)
    result["messages"] = notes.lines
    Path("result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
