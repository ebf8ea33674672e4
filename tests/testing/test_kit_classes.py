"""The kit's pytest classes, as a plugin's author uses them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from detkit import ModelComponent
from detkit.plugins import load_file
from detkit.testing import CallbackConformance, ModelConformance

every_hook: Any = load_file(Path(__file__).parents[2] / "examples/plugin_in_one_file/every_hook.py")


class TestCentrePoint(ModelConformance):
    @pytest.fixture
    def component(self) -> ModelComponent[Any]:
        return every_hook.CENTRE_POINT  # type: ignore[no-any-return]

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"width": 8}


class TestStopAfter(CallbackConformance):
    @pytest.fixture
    def component(self) -> Any:
        return every_hook.STOP_AFTER
