"""Whatever a component raises is told with the component, its plugin and its distribution."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from detkit.errors import ComponentError, DetkitError, OutOfMemory
from detkit.spec.model import Use

#: How torch says it where it has no class for it: on a CPU (Linux, Windows), on MPS, in cuBLAS.
OUT_OF_MEMORY_WORDS = ("can't allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")


@contextmanager
def attributed(use: Use, doing: str) -> Iterator[None]:
    """Turn what the block raises into an error that names the component.

    Args:
        use: the component at work. doing: what it does, as "computing the losses of step 7".

    Raises:
        OutOfMemory: memory ran out. ComponentError: anything else that is not a `DetkitError` already.
    """
    try:
        yield
    except DetkitError:
        raise
    except Exception as error:  # foreign code: its own error stays attached as the cause
        if is_out_of_memory(error):
            raise out_of_memory(doing) from error
        text = " ".join(str(error).split())
        raise ComponentError(f"{use.title} failed while {doing}: {type(error).__name__}: {text}") from error


def passed_through(error: BaseException, owner: object) -> bool:
    """Whether the error came up through a method of `owner`: tells a model's fault from that of who called it."""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_locals.get("self") is owner:
            return True
        trace = trace.tb_next
    return False


def is_out_of_memory(error: BaseException) -> bool:
    """torch has a class for GPUs; on the CPU it says so in a RuntimeError's text."""
    import torch

    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY_WORDS)


@contextmanager
def out_of_memory_named(doing: str) -> Iterator[None]:
    """Turn an out-of-memory error of the block into one that says what was being done and what to lower."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise out_of_memory(doing) from error
        raise


def out_of_memory(doing: str) -> OutOfMemory:
    return OutOfMemory(
        f"out of memory while {doing}; lower [train] batch_size (and raise accumulate), [input] min_size and max_size,"
        ' or set [compute] precision = "bf16" where the hardware has it'
    )
