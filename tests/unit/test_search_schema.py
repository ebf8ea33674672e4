"""`[search]` in the JSON Schema of specs: what an editor takes and what it marks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tomli

from detkit.plugins import collect
from detkit.spec.json_schema import spec_schema

BASE = '[dataset]\nuse = "synthetic"\n[models.fcos]\n[metrics.coco]\n'
EXAMPLE = Path(__file__).parents[2] / "examples" / "search.toml"


def complaints(search: str, *, partial: bool = False) -> list[str]:
    jsonschema: Any = pytest.importorskip("jsonschema")
    schema = spec_schema(collect(), partial=partial)
    jsonschema.Draft202012Validator.check_schema(schema)
    found = jsonschema.Draft202012Validator(schema).iter_errors(tomli.loads(f"{BASE}[search]\n{search}"))
    return [error.message for error in found]


@pytest.mark.parametrize(
    "search",
    [
        'use = "grid"\npoints = 4\n[search.space]\n"train.lr" = [0.1, 0.2]\n',
        'use = "random"\ntrials = 3\nobjective = ["coco/ap", "flops"]\n[search.space]\ntrain.ema = [true]\n',
        'use = "random"\ntrials = 3\n[search.space.models.fcos]\ntrain.lr = { low = 0.1, high = 1, log = true }\n',
        'use = "comet_optimizer"\nalgorithm = "bayes"\ntrials = 3\nprune = "median"\n[search.space]\n"a.b" = ["x"]\n',
    ],
)
def test_what_an_editor_takes(search: str) -> None:
    assert complaints(search) == []


@pytest.mark.parametrize(
    "search",
    [
        'use = "grid"\n',
        'use = "nothing"\n[search.space]\n"train.lr" = [0.1]\n',
        'use = "grid"\ntrails = 4\n[search.space]\n"train.lr" = [0.1]\n',
        'use = "grid"\ntrials = 0\n[search.space]\n"train.lr" = [0.1]\n',
        'use = "random"\npoints = 4\n[search.space]\n"train.lr" = [0.1]\n',
        'use = "grid"\nprune = "on"\n[search.space]\n"train.lr" = [0.1]\n',
        'use = "grid"\n[search.space]\n"train.lr" = []\n',
        'use = "grid"\n[search.space]\n"train.lr" = 0.1\n',
        'use = "grid"\n[search.space]\n"train.lr" = { low = 0.1, height = 1 }\n',
    ],
)
def test_what_an_editor_marks(search: str) -> None:
    assert complaints(search)


def test_the_example_is_a_partial_spec() -> None:
    pytest.importorskip("optuna")
    text = EXAMPLE.read_text(encoding="utf-8")
    assert complaints(text[text.index("[search]\n") + len("[search]\n") :], partial=True) == []
