"""What models promise."""

from __future__ import annotations

from torch import nn

from detkit.testing.rule import Broken, rule
from detkit.testing.subject import Subject


@rule("model", "model-module", "what is built is a `torch.nn.Module` with parameters to train")
def is_module(subject: Subject) -> None:
    """The built object is a `torch.nn.Module`, and at least one of its parameters requires a gradient."""
    built = subject.build()
    if not isinstance(built, nn.Module):
        raise Broken(f"it built a {type(built).__name__}", "a torch.nn.Module")
    if not any(parameter.requires_grad for parameter in built.parameters()):
        raise Broken("none of its parameters requires a gradient", "parameters that can be trained")
