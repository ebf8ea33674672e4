"""What of a model trains, from which epoch on, and at which share of the rate: `[train] strategy`."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from detkit.components import Part
from detkit.errors import ComponentError, RunFailed
from detkit.spec.model import TrainTable

Weights = Literal["pretrained", "new", "fixed"]
#: What parameters of the model itself, that belong to none of its modules, are shown as.
OTHER = "other"


@dataclass(frozen=True, slots=True)
class Slice:
    """The pretrained, the new or the fixed parameters of one part.

    Attributes:
        part: its name. backbone: whether it is a stage of the backbone.
        weights: pretrained: they were loaded; fixed: the model itself keeps them from training, a proposal source say.
        from_epoch: the first epoch in which they train; None: never.
        lr_scale: share of the rate with which they do.
    """

    part: str
    backbone: bool
    parameters: tuple[nn.Parameter, ...]
    weights: Weights
    from_epoch: int | None
    lr_scale: float

    def trains(self, epoch: int) -> bool:
        return self.from_epoch is not None and epoch >= self.from_epoch


@dataclass(frozen=True, slots=True)
class Strategy:
    """Attributes: parts: of the model, all of it. slices: of the parts, from the input to the output.

    loaded_norms: norms without parameters whose statistics were loaded, with the name of their part, if any.
    """

    parts: tuple[Part, ...]
    slices: tuple[Slice, ...]
    loaded_norms: tuple[tuple[str | None, nn.Module], ...] = ()

    def begin_epoch(self, epoch: int) -> None:
        """Freeze and free parameters, and keep the statistics of frozen norms; the model is in training mode.

        A norm whose statistics moved on would change what frozen layers compute.
        """
        for piece in self.slices:
            for parameter in piece.parameters:
                parameter.requires_grad_(piece.trains(epoch))
        for part in self.parts:
            frozen = not any(parameter.requires_grad for parameter in _own(part))
            for module in (module for top in part.modules for module in top.modules()):
                if isinstance(module, _NormBase) and (frozen or _is_frozen(module)):
                    module.eval()
        learning = {piece.part for piece in self.slices if piece.weights == "pretrained" and piece.trains(epoch)}
        for name, norm in self.loaded_norms:
            if not learning or (name is not None and name not in learning):
                norm.eval()

    @property
    def starts(self) -> list[int | None]:
        """The first epoch of each slice, for a resume: one with more epochs must not freeze again what was free."""
        return [piece.from_epoch for piece in self.slices]

    def changes_at(self, epoch: int) -> list[Slice]:
        """What begins to train with that epoch, after the first."""
        return [piece for piece in self.slices if epoch > 1 and piece.from_epoch == epoch]

    def optimizer_groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """Everything that ever trains, by share of the rate and by decay: norms and biases (1-D) have none."""
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for piece in self.slices:
            for parameter in piece.parameters if piece.from_epoch is not None else ():
                key = (piece.lr_scale, weight_decay if parameter.ndim > 1 else 0.0)
                groups.setdefault(key, []).append(parameter)
        return [
            {"params": parameters, "weight_decay": decay, "lr_scale": scale}
            for (scale, decay), parameters in groups.items()
        ]

    def rows(self, lr: float) -> list[dict[str, Any]]:
        """For the table before training: part, where its weights came from, parameters, first epoch, learning rate."""
        return [
            {
                "part": piece.part,
                "weights": piece.weights,
                "parameters": sum(parameter.numel() for parameter in piece.parameters),
                "from_epoch": piece.from_epoch,
                "lr": None if piece.from_epoch is None else lr * piece.lr_scale,
            }
            for piece in self.slices
        ]


def plan_strategy(
    model: nn.Module,
    train: TrainTable,
    *,
    pretrained: Sequence[str] | None = None,
    starts: Sequence[int | None] | None = None,
) -> Strategy:
    """How the model is trained.

    Args:
        pretrained: names of what was loaded, where the model's own account is not to be had: of a resumed run.
        starts: `Strategy.starts` of a resumed run.

    Raises:
        RunFailed: the strategy does not fit the model's weights, or leaves nothing to train.
        ComponentError: the model's own account of its parts is not right.
    """
    loaded = frozenset(pretrained if pretrained is not None else getattr(model, "pretrained", ()))
    _refuse_misfit(loaded, train)
    parts = parts_of(model)
    pieces = [piece for part in parts for piece in _pieces(part, model, loaded)]
    slices = tuple(
        Slice(
            piece.part.name,
            piece.part.backbone,
            piece.parameters,
            piece.weights,
            None if piece.weights == "fixed" else start,
            piece.part.lr_scale * (train.backbone_lr_scale if piece.weights == "pretrained" else 1.0),
        )
        for piece, start in zip(pieces, starts if starts is not None else _starts(pieces, train), strict=True)
    )
    if not any(piece.from_epoch == 1 for piece in slices):
        raise RunFailed(
            f'strategy = "{train.strategy}" leaves nothing to train: no parameter of the model is trainable'
            + ("; everything was loaded" if loaded else "")
        )
    return Strategy(parts, slices, tuple(_loaded_norms(parts, model, loaded)))


def parts_of(model: nn.Module) -> tuple[Part, ...]:
    """The parts that a model names in its attribute `parts`, and the rest of it by the names of its modules.

    Raises:
        ComponentError: a part holds what the model does not, two hold the same, or one's share of the rate is none.
    """
    named: tuple[Part, ...] = tuple(getattr(model, "parts", ()))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    seen: dict[int, str] = {}
    for part in named:
        if not 0 < part.lr_scale <= 1:
            raise ComponentError(
                f"{type(model).__name__}: its part {part.name!r} has the lr_scale {part.lr_scale}; it is a share of the"
                " learning rate, above 0 and at most 1"
            )
        for parameter in _own(part):
            if id(parameter) not in names:
                raise ComponentError(
                    f"{type(model).__name__}: its part {part.name!r} holds a parameter of shape"
                    f" {tuple(parameter.shape)} that the model does not have"
                )
            if id(parameter) in seen:
                raise ComponentError(
                    f"{type(model).__name__}: its parts {seen[id(parameter)]!r} and {part.name!r} both hold"
                    f" {names[id(parameter)]}"
                )
            seen[id(parameter)] = part.name
    return (*named, *_rest(model, seen.keys()))


class _Piece(NamedTuple):
    part: Part
    parameters: tuple[nn.Parameter, ...]
    weights: Weights


def _pieces(part: Part, model: nn.Module, loaded: frozenset[str]) -> Iterator[_Piece]:
    """The parameters of a part by where their weights come from."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    by_weights: dict[Weights, list[nn.Parameter]] = {"pretrained": [], "new": [], "fixed": []}
    for parameter in _own(part):
        is_loaded = names[id(parameter)] in loaded
        weights: Weights = "fixed" if not parameter.requires_grad else "pretrained" if is_loaded else "new"
        by_weights[weights].append(parameter)
    for weights, parameters in by_weights.items():
        if parameters:
            yield _Piece(part, tuple(parameters), weights)


def _refuse_misfit(loaded: frozenset[str], train: TrainTable) -> None:
    if train.strategy in ("transfer", "gradual") and not loaded:
        raise RunFailed(
            f'strategy = "{train.strategy}" keeps what was pretrained, and this model starts from nothing (or does not'
            ' say what it loaded, in its attribute `pretrained`); use "finetune" or "scratch"'
        )
    if train.strategy == "scratch" and loaded:
        raise RunFailed(
            f'strategy = "scratch" starts from nothing, but {len(loaded)} tensors of the model were loaded; set its'
            ' weights to "none", or use "finetune"'
        )


def _rest(model: nn.Module, seen: Collection[int], prefix: str = "") -> Iterator[Part]:
    """What no part holds: whole modules where none of a module is held, under their names."""
    loose = [parameter for parameter in model.parameters(recurse=False) if id(parameter) not in seen]
    if loose:
        yield Part(prefix.rstrip(".") or OTHER, (_Loose(loose),))
    for name, child in model.named_children():
        held = [id(parameter) in seen for parameter in child.parameters()]
        if held and not any(held):
            yield Part(prefix + name, (child,))
        elif not all(held):
            yield from _rest(child, seen, f"{prefix}{name}.")


def _loaded_norms(
    parts: Sequence[Part], model: nn.Module, loaded: frozenset[str]
) -> Iterator[tuple[str | None, nn.Module]]:
    statistics = {id(buffer) for name, buffer in model.named_buffers() if name in loaded}
    holder = {id(module): part.name for part in parts for top in part.modules for module in top.modules()}
    for module in model.modules():
        without = isinstance(module, _NormBase) and not list(module.parameters(recurse=False))
        if without and any(id(buffer) in statistics for buffer in module.buffers(recurse=False)):
            yield holder.get(id(module)), module


class _Loose(nn.Module):
    """Parameters of a module whose children belong to other parts."""

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        super().__init__()
        self.loose = nn.ParameterList(parameters)


def _own(part: Part) -> list[nn.Parameter]:
    return list({id(p): p for module in part.modules for p in module.parameters()}.values())


def _starts(pieces: Sequence[_Piece], train: TrainTable) -> list[int | None]:
    """The first epoch of each piece."""
    if train.strategy == "transfer":
        return [None if piece.weights == "pretrained" else 1 for piece in pieces]
    if train.strategy == "gradual":
        return _gradual_starts(pieces, train)
    stages = list(dict.fromkeys(piece.part.name for piece in pieces if piece.part.backbone))
    if train.trainable_layers is None:
        return [1] * len(pieces)
    if train.trainable_layers > len(stages):
        raise RunFailed(
            f"trainable_layers is {train.trainable_layers}, but the backbone has {len(stages)} stages"
            f" ({', '.join(stages) or 'the model names none'})"
        )
    frozen = set(stages[: len(stages) - train.trainable_layers])
    unlearnt = [piece.part.name for piece in pieces if piece.part.name in frozen and piece.weights == "new"]
    if unlearnt:
        raise RunFailed(
            f"trainable_layers = {train.trainable_layers} would freeze layers that have learnt nothing"
            f" ({', '.join(unlearnt)}); leave it out, or choose weights"
        )
    return [None if piece.part.name in frozen else 1 for piece in pieces]


def _gradual_starts(pieces: Sequence[_Piece], train: TrainTable) -> list[int | None]:
    """What is new at once; then what else of the detector is pretrained; then the backbone from its output."""
    pretrained = [piece.part for piece in pieces if piece.weights == "pretrained"]
    backbone = [part.name for part in pretrained if part.backbone]
    detector = [part.name for part in pretrained if not part.backbone]
    stages = [*([detector] if detector else []), *([name] for name in reversed(backbone))]
    if train.unfreeze_epochs is None:
        epochs: Sequence[int] = spread_epochs(len(stages), train.epochs)
    else:
        epochs = train.unfreeze_epochs
        if len(epochs) > len(stages):
            raise RunFailed(
                f"unfreeze_epochs lists {len(epochs)} epochs, but there are {len(stages)} stages to free:"
                f" {', '.join('+'.join(stage) for stage in stages)}"
            )
    start = {name: epoch for stage, epoch in zip(stages, epochs, strict=False) for name in stage}
    return [start.get(piece.part.name) if piece.weights == "pretrained" else 1 for piece in pieces]


def spread_epochs(stages: int, epochs: int) -> list[int]:
    """The epochs, from the second on, that free one stage each: evenly over the first half of the training."""
    return [1 + max(1, math.ceil(number * epochs / 2 / stages)) for number in range(1, stages + 1)]


def _is_frozen(module: nn.Module) -> bool:
    own = list(module.parameters(recurse=False))
    return bool(own) and not any(parameter.requires_grad for parameter in own)
