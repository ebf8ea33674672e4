"""Which steps are refused; fp16's scaler; the state of a run that went back; the average of the weights."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torchvision import tv_tensors

from detkit.components import Silent
from detkit.data.sampling import Item
from detkit.engine.compute import Compute, make_fabric
from detkit.engine.ema import averaged_model, averaged_state, load_averaged_state
from detkit.engine.guard import (
    FEWEST_LOSSES,
    drop_gradients,
    gradient_fault,
    has_finite_weights,
    loss_fault,
    scaler_of,
)
from detkit.engine.incidents import Attempt, Pass, read_incident, write_incident
from detkit.engine.saving import bring_back_best, forget_bests, keep_best
from detkit.engine.state import WINDOW, TrainState
from detkit.record.files import write_atomically
from detkit.record.layout import RunLayout

CALM = [1.0] * FEWEST_LOSSES


class TestLossFault:
    def test_a_term_that_is_not_finite_is_named(self) -> None:
        assert loss_fault({"a": 1.0, "b": math.nan, "c": math.inf}, [], None) == "b is nan, c is inf"

    def test_so_many_times_the_median_is_an_explosion(self) -> None:
        recent = [1.0, 3.0, *[2.0] * 8]
        assert loss_fault({"a": 50.0, "b": 150.0}, recent, 100.0) == ""
        assert loss_fault({"a": 50.0, "b": 151.0}, recent, 100.0) == (
            "the loss is 201, 100 times the median of the steps before it (2); b is 151"
        )
        assert loss_fault({"a": 201.0}, recent, None) == ""

    def test_before_there_are_enough_only_what_is_not_finite_counts(self) -> None:
        assert loss_fault({"a": 1e9}, CALM[1:], 100.0) == ""
        assert loss_fault({"a": 1e9}, CALM, 100.0) != ""

    @given(losses=st.lists(st.floats(-10, 0), min_size=10), total=st.floats(0, 1e6))
    def test_of_losses_that_are_not_above_zero_there_is_no_multiple(self, losses: list[float], total: float) -> None:
        assert loss_fault({"a": total}, losses, 2.0) == ""


class TestGradientFault:
    def test_a_norm_that_is_not_finite(self) -> None:
        assert gradient_fault(1e30, None) == ""
        assert gradient_fault(math.nan, None) == "the gradient's norm is nan"

    def test_in_fp16_an_overflow_is_the_scalers_business_until_it_scales_no_more(self) -> None:
        assert gradient_fault(math.inf, torch.amp.GradScaler("cpu", init_scale=4.0)) == ""
        assert gradient_fault(math.inf, torch.amp.GradScaler("cpu", init_scale=1.0)) == "the gradient's norm is inf"

    def test_after_a_dropped_step_the_scaler_takes_the_next_one(self) -> None:
        """It refuses to look at gradients twice, and a checkpoint that is taken back does not make it forget."""
        fabric = make_fabric(Compute("cpu", 1, "fp16", None))
        scaler = scaler_of(fabric)
        assert scaler is not None
        weight = nn.Parameter(torch.ones(1))
        module, optimizer = nn.ParameterList([weight]), torch.optim.SGD([weight], lr=0.5)
        for bad, unscaled in ((True, True), (True, False), (False, True)):
            weight.grad = None
            fabric.backward(weight.sum() * (math.nan if bad else 1.0))
            if unscaled:
                fabric.clip_gradients(module, optimizer, max_norm=10.0, error_if_nonfinite=False)
            if bad:
                drop_gradients(fabric, optimizer, unscaled=unscaled)
                assert weight.grad is None
        fabric.strategy.optimizer_step(optimizer)
        assert weight.item() == pytest.approx(0.5)

    def test_elsewhere_there_is_no_scaler(self) -> None:
        assert scaler_of(make_fabric(Compute("cpu", 1, "bf16", None))) is None
        assert scaler_of(make_fabric(Compute("cpu", 1, "fp32", None))) is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_weight_that_is_not_finite_is_found(value: float) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    assert has_finite_weights(model)
    with torch.no_grad():
        model[1].get_parameter("bias")[1] = value
    assert not has_finite_weights(model)


def test_a_norm_whose_statistics_are_nan_is_found_and_a_mask_of_infinities_is_none() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    model.register_buffer("mask", torch.full((2,), -math.inf))
    assert has_finite_weights(model)
    model[1].get_buffer("running_var")[2] = math.nan
    assert not has_finite_weights(model)


class Unwritable:
    def item(self) -> None:
        raise ValueError("no number")


class TestIncident:
    @pytest.fixture
    def run(self, tmp_path: Path) -> Any:
        fabric = make_fabric(Compute("cpu", 1, "fp32", None))
        return SimpleNamespace(
            fabric=fabric,
            layout=RunLayout(tmp_path),
            info=SimpleNamespace(run_id="a-seed1", precision="fp32", device="cpu"),
            dataset=SimpleNamespace(info=lambda index: SimpleNamespace(label=f"image {index}")),
            bare_model=nn.Linear(2, 2),
            origin={},
            training_step=None,
            messages=Told(),
        )

    def attempt(self, target: dict[str, Any]) -> Attempt:
        image = tv_tensors.Image(torch.zeros(3, 4, 4, dtype=torch.uint8))
        one = Pass([Item(1, 0, 7)], ([image], [target]), {})  # type: ignore[list-item]  # what a dataset may give
        return Attempt({"loss": math.nan}, 0.1, "loss is nan", False, [one], {})

    def test_numpys_arrays_and_numbers_in_a_target_are_written(self, run: Any) -> None:
        target = {"angles": np.array([0.5, 1.5], dtype=np.float32), "scale": np.float64(2.0), "note": "dusk"}
        write_incident(run, TrainState(), self.attempt(target))
        assert run.messages.warnings == []
        (found,) = read_incident(run.layout.incident(1))["passes"][0]["targets"]
        assert found["angles"].tolist() == [0.5, 1.5]
        assert (found["scale"], found["note"]) == (2.0, "dusk")

    @pytest.mark.parametrize("value", [np.array(["a"]), np.array([None]), Unwritable()])
    def test_what_cannot_be_written_is_told_and_hides_nothing(self, value: Any, run: Any) -> None:
        write_incident(run, TrainState(), self.attempt({"extra": value}))
        (said,) = run.messages.warnings
        assert said.startswith("step 1 cannot be replayed, it could not be written: ")
        assert not run.layout.incident(1).exists()

    def test_a_dataset_that_fails_meanwhile_hides_nothing(self, run: Any) -> None:
        run.dataset = SimpleNamespace(info=lambda index: {}[index])
        write_incident(run, TrainState(), self.attempt({}))
        assert run.messages.warnings == ["step 1 cannot be replayed, it could not be written: KeyError: 7"]


class Told(Silent):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warning(self, text: str) -> None:
        self.warnings.append(text)


class TestState:
    def test_the_latest_losses_are_remembered(self) -> None:
        state = TrainState()
        for number in range(WINDOW + 3):
            state.add_step({"a": float(number), "b": 1.0}, images=1, seconds=0.0)
        assert state.recent == [float(number + 1) for number in range(3, WINDOW + 3)]

    def test_a_skipped_step_leaves_no_trace_in_the_means(self) -> None:
        state = TrainState()
        state.skip_step(images=2, seconds=1.0)
        assert state.mean_losses() == {}
        state.add_step({"a": 2.0}, images=2, seconds=1.0)
        assert state.mean_losses() == {"loss": 2.0, "a": 2.0}
        assert (state.step, state.position, state.skipped, state.recent) == (2, 2, 1, [2.0])
        assert state.measured["train_s"] == 2.0

    def test_going_back_keeps_what_was_spent_and_lowers_the_rate_each_time(self) -> None:
        state = TrainState()
        state.add_step({"a": 1.0}, images=2, seconds=3.0)
        saved = TrainState.from_dict(state.to_dict())
        state.add_step({"a": 5.0}, images=2, seconds=4.0)
        state.go_back(saved, 0.5)
        assert (state.step, state.recent, state.loss_sums) == (1, [1.0], {"a": 2.0})
        assert (state.rollbacks, state.lr_scale, state.measured["train_s"]) == (1, 0.5, 7.0)
        assert state.measured["epoch_train_s"] == 3.0
        saved = TrainState.from_dict(state.to_dict())
        state.go_back(saved, 0.5)
        assert (state.rollbacks, state.lr_scale) == (2, 0.25)
        assert TrainState.from_dict(state.to_dict()) == state


class TestBestOfBefore:
    """`best.pt` belongs to the state that the run goes on from, wherever it was killed."""

    @pytest.fixture
    def run(self, tmp_path: Path) -> Any:
        train = SimpleNamespace(on_nonfinite="rollback")
        fabric = SimpleNamespace(is_global_zero=True, broadcast=lambda value: value)
        return SimpleNamespace(train=train, fabric=fabric, layout=RunLayout(tmp_path))

    def best(self, run: Any, epoch: int) -> TrainState:
        """As at the end of an epoch that is the best, before `last.pt` is written."""
        state = TrainState(epoch=epoch, best_epoch=epoch, best_value=epoch / 10)
        write_atomically(run.layout.best, lambda stream: stream.write(f"epoch {epoch}".encode()))
        keep_best(run, state)
        return state

    def test_it_comes_back_and_forth(self, run: Any) -> None:
        first, second = self.best(run, 1), self.best(run, 2)
        bring_back_best(run, first)
        assert run.layout.best.read_text() == "epoch 1"
        bring_back_best(run, second)  # killed before the way back was saved
        assert run.layout.best.read_text() == "epoch 2"
        assert (second.best_epoch, second.best_value) == (2, 0.2)

    def test_the_latest_two_are_kept_and_those_of_an_abandoned_training_are_not(self, run: Any) -> None:
        states = [self.best(run, epoch) for epoch in (1, 2, 3)]
        forget_bests(run, states[2])
        assert [epoch for epoch, _ in run.layout.bests()] == [2, 3]
        bring_back_best(run, states[1])
        forget_bests(run, states[1])
        assert [epoch for epoch, _ in run.layout.bests()] == [2]
        assert run.layout.best.read_text() == "epoch 2"
        forget_bests(run, TrainState(best_epoch=2, ended="all epochs trained"))
        assert run.layout.bests() == []
        assert run.layout.best.read_text() == "epoch 2"

    def test_where_none_was_kept_none_is_the_best(self, run: Any) -> None:
        state = TrainState(best_epoch=4, best_value=0.5)
        bring_back_best(run, state)
        assert (state.best_epoch, state.best_value) == (None, None)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, -2.0]))
        self.register_buffer("mean", torch.zeros(1))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    mean: Tensor
    count: Tensor

    def become(self, value: float) -> None:
        with torch.no_grad():
            self.weight.fill_(value)
            self.mean.fill_(10 * value)
            self.count += 1


class TestAverage:
    def test_by_hand(self) -> None:
        """Decays of 0.9: a copy first, then 2/11, 3/12, and 0.9 at last."""
        model = Net()
        averaged = averaged_model(model, 0.9)
        expected = 1.0
        values = [1.0, 3.0, 7.0, *[8.0] * 90, 2.0]
        for number, value in enumerate(values):
            model.become(value)
            averaged.update_parameters(model)
            if number:
                decay = min(0.9, (1 + number) / (10 + number))
                expected = decay * expected + (1 - decay) * value
            torch.testing.assert_close(averaged.module.weight, torch.full((2,), expected))
        assert (1 + number) / (10 + number) > 0.9
        torch.testing.assert_close(averaged.module.mean, torch.tensor([10 * expected]))
        assert averaged.module.count == len(values)
        assert model.weight.tolist() == [2.0, 2.0]

    def test_its_state_goes_on_exactly(self) -> None:
        model, other = Net(), Net()
        averaged, resumed = averaged_model(model, 0.9), averaged_model(other, 0.9)
        for value in (1.0, 3.0):
            model.become(value)
            averaged.update_parameters(model)
        load_averaged_state(resumed, averaged_state(averaged))
        model.become(5.0)
        for one in (averaged, resumed):
            one.update_parameters(model)
        assert torch.equal(averaged.get_parameter("module.weight"), resumed.get_parameter("module.weight"))
        assert averaged_state(resumed)["updates"] == 3
        assert set(averaged_state(averaged)["model"]) == set(model.state_dict())
