"""Datasets in the formats that people have: COCO's JSON, PASCAL VOC's XML, YOLO's text, a table, pictures of masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from detkit import (
    BOXES,
    BOXES_AND_MASKS,
    BuildContext,
    Capabilities,
    Dataset,
    DatasetComponent,
    OptionPath,
    Options,
    hookimpl,
)

# --- what the formats have in common ---------------------------------------------------------------------------------


class FilesOptions(Options):
    """What every format of image files has."""

    classes: tuple[str, ...] | None = Field(
        None, description="the classes in their order; by default those of the data, in the order of the format"
    )
    unlisted: Literal["error", "drop"] = Field(
        "error", description="objects whose class is not in `classes`: a fault, or left out"
    )
    exif: Literal["apply", "ignore"] = Field(
        "apply", description="boxes are of the image turned upright as its EXIF data says, or of the pixels as stored"
    )
    cut: Literal["error", "fill"] = Field(
        "error", description="a JPEG that ends too early: a fault, or what is missing is filled with grey"
    )
    max_pixels: int | None = Field(
        None, ge=1, description="larger images are refused; by default what Pillow takes for safe (89,478,485)"
    )


def _stated_size() -> Any:
    return Field(
        "check",
        description="the size that the annotations state of an image: must be the file's, or is not looked at",
    )


def _may_provide(options: CocoOptions | VocOptions) -> Capabilities:
    return BOXES if options.masks == "off" else BOXES_AND_MASKS


# --- coco ------------------------------------------------------------------------------------------------------------


class CocoOptions(FilesOptions):
    """`[dataset] use = "coco"`"""

    root: OptionPath | None = Field(
        None, description="a folder in which the files are looked for, where none is named: annotations/ and images/"
    )
    annotations: OptionPath | None = Field(None, description="the one JSON file; detkit divides its images")
    train: OptionPath | None = Field(None, description="the JSON file of the training split")
    validation: OptionPath | None = Field(None, description="the JSON file of the validation split")
    test: OptionPath | None = Field(None, description="the JSON file of the test split")
    images: OptionPath | None = Field(
        None, description="the folder to which file_name is relative; by default looked for beside the JSON file"
    )
    train_images: OptionPath | None = Field(None, description="the folder of the training images, where it is another")
    validation_images: OptionPath | None = Field(None, description="the folder of the validation images")
    test_images: OptionPath | None = Field(None, description="the folder of the test images")
    exif: Literal["apply", "ignore"] = Field(
        "ignore", description="boxes are of the image turned upright, or, as pycocotools' users read it, as stored"
    )
    stated_size: Literal["check", "ignore"] = _stated_size()
    masks: Literal["auto", "off"] = Field(
        "auto", description="auto: masks where every object has a segmentation; off: boxes only"
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        parts = [name for name in ("train", "validation", "test") if getattr(self, name) is not None]
        if self.annotations is not None and parts:
            raise ValueError(f"annotations and {parts[0]}: name one file for all, or one for each split")
        if self.annotations is None and not parts and self.root is None:
            raise ValueError(
                "no file is named: give annotations (one file), or train, validation and test (one for each split),"
                " or root, a folder to look in"
            )
        if parts and "train" not in parts:
            raise ValueError(f"{parts[0]} is given and train is not: there must be a file to train on")
        return self


def build_coco(options: CocoOptions, context: BuildContext) -> Dataset:
    """Read the files; all that is wrong with them at once."""
    from detkit_formats.coco import open_coco

    return open_coco(options, context.messages)


COCO = DatasetComponent(
    name="coco",
    options=CocoOptions,
    build=build_coco,
    summary="COCO's instances JSON and a folder of images: boxes, polygons, run lengths, crowds",
    may_provide=_may_provide,
)


# --- voc -------------------------------------------------------------------------------------------------------------


class VocOptions(FilesOptions):
    """`[dataset] use = "voc"`"""

    root: OptionPath = Field(
        Path("data"),
        validate_default=True,
        description="the folder with Annotations and JPEGImages; or one that holds it, or train, valid and test",
    )
    boxes: Literal["edges", "pixels"] = Field(
        "edges",
        description="what bndbox states: edges of the box, as labelling tools write; or, as the VOC challenge's own"
        " files, the first and last pixel counted from 1: xmin - 1 and ymin - 1 are then the edges",
    )
    difficult: Literal["keep", "drop", "crowd"] = Field(
        "keep",
        description="objects marked difficult: as others; left out; or as crowds: neither right nor wrong to find",
    )
    image_sets: str = Field(
        "Main", min_length=1, description="the folder below ImageSets whose lists are the splits: Main, Segmentation"
    )
    masks: Literal["auto", "off"] = Field(
        "auto", description="auto: masks where every image with objects has one in SegmentationObject; off: boxes only"
    )
    exif: Literal["apply", "ignore"] = Field(
        "apply", description="boxes are of the image turned upright, as labelling tools show it; or as it is stored"
    )
    stated_size: Literal["check", "ignore"] = _stated_size()


def build_voc(options: VocOptions, context: BuildContext) -> Dataset:
    """Read the files; all that is wrong with them at once."""
    from detkit_formats.voc import open_voc

    return open_voc(options, context.messages)


VOC = DatasetComponent(
    name="voc",
    options=VocOptions,
    build=build_voc,
    summary="PASCAL VOC: XML annotations, JPEGImages, ImageSets as splits, SegmentationObject",
    may_provide=_may_provide,
)


@hookimpl
def detkit_datasets() -> list[DatasetComponent[Any]]:
    return [COCO, VOC]
