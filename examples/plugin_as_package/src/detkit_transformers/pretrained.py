"""Weights from the Hugging Face hub or from a folder, or the reason why there are none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detkit import BuildContext, UserError, WeightsError

from detkit_transformers.options import Family, SetOptions

if TYPE_CHECKING:
    from torch import Tensor

#: Where the models of each family were published.
PUBLISHED = {
    "detr": 'facebook/detr-resnet-50 (with revision = "no_timm")',
    "rt_detr": "PekingU/rtdetr_r50vd, PekingU/rtdetr_r18vd",
    "rt_detr_v2": "PekingU/rtdetr_v2_r50vd, PekingU/rtdetr_v2_r18vd",
}


@dataclass(frozen=True, slots=True)
class Pretrained:
    """A model as it was published.

    Attributes:
        kind: "hub" or "folder". name: as the spec has it. revision: the commit of a model of the hub; else empty.
        config: its configuration, in plain values. class_names: in the order of its labels.
        tensors: its state dict.
    """

    kind: str
    name: str
    revision: str
    config: Mapping[str, Any]
    class_names: tuple[str, ...]
    tensors: Mapping[str, Tensor]


def refuse_missing_libraries(family: str) -> None:
    """Raises: UserError: a library is not installed."""
    missing = [name for name in ("transformers", "scipy") if find_spec(name) is None]
    if missing:
        raise UserError(f"{family} needs {' and '.join(missing)}: pip install {' '.join(missing)}")


def check(family: Family, options: SetOptions, context: BuildContext) -> None:
    """See `detkit_transformers.check_detector`."""
    refuse_missing_libraries(family)
    if options.pretrained == "none":
        return
    folder = _folder(options, context)
    if folder is None and not context.offline:
        from huggingface_hub import try_to_load_from_cache

        # What is not here yet is fetched when the run begins.
        if not isinstance(try_to_load_from_cache(options.pretrained, "config.json", revision=options.revision), str):
            return
    _config(family, options, context, folder, local=True)


def load(family: Family, options: SetOptions, context: BuildContext) -> Pretrained:
    """The model that `pretrained` names.

    Raises:
        WeightsError: it cannot be had, or is of another family.
    """
    from transformers import AutoModelForObjectDetection

    folder = _folder(options, context)
    config = _config(family, options, context, folder, local=context.offline)
    with _quiet(), _named(family, options, context):
        model = AutoModelForObjectDetection.from_pretrained(
            str(folder or options.pretrained),
            config=config,
            local_files_only=context.offline or folder is not None,
            **({} if folder else {"revision": options.revision}),
        )
    names = tuple(config.id2label[number] for number in sorted(config.id2label))
    kind, commit = ("folder", "") if folder else ("hub", getattr(config, "_commit_hash", None) or options.revision)
    return Pretrained(kind, options.pretrained, commit, config.to_dict(), names, model.state_dict())


def _folder(options: SetOptions, context: BuildContext) -> Path | None:
    """The folder that `pretrained` names; a name of the hub has one slash too, so that the disk decides."""
    folder = context.spec_folder / Path(options.pretrained).expanduser()
    if folder.is_dir():
        return folder
    if options.pretrained.startswith((".", "/", "~")) or options.pretrained.count("/") > 1:
        raise WeightsError(f"pretrained: there is no folder {folder}")
    return None


def _config(family: Family, options: SetOptions, context: BuildContext, folder: Path | None, *, local: bool) -> Any:
    from transformers import AutoConfig

    with _quiet(), _named(family, options, context):
        config = AutoConfig.from_pretrained(
            str(folder or options.pretrained),
            local_files_only=local or folder is not None,
            **({} if folder else {"revision": options.revision}),
        )
    if config.model_type != family:
        raise WeightsError(
            f"pretrained = {options.pretrained!r} is a {config.model_type}, not a {family};"
            f" there are: {PUBLISHED[family]}"
        )
    backbone = getattr(config, "backbone_config", None)
    if getattr(backbone, "model_type", "") == "timm_backbone" and find_spec("timm") is None:
        raise WeightsError(
            f"pretrained = {options.pretrained!r} is built on a network of timm, which is not installed;"
            ' revision = "no_timm" has the same weights without it'
        )
    return config


@contextmanager
def _named(family: Family, options: SetOptions, context: BuildContext) -> Iterator[None]:
    """Say what to do about what transformers raises, whose types do not tell an absent file from an absent network."""
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        where = "and nothing may be fetched (offline)" if context.offline else "and it could not be fetched"
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise WeightsError(
            f"pretrained = {options.pretrained!r} (revision {options.revision!r}) is not on this machine, {where}:"
            f" {reason}. Fetch it once where there is a network (`hf download {options.pretrained} --revision"
            f" {options.revision}`), or name a folder that save_pretrained wrote; the models of {family} are"
            f" {PUBLISHED[family]}"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """No bars and remarks of transformers between detkit's own."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
