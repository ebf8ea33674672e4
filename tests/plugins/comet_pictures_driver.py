"""Sends three epochs of pictures and matrices to an offline archive, in a process of its own.

    python comet_pictures_driver.py FOLDER

FOLDER gets the record; the archive and `assets.json`, what `Pictures.assets` held after each epoch, go into it.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

from detkit import Matrix
from detkit.components import Silent
from detkit.data.types import ImageInfo
from detkit_comet import CometOptions
from detkit_comet.client import load_client
from detkit_comet.confusion import log_matrix
from detkit_comet.pictures import Pictures
from plugins.drawn_record import rectangle, row, run_info, thing, write_predictions, write_record

EPOCHS = 3
SIZE = (80, 100)


def images() -> list[ImageInfo]:
    """Image 1: a cat with a mask; 2: nothing there and nothing found; 3: a dog that nobody finds; 4: found only."""
    cat = thing(1, (10, 10, 20, 20), mask=rectangle(*SIZE, (10, 10, 20, 20)))
    dog = thing(2, (40, 40, 8, 8), mask=rectangle(*SIZE, (40, 40, 8, 8)))
    objects = {1: (cat,), 2: (), 3: (dog,), 4: ()}
    return [
        ImageInfo(image_id, None, SIZE[1], SIZE[0], there, f"street {image_id}.jpg")
        for image_id, there in objects.items()
    ]


def matrix(epoch: int) -> Matrix:
    """Counts that no archive could hold one by one."""
    return Matrix(
        ("cat", "dog", "background"),
        ((10**9 + epoch, 0, 0), (0, 0, 1), (2, 0, 0)),
        (((1,), (), ()), ((), (), (3,)), ((1, 4), (), ())),
    )


def main() -> None:
    folder = Path(sys.argv[1])
    comet_ml = load_client()
    run = write_record(folder / "record", images(), shrink=2)
    experiment = comet_ml.start(
        online=False,
        experiment_config=comet_ml.ExperimentConfig(
            log_code=False,
            log_graph=False,
            parse_args=False,
            display_summary_level=0,
            log_git_metadata=False,
            log_git_patch=False,
            log_env_details=False,
            log_env_host=False,
            auto_output_logging="",
            auto_param_logging=False,
            auto_metric_logging=False,
            auto_log_co2=False,
            offline_directory=str(folder),
        ),
    )
    pictures = Pictures(CometOptions(), run_info(run, epochs=EPOCHS), Silent())
    random.seed(5)
    state = random.getstate()
    assets = []
    for epoch in range(1, EPOCHS + 1):
        found = [
            row(1, 1, (10, 10, 20, 10), 0.9, rectangle(*SIZE, (10, 10, 20, 10))),
            row(4, 2, (1, 1, 9, 9), 0.25 * epoch, rectangle(*SIZE, (1, 1, 9, 9))),
        ]
        step = 10 * epoch
        pictures.log(experiment, write_predictions(run, epoch, found), step=step, epoch=epoch)
        log_matrix(experiment, "coco/confusion", matrix(epoch), step=step, epoch=epoch, pictures=pictures)
        assets.append(dict(pictures.assets))
    experiment.end()
    unchanged = random.getstate() == state
    (folder / "assets.json").write_text(json.dumps({"assets": assets, "random": unchanged}))


if __name__ == "__main__":
    main()
