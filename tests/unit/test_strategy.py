"""What of a model trains, from when on, at which rate; and that frozen norms keep their statistics."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from detkit.components import Part
from detkit.engine.optim import build_optimizer, set_learning_rate
from detkit.engine.strategy import Strategy, parts_of, plan_strategy, spread_epochs
from detkit.errors import ComponentError, RunFailed
from detkit.spec.model import TrainTable


class Detector(nn.Module):
    """Three stages with norms, a neck, and a head whose last layer is new."""

    def __init__(self, pretrained: Collection[str] | None = None) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.middle = nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))
        self.end = nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))
        self.neck = nn.Conv2d(4, 4, 1)
        self.head = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 2, 1))
        self.scale = nn.Parameter(torch.ones(()))
        self.parts: Sequence[Part] = (
            Part("backbone stem", (self.stem,), backbone=True),
            Part("backbone middle", (self.middle,), backbone=True),
            Part("backbone end", (self.end,), backbone=True),
            Part("neck", (self.neck,)),
            Part("head", (self.head,)),
        )
        self.pretrained = frozenset(pretrained or ())
        self.weights_origin: Mapping[str, Any] = {}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.head(self.neck(self.end(self.middle(self.stem(x))))) * self.scale
        return result


BACKBONE = [name for name in Detector().state_dict() if name.split(".")[0] in ("stem", "middle", "end")]
WHOLE = [name for name in Detector().state_dict() if not name.startswith(("head.1.", "scale"))]


def trained(strategy: Strategy, model: nn.Module, epoch: int) -> set[str]:
    model.train()
    strategy.begin_epoch(epoch)
    return {name.split(".")[0] for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_finetune_trains_everything_and_pretrained_weights_at_their_share() -> None:
    model = Detector(BACKBONE)
    train = TrainTable(lr=0.1, backbone_lr_scale=0.2)
    strategy = plan_strategy(model, train)
    assert trained(strategy, model, 1) == {"stem", "middle", "end", "neck", "head", "scale"}
    optimizer = build_optimizer(strategy, train)
    set_learning_rate(optimizer, 0.05)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert len(rates) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        assert rates[id(parameter)] == pytest.approx(0.01 if name in BACKBONE else 0.05), name


def test_a_part_with_a_share_of_the_rate_of_its_own_has_it_beside_that_of_pretrained_weights() -> None:
    model = Detector([name for name in BACKBONE if not name.startswith("end")])
    stem, *rest = model.parts
    model.parts = (replace(stem, lr_scale=0.1), *(replace(part, lr_scale=0.5) for part in rest))
    train = TrainTable(lr=0.1, backbone_lr_scale=0.2)
    strategy = plan_strategy(model, train)
    optimizer = build_optimizer(strategy, train)
    set_learning_rate(optimizer, 0.05)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    expected = {"stem": 0.001, "middle": 0.005, "end": 0.025, "neck": 0.025, "head": 0.025, "scale": 0.05}
    for name, parameter in model.named_parameters():
        assert rates[id(parameter)] == pytest.approx(expected[name.split(".")[0]]), name
    shown = {row["part"]: row["lr"] for row in strategy.rows(0.1)}
    assert shown["backbone stem"] == pytest.approx(0.002)
    assert shown["backbone end"] == pytest.approx(0.05)


@pytest.mark.parametrize("scale", [0.0, -1.0, 1.5])
def test_a_share_of_the_rate_that_is_none_is_named(scale: float) -> None:
    model = Detector()
    model.parts = (Part("neck", (model.neck,), lr_scale=scale),)
    with pytest.raises(ComponentError, match="part 'neck' has the lr_scale"):
        plan_strategy(model, TrainTable())


def test_the_table_names_every_part_and_counts_every_parameter() -> None:
    model = Detector(WHOLE)
    rows = plan_strategy(model, TrainTable(lr=0.1, strategy="transfer")).rows(0.1)
    assert [(row["part"], row["weights"], row["from_epoch"], row["lr"]) for row in rows] == [
        ("backbone stem", "pretrained", None, None),
        ("backbone middle", "pretrained", None, None),
        ("backbone end", "pretrained", None, None),
        ("neck", "pretrained", None, None),
        ("head", "pretrained", None, None),
        ("head", "new", 1, 0.1),
        ("other", "new", 1, 0.1),
    ]
    assert sum(row["parameters"] for row in rows) == sum(p.numel() for p in model.parameters())


def test_transfer_moves_nothing_that_was_pretrained_not_even_statistics() -> None:
    """Whatever the weights do, running mean and variance of a frozen norm stay as they were loaded."""
    torch.manual_seed(0)
    model = Detector(BACKBONE)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    step(model, TrainTable(strategy="transfer", lr=0.5))
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) == (name in BACKBONE), name


def test_finetune_does_move_statistics() -> None:
    """Else the test above would say nothing."""
    model = Detector(BACKBONE)
    before = model.state_dict()["stem.1.running_mean"].clone()
    step(model, TrainTable(lr=0.5))
    assert not torch.equal(model.state_dict()["stem.1.running_mean"], before)


def test_of_a_part_in_training_only_its_frozen_norms_stand_still() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.BatchNorm2d(4))
    for parameter in model[1].parameters():
        parameter.requires_grad_(False)  # by the model itself
    model.train()
    plan_strategy(model, TrainTable()).begin_epoch(1)
    assert [module.training for module in model] == [True, False, True]


def step(model: Detector, train: TrainTable) -> None:
    strategy = plan_strategy(model, train)
    optimizer = build_optimizer(strategy, train)
    model.train()
    strategy.begin_epoch(1)
    for _ in range(3):
        model(torch.rand(2, 3, 9, 9) + 1).sum().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def test_trainable_layers_count_from_the_output() -> None:
    model = Detector(BACKBONE)
    for layers, expected in ((0, set()), (1, {"end"}), (2, {"middle", "end"}), (3, {"stem", "middle", "end"})):
        strategy = plan_strategy(model, TrainTable(trainable_layers=layers))
        assert trained(strategy, model, 1) == expected | {"neck", "head", "scale"}
        for parameter in model.parameters():
            parameter.requires_grad_(True)


def test_trainable_layers_that_do_not_fit_are_refused() -> None:
    with pytest.raises(RunFailed, match=r"is 4, but the backbone has 3 stages \(backbone stem, backbone middle, "):
        plan_strategy(Detector(BACKBONE), TrainTable(trainable_layers=4))
    with pytest.raises(RunFailed, match="would freeze layers that have learnt nothing"):
        plan_strategy(Detector(), TrainTable(trainable_layers=1))
    with pytest.raises(RunFailed, match=r"has 0 stages \(the model names none\)"):
        plan_strategy(nn.Linear(2, 2), TrainTable(trainable_layers=1))


def test_gradual_frees_stage_by_stage_from_the_output() -> None:
    model = Detector(WHOLE)
    strategy = plan_strategy(model, TrainTable(strategy="gradual", unfreeze_epochs=(2, 4, 5)))
    new = {"head", "scale"}  # a part of the head is new
    assert trained(strategy, model, 1) == new
    assert not model.head[0].weight.requires_grad
    assert trained(strategy, model, 2) == trained(strategy, model, 3) == new | {"neck"}
    assert model.head[0].weight.requires_grad
    assert trained(strategy, model, 4) == new | {"neck", "end"}
    assert trained(strategy, model, 9) == new | {"neck", "end", "middle"}
    assert not model.stem[1].training, "the last stage stays frozen, its statistics too"
    assert [piece.part for piece in strategy.changes_at(4)] == ["backbone end"]


def test_gradual_spreads_over_the_first_half_by_default() -> None:
    assert spread_epochs(5, 10) == [2, 3, 4, 5, 6]
    assert spread_epochs(3, 30) == [6, 11, 16]
    model = Detector(BACKBONE)
    strategy = plan_strategy(model, TrainTable(strategy="gradual", epochs=6))
    assert [sorted(trained(strategy, model, epoch) & {"stem", "middle", "end"}) for epoch in (1, 2, 3, 4)] == [
        [],
        ["end"],
        ["end", "middle"],
        ["end", "middle", "stem"],
    ]


@given(stages=st.integers(1, 8), epochs=st.integers(2, 200))
def test_spread_epochs_rise_from_the_second_to_the_middle(stages: int, epochs: int) -> None:
    spread = spread_epochs(stages, epochs)
    assert len(spread) == stages
    assert spread == sorted(spread)
    assert spread[0] >= 2
    assert spread[-1] <= epochs / 2 + 2


def test_too_many_epochs_to_unfreeze_name_the_stages() -> None:
    with pytest.raises(RunFailed, match="lists 5 epochs, but there are 4 stages to free: neck\\+head, backbone end"):
        plan_strategy(Detector(WHOLE), TrainTable(strategy="gradual", unfreeze_epochs=(2, 3, 4, 5, 6)))


@pytest.mark.parametrize("strategy", ["transfer", "gradual"])
def test_what_starts_from_nothing_has_nothing_to_keep(strategy: Any) -> None:
    with pytest.raises(RunFailed, match=f'"{strategy}" keeps what was pretrained, and this model starts from nothing'):
        plan_strategy(Detector(), TrainTable(strategy=strategy))


def test_scratch_does_not_take_pretrained_weights() -> None:
    with pytest.raises(RunFailed, match=f'"scratch" starts from nothing, but {len(BACKBONE)} tensors'):
        plan_strategy(Detector(BACKBONE), TrainTable(strategy="scratch"))
    model = Detector()
    strategy = plan_strategy(model, TrainTable(strategy="scratch"))
    assert trained(strategy, model, 1) == {"stem", "middle", "end", "neck", "head", "scale"}


def test_a_strategy_that_leaves_nothing_to_train_is_an_error() -> None:
    with pytest.raises(RunFailed, match=r'"transfer" leaves nothing to train: .*; everything was loaded'):
        plan_strategy(Detector(Detector().state_dict()), TrainTable(strategy="transfer"))


def test_what_the_model_keeps_frozen_itself_stays_so_and_is_shown_as_fixed() -> None:
    model = Detector(BACKBONE)
    model.neck.requires_grad_(False)
    strategy = plan_strategy(model, TrainTable())
    assert "neck" not in trained(strategy, model, 1)
    (row,) = [row for row in strategy.rows(0.1) if row["part"] == "neck"]
    assert (row["weights"], row["from_epoch"], row["lr"]) == ("fixed", None, None)


def test_a_resumed_run_says_itself_what_was_pretrained() -> None:
    """Its model was built without its weight file, and does not know."""
    model = Detector()
    strategy = plan_strategy(model, TrainTable(strategy="transfer"), pretrained=BACKBONE)
    assert trained(strategy, model, 1) == {"neck", "head", "scale"}


def test_a_run_that_is_made_longer_freezes_nothing_again() -> None:
    model = Detector(BACKBONE)
    short = plan_strategy(model, TrainTable(strategy="gradual", epochs=6))
    longer = TrainTable(strategy="gradual", epochs=60)
    assert trained(plan_strategy(model, longer, starts=short.starts), model, 4) >= {"stem", "middle", "end"}
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    assert "stem" not in trained(plan_strategy(model, longer), model, 4), "else the test says nothing"


def test_a_model_that_names_no_parts_is_shown_by_its_modules() -> None:
    model = Detector()
    del model.parts
    rows = plan_strategy(model, TrainTable()).rows(0.1)
    assert [row["part"] for row in rows] == ["other", "stem", "middle", "end", "neck", "head"]


def test_what_is_in_no_part_is_shown_by_its_module() -> None:
    model = Detector()
    model.parts = (Part("bottom", (model.stem[0],)),)
    assert [part.name for part in parts_of(model)] == ["bottom", "other", "stem.1", "middle", "end", "neck", "head"]


def test_parts_that_are_not_right_are_named() -> None:
    model = Detector()
    model.parts = (Part("foreign", (nn.Linear(2, 3),)),)
    with pytest.raises(ComponentError, match=r"its part 'foreign' holds a parameter of shape \(3, 2\) that the model"):
        plan_strategy(model, TrainTable())
    model.parts = (Part("one", (model.stem,)), Part("two", (model.stem[0],)))
    with pytest.raises(ComponentError, match=r"its parts 'one' and 'two' both hold stem\.0\.weight"):
        plan_strategy(model, TrainTable())


@pytest.mark.parametrize(("strategy", "still"), [("transfer", True), ("finetune", False)])
def test_norms_without_parameters_stand_still_with_what_was_loaded(strategy: Any, still: bool) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False), nn.Conv2d(4, 2, 1))
    loaded = [name for name in model.state_dict() if name[0] in "01"]
    strategy_of_all = plan_strategy(model, TrainTable(strategy=strategy), pretrained=loaded)
    model.train()
    strategy_of_all.begin_epoch(1)
    assert model[1].training is not still


class TestKeys:
    def test_keys_of_another_strategy_are_refused(self) -> None:
        with pytest.raises(ValueError, match='trainable_layers belongs to strategy = "finetune", not to "transfer"'):
            TrainTable(strategy="transfer", trainable_layers=1)
        with pytest.raises(ValueError, match='unfreeze_epochs belongs to strategy = "gradual", not to "finetune"'):
            TrainTable(unfreeze_epochs=(2,))
        with pytest.raises(ValueError, match="unfreeze_epochs must rise"):
            TrainTable(strategy="gradual", unfreeze_epochs=(3, 2))
        with pytest.raises(ValueError, match='"scratch" no pretrained weight is trained'):
            TrainTable(strategy="scratch", backbone_lr_scale=0.1)
