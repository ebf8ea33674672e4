"""Checkpoints: written whole or not at all, read without executing anything, enough for an exact resume."""

from __future__ import annotations

import pickle
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from detkit.errors import ComponentError, WeightsError
from detkit.record.files import write_atomically

#: Of checkpoints and incidents. Older ones lack keys that a run could not go on without.
CHECKPOINT_VERSION = 2


def save_checkpoint(file: Path, content: Mapping[str, Any]) -> None:
    """Write tensors and plain values; a crash leaves the old file.

    Raises:
        RecordError: the disk is full or the folder cannot be written.
        ComponentError: a value could be written but never read again, since reading executes nothing; names its place.
    """
    content = {"format_version": CHECKPOINT_VERSION, **content}
    foreign = _foreign(content, "")
    if foreign:
        raise ComponentError(f"the checkpoint's {foreign}: a state holds tensors and plain values only")
    write_atomically(file, lambda stream: torch.save(content, stream))


def _foreign(value: Any, place: str) -> str:
    """The first value that `weights_only` would refuse to read, with its place; empty where there is none."""
    if isinstance(value, Mapping):
        return next(filter(None, (_foreign(child, f"{place}/{key}") for key, child in value.items())), "")
    if isinstance(value, (list, tuple)):
        return next(filter(None, (_foreign(child, f"{place}/{number}") for number, child in enumerate(value))), "")
    # By the very type: numpy's float64 is a float to isinstance, and refused by the reader.
    if isinstance(value, torch.Tensor) or type(value) in (str, bytes, int, float, bool, type(None)):
        return ""
    return f"{place} is a {type(value).__module__}.{type(value).__name__}"


def load_checkpoint(file: Path, *, run_id: str | None = None, lazily: bool = False) -> dict[str, Any]:
    """Read a checkpoint onto the CPU, with `weights_only=True`.

    Args:
        run_id: the run that it must be of.
        lazily: leave tensors on the disk until they are looked at. Not for a file that is written again meanwhile.

    Raises:
        WeightsError: the file is missing, cut, of another program, another format, or another run.
    """
    try:
        content = torch.load(file, map_location="cpu", weights_only=True, mmap=lazily)
    except FileNotFoundError:
        raise WeightsError(f"there is no checkpoint {file}") from None
    except PermissionError as error:
        raise WeightsError(f"cannot read {file}: {error.strerror}") from error
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        reason = str(error).split("\n", 1)[0]
        raise WeightsError(f"{file} is cut or no checkpoint of detkit ({type(error).__name__}: {reason})") from error
    if not isinstance(content, dict) or "format_version" not in content:
        raise WeightsError(f"{file} is no checkpoint of detkit")
    version = content["format_version"]
    if version != CHECKPOINT_VERSION:
        do = "update detkit" if version > CHECKPOINT_VERSION else "an older detkit wrote it: train anew with --fresh"
        raise WeightsError(f"{file} has format version {version}; this detkit reads {CHECKPOINT_VERSION}; {do}")
    if run_id is not None and content["run_id"] != run_id:
        raise WeightsError(f"{file} is of the run {content['run_id']!r}, not of {run_id!r}")
    return content


def load_weights(model: torch.nn.Module, weights: Mapping[str, Any], file: Path) -> None:
    """Put a checkpoint's weights into a model that must have the very same parameters.

    Raises:
        WeightsError: they are of another model; names some of the keys and shapes that differ.
    """
    own = model.state_dict()
    missing, extra = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    shapes = [key for key in own.keys() & weights.keys() if own[key].shape != weights[key].shape]
    if missing or extra or shapes:
        examples = [*(f"lacks {key}" for key in missing[:2]), *(f"has {key}" for key in extra[:2])]
        examples += [f"{key} is {tuple(weights[key].shape)}, not {tuple(own[key].shape)}" for key in sorted(shapes)[:2]]
        raise WeightsError(
            f"{file} is of another model: {len(missing)} keys missing, {len(extra)} too many, {len(shapes)} of another"
            f" shape ({'; '.join(examples)})"
        )
    model.load_state_dict(weights)


def capture_generators() -> dict[str, Any]:
    """The global generators of torch, the GPUs, numpy and random, in types that `weights_only` accepts."""
    numpy_state: Any = np.random.get_state(legacy=True)
    name, keys, position, has_gauss, gauss = numpy_state
    version, internal, gauss_next = random.getstate()
    state: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "numpy": (str(name), torch.from_numpy(keys.astype(np.int64)), int(position), int(has_gauss), float(gauss)),
        "random": (version, torch.tensor(internal, dtype=torch.int64), gauss_next),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def restore_generators(state: Mapping[str, Any]) -> None:
    """The inverse of `capture_generators`."""
    torch.set_rng_state(state["torch"])
    name, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    version, internal, gauss_next = state["random"]
    random.setstate((version, tuple(internal.tolist()), gauss_next))
    if "cuda" in state and torch.cuda.device_count() == len(state["cuda"]):
        torch.cuda.set_rng_state_all(state["cuda"])
