"""The Penn-Fudan pedestrians: 170 street scenes with boxes and instance masks, fetched when they are not there.

Wang, Shi, Song, Shen: Object Detection Combining Recognition and Segmentation, ACCV 2007. The rights in the images
are their owners'; this plugin ships a list of digests and no data.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from detkit import BOXES_AND_MASKS, BuildContext, Dataset, DatasetComponent, OptionPath, Options, hookimpl

ARCHIVE_URL = "https://www.cis.upenn.edu/~jshi/ped_html/PennFudanPed.zip"


class PennFudanOptions(Options):
    """`[dataset] use = "penn_fudan"`"""

    root: OptionPath = Field(
        Path("data"),
        validate_default=True,
        description="the folder that holds PennFudanPed, or into which it is fetched; or PennFudanPed itself",
    )
    download: bool = Field(True, description="fetch the dataset (51 MiB) where it is not there")
    url: str = Field(ARCHIVE_URL, pattern="^https?://", description="where PennFudanPed.zip is fetched, or a mirror")
    verify: Literal["digests", "none"] = Field(
        "digests", description="digests: every file must be the released one; none: read the folder as it is"
    )
    objects: Literal["all", "paper"] = Field(
        "all", description="all: the release's 423; paper: the 345 of the paper, without added-object-list.txt"
    )


def build_penn_fudan(options: PennFudanOptions, context: BuildContext) -> Dataset:
    """Find or fetch the folder, verify it, and open it."""
    from detkit_pennfudan.dataset import PennFudan
    from detkit_pennfudan.files import prepare

    return PennFudan(prepare(options, context), paper_objects=options.objects == "paper")


def check_penn_fudan(options: PennFudanOptions, context: BuildContext) -> None:
    """Verify the folder where it is there; else see that it could be fetched. Downloads nothing."""
    from detkit_pennfudan.files import check

    check(options, context)


PENN_FUDAN = DatasetComponent(
    name="penn_fudan",
    options=PennFudanOptions,
    build=build_penn_fudan,
    summary="Penn-Fudan pedestrians: 170 images, boxes and masks; fetched and verified",
    check=check_penn_fudan,
    may_provide=lambda _options: BOXES_AND_MASKS,
)


@hookimpl
def detkit_datasets() -> list[DatasetComponent[Any]]:
    return [PENN_FUDAN]
