"""Runs something with Comet's client in a process of its own: it keeps global state."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from plugins.comet_stub import Stub

KEY = "K3yK3yK3yK3yK3yK3yK3yK3yK"

needs_client = pytest.mark.skipif(not find_spec("comet_ml"), reason="comet_ml is not installed")


def online(stub: Stub) -> dict[str, str]:
    return {"COMET_API_KEY": KEY, "COMET_URL_OVERRIDE": stub.url}


def environment(folder: Path, variables: dict[str, str]) -> dict[str, str]:
    """The tests' own, without any configuration of Comet's: neither variables nor files in the home folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COMET_")}
    return kept | {"HOME": str(folder), "OMP_NUM_THREADS": "1"} | variables


@dataclass(frozen=True)
class Ended:
    """A process that ended: its exit code, what it printed, how long it took."""

    code: int
    out: str
    err: str
    seconds: float


def run(
    arguments: list[str], folder: Path, variables: dict[str, str], *, during: Callable[[], None] | None = None
) -> Ended:
    """Run Python with the arguments in the folder.

    Args:
        during: called when the process has made the file `waiting`; then it is given a line to go on.
    """
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment(folder, variables),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    if during is not None:
        while process.poll() is None and not (folder / "waiting").exists():
            time.sleep(0.05)
        during()
    out, err = process.communicate("\n", timeout=60)
    assert KEY not in out + err, "the key was shown"
    return Ended(process.returncode, out, err, time.monotonic() - began)
