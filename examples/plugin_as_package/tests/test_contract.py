"""The contract, by detkit's own kit: each rule is a test."""

from __future__ import annotations

from typing import Any

import pytest
from detkit.testing import ModelConformance, TrainingStepConformance

import detkit_transformers

TINY = {"size": "tiny"}


class TestDetr(ModelConformance):
    @pytest.fixture
    def component(self) -> Any:
        return detkit_transformers.DETR

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return TINY


class TestRTDetr(ModelConformance):
    @pytest.fixture
    def component(self) -> Any:
        return detkit_transformers.RT_DETR

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return TINY


class TestRTDetrSquare(TestRTDetr):
    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {**TINY, "resize": "square", "denoising": 0}


class TestRTDetrV2(ModelConformance):
    @pytest.fixture
    def component(self) -> Any:
        return detkit_transformers.RT_DETR_V2

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return TINY


class TestSetLosses(TrainingStepConformance):
    """Beside a model of another convention, as in a comparison."""

    @pytest.fixture
    def component(self) -> Any:
        return detkit_transformers.SET_LOSSES


class TestSetLossesOfRTDetr(TestSetLosses):
    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"auxiliary": 0.5, "denoising": 0.0}

    @pytest.fixture
    def model(self) -> Any:
        return detkit_transformers.RT_DETR
