"""Which model is best: reads records, asks nothing of the engine.

`detkit.compare(...)` is a function of the public API, and this package has its name: once any module of it is imported,
Python makes the name mean the package. So the package can be called, and does what the function does.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from detkit.compare.comparison import Comparison
    from detkit.compare.members import Named
    from detkit.components import Messages


def compare(
    *named: Named,
    by: str | None = None,
    best: str | None = None,
    where: str | None = None,
    sort: str | None = None,
    pareto: Sequence[tuple[str, str]] = (),
    by_run: bool = False,
    anyway: bool = False,
    pairs: bool = True,
    resamples: int | None = None,
    messages: Messages | None = None,
) -> Comparison:
    """Which model is best: all numbers side by side, who can be told apart, who wins by a rule; as `detkit compare`.

    Needs the records and the plugins of the metrics, neither data nor models.

    Args:
        named: experiments and runs: folders, EXPERIMENT_FOLDER/PREFIX of a run's name, beginnings of names, or records;
            by default the newest experiment in runs/.
        by: the quantity that orders the rows and is compared in pairs, as "ap50" or "coco/ap50"; by default that of
            `best`, or the primary one.
        best: the rule that names the winner, as "ap where latency_ms < 50 and memory_mb < 500".
        where: which models are shown, as "ap > 0.3".
        sort: another quantity that orders the rows, the best first.
        pareto: fronts beside those of accuracy and speed, and accuracy and memory, as ("latency_ms", "f1").
        by_run: every run is a row of its own, instead of every model with its seeds and folds.
        anyway: compare what can be compared where models were scored on other images, instead of refusing.
        pairs: whether to say which models can be told apart.
        resamples: draws of the images; by default as many as the spec says.
        messages: where the progress is shown; by default nowhere.

    Returns:
        The comparison. Print it for the sentence about the winner; in a notebook it shows itself.

    Raises:
        RecordError: there is no such experiment or run, a record is damaged, or models cannot be compared.
        UserError: an expression is wrong; says where. ComponentError: a metric failed.
    """
    from detkit.compare.comparison import comparison

    return comparison(
        named,
        by=by,
        best=best,
        where=where,
        sort=sort,
        pareto=pareto,
        by_run=by_run,
        anyway=anyway,
        pairs=pairs,
        resamples=resamples,
        messages=messages,
    )


class _CallablePackage(ModuleType):
    def __call__(self, *named: Any, **options: Any) -> Comparison:
        return compare(*named, **options)


sys.modules[__name__].__class__ = _CallablePackage
