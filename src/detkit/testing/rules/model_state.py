"""What models promise of their weights, and what they and their components say of themselves."""

from __future__ import annotations

import copy
import io
from typing import Any

import torch
from torch import Tensor, nn

from detkit.components import ModelComponent
from detkit.data.seeds import seeded
from detkit.testing.rule import Broken, NotApplicable, rule
from detkit.testing.rules.common import capabilities, plain_values
from detkit.testing.rules.model import losses_of, model_of, trained
from detkit.testing.rules.model_output import images_of, predict
from detkit.testing.subject import Subject


def worked_with(subject: Subject) -> nn.Module:
    """A model whose weights and buffers are not those that it was built with.

    Raises:
        NotApplicable: it cannot be trained; other rules say why.
    """
    try:
        return trained(subject)[0]
    except Broken as broken:
        raise NotApplicable("it cannot be trained: see the rules about losses") from broken


def same_outputs(subject: Subject, one: nn.Module, other: nn.Module, what: str) -> None:
    """Look whether two models predict the same bits.

    Raises:
        Broken: they do not.
    """
    images = images_of(subject)
    pairs = zip(
        images,
        predict(subject, one, list(images.values()), "six images"),
        predict(subject, other, list(images.values()), "six images"),
        strict=True,
    )
    for name, first, second in pairs:
        changed = [key for key in first if key not in second or not torch.equal(first[key], second[key])]
        if changed:
            raise Broken(f"{what} gives other {changed[0]} of {name}", "the same bits")


@rule("model", "model-state-round-trip", "`state_dict` holds all that it has learnt")
def state_round_trip(subject: Subject) -> None:
    """The state dict of a trained model, loaded (strictly) into another that was built from the same options with
    another seed, makes it predict the same bits. What is learnt or counted and is neither parameter nor buffer is lost
    with the checkpoint."""
    model = worked_with(subject)
    other = model_of(subject, random_state=99)
    with subject.doing("loading its state dict into another model"):
        other.load_state_dict(model.state_dict())
    same_outputs(subject, model, other, "another model with its state dict")


@rule("model", "model-state-safe", "`state_dict` can be saved and loaded as weights only")
def state_safe(subject: Subject) -> None:
    """`torch.save` and `torch.load(weights_only=True)` bring the state dict back: checkpoints are never unpickled, so
    it holds tensors and plain values under texts as names."""
    state = model_of(subject).state_dict()
    stream = io.BytesIO()
    with subject.doing("saving the state dict and loading it as weights only"):
        torch.save(state, stream)
        stream.seek(0)
        again = torch.load(stream, weights_only=True)
    wrong = [name for name, value in state.items() if not isinstance(name, str) or not isinstance(value, Tensor)]
    if wrong or again.keys() != state.keys():
        raise Broken(f"the state dict holds {wrong[0] if wrong else 'other names'!r}, which is no tensor", "tensors")


@rule("model", "model-builds-from-weights", "with `context.weights` it builds without files and networks")
def builds_from_weights(subject: Subject) -> None:
    """Where `context.weights` is given (a run goes on, a checkpoint predicts), `build` makes a model that takes that
    state dict, and looks for no weight file: the engine loads the weights into what is built."""
    model = worked_with(subject)
    state = model.state_dict()
    other = model_of(subject, random_state=98, weights=state, weights_origin={})
    with subject.doing("loading the weights into what was built for them"):
        other.load_state_dict(state)
    same_outputs(subject, model, other, "a model built for these weights")


@rule("model", "model-build-deterministic", "the same seed builds the same weights, bit for bit")
def build_deterministic(subject: Subject) -> None:
    """Built twice with the same state of the global generators, a model has the same weights: what it draws for them,
    it draws from torch's generator, or from `context.generator()`."""
    first, second = model_of(subject).state_dict(), model_of(subject).state_dict()
    changed = [name for name in first if name not in second or not torch.equal(first[name], second[name])]
    if changed:
        raise Broken(f"built twice with one seed, {changed[0]} differs", "the same bits")


@rule("model", "model-copies", "a copy predicts the same, and shares nothing")
def copies(subject: Subject) -> None:
    """`copy.deepcopy(model)` works: `[train] ema` keeps an average of the weights in a copy. The copy predicts the same
    bits, and training it does not move the model."""
    model = model_of(subject)
    with subject.doing("copy.deepcopy(model)"):
        twin = copy.deepcopy(model)
    same_outputs(subject, model, twin, "its copy")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(1.0)
    moved = [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])]
    if moved:
        raise Broken(f"changing the copy changes {moved[0]} of the model", "a copy of its own")


@rule("model", "model-classes", "it can be built for other numbers of classes")
def classes(subject: Subject) -> None:
    """For one class and for three, as for two, it builds and computes losses: heads are as wide as
    `context.class_names` is long. A model that can tell only one class refuses others with a `UserError`, and is not
    asked for three."""
    from detkit.testing.scenes import Scenes, scene_batch

    if len(subject.class_names) == 1:
        raise NotApplicable("it is built for one class only")
    masks = "masks" in capabilities(subject, "needs")
    for names in (("disc",), ("disc", "block", "ring")):
        with subject.doing(f"building it for {len(names)} classes"), seeded(0):
            model = subject.component.build(subject.options, subject.context(class_names=names))
        scenes = Scenes(4, class_names=names, size=subject.size, masks=masks)
        losses_of(subject, model, scene_batch(scenes, (0, 1, 3)), f"scenes of {len(names)} classes")


@rule("model", "model-parts", "`parts`, `pretrained` and `weights_origin` fit the model")
def parts(subject: Subject) -> None:
    """A model may say what it is made of (`detkit.components.Parted`): `parts` are `detkit.Part`s of different names,
    made of modules of the model, no two of which share a parameter; `pretrained` are names of its state dict;
    `weights_origin` holds plain values. Training strategies freeze and unfreeze by them."""
    model = model_of(subject)
    own = {id(module) for module in model.modules()}
    seen: dict[int, str] = {}
    found = getattr(model, "parts", ())
    for part in found:
        strange = [module for module in part.modules if id(module) not in own]
        if strange:
            raise Broken(
                f"part {part.name!r} has a {type(strange[0]).__name__} that is not in the model", "its modules"
            )
        for parameter in (each for module in part.modules for each in module.parameters()):
            if seen.setdefault(id(parameter), part.name) != part.name:
                raise Broken(f"parts {seen[id(parameter)]!r} and {part.name!r} share a parameter", "parts of their own")
    names = [part.name for part in found]
    if len(set(names)) < len(names):
        raise Broken(f"two parts have one name: {', '.join(names)}", "different names")
    unknown = sorted(set(getattr(model, "pretrained", ())) - set(model.state_dict()))
    if unknown:
        raise Broken(f"`pretrained` names {unknown[0]!r}, which is not in the state dict", "names of the state dict")
    if wrong := plain_values(getattr(model, "weights_origin", {}), "weights_origin"):
        raise Broken(wrong, "plain values: they go into the record")


@rule("model", "model-component", "the component's `recipe`, `stages`, `needs` and `gives` say what they should")
def component_says(subject: Subject) -> None:
    """`needs` and `gives` are `detkit.BOXES` or `detkit.BOXES_AND_MASKS`; `recipe` gives values of `[train]` by their
    names, which are valid there; `stages` gives names or None, and the stages of the backbone among the built model's
    parts where it has parts; `smallest_anchor` gives None or a number above 0. None of them builds anything."""
    component: Any = subject.component
    assert isinstance(component, ModelComponent)
    for name in ("needs", "gives"):
        capabilities(subject, name)
    _check_recipe(subject, component)
    with subject.doing("`stages` and `smallest_anchor`"):
        found = component.stages(subject.options)
        smallest = component.smallest_anchor(subject.options, min(subject.size))
    if found is not None and not all(isinstance(name, str) for name in found):
        raise Broken(f"`stages` gives {found!r}", "names, or None")
    if smallest is not None and not (isinstance(smallest, int | float) and smallest > 0):
        raise Broken(f"`smallest_anchor` gives {smallest!r}", "pixels above 0, or None")


def _check_recipe(subject: Subject, component: ModelComponent[Any]) -> None:
    from detkit.components import PathBase
    from detkit.spec.complaints import validate
    from detkit.spec.model import TrainTable

    with subject.doing("`recipe`"):
        recipe = dict(component.recipe(subject.options))
    found = validate(TrainTable, recipe, PathBase(subject.folder))
    if isinstance(found, list):
        first = found[0]
        raise Broken(f"`recipe` sets {'.'.join(map(str, first.path))}: {first.message}", "keys and values of [train]")
