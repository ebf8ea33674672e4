"""A detector for detkit: the image is divided into cells, and each cell may find one object.

This file is read whenever detkit looks for plugins, by `detkit --help` too: torch, which takes seconds to import, is
imported where the network is, in network.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from detkit import BuildContext, ModelComponent, Options, hookimpl
from pydantic import Field

if TYPE_CHECKING:
    from my_plugin.network import GridDetector

requires_detkit = ">=0.1"  # another detkit says that the plugin does not fit, before it imports it
detkit_api = 1  # and so does one whose hooks are no longer those that it was written for


class GridOptions(Options):
    """What a spec may say in [models.KEY]. The description of each option is shown by `detkit plugins show`."""

    width: int = Field(32, ge=8, multiple_of=8, description="channels of the network")
    most: int = Field(50, ge=1, description="the most objects that it finds in an image")


def build(options: GridOptions, context: BuildContext) -> GridDetector:
    """What a run calls: the context knows the classes, and the size to which images are resized."""
    from my_plugin.network import GridDetector

    return GridDetector(
        len(context.class_names), options.width, options.most, min_size=context.min_size, max_size=context.max_size
    )


COMPONENT = ModelComponent(
    name="my_plugin",  # what a spec writes in `use`, or as the key in [models.KEY]
    options=GridOptions,
    build=build,
    summary="a grid of cells over a few convolutions",
    recipe=lambda _options: {"optimizer": "adamw", "lr": 0.003},  # of [train]; what a spec says there wins
    stages=lambda _options: (),  # nothing of it starts from weights
    smallest_anchor=lambda _options, _min_size: 8.0,  # pixels: much smaller objects are hard for it, and that is said
)


@hookimpl
def detkit_models() -> list[ModelComponent[Any]]:
    return [COMPONENT]
