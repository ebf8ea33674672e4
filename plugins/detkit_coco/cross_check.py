"""The numbers of one engine held against pycocotools'."""

from __future__ import annotations

from collections.abc import Mapping

from detkit_coco import Engine
from detkit_coco.columns import Columns
from detkit_coco.evaluators import Accumulated, evaluate
from detkit_coco.settings import Settings
from detkit_coco.summary import mean_of_known, summarise

TOLERANCE = 1e-12


def cross_check(engine: Engine, result: Accumulated, columns: Columns, settings: Settings) -> None:
    """Compute everything once more, by pycocotools, and compare the numbers and the AP and AR of each class.

    Raises:
        ValueError: two differ by more than 1e-12, or one has a value where the other has none; names the first three.
    """
    other = evaluate("pycocotools", columns, settings)
    found, expected = _numbers(result, settings), _numbers(other, settings)
    wrong = [name for name in found if _differ(found[name], expected[name])]
    if wrong:
        shown = "; ".join(f"{name} is {found[name]} by {engine}, {expected[name]} by pycocotools" for name in wrong[:3])
        more = f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        kind = "boxes" if columns.region == "bbox" else "masks"
        raise ValueError(
            f"cross_check, {kind}: {shown}{more}; please report it, and set engine = 'pycocotools' until then"
        )


def _numbers(result: Accumulated, settings: Settings) -> Mapping[str, float | None]:
    numbers = dict(summarise(result, settings))
    for k in range(result.precision.shape[2]):
        numbers[f"ap of class {k + 1}"] = mean_of_known(result.precision[:, :, k, 0, -1])
        numbers[f"ar of class {k + 1}"] = mean_of_known(result.recall[:, k, 0, -1])
    return numbers


def _differ(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is not other
    return abs(one - other) > TOLERANCE
