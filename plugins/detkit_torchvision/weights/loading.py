"""State dicts into models: what is taken, what is dropped, and nothing in part without a word."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from detkit import WeightsError

#: The layers whose size is the number of classes; they are made anew where the classes are others.
CLASS_LAYERS = (
    "roi_heads.box_predictor.",
    "roi_heads.mask_predictor.mask_fcn_logits.",
    "head.classification_head.cls_logits.",
)
#: The classifiers of TorchVision's ImageNet networks, which a backbone has no use for.
CLASSIFIERS = ("fc.", "classifier.")


@dataclass(frozen=True, slots=True)
class Taken:
    """Which of a module's tensors came from a file, and which of the file's were left, by name."""

    taken: frozenset[str]
    dropped: tuple[str, ...]


def is_detector(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is of a whole detector, not of a classification network."""
    return any(name.startswith("backbone.") for name in state)


def load_network(net: nn.Module, state: Mapping[str, Tensor], file: Path) -> Taken:
    """Load a classification network but for its classifier, which may have any number of classes.

    Raises:
        WeightsError: tensors are missing, unknown or of another shape.
    """
    kept = {name: value for name, value in state.items() if not name.startswith(CLASSIFIERS)}
    return _load(net, kept, file, may_lack=CLASSIFIERS, dropped=[name for name in state if name not in kept])


def load_detector(
    model: nn.Module,
    state: Mapping[str, Tensor],
    file: Path,
    *,
    own_classes: bool,
    foreign: tuple[str, ...] = (),
    may_lack: tuple[str, ...] = (),
) -> Taken:
    """Load a whole detector; the layers that count classes stay new where the classes are others.

    Args:
        own_classes: the file's classes are its own even if they are as many as the model's.
        foreign: beginnings of the names that the model has no use for: the region proposals of a Faster R-CNN whose
            other parts make a Fast R-CNN.
        may_lack: beginnings of the names that the file need not have.

    Raises:
        WeightsError: tensors are missing, unknown or of another shape.
    """
    own = model.state_dict()
    new_classes = own_classes or any(
        name.startswith(CLASS_LAYERS) and name in state and state[name].shape != value.shape
        for name, value in own.items()
    )
    made_new = CLASS_LAYERS if new_classes else ()
    kept = {name: value for name, value in state.items() if not name.startswith((*made_new, *foreign))}
    return _load(
        model, kept, file, may_lack=(*made_new, *may_lack), dropped=[name for name in state if name not in kept]
    )


def _load(
    module: nn.Module, state: Mapping[str, Tensor], file: Path, *, may_lack: tuple[str, ...], dropped: Sequence[str]
) -> Taken:
    try:
        result = module.load_state_dict(state, strict=False)
    except RuntimeError as error:
        shapes = [line.strip() for line in str(error).splitlines() if "size mismatch" in line]
        raise WeightsError(
            f"weights: {file} is of another model: {len(shapes)} tensors have another shape{some(shapes, 1)};"
            " choose the model and backbone that it was saved from"
        ) from error
    own = module.state_dict()
    absent = (
        [name for name in result.missing_keys if not name.startswith(may_lack)] if may_lack else result.missing_keys
    )
    if absent or result.unexpected_keys:
        raise WeightsError(
            f"weights: {file} does not fit: of the model's {len(own)} tensors it lacks {len(absent)}{some(absent)};"
            f" of its own {len(state) + len(dropped)} the model does not know {len(result.unexpected_keys)}"
            f"{some(result.unexpected_keys)}; choose the model and backbone that it was saved from"
        )
    return Taken(frozenset(own) - frozenset(result.missing_keys), tuple(dropped))


def some(names: Iterable[str], shown: int = 3) -> str:
    """The first of the names in brackets, and how many more; empty for none."""
    names = list(names)
    if not names:
        return ""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return f" ({', '.join(names[:shown])}{more})"
