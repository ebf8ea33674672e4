"""What a model costs, against numbers worked out by hand."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision import tv_tensors

from detkit.components import Silent
from detkit.engine import costs
from detkit.engine.compute import Compute, make_fabric
from detkit.engine.costs import count_flops, measure_costs, saved_bytes
from detkit.engine.limits import Limits
from detkit.engine.recorder import SilentRecorder
from detkit.engine.state import TrainState
from detkit.engine.tensor_memory import inference_bytes
from detkit.errors import Interrupted


class ConvAndLinear(nn.Module):
    """A convolution without padding, its mean over the image, a matrix; what else a detector does is left out."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.linear = nn.Linear(8, 5)

    def forward(self, images: list[Tensor]) -> list[Tensor]:
        features = self.norm(self.conv(torch.stack(images))).relu().mean(dim=(2, 3))
        return list(self.linear(features))


def test_flops_count_a_multiplication_and_an_addition_as_two() -> None:
    model = ConvAndLinear().eval()
    # 10 x 12 pixels leave 8 x 10 places; each sums 3 x 3 x 3 products for 8 channels. The matrix is 8 x 5.
    products = 8 * 10 * (3 * 3 * 3) * 8 + 8 * 5
    assert count_flops(model, [torch.rand(3, 10, 12)]) == 2 * products


def test_grouped_convolutions_are_not_counted_as_full_ones() -> None:
    depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
    model = nn.Sequential(depthwise)
    with torch.no_grad():
        assert count_flops(model, torch.rand(1, 8, 6, 6)) == 2 * 6 * 6 * 3 * 3 * 8  # type: ignore[arg-type]


def test_the_size_is_that_of_the_file(tmp_path: Path) -> None:
    model = ConvAndLinear()
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    own = saved_bytes(model)
    # Names inside the archive follow the file's, a few bytes an entry.
    assert abs((tmp_path / "weights.pt").stat().st_size - own) < 2000
    assert own > sum(tensor.nbytes for tensor in model.state_dict().values())
    model.half()
    assert saved_bytes(model) < own


class InSteps(nn.Module):
    """Never holds more than two results beside its input."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1000))

    def forward(self, images: list[Tensor]) -> Tensor:
        result = images[0]
        for _ in range(5):
            result = result + 1
        return result


def test_memory_of_a_pass_is_the_most_that_tensors_take_at_once() -> None:
    model, image, cpu = InSteps(), torch.rand(1000, 250), torch.device("cpu")
    with torch.no_grad():
        found = [inference_bytes(model, lambda: model([image]), cpu) for _ in range(2)]
    for one in found:
        assert 0 <= one - (4000 + 2 * 1_000_000) < 100  # the number 1 is a tensor too, for a moment


def test_memory_is_counted_no_longer_after_a_pass_that_failed() -> None:
    def fails() -> None:
        raise ValueError

    model, cpu = InSteps(), torch.device("cpu")
    with pytest.raises(ValueError):  # noqa: PT011 - the one that was raised
        inference_bytes(model, fails, cpu)
    with torch.no_grad():
        assert inference_bytes(model, lambda: torch.ones(250), cpu) == 4000 + 1000


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_memory_of_a_pass_on_a_gpu() -> None:
    gpu = torch.device("cuda")
    model, image = InSteps().to(gpu), torch.rand(1000, 250, device=gpu)
    with torch.no_grad():
        found = inference_bytes(model, lambda: model([image]), gpu)
    # The allocator rounds up to blocks of 512 bytes, and to 2 MiB for what it asks of the driver.
    assert 4000 + 2 * 1_000_000 <= found < 4000 + 2 * 1_100_000


def test_a_pass_ends_when_its_time_is_over_but_not_before_one_image() -> None:
    samples = list(range(5))
    assert list(costs._until(samples, 60.0)) == samples  # type: ignore[arg-type, comparison-overlap]
    taken = []
    for sample in costs._until(samples, 0.0):  # type: ignore[arg-type]
        taken.append(sample)
        time.sleep(0.001)
    assert len(taken) == 1


class Restless(nn.Module):
    """Draws random numbers in every pass, and remembers how it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.calls: list[tuple[int, bool, bool]] = []

    def forward(self, images: list[Tensor]) -> list[Tensor]:
        self.calls.append((len(images), self.training, torch.is_grad_enabled()))
        assert images[0].dtype == torch.float32
        assert float(images[0].max()) <= 1
        return [self.norm(self.conv(images[0][None] + torch.rand(())))]


def fake_run(images: int, *, stop: bool = False, limits: Limits | None = None) -> Any:
    """As much of a run as measuring looks at."""
    target: dict[str, Tensor] = {}
    sample = (tv_tensors.Image(torch.full((3, 8, 8), 200, dtype=torch.uint8)), target)
    for key in ("boxes", "labels", "image_id", "area", "iscrowd"):
        target[key] = torch.zeros((0, 4)) if key == "boxes" else torch.zeros(0, dtype=torch.int64)
    scored = tuple(reversed(range(images)))  # the order of the dataset is the protocol's, not that of the split
    return SimpleNamespace(
        fabric=make_fabric(Compute("cpu", 1, "fp32", None)),
        limits=limits or Limits(),
        seed=1,
        stop=stop,
        splits=SimpleNamespace(scored=scored, scored_name="test"),
        evaluated=lambda indices: indices[: (limits or Limits()).evaluation_images],
        truths={index: SimpleNamespace(image_id=100 + index, width=8, height=8) for index in range(images)},
        dataset=[sample] * images,
        info=SimpleNamespace(
            parameters={"parameters": 116, "trained_parameters": 8}, device="cpu", precision="fp32", epochs=2
        ),
        use=SimpleNamespace(title="model 'restless'"),
        recorder=SilentRecorder(),
    )


def state_after(epochs: int, train_s: float) -> TrainState:
    """Of four images an epoch."""
    state = TrainState(epoch=epochs)
    state.measured |= {"train_s": train_s, "train_images": 4 * epochs}
    return state


def test_measuring_leaves_weights_mode_and_generators_as_they_were() -> None:
    model = Restless().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    measure_costs(fake_run(3), state_after(1, 1.0), model, Silent())
    assert torch.equal(torch.rand(3), expected)
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert set(model.calls) == {(1, False, False)}  # one image, evaluation mode, no gradient


def test_every_image_is_run_once_before_it_is_measured() -> None:
    model = Restless()
    found = measure_costs(fake_run(25), state_after(1, 1.0), model, Silent())
    assert found["protocol"]["image_ids"] == [100 + index for index in range(20)]
    measured = found["measured"]
    assert (measured["latency_images"], measured["latency_measurements"]) == (20, 60)
    assert len(model.calls) == 2 + 20 + 60  # memory and FLOPs, warming up, measuring


class Keeping(nn.Module):
    """Computes once, and remembers it."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.rand(8, 8))
        self.kept: Tensor | None = None
        self.afresh = False
        self.computed = 0

    @contextmanager
    def uncached(self) -> Iterator[None]:
        self.afresh = True
        try:
            yield
        finally:
            self.afresh = False

    def forward(self, images: list[Tensor]) -> Tensor:
        if self.kept is not None and not self.afresh:
            return self.kept
        self.computed += 1
        result = images[0] @ self.weights
        if not self.afresh:
            self.kept = result
        return result


def test_what_is_kept_from_before_is_computed_again_in_every_pass() -> None:
    model = nn.Sequential(Keeping(), nn.Identity())
    keeping = model[0]
    assert isinstance(keeping, Keeping)
    image = torch.rand(3, 8, 8)
    before = model([image])
    found = measure_costs(fake_run(3), state_after(1, 1.0), model, Silent())
    assert found["flops"] == 2 * 3 * 8 * 8 * 8
    assert keeping.computed == 1 + 2 + 3 + 9  # before; memory and FLOPs, warming up, measuring
    assert model([image]) is before


def test_a_cache_that_cannot_be_left_out_costs_only_the_measurements() -> None:
    class Broken(Restless):
        def uncached(self) -> None:
            raise OSError("no disk")

    found = measure_costs(fake_run(2), state_after(1, 1.0), Broken(), Silent())
    assert found["measured"]["latency_ms_median"] is None
    assert found["troubles"]["latency"] == "OSError: no disk"


def test_training_time_is_over_the_images_of_all_epochs() -> None:
    found = measure_costs(fake_run(1), state_after(2, 4.0), Restless(), Silent())
    assert found["measured"]["train_ms_per_image"] == pytest.approx(500)  # 4 s, two epochs of four images


def test_training_time_counts_the_images_of_steps_that_were_abandoned_as_their_seconds() -> None:
    state = TrainState()
    saved = TrainState.from_dict(state.to_dict())
    for _ in range(3):
        state.add_step({"a": 1.0}, images=2, seconds=1.0)
    state.skip_step(images=2, seconds=1.0)
    state.go_back(saved, 0.5)
    state.add_step({"a": 1.0}, images=2, seconds=1.0)
    found = measure_costs(fake_run(1), state, Restless(), Silent())
    assert found["measured"]["train_ms_per_image"] == pytest.approx(500)


def test_a_rehearsal_takes_the_short_way() -> None:
    model = Restless()
    measure_costs(fake_run(10, limits=Limits(2, 2)), state_after(1, 1.0), model, Silent())
    assert len(model.calls) == 2 + 2 + 2


def test_a_stop_is_obeyed() -> None:
    with pytest.raises(Interrupted):
        measure_costs(fake_run(3, stop=True), state_after(1, 1.0), Restless(), Silent())


def test_what_cannot_be_measured_fails_nothing() -> None:
    class Fails(nn.Module):
        def forward(self, images: list[Tensor]) -> list[Tensor]:
            raise ValueError("wants two images")

    found = measure_costs(fake_run(2), state_after(1, 1.0), Fails(), Silent())
    assert found["flops"] is None
    assert found["measured"]["latency_ms_median"] is None
    assert set(found["troubles"]) == {"memory", "FLOPs", "latency"}
    assert found["weights_bytes"] > 0


def test_images_that_cannot_be_read_any_more_fail_nothing() -> None:
    run = fake_run(2)
    run.dataset = []
    found = measure_costs(run, state_after(1, 1.0), Restless(), Silent())
    assert set(found["troubles"]) == {"images"}
    assert found["image"] is None
    assert found["weights_bytes"] > 0
