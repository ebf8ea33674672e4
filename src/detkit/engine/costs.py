"""What a model costs: its size, the arithmetic of a forward pass, how long it takes with one image, its memory.

Every model of an experiment is measured in the same way, by `Protocol`, on the same images, after the figures are
recorded: nothing here changes weights, generators or what was measured before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from detkit.components import Messages
from detkit.data.loading import Sample, fetch, stacked, to_device
from detkit.data.seeds import derive_seed, seeded
from detkit.engine.checkpoint import capture_generators, restore_generators
from detkit.engine.facts import device_name
from detkit.engine.run import Run
from detkit.engine.state import TrainState
from detkit.engine.system import Processors
from detkit.engine.tensor_memory import inference_bytes
from detkit.errors import Interrupted


@dataclass(frozen=True, slots=True)
class Protocol:
    """How latency is measured: one image at a time, each once unmeasured, then all of them in `rounds`.

    The first pass also compiles what oneDNN and cuDNN compile for each new shape. A pass ends early where its time is
    over, so that a slow model on a CPU does not take minutes; at least one image is warmed up and measured.

    Attributes:
        images: at most so many, the first of the scored ones in the order of the dataset.
        rounds: measured passes over them.
        warm_up_s, measured_s: after so long no further image is begun, seconds.
    """

    images: int = 20
    rounds: int = 3
    warm_up_s: float = 30.0
    measured_s: float = 30.0


PROTOCOL = Protocol()
#: Of a rehearsal, which evaluates only two images.
REHEARSAL = Protocol(images=2, rounds=1, warm_up_s=10.0, measured_s=10.0)


def measure_costs(
    run: Run, state: TrainState, model: nn.Module, messages: Messages, *, protocol: Protocol | None = None
) -> dict[str, Any]:
    """The costs of a trained model, in the first process; an empty dict in the others.

    What cannot be measured is None, with its reason under `troubles` and as a warning: no run fails for want of it.

    Args:
        model: the one that is evaluated. protocol: by default the one of all runs, or that of a rehearsal.

    Raises:
        Interrupted: a stop was requested.
    """
    if not run.fabric.is_global_zero:
        return {}
    chosen = protocol or (PROTOCOL if run.limits.evaluation_images is None else REHEARSAL)
    indices = sorted(run.evaluated(run.splits.scored))[: chosen.images]
    troubles: dict[str, str] = {}

    def tried(what: str, measure: Callable[[], Any]) -> Any:
        try:
            return measure()
        except Interrupted:
            raise
        except Exception as error:  # noqa: BLE001 - a foreign model in an unusual mode; the run's figures are complete
            troubles[what] = f"{type(error).__name__}: {' '.join(str(error).split())}"
            messages.warning(f"{run.use.title}: its {what} could not be measured: {troubles[what]}")
            return None

    def tried_afresh(what: str, measure: Callable[[], Any]) -> Any:
        return tried(what, _afresh(model)(measure))

    with _undisturbed(run, model):
        weights_bytes = tried("size", lambda: saved_bytes(model))
        memory = flops = latency = None
        samples = tried("images", lambda: _samples(run, indices))
        if samples:
            first = _batch(run, samples[0])
            # Before any other pass: autocast then keeps copies of the weights, which belong to what inference needs.
            memory = tried_afresh("memory", lambda: inference_bytes(model, lambda: model(first), run.fabric.device))
            flops = tried_afresh("FLOPs", lambda: count_flops(model, first))
            latency = tried_afresh("latency", lambda: _latency(run, model, samples, chosen))
    return {
        "parameters": run.info.parameters["parameters"],
        "trained_parameters": run.info.parameters["trained_parameters"],
        "weights_bytes": weights_bytes,
        "flops": flops,
        "image": _image(run, indices[0]) if samples else None,
        "protocol": {
            "image_ids": [run.truths[index].image_id for index in indices],
            "split": run.splits.scored_name,
            "batch_size": 1,
            "rounds": chosen.rounds,
        },
        "device": run.info.device,
        "device_name": device_name(run.fabric.device),
        "threads": torch.get_num_threads(),
        "precision": run.info.precision,
        "troubles": troubles,
        "measured": {
            "train_ms_per_image": _train_ms_per_image(state),
            **(latency or NO_LATENCY),
            "inference_memory_bytes": memory,
        },
    }


@contextmanager
def _undisturbed(run: Run, model: nn.Module) -> Iterator[None]:
    """The model as in an evaluation, for the block; its mode and all generators are as before after it."""
    generators, was_training = capture_generators(), model.training
    model.eval()
    try:
        with torch.no_grad(), run.fabric.autocast():
            yield
    finally:
        model.train(was_training)
        restore_generators(generators)


@contextmanager
def _afresh(model: nn.Module) -> Iterator[None]:
    """Without what parts of the model have kept from before: the images have just been evaluated."""
    with ExitStack() as stack:
        for module in model.modules():
            uncached = getattr(module, "uncached", None)
            if callable(uncached):
                stack.enter_context(uncached())
        yield


def _samples(run: Run, indices: Sequence[int]) -> list[Sample]:
    """Decoded beforehand, so that only the model is timed; as bytes, for many large images would fill a GPU."""
    samples = []
    for index in indices:
        with seeded(derive_seed(run.seed, "evaluated item", index)):  # as in every evaluation
            samples.append(fetch(run.dataset, index))
    return samples


def _batch(run: Run, sample: Sample) -> list[Tensor]:
    images, _ = stacked([sample])
    return to_device(images, [], run.fabric.device).images


def _image(run: Run, index: int) -> dict[str, int]:
    truth = run.truths[index]
    return {"image_id": truth.image_id, "width": truth.width, "height": truth.height}


def _train_ms_per_image(state: TrainState) -> float | None:
    """Of the training itself: loading, forward, backward and step, without evaluations."""
    images = state.measured["train_images"]
    return 1000 * state.measured["train_s"] / images if images else None


# --- arithmetic and size ---------------------------------------------------------------------------------------------


def count_flops(model: nn.Module, images: list[Tensor]) -> int:
    """Floating-point operations of one forward pass, as torch's own counter has them.

    A multiplication and an addition count as two. Convolutions, matrix products and attention are counted; operators
    without a formula are not: normalisation, activations, pooling, resizing, RoI align, non-maximum suppression. In
    detectors of two stages the count depends on the image, since its proposals go through the second stage.
    """
    with FlopCounterMode(display=False) as counter:
        model(images)
    return int(counter.get_total_flops())


class _Counter:
    """A file that only counts what is written to it."""

    def __init__(self) -> None:
        self.bytes = 0

    def write(self, data: bytes) -> int:
        self.bytes += len(data)
        return len(data)

    def flush(self) -> None:
        pass


def saved_bytes(model: nn.Module) -> int:
    """The size of the file that the weights alone make: parameters and buffers in their own precision, no optimizer."""
    counter = _Counter()
    torch.save(model.state_dict(), counter)  # type: ignore[arg-type]  # it needs no more of a file than these
    return counter.bytes


# --- time -------------------------------------------------------------------------------------------------------------

NO_LATENCY: dict[str, Any] = {
    "latency_ms_median": None,
    "latency_ms_p95": None,
    "latency_images": 0,
    "latency_measurements": 0,
    "processors_used_by_others": None,
}


def _latency(run: Run, model: nn.Module, samples: Sequence[Sample], protocol: Protocol) -> dict[str, Any]:
    """Median and 95th percentile over all measured passes."""
    warm: list[Sample] = []
    for sample in _until(samples, protocol.warm_up_s):
        _tell(run, len(warm), (1 + protocol.rounds) * len(samples))
        _forward_ms(model, _batch(run, sample), run.fabric.device)
        warm.append(sample)
    processors = Processors()
    times: list[float] = []
    for sample in _until(list(warm) * protocol.rounds, protocol.measured_s):
        _tell(run, len(warm) + len(times), (1 + protocol.rounds) * len(warm))
        times.append(_forward_ms(model, _batch(run, sample), run.fabric.device))
    return {
        "latency_ms_median": float(np.median(times)),
        "latency_ms_p95": float(np.percentile(times, 95)),
        "latency_images": min(len(warm), len(times)),
        "latency_measurements": len(times),
        "processors_used_by_others": processors.used_by_others(),
    }


def _until(samples: Sequence[Sample], seconds: float) -> Iterator[Sample]:
    """The samples one by one, at least the first, until the time is over."""
    end = time.perf_counter() + seconds
    for number, sample in enumerate(samples):
        if number and time.perf_counter() > end:
            return
        yield sample


def _forward_ms(model: nn.Module, images: list[Tensor], device: torch.device) -> float:
    """From images on the device to detections on the device: resizing, network, post-processing."""
    _synchronise(device)
    began = time.perf_counter()
    model(images)
    _synchronise(device)
    return 1000 * (time.perf_counter() - began)


def _synchronise(device: torch.device) -> None:
    """Wait for the device: a GPU's work is only queued when a call returns."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _tell(run: Run, done: int, total: int) -> None:
    if run.fabric.world_size == 1 and run.stop:
        raise Interrupted("stopped while measuring what the model costs")
    run.recorder.progress(phase="measuring", epoch=run.info.epochs, epochs=run.info.epochs, done=done, total=total)
