"""Weight files: their names, where they are kept, how they get there, how they are read. No torch until one is."""

from __future__ import annotations

import hashlib
import os
import re
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detkit import Messages, WeightsError
from detkit_torchvision import Backbone, DetectorOptions, Family

if TYPE_CHECKING:
    from torch import Tensor

#: Names of TorchVision's files. A test compares them with its enums, which hold the addresses.
COCO_FILES: Mapping[Family, str] = {
    "faster_rcnn": "fasterrcnn_resnet50_fpn_coco-258fb6c6.pth",
    "mask_rcnn": "maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth",
    "retinanet": "retinanet_resnet50_fpn_coco-eeacb38b.pth",
    "fcos": "fcos_resnet50_fpn_coco-99b0c9b7.pth",
}
IMAGENET_FILES: Mapping[Backbone, str] = {
    "resnet50_fpn": "resnet50-0676ba61.pth",
    "resnet18_fpn": "resnet18-f37072fd.pth",
    "mobilenet_v2": "mobilenet_v2-b0353104.pth",
    "mobilenet_v2_fpn": "mobilenet_v2-b0353104.pth",
}
_CHUNK = 1 << 20
_TIMEOUT_S = 30.0


def folder() -> Path:
    """Where torch keeps downloaded weights, by its own rule: `$TORCH_HOME/hub/checkpoints`."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("TORCH_HOME", os.path.join(cache, "torch"))
    return Path(home).expanduser() / "hub" / "checkpoints"


def file_name(family: Family, options: DetectorOptions) -> str | None:
    """The name of TorchVision's file that the options ask for; None for "none" and for paths."""
    if options.weights == "coco":
        return COCO_FILES[family]
    if options.weights == "imagenet":
        return IMAGENET_FILES[options.backbone]
    return None


def find(family: Family, options: DetectorOptions, *, offline: bool) -> Path | None:
    """The weight file where it is on disk; None where none is needed or it has yet to be downloaded.

    Raises:
        WeightsError: a path is not a file, or TorchVision's file is missing and nothing may be fetched.
    """
    if isinstance(options.weights, Path):
        if not options.weights.is_file():
            raise WeightsError(f"weights: there is no file {options.weights}")
        return options.weights
    name = file_name(family, options)
    if name is None:
        return None
    file = folder() / name
    if file.is_file():
        return file
    if offline:
        raise _missing(options, name, "and nothing may be fetched (offline)")
    return None


def fetch(family: Family, options: DetectorOptions, *, offline: bool, messages: Messages) -> Path | None:
    """Like `find`, but what is missing is downloaded.

    Raises:
        WeightsError: as `find`; or the download fails or does not have the digest that its name states.
    """
    file = find(family, options, offline=offline)
    name = file_name(family, options)
    if file is not None or name is None:
        return file
    target = folder() / name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _download(address(family, options), target, messages)
    except (OSError, urllib.error.URLError, ValueError) as error:
        raise _missing(options, name, f"and downloading it failed: {error}") from error
    return target


def _missing(options: DetectorOptions, name: str, why: str) -> WeightsError:
    return WeightsError(
        f"the {options.weights} weights {name} are not in {folder()}, {why}."
        f" Get {name} (TorchVision publishes it under this name) where there is a network and put it into {folder()},"
        ' or choose weights = "none" or a path'
    )


def address(family: Family, options: DetectorOptions) -> str:
    """Where TorchVision's own enums say that the file is published."""
    from torchvision import models
    from torchvision.models import detection

    if options.weights == "coco":
        enums: Mapping[Family, Any] = {
            "faster_rcnn": detection.FasterRCNN_ResNet50_FPN_Weights,
            "mask_rcnn": detection.MaskRCNN_ResNet50_FPN_Weights,
            "retinanet": detection.RetinaNet_ResNet50_FPN_Weights,
            "fcos": detection.FCOS_ResNet50_FPN_Weights,
        }
        return str(enums[family].COCO_V1.url)
    backbones: Mapping[str, Any] = {
        "resnet50_fpn": models.ResNet50_Weights,
        "resnet18_fpn": models.ResNet18_Weights,
        "mobilenet_v2": models.MobileNet_V2_Weights,
        "mobilenet_v2_fpn": models.MobileNet_V2_Weights,
    }
    return str(backbones[options.backbone].IMAGENET1K_V1.url)


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
    """Whether a digest is the one that TorchVision's naming (`name-1234abcd.pth`) states; True where it states none."""
    stated = re.search(r"-([0-9a-f]{8,})\.pth$", file.name)
    return stated is None or digest.startswith(stated.group(1))


def read(file: Path, messages: Messages) -> tuple[dict[str, Tensor], str]:
    """Read a state dict; one that lies under "model" or "state_dict", as checkpoints have it, is found.

    Returns:
        Names to tensors on the CPU, and the file's sha256.

    Raises:
        WeightsError: the file is cut, not readable, holds code, or no state dict.
    """
    import torch

    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen types for a broken file; all mean the same here
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise WeightsError(
            f"weights: {file} cannot be read ({file.stat().st_size} bytes; {reason[0]});"
            " it is cut or not a file of tensors alone: get it again"
        ) from error
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
    return dict(content), digest
