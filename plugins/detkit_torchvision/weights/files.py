"""Weight files: their names, where they are kept, how they get there, how they are read. No torch until one is."""

from __future__ import annotations

import hashlib
import os
import re
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detkit import Messages, WeightsError
from detkit_torchvision.options import Backbone, DetectorOptions, Family

if TYPE_CHECKING:
    from torch import Tensor

#: TorchVision's files and the enums that hold their addresses, which a test compares. Fast R-CNN takes Faster R-CNN's.
COCO_FILES: Mapping[tuple[Family, Backbone], tuple[str, str]] = {
    ("faster_rcnn", "resnet50_fpn"): ("fasterrcnn_resnet50_fpn_coco-258fb6c6.pth", "FasterRCNN_ResNet50_FPN_Weights"),
    ("faster_rcnn", "resnet50_fpn_v2"): (
        "fasterrcnn_resnet50_fpn_v2_coco-dd69338a.pth",
        "FasterRCNN_ResNet50_FPN_V2_Weights",
    ),
    ("faster_rcnn", "mobilenet_v3_large_fpn"): (
        "fasterrcnn_mobilenet_v3_large_fpn-fb6a3cc7.pth",
        "FasterRCNN_MobileNet_V3_Large_FPN_Weights",
    ),
    ("mask_rcnn", "resnet50_fpn"): ("maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth", "MaskRCNN_ResNet50_FPN_Weights"),
    ("mask_rcnn", "resnet50_fpn_v2"): (
        "maskrcnn_resnet50_fpn_v2_coco-73cbd019.pth",
        "MaskRCNN_ResNet50_FPN_V2_Weights",
    ),
    ("retinanet", "resnet50_fpn"): ("retinanet_resnet50_fpn_coco-eeacb38b.pth", "RetinaNet_ResNet50_FPN_Weights"),
    ("retinanet", "resnet50_fpn_v2"): (
        "retinanet_resnet50_fpn_v2_coco-5905b1c5.pth",
        "RetinaNet_ResNet50_FPN_V2_Weights",
    ),
    ("fcos", "resnet50_fpn"): ("fcos_resnet50_fpn_coco-99b0c9b7.pth", "FCOS_ResNet50_FPN_Weights"),
}
_RESNET50 = ("resnet50-0676ba61.pth", "ResNet50_Weights")
_MOBILENET_V2 = ("mobilenet_v2-b0353104.pth", "MobileNet_V2_Weights")
IMAGENET_FILES: Mapping[Backbone, tuple[str, str]] = {
    "resnet50_fpn": _RESNET50,
    "resnet50_fpn_v2": _RESNET50,
    "resnet18_fpn": ("resnet18-f37072fd.pth", "ResNet18_Weights"),
    "mobilenet_v2": _MOBILENET_V2,
    "mobilenet_v2_fpn": _MOBILENET_V2,
    "mobilenet_v3_large_fpn": ("mobilenet_v3_large-8738ca79.pth", "MobileNet_V3_Large_Weights"),
}
_CHUNK = 1 << 20
_TIMEOUT_S = 30.0


def folder() -> Path:
    """Where torch keeps downloaded weights, by its own rule: `$TORCH_HOME/hub/checkpoints`."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("TORCH_HOME", os.path.join(cache, "torch"))
    return Path(home).expanduser() / "hub" / "checkpoints"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file that options ask for.

    Attributes:
        file: where it is, or where it belongs.
        source: "coco", "imagenet"; "file" for one of the user's own, which is never fetched.
        enum: of TorchVision, which knows the address.
    """

    file: Path
    source: str
    enum: str = ""


def wanted(family: Family, options: DetectorOptions) -> Wanted | None:
    """The file that the options ask for; None for "none"."""
    if isinstance(options.weights, Path):
        return Wanted(options.weights, "file")
    if options.weights == "coco":
        return coco(family, options.backbone)
    if options.weights == "imagenet":
        name, enum = IMAGENET_FILES[options.backbone]
        return Wanted(folder() / name, "imagenet", enum)
    return None


def coco(family: Family, backbone: Backbone) -> Wanted:
    """TorchVision's detector of that family, or of the one whose parts it is made of."""
    name, enum = COCO_FILES[("faster_rcnn" if family == "fast_rcnn" else family, backbone)]
    return Wanted(folder() / name, "coco", enum)


def find(asked: Wanted | None, *, offline: bool) -> Path | None:
    """The file where it is on disk; None where none is needed or it has yet to be downloaded.

    Raises:
        WeightsError: a path is not a file, or TorchVision's file is missing and nothing may be fetched.
    """
    if asked is None:
        return None
    if asked.file.is_file():
        return asked.file
    if asked.source == "file":
        raise WeightsError(f"weights: there is no file {asked.file}")
    if offline:
        raise _missing(asked, "and nothing may be fetched (offline)")
    return None


def fetch(asked: Wanted | None, *, offline: bool, messages: Messages) -> Path | None:
    """Like `find`, but what is missing is downloaded.

    Raises:
        WeightsError: as `find`; or the download fails or does not have the digest that its name states.
    """
    file = find(asked, offline=offline)
    if file is not None or asked is None:
        return file
    try:
        asked.file.parent.mkdir(parents=True, exist_ok=True)
        _download(address(asked), asked.file, messages)
    except (OSError, urllib.error.URLError, ValueError) as error:
        raise _missing(asked, f"and downloading it failed: {error}") from error
    return asked.file


def _missing(asked: Wanted, why: str) -> WeightsError:
    name, place = asked.file.name, asked.file.parent
    return WeightsError(
        f"the {asked.source} weights {name} are not in {place}, {why}."
        f" Get {name} (TorchVision publishes it under this name) where there is a network and put it into {place},"
        ' or choose weights = "none" or a path'
    )


def address(asked: Wanted) -> str:
    """Where TorchVision's own enums say that the file is published."""
    from torchvision import models
    from torchvision.models import detection

    if asked.source == "coco":
        return str(getattr(detection, asked.enum).COCO_V1.url)
    return str(getattr(models, asked.enum).IMAGENET1K_V1.url)


def _download(url: str, target: Path, messages: Messages) -> None:
    """Download beside the target and rename: other processes never see half a file."""
    partial = target.with_name(f"{target.name}.{uuid.uuid4().hex}.partial")
    digest = hashlib.sha256()
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response, partial.open("wb") as out:
            length = response.headers.get("Content-Length")
            with messages.progress(f"downloading {target.name}", int(length) if length else None, "B") as bar:
                while chunk := response.read(_CHUNK):
                    out.write(chunk)
                    digest.update(chunk)
                    bar.advance(len(chunk))
        if not _named_after(target, digest.hexdigest()):
            raise ValueError(f"what came has sha256 {digest.hexdigest()}, which is not the one in the file's name")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _named_after(file: Path, digest: str) -> bool:
    """Whether a digest is the one that TorchVision's naming states; True where it states none."""
    return digest.startswith(_stated_digest(file.name))


def _stated_digest(name: str) -> str:
    """The beginning of a sha256 in a name such as `name-1234abcd.pth`; empty where there is none."""
    stated = re.search(r"-([0-9a-f]{8,})\.pth$", name)
    return stated.group(1) if stated else ""


@dataclass(frozen=True, slots=True)
class Weights:
    """What a file holds.

    Attributes:
        tensors: names to tensors, on the CPU. digest: the file's sha256.
        origin: of a checkpoint of detkit, what its model said of itself; else empty.
        class_names: of a checkpoint of detkit; else empty.
        coco: whether it is a file that TorchVision trained on COCO, whatever it is called.
    """

    file: Path
    tensors: Mapping[str, Tensor]
    digest: str
    origin: Mapping[str, Any] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    coco: bool = False


def read(file: Path, messages: Messages) -> Weights:
    """Read a state dict; one that lies under "model" or "state_dict", as checkpoints have it, is found.

    Of a checkpoint that keeps a moving average beside the trained weights, the average is taken.

    Raises:
        WeightsError: the file is cut, not readable, holds code, or no state dict.
    """
    import torch

    content = _read_safetensors(file) if file.suffix == ".safetensors" else _read_pickle(file)
    outer = content if isinstance(content, dict) else {}
    if isinstance(outer.get("ema"), dict):
        content = outer["ema"]
    for key in ("model", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content or not all(isinstance(v, torch.Tensor) for v in content.values()):
        raise WeightsError(f"weights: {file} holds no state dict (names to tensors)")
    digest = sha256(file)
    if not _named_after(file, digest):
        messages.warning(
            f"{file.name} has sha256 {digest[:8]}..., not the one in its name: it is not the published file"
        )
    origin = outer.get("origin") if isinstance(outer.get("origin"), dict) else {}
    return Weights(
        file,
        dict(content),
        digest,
        origin=dict(origin.get("weights", {})) if origin else {},
        class_names=tuple(outer.get("class_names", ())),
        coco=any(digest.startswith(_stated_digest(name)) for name, _ in COCO_FILES.values()),
    )


def _read_pickle(file: Path) -> Any:
    import torch

    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen types for a broken file; all mean the same here
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise _broken(file, reason[0]) from error


def _read_safetensors(file: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise _broken(file, str(error)) from error


def _broken(file: Path, reason: str) -> WeightsError:
    return WeightsError(
        f"weights: {file} cannot be read ({file.stat().st_size} bytes; {reason});"
        " it is cut or not a file of tensors alone: get it again"
    )
