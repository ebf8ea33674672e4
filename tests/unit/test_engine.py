"""Learning rate, parameter groups, devices and precision, events, the state of a training."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from detkit.components import BuildContext, CallbackComponent, Options, Outcome, RunInfo
from detkit.engine.attribution import attributed
from detkit.engine.compute import Compute, make_fabric, resolve_compute
from detkit.engine.evaluation import Evaluation, set_loss_mode
from detkit.engine.events import Events
from detkit.engine.measuring import measure
from detkit.engine.optim import build_optimizer, learning_rate
from detkit.engine.results import plain_result
from detkit.engine.selection import check_best_by, is_best
from detkit.engine.state import TrainState
from detkit.engine.strategy import plan_strategy
from detkit.errors import ComponentError, ComputeError, OutOfMemory, RunFailed
from detkit.figures import Curve, MetricResult, Scalar, Table
from detkit.hookspecs import hookimpl
from detkit.plugins import Offered, Plugin
from detkit.spec.model import ComputeTable, TrainTable, Use


class TestLearningRate:
    @given(
        total=st.integers(1, 500),
        warmup=st.integers(0, 300),
        schedule=st.sampled_from(["constant", "cosine", "multistep"]),
    )
    def test_it_stays_between_nothing_and_the_highest(self, total: int, warmup: int, schedule: Any) -> None:
        train = TrainTable(lr=0.1, warmup_steps=warmup, schedule=schedule)
        rates = [learning_rate(step, total, train, 10) for step in range(total)]
        assert all(0 < rate <= 0.1 for rate in rates)
        after = int(min(warmup, total * 0.2))
        assert rates[: after + 1] == sorted(rates[: after + 1])
        assert rates[after:] == sorted(rates[after:], reverse=True)

    def test_known_values(self) -> None:
        train = TrainTable(lr=1.0, warmup_steps=10, warmup_factor=0.1)
        assert learning_rate(0, 110, train, 11) == pytest.approx(0.1)
        assert learning_rate(5, 110, train, 11) == pytest.approx(0.55)
        assert learning_rate(10, 110, train, 11) == 1.0
        assert learning_rate(60, 110, train, 11) == pytest.approx(0.5)
        steps = train.model_copy(update={"schedule": "multistep", "milestones": (0.5, 0.8)})
        assert [learning_rate(step, 100, steps, 10) for step in (49, 50, 79, 80)] == pytest.approx([1, 0.1, 0.1, 0.01])

    def test_torchs_own_cosine_agrees(self) -> None:
        train = TrainTable(lr=0.3, warmup_steps=0)
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50)
        for step in range(50):
            assert learning_rate(step, 50, train, 10) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-9)
            optimizer.step()
            schedule.step()

    def test_torchs_own_one_cycle_agrees(self) -> None:
        train = TrainTable(lr=0.3, schedule="onecycle", rise=0.25)
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3, momentum=0.9)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=0.3,
            total_steps=60,
            pct_start=0.25,
            div_factor=25,
            final_div_factor=1e4 / 25,
            cycle_momentum=False,
        )
        for step in range(60):
            assert learning_rate(step, 60, train, 10) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
            optimizer.step()
            schedule.step()

    @given(total=st.integers(1, 300), rise=st.floats(0.01, 0.99))
    def test_one_cycle_rises_and_falls_and_is_never_nothing(self, total: int, rise: float) -> None:
        train = TrainTable(lr=0.1, schedule="onecycle", rise=rise)
        rates = [learning_rate(step, total, train, 10) for step in range(total)]
        assert all(0 < rate <= 0.1 for rate in rates)
        peak = rates.index(max(rates))
        assert rates[: peak + 1] == sorted(rates[: peak + 1])
        assert rates[peak:] == sorted(rates[peak:], reverse=True)

    def test_a_warm_up_in_epochs_has_no_limit(self) -> None:
        train = TrainTable(lr=1.0, warmup_epochs=1.5, warmup_factor=0.1, warmup_steps=2, schedule="constant")
        assert learning_rate(6, 24, train, 8) == pytest.approx(0.55)
        assert [learning_rate(step, 24, train, 8) for step in (11, 12)] == [pytest.approx(0.925), 1.0]
        assert learning_rate(0, 24, train.model_copy(update={"warmup_epochs": 0.0}), 8) == 1.0


class TestOptimizer:
    def test_norms_and_biases_do_not_decay(self) -> None:
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        train = TrainTable(weight_decay=0.1)
        optimizer = build_optimizer(plan_strategy(model, train), train)
        decayed, spared = optimizer.param_groups
        assert (decayed["weight_decay"], len(decayed["params"])) == (0.1, 1)
        assert (spared["weight_decay"], len(spared["params"])) == (0.0, 3)

    def test_frozen_parameters_are_left_out_and_a_frozen_model_is_refused(self) -> None:
        model = nn.Linear(2, 2)
        model.bias.requires_grad_(False)
        train = TrainTable()
        assert len(build_optimizer(plan_strategy(model, train), train).param_groups) == 1
        model.weight.requires_grad_(False)
        with pytest.raises(
            RunFailed, match='"finetune" leaves nothing to train: no parameter of the model is trainable'
        ):
            plan_strategy(model, train)


class TestCompute:
    def test_fp16_on_a_cpu_is_refused(self) -> None:
        with pytest.raises(ComputeError, match='fp16 does not work on a CPU; use "bf16", "fp32" or "auto"'):
            resolve_compute(ComputeTable(device="cpu", precision="fp16"))

    @pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
    def test_a_device_that_is_not_there_names_those_that_are(self) -> None:
        with pytest.raises(ComputeError, match="there is no cuda device on this machine; there are: cpu"):
            resolve_compute(ComputeTable(device="cuda"))
        assert resolve_compute(ComputeTable()).accelerator in ("cpu", "mps")

    @pytest.mark.parametrize(("has", "precision"), [(True, "bf16"), (False, "fp32")])
    def test_auto_precision_follows_the_hardware(self, has: bool, precision: str, monkeypatch: Any) -> None:
        monkeypatch.setattr("detkit.engine.compute.has_bf16", lambda accelerator: has)
        assert resolve_compute(ComputeTable(device="cpu")).precision == precision

    def test_a_pair_that_does_not_fit_is_told_in_words(self, monkeypatch: Any) -> None:
        import builtins

        original = builtins.__import__

        def broken(name: str, *args: Any, **kwargs: Any) -> Any:
            if name == "torchvision":
                raise RuntimeError("operator torchvision::nms does not exist")
            return original(name, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", broken)
        with pytest.raises(ComputeError, match=r"do not work together here .*nms does not exist.*pip install"):
            resolve_compute(ComputeTable())

    def test_autocast_leaves_the_inputs_alone(self) -> None:
        """Fabric would cast them: in bfloat16 the coordinate 317 is 316."""

        class Echo(nn.Linear):
            def forward(self, boxes: torch.Tensor) -> tuple[torch.Tensor, torch.dtype]:  # type: ignore[override]
                return boxes, super().forward(boxes).dtype

        fabric = make_fabric(Compute("cpu", 1, "bf16", None))
        boxes, inside = fabric.setup(Echo(4, 4))(torch.tensor([[317.0, 1.0, 2.0, 3.0]]))
        assert boxes.tolist() == [[317.0, 1.0, 2.0, 3.0]]
        assert inside == torch.bfloat16


class NoOptions(Options):
    pass


def use_of(callback: object, key: str) -> tuple[Use, object]:
    def build(options: NoOptions, context: BuildContext) -> object:
        return callback

    plugin = Plugin(name="mine", source="mine.py", distribution="mine-for-detkit", version="1.2")
    return Use(key, "callback", Offered(CallbackComponent(key, NoOptions, build), plugin), NoOptions()), callback


RUN: Any = RunInfo


class TestEvents:
    def test_in_the_specs_order_with_the_arguments_that_each_wants(self) -> None:
        calls: list[Any] = []

        class First:
            @hookimpl
            def step_ended(self, step: int) -> None:
                calls.append(("first", step))

            @hookimpl
            def should_stop(self, epoch: int) -> str | None:
                return "first had enough" if epoch == 2 else None

        class Second:
            @hookimpl
            def step_ended(self, run: RunInfo, step: int, losses: dict[str, float]) -> None:
                calls.append(("second", losses))

            @hookimpl
            def should_stop(self) -> str | None:
                return None

        events = Events([use_of(First(), "a"), use_of(Second(), "b")])
        events.step_ended(RUN, 7, {"loss": 1.0})
        assert calls == [("first", 7), ("second", {"loss": 1.0})]
        assert events.should_stop(RUN, 1, {}) is None
        assert events.should_stop(RUN, 2, {}) == "first had enough"

    def test_what_one_raises_names_it_its_plugin_and_the_event(self) -> None:
        class Broken:
            @hookimpl
            def run_ended(self, outcome: Outcome) -> None:
                raise ZeroDivisionError("division by zero")

        with pytest.raises(ComponentError) as caught:
            Events([use_of(Broken(), "broken")]).run_ended(RUN, Outcome("finished"))
        assert str(caught.value) == (
            "callback 'broken' (plugin 'mine' (mine-for-detkit 1.2)) failed while handling run_ended:"
            " ZeroDivisionError: division by zero"
        )

    def test_a_misspelt_event_is_an_error(self) -> None:
        class Misspelt:
            @hookimpl
            def epoch_end(self, epoch: int) -> None:
                pass

        with pytest.raises(ComponentError, match="'epoch_end', which is no event of a run; did you mean 'epoch_ended'"):
            Events([use_of(Misspelt(), "m")])

    def test_a_wrong_argument_is_an_error(self) -> None:
        class Wrong:
            @hookimpl
            def epoch_ended(self, epochs: int) -> None:
                pass

        with pytest.raises(ComponentError, match=r"callback 'w'.*epochs"):
            Events([use_of(Wrong(), "w")])


def test_running_out_of_memory_says_what_to_lower() -> None:
    with (
        pytest.raises(OutOfMemory, match=r"out of memory while testing; lower \[train\] batch_size"),
        attributed(use_of(object(), "x")[0], "testing"),
    ):
        raise MemoryError


class TestPlainResults:
    """numpy's float64 is a float to JSON and to isinstance, and refused when a checkpoint is read."""

    def test_numbers_become_pythons_own(self) -> None:
        result = plain_result(
            MetricResult(
                scalars={"a": Scalar(np.float64(0.5)), "n": Scalar(np.int64(3)), "none": Scalar(None)},  # type: ignore[arg-type]
                tables={"t": Table(("name", "value"), (("x", np.float32(0.25)),))},  # type: ignore[arg-type]
                thresholds={"cat": np.float32(0.5)},  # type: ignore[dict-item]
            )
        )
        assert [type(scalar.value) for scalar in result.scalars.values()] == [float, float, type(None)]
        assert result.tables["t"].rows == (("x", 0.25),)
        assert type(result.tables["t"].rows[0][1]) is float
        assert type(result.thresholds["cat"]) is float

    @pytest.mark.parametrize(
        ("result", "says"),
        [
            (MetricResult({"ap": Scalar(float("nan"))}), "ap is nan; a value that does not apply is None"),
            (MetricResult({}, tables={"t": Table(("a",), ((float("inf"),),))}), "a cell of table t is inf"),
            (MetricResult({}, curves={"c": Curve((0.0,), (float("nan"),))}), "curve c has a point that is not finite"),
            (MetricResult({}, curves={"c": Curve((0.0,), ())}), "curve c has 1 x and 0 y"),
        ],
    )
    def test_what_is_no_number_is_named(self, result: MetricResult, says: str) -> None:
        with pytest.raises(ValueError, match=says):
            plain_result(result)


class TestThresholds:
    class Noting:
        """A metric that notes what is asked of it."""

        def __init__(self, fails: bool = False) -> None:
            self.calls: list[Any] = []
            self.fails = fails

        def reset(self) -> None:
            self.calls.append("reset")

        def use_thresholds(self, chosen: Any) -> None:
            if self.fails:
                raise KeyError("cat")
            self.calls.append(chosen)

        def update(self, predictions: Any, truths: Any) -> None:
            self.calls.append("update")

        def compute(self) -> MetricResult:
            return MetricResult({})

    @pytest.mark.parametrize(
        ("thresholds", "calls"),
        [
            (None, ["reset", "update"]),
            ({}, ["reset", {}, "update"]),
            ({"cat": 0.25}, ["reset", {"cat": 0.25}, "update"]),
        ],
    )
    def test_a_metric_gets_them_between_reset_and_update(self, thresholds: Any, calls: list[Any]) -> None:
        metric = self.Noting()
        measure(use_of(metric, "m")[0], metric, [], [], thresholds=thresholds)
        assert metric.calls == calls

    def test_its_failure_is_told_as_its_own(self) -> None:
        metric = self.Noting(fails=True)
        with pytest.raises(ComponentError, match=r"'m' .*failed while measuring: KeyError: 'cat'"):
            measure(use_of(metric, "m")[0], metric, [], [], thresholds={})

    def test_those_of_the_last_evaluation_survive_a_resume_and_going_back(self) -> None:
        state = TrainState(thresholds={"coco": {"": 0.25}})
        then = TrainState.from_dict(state.to_dict())
        assert then.thresholds == {"coco": {"": 0.25}}
        state.thresholds = {"coco": {"": 0.75}}
        state.go_back(then, 0.5)
        assert state.thresholds == {"coco": {"": 0.25}}


class TestBest:
    def evaluation(self, value: float | None) -> Evaluation:
        return Evaluation(values={"coco/ap": value, "x": 1.0}, better={"coco/ap": True}, primary="coco/ap")

    def test_an_earlier_epoch_wins_a_tie(self) -> None:
        state = TrainState(best_epoch=1, best_value=0.5)
        assert not is_best(state, self.evaluation(0.5), TrainTable())
        assert is_best(state, self.evaluation(0.6), TrainTable())
        assert not is_best(state, self.evaluation(None), TrainTable())

    def test_lower_is_better_where_it_is(self) -> None:
        loss = Evaluation(values={"validation/loss": 0.4}, better={"validation/loss": False}, primary="validation/loss")
        assert is_best(TrainState(best_epoch=1, best_value=0.5), loss, TrainTable())
        assert not is_best(TrainState(best_epoch=1, best_value=0.3), loss, TrainTable())

    def test_a_value_wins_over_an_epoch_without_one(self) -> None:
        assert is_best(TrainState(), self.evaluation(None), TrainTable())
        assert is_best(TrainState(best_epoch=1, best_value=None), self.evaluation(0.0), TrainTable())

    def test_where_nothing_selects_the_last_epoch_is_the_best(self) -> None:
        assert is_best(TrainState(best_epoch=3), Evaluation(values={"x": 1.0}), TrainTable())

    def test_the_quantity_that_the_spec_names_selects(self) -> None:
        better = {"coco/ap": True, "validation/loss": False}
        evaluation = Evaluation((), {}, {"coco/ap": 0.1, "validation/loss": 0.4}, better, primary="coco/ap")
        state = TrainState(best_epoch=1, best_value=0.5)
        assert not is_best(state, evaluation, TrainTable())
        assert is_best(state, evaluation, TrainTable(best_by="validation/loss"))

    def test_of_the_epochs_that_are_left_out_the_last_one_stands_in(self) -> None:
        train = TrainTable(skip_best_epochs=2)
        assert is_best(TrainState(epoch=2, best_epoch=1, best_value=0.9), self.evaluation(0.1), train)
        assert is_best(TrainState(epoch=3, best_epoch=2, best_value=0.9), self.evaluation(0.1), train)
        assert not is_best(TrainState(epoch=4, best_epoch=3, best_value=0.9), self.evaluation(0.1), train)

    @pytest.mark.parametrize(
        ("by", "says"),
        [
            (
                "coco/ap51",
                "the evaluation has no 'coco/ap51'; did you mean 'coco/ap50'?; there are: coco/ap, coco/ap50",
            ),
            ("validation/loss", "the validation losses are off: set validation_loss = true; there are: coco/ap, coco/"),
            (
                "coco/scale",
                "of 'coco/scale' neither more nor less is better, so it selects nothing; there are: coco/ap",
            ),
        ],
    )
    def test_what_can_select_nothing_is_refused(self, by: str, says: str) -> None:
        evaluation = Evaluation(
            values={"coco/ap": 0.1, "coco/ap50": None, "coco/scale": 2.0}, better={"coco/ap": True, "coco/ap50": True}
        )
        use = SimpleNamespace(key="fcos", train=TrainTable(best_by=by, validation_loss=False))
        with pytest.raises(RunFailed) as caught:
            check_best_by(evaluation, use)  # type: ignore[arg-type]  # what it looks at
        assert "[models.fcos.train] best_by: " in str(caught.value)
        assert says in str(caught.value)


def test_the_validation_loss_leaves_norms_and_dropout_in_evaluation() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout())
    model.eval()
    set_loss_mode(model)
    assert model.training
    assert [module.training for module in model] == [True, False, False]


def test_the_state_of_a_training_goes_through_plain_values() -> None:
    state = TrainState()
    state.add_step({"a": 1.0, "b": 2.0}, images=2, seconds=0.1)
    state.add_step({"a": 4.0, "b": 2.0}, images=1, seconds=0.1)
    assert state.mean_losses() == {"loss": 4.0, "a": 2.0, "b": 2.0}
    assert TrainState.from_dict(state.to_dict()) == state
    state.next_epoch()
    assert (state.epoch, state.position, state.step, state.images) == (2, 0, 2, 0)
