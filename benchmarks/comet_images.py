"""Images to Comet: what the logger's thread takes an epoch, against a plain loop of `log_image(PIL image)`.

Images of 640 x 480 with 8 objects and 30 detections each go to the real client for three epochs: offline, and online to
a server on this machine. Each way runs in a process of its own. The plain loop, over fewer images, sends the same
pictures with the same annotations, already built: only the pictures' way to the client differs. All times are
milliseconds an image and epoch: "thread" is the CPU time of the thread that calls the client, "client" the part of it
within `log_image`, to which the plain loop adds what it encodes; the rest is reading predictions, overlaps, outlines.
"wall" is the thread's time with all waiting, "process" the CPU time of all threads, the client's own too, until
`end()`. "encoded" counts pictures that PIL encoded. Online, what arrives is compared with the record's copies.

"Beside training" small convolutions are trained meanwhile: what all steps together took longer than as many of the
median step before and after, an epoch of images. Threads of Python wait for each other, so this is about "process";
online the server takes its share of the processors too, so give it some.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import numpy as np

from detkit.data.targets import encode_masks
from detkit.data.types import RLE, ImageInfo
from plugins.comet_stub import Stub
from plugins.drawn_record import row, run_info, thing, write_predictions, write_record

WIDTH, HEIGHT = 640, 480
OBJECTS, DETECTIONS = 8, 30
#: Of the stand-in for training, before and after.
ALONE_STEPS = 300
KEY = "K3yK3yK3yK3yK3yK3yK3yK3yK"
WAYS = ("detkit", "PIL as jpg", "PIL as png")
TRAINING = "beside training"


def draw(info: ImageInfo, size: tuple[int, int]) -> Any:
    """Noise of many sizes, which compresses as a photograph does."""
    from PIL import Image

    generator = np.random.default_rng(info.image_id)
    picture = np.zeros((size[1], size[0], 3))
    for scale in (8, 32, 128):
        small = generator.integers(0, 256, (size[1] // scale + 1, size[0] // scale + 1, 3), dtype=np.uint8)
        picture += np.asarray(Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)) / 3
    noisy = picture + generator.integers(-5, 6, picture.shape, dtype=np.int8)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def star(generator: np.random.Generator, box: tuple[float, ...]) -> RLE:
    """A mask that about fills a box, with lobes and a hole."""
    x, y, width, height = box
    down, right = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    v, u = (down - y - height / 2) / (height / 2), (right - x - width / 2) / (width / 2)
    distance = np.hypot(v, u) / (1 + 0.2 * np.sin(generator.integers(3, 9) * np.arctan2(v, u)))
    return encode_masks(((distance < 0.8) & (distance > 0.1)).astype(np.uint8)[None])[0]


def some_box(generator: np.random.Generator) -> tuple[float, ...]:
    width, height = generator.uniform(20, 200), generator.uniform(20, 200)
    return (generator.uniform(0, WIDTH - width), generator.uniform(0, HEIGHT - height), width, height)


def build(folder: Path, images: int, epochs: int, masks: bool) -> Path:
    """The record, with the predictions of all epochs: the run's folder."""
    generator = np.random.default_rng(0)
    # Masks are slow to draw, and few shapes do: every image has others of them.
    shapes = [(box, star(generator, box)) for box in (some_box(generator) for _ in range(200))] if masks else []

    def found() -> tuple[tuple[float, ...], RLE | None]:
        return shapes[int(generator.integers(len(shapes)))] if masks else (some_box(generator), None)

    infos = []
    for image_id in range(1, images + 1):
        there = [found() for _ in range(OBJECTS)]
        objects = tuple(thing(1 + number % 2, box, mask=mask) for number, (box, mask) in enumerate(there))
        infos.append(ImageInfo(image_id, None, WIDTH, HEIGHT, objects, f"{image_id:06d}.jpg"))
    run = write_record(folder / "record", infos, draw=draw)
    for epoch in range(1, epochs + 1):
        rows = []
        for image_id in range(1, images + 1):
            for number in range(DETECTIONS):
                box, mask = found()
                rows.append(row(image_id, 1 + number % 2, box, float(generator.uniform(0.05, 1)), mask))
        write_predictions(run, epoch, rows)
    return run


# --- in a process of its own -----------------------------------------------------------------------------------------


def send(run: Path, way: str, images: int, epochs: int, online: bool) -> None:
    """Send all epochs one way; prints what it took as JSON."""
    from PIL import Image

    from detkit.components import Silent
    from detkit_comet import CometOptions
    from detkit_comet.client import load_client
    from detkit_comet.pictures import Pictures

    comet_ml = load_client()
    encoded = 0
    save = Image.Image.save

    def counted(self: Any, *arguments: Any, **more: Any) -> None:
        nonlocal encoded
        encoded += 1
        save(self, *arguments, **more)

    Image.Image.save = counted  # type: ignore[method-assign] # to count
    experiment = start(comet_ml, run, online)
    pictures = Pictures(CometOptions(), run_info(run, epochs=epochs), Silent())
    plain = way.removeprefix("PIL as ") if way != "detkit" else ""
    calls = recorded_calls(pictures, run, epochs) if plain else []
    client = 0.0
    log_image = experiment.log_image

    def timed(*arguments: Any, **more: Any) -> Any:
        nonlocal client
        began = time.thread_time()
        sent = log_image(*arguments, **more)
        client += time.thread_time() - began
        return sent

    experiment.log_image = timed
    walls, threads = [], []
    began_all = time.process_time()
    for epoch in range(1, epochs + 1):
        wall, thread = time.perf_counter(), time.thread_time()
        if plain:
            for call in calls[epoch - 1][:images]:
                with Image.open(call["file"]) as picture:
                    experiment.log_image(picture.convert("RGB"), image_format=plain, **call["arguments"])
        else:
            file = run / "predictions" / f"epoch-{epoch:03d}.json.gz"
            pictures.log(experiment, file, step=10 * epoch, epoch=epoch)
        walls.append(time.perf_counter() - wall)
        threads.append(time.thread_time() - thread)
    experiment.end()
    print(
        json.dumps(
            {
                "wall": walls,
                "thread": threads,
                "process": time.process_time() - began_all,
                "encoded": encoded,
                "client": client,
            }
        )
    )


def beside_training(run: Path, epochs: int, online: bool) -> None:
    """Send all epochs from a thread while the main thread trains; prints what training lost as JSON."""
    import torch
    from torch import nn

    from detkit.components import Silent
    from detkit_comet import CometOptions
    from detkit_comet.client import load_client
    from detkit_comet.pictures import Pictures

    experiment = start(load_client(), run, online)
    pictures = Pictures(CometOptions(), run_info(run, epochs=epochs), Silent())
    layers = [nn.Conv2d(16, 16, 3, padding=1) for _ in range(8)]
    model = nn.Sequential(*(part for layer in layers for part in (layer, nn.ReLU())))
    optimizer, batch = torch.optim.SGD(model.parameters(), 1e-4), torch.rand(1, 16, 96, 96)

    def step() -> float:
        began = time.perf_counter()
        model(batch).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        return time.perf_counter() - began

    def log() -> None:
        for epoch in range(1, epochs + 1):
            file = run / "predictions" / f"epoch-{epoch:03d}.json.gz"
            pictures.log(experiment, file, step=10 * epoch, epoch=epoch)
        experiment.end()

    alone = [step() for _ in range(ALONE_STEPS)][ALONE_STEPS // 10 :]
    thread = threading.Thread(target=log)
    thread.start()
    beside = []
    while thread.is_alive():
        beside.append(step())
    alone += [step() for _ in range(ALONE_STEPS)]
    typical = statistics.median(alone)
    print(json.dumps({"lost": sum(beside) - typical * len(beside), "steps": len(beside), "alone": typical}))


class Recorder:
    """Keeps the calls that `Pictures` makes."""

    alive = True

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def get_key(self) -> str:
        return "recorder"

    def log_image(self, file: str, **arguments: Any) -> dict[str, str]:
        self.calls.append({"file": file, "arguments": arguments})
        return {"imageId": ""}


def recorded_calls(pictures: Any, run: Path, epochs: int) -> list[list[dict[str, Any]]]:
    found = []
    for epoch in range(1, epochs + 1):
        recorder = Recorder()
        pictures.log(recorder, run / "predictions" / f"epoch-{epoch:03d}.json.gz", step=10 * epoch, epoch=epoch)
        found.append(recorder.calls)
    return found


def start(comet_ml: Any, run: Path, online: bool) -> Any:
    quiet = dict.fromkeys(
        ("log_code", "log_graph", "parse_args", "log_git_metadata", "log_git_patch", "log_env_details", "log_env_host"),
        False,
    )
    return comet_ml.start(
        online=online,
        experiment_config=comet_ml.ExperimentConfig(
            **quiet,
            display_summary_level=0,
            auto_output_logging="",
            auto_param_logging=False,
            auto_metric_logging=False,
            auto_log_co2=False,
            offline_directory=str(run / "comet"),
        ),
    )


# --- the table -------------------------------------------------------------------------------------------------------


def measure(run: Path, way: str, images: int, epochs: int, stub: Stub | None) -> dict[str, Any]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COMET_")}
    more = {"COMET_API_KEY": KEY, "COMET_URL_OVERRIDE": stub.url} if stub else {}
    command = [sys.executable, __file__, "--send", str(run), "--way", way]
    command += ["--images", str(images), "--epochs", str(epochs)]
    done = subprocess.run(
        [*command, *(["--online"] if stub else [])],
        env=kept | more | {"HOME": str(run.parent)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def arrived(stub: Stub, run: Path) -> str:
    """How many of the pictures that arrived are the record's copies to the byte."""
    copies = {file.read_bytes() for file in (run.parent / "data" / "images").iterdir()}
    pictures = [body["file"] for body in stub.bodies("/visualizations/upload")]
    return f"{sum(picture in copies for picture in pictures)} of {len(pictures)}"


def report(run: Path, images: int, plain_images: int, epochs: int) -> None:
    print(f"{'':24}{'images':>8}{'thread':>9}{'client':>9}{'wall':>9}{'process':>9}{'encoded':>9}  as in the record")
    for online in (False, True):
        client: dict[str, float] = {}
        for way in WAYS:
            count = images if way == "detkit" else plain_images
            same = ""
            if online:
                with Stub() as stub:
                    result = measure(run, way, count, epochs, stub)
                    same = arrived(stub, run)
            else:
                result = measure(run, way, count, epochs, None)
            each = 1000 / epochs / count
            client[way] = result["client"] * each
            name = f"{'online' if online else 'offline'}, {way}"
            wall, process = sum(result["wall"]) * each, result["process"] * each
            thread = sum(result["thread"]) * each
            numbers = f"{thread:9.2f}{client[way]:9.2f}{wall:9.2f}{process:9.2f}"
            print(f"{name:24}{count:8}{numbers}{result['encoded']:9}  {same}", flush=True)
        ratios = ", ".join(f"{client[way] / client['detkit']:.1f} ({way})" for way in WAYS[1:])
        with Stub() as stub:
            lost = measure(run, TRAINING, images, epochs, stub if online else None)
        print(
            f"  beside training: {lost['lost'] / epochs:.1f} s an epoch, over {lost['steps']} steps of"
            f" {1000 * lost['alone']:.0f} ms"
        )
        print(f"  a call of the plain loop takes so many times detkit's: {ratios}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--plain-images", type=int, default=20, help="of them for the plain loop, which is slow")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--send", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--way", choices=(*WAYS, TRAINING), default="detkit", help=argparse.SUPPRESS)
    parser.add_argument("--online", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.send and arguments.way == TRAINING:
        beside_training(arguments.send, arguments.epochs, arguments.online)
        return
    if arguments.send:
        send(arguments.send, arguments.way, arguments.images, arguments.epochs, arguments.online)
        return
    for masks in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            run = build(Path(folder), arguments.images, arguments.epochs, masks)
            print(f"{arguments.images} images, {arguments.epochs} epochs, {'masks' if masks else 'boxes'}")
            report(run, arguments.images, min(arguments.plain_images, arguments.images), arguments.epochs)


if __name__ == "__main__":
    main()
