"""Two processes never write one experiment: a lock that the operating system frees when its holder dies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from detkit.errors import RecordError
from detkit.record.files import cannot_write

#: A reader that looks whether a lock is held takes it for a moment; a writer must not fail for that.
WAIT_S = 2.0


@contextmanager
def exclusive(lock: Path, what: str) -> Iterator[None]:
    """Hold the lock for the block.

    Raises:
        RecordError: another process holds it.
    """
    from filelock import FileLock, Timeout

    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        held = FileLock(lock, timeout=WAIT_S)
        held.acquire()
    except Timeout:
        raise RecordError(
            f"{what} is in use by another detkit process; wait for it, or start afresh with --name NEW"
        ) from None
    except OSError as error:
        raise cannot_write(lock, error) from error
    try:
        yield
    finally:
        held.release()


def is_held(lock: Path) -> bool:
    """Whether a live process holds it; a lock file that nobody holds, or that cannot be opened, is not held."""
    from filelock import FileLock, Timeout

    if not lock.exists():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:
        return False
