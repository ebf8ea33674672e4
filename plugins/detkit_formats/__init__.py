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
    ImageTransfer,
    Messages,
    OptionPath,
    Options,
    Written,
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


def _may_provide(options: CocoOptions | VocOptions | YoloOptions) -> Capabilities:
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

    return open_coco(options, context.messages, context.leave_out)


def write_coco(dataset: Dataset, folder: Path, transfer: ImageTransfer, messages: Messages) -> Written:
    from detkit_formats import writers

    return writers.write_coco(dataset, folder, transfer, messages)


COCO = DatasetComponent(
    name="coco",
    options=CocoOptions,
    build=build_coco,
    summary="COCO's instances JSON and a folder of images: boxes, polygons, run lengths, crowds",
    may_provide=_may_provide,
    write=write_coco,
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

    return open_voc(options, context.messages, context.leave_out)


def write_voc(dataset: Dataset, folder: Path, transfer: ImageTransfer, messages: Messages) -> Written:
    from detkit_formats import writers

    return writers.write_voc(dataset, folder, transfer, messages)


VOC = DatasetComponent(
    name="voc",
    options=VocOptions,
    build=build_voc,
    summary="PASCAL VOC: XML annotations, JPEGImages, ImageSets as splits, SegmentationObject",
    may_provide=_may_provide,
    write=write_voc,
)


# --- yolo ------------------------------------------------------------------------------------------------------------


class YoloOptions(FilesOptions):
    """`[dataset] use = "yolo"`"""

    data: OptionPath | None = Field(None, description="the YAML file with the classes and the paths of the splits")
    root: OptionPath | None = Field(
        None, description="the dataset's folder, where no YAML file is named: with one, or with images and labels"
    )
    train: OptionPath | None = Field(None, description="the training images: a folder, or a text file that lists them")
    validation: OptionPath | None = Field(None, description="the validation images, likewise")
    test: OptionPath | None = Field(None, description="the test images, likewise")
    unlabelled: Literal["empty", "leave_out", "error"] = Field(
        "empty", description="images without a label file: without objects, as YOLO has it; left out; or a fault"
    )
    masks: Literal["auto", "off"] = Field(
        "auto", description="auto: masks where every object is a polygon; off: boxes only"
    )

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if self.data is None and self.root is None and self.train is None:
            raise ValueError(
                "nothing is named: give data (a YAML file), or root (the dataset's folder), or train and validation"
            )
        if self.train is None and (self.validation is not None or self.test is not None):
            raise ValueError("validation or test is given and train is not: there must be images to train on")
        return self


def build_yolo(options: YoloOptions, context: BuildContext) -> Dataset:
    """Read the files; all that is wrong with them at once."""
    from detkit_formats.yolo import open_yolo

    return open_yolo(options, context.messages, context.leave_out)


def write_yolo(dataset: Dataset, folder: Path, transfer: ImageTransfer, messages: Messages) -> Written:
    from detkit_formats import writers

    return writers.write_yolo(dataset, folder, transfer, messages)


YOLO = DatasetComponent(
    name="yolo",
    options=YoloOptions,
    build=build_yolo,
    summary="YOLO's text labels: boxes and polygons, data.yaml, folders or lists of images",
    may_provide=_may_provide,
    write=write_yolo,
)


# --- csv -------------------------------------------------------------------------------------------------------------


class CsvOptions(FilesOptions):
    """`[dataset] use = "csv"`"""

    root: OptionPath | None = Field(
        None,
        description="a folder in which the tables are looked for, where none is named: train.csv and so on, or one",
    )
    file: OptionPath | None = Field(None, description="the one table, a row an object; detkit divides its images")
    train: OptionPath | None = Field(None, description="the table of the training split")
    validation: OptionPath | None = Field(None, description="the table of the validation split")
    test: OptionPath | None = Field(None, description="the table of the test split")
    images: OptionPath | None = Field(
        None, description="the folder to which image names are relative; by default the table's, or images beside it"
    )
    image_column: str | None = Field(None, description="the column of image names; by default found by its name")
    class_column: str | None = Field(
        None, description="the column of class names; by default found; not needed where `classes` names one class"
    )
    box_columns: tuple[str, str, str, str] | None = Field(
        None, description="the four columns of boxes, in the order of box_format; by default found by their names"
    )
    box_format: Literal["auto", "pascal_voc", "coco", "albumentations", "yolo"] = Field(
        "auto",
        description="x0 y0 x1 y1 in pixels; x y width height in pixels; x0 y0 x1 y1 as shares; cx cy width height as"
        " shares; by default what the columns' names say, and shares where no number is above 1",
    )
    split_column: str | None = Field(
        None, description="the column that says train, validation or test; by default one named split, if there is one"
    )
    delimiter: str = Field("auto", description='between columns: "," ";" or a tab; by default found')
    exif: Literal["apply", "ignore"] = Field(
        "apply", description="boxes are of the image turned upright, as labelling tools show it; or as it is stored"
    )
    stated_size: Literal["check", "ignore"] = _stated_size()

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        parts = [name for name in ("train", "validation", "test") if getattr(self, name) is not None]
        if self.file is not None and parts:
            raise ValueError(f"file and {parts[0]}: name one table for all, or one for each split")
        if parts and "train" not in parts:
            raise ValueError(f"{parts[0]} is given and train is not: there must be a table to train on")
        if self.file is None and not parts and self.root is None:
            raise ValueError(
                "no table is named: give file (one for all), or train, validation and test, or root, a folder to look"
                " in"
            )
        return self


def build_csv(options: CsvOptions, context: BuildContext) -> Dataset:
    """Read the table; all that is wrong with it at once."""
    from detkit_formats.tables import open_csv

    return open_csv(options, context.messages, context.leave_out)


def write_csv(dataset: Dataset, folder: Path, transfer: ImageTransfer, messages: Messages) -> Written:
    from detkit_formats import writers

    return writers.write_csv(dataset, folder, transfer, messages)


CSV = DatasetComponent(
    name="csv",
    options=CsvOptions,
    build=build_csv,
    summary="a table, a row an object: columns of image, class and box, found by their names or named",
    write=write_csv,
)


# --- masks -----------------------------------------------------------------------------------------------------------


class MasksOptions(FilesOptions):
    """`[dataset] use = "masks"`"""

    root: OptionPath = Field(
        Path("data"), validate_default=True, description="the folder with images and masks, or train, valid and test"
    )
    images: OptionPath | None = Field(None, description="the folder of images; by default images or PNGImages in root")
    masks: OptionPath | None = Field(None, description="the folder of masks; by default masks or PedMasks in root")
    mask_name: str | None = Field(
        None,
        description="how a mask is named after its image: {stem}_mask.png; by default what the files are: {stem}.png,"
        " {stem}_mask.png and the like",
    )
    void: tuple[int, ...] = Field((), description="values in masks that are of no object, beside 0; VOC's is 255")
    mapping: OptionPath | None = Field(
        None,
        description="a JSON file with each object's class; by default objects.json in root, if there is one; without,"
        " every object is of the one class",
    )
    unlabelled: Literal["error", "empty", "leave_out"] = Field(
        "error", description="images without a mask: a fault; without objects; or left out"
    )
    exif: Literal["apply", "ignore"] = Field(
        "ignore", description="masks are of the image as it is stored, or turned upright"
    )


def build_masks(options: MasksOptions, context: BuildContext) -> Dataset:
    """Find the pictures; all that is missing at once."""
    from detkit_formats.masks import open_masks

    return open_masks(options, context.messages, context.leave_out)


def write_masks(dataset: Dataset, folder: Path, transfer: ImageTransfer, messages: Messages) -> Written:
    from detkit_formats import writers

    return writers.write_masks(dataset, folder, transfer, messages)


MASKS = DatasetComponent(
    name="masks",
    options=MasksOptions,
    build=build_masks,
    summary="a folder of images and one of pictures of instance numbers, as Penn-Fudan's",
    may_provide=lambda _options: BOXES_AND_MASKS,
    write=write_masks,
)


@hookimpl
def detkit_datasets() -> list[DatasetComponent[Any]]:
    return [COCO, VOC, YOLO, CSV, MASKS]
