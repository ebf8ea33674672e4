"""Experiments that are run for real, small: the plugin of the examples, 64-pixel images, child processes and all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import detkit
from detkit.engine.display import SilentDisplay
from detkit.record.reader import ExperimentRecord
from integration.experiments import squares_spec, write_spec


@pytest.fixture(scope="session", autouse=True)
def _one_thread_a_child() -> Iterator[None]:
    """Small models gain nothing from threads, and tests that run side by side lose by them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> ExperimentRecord:
    """One finished experiment that many tests look at. They must not change it."""
    folder = tmp_path_factory.mktemp("small")
    spec = squares_spec(folder / "runs", loggers={"journal": {}}, callbacks={"stop_after": {}})
    return detkit.run(write_spec(folder / "small.toml", spec), display=SilentDisplay())
