"""What models can be compared by: the numbers of metrics, and what a model costs, each under a name with its unit."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: Numbers whose differences people state in hundredths, as "3.1 AP", by the last part of their name.
SHARES = re.compile(r"(mask_)?(m?ap|m?ar|map|f1|best_f1|chosen_f1|precision|recall)(_?\d+|_\w+)?$")
#: Of metrics, beside the primary number, those that people ask for first, by the last part of their name.
WANTED = ("ap", "map", "ap50", "map_50", "f1", "ar100", "mar_100", "mask_ap", "mask_map", "ap75", "map_75")

Extract = Callable[[Mapping[str, Any]], "float | None"]


@dataclass(frozen=True, slots=True)
class Quantity:
    """One number that a model has.

    Attributes:
        name: as `latency_ms`, or `coco/ap`. title: above its column. unit: as shown behind the number.
        higher_is_better: None where neither is. about: what it is, in a few words.
        digits: significant ones that are worth showing; None: three behind the point.
    """

    name: str
    title: str
    unit: str = ""
    higher_is_better: bool | None = None
    about: str = ""
    digits: int | None = 3

    @property
    def is_cost(self) -> bool:
        """Whether it is what a model costs, and none of a metric."""
        return "/" not in self.name

    @property
    def is_share(self) -> bool:
        """Whether it is a number of a metric that lies within 0 and 1, by its name."""
        return not self.is_cost and SHARES.match(self.name.rsplit("/", 1)[-1].partition("[")[0]) is not None

    @property
    def label(self) -> str:
        """As people write it: "AP", "AP50", "mask AP", "F1", "latency"; others by the last part of their name."""
        if self.is_cost:
            return self.title
        last = self.name.rsplit("/", 1)[-1]
        if not SHARES.match(last.partition("[")[0]):
            return last
        return " ".join(word if word in ("mask", "best", "chosen") else _upper(word) for word in last.split("_"))

    def amount(self, value: float) -> str:
        """A number of it with its name or unit, as "31.3 AP", "11.2 ms" or "0.42 loss"."""
        if self.is_cost:
            return f"{significant(value)} {self.unit}" if self.unit else f"{self.title} {significant(value)}"
        if self.is_share:
            return f"{100 * value:.1f} {self.label}"
        return f"{significant(value)} {self.label}"

    def bare(self, value: float) -> str:
        """The same number alone, as "31.3"."""
        return significant(value) if self.is_cost else self.amount(value).split(" ", 1)[0]

    def shown(self, value: float) -> str:
        """As a cell of a table: shares as 0.313, costs with three significant digits."""
        return significant(value) if self.is_cost else f"{value:.3f}"


def _upper(word: str) -> str:
    return "mAP" if word == "map" else word.upper() if not word[:1].isdigit() else word


def significant(value: float) -> str:
    """Three significant digits, and never an exponent for a large number: 0.0123, 8.46, 13.2, 1235."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _of(*keys: str, unit: float = 1.0) -> Extract:
    """A number of a summary, by the keys that lead to it; None where it is not there."""

    def extract(summary: Mapping[str, Any]) -> float | None:
        found: Any = summary
        for key in keys:
            found = found.get(key) if isinstance(found, Mapping) else None
        return None if found is None else float(found) / unit

    return extract


def _per_second(summary: Mapping[str, Any]) -> float | None:
    latency = _of("costs", "measured", "latency_ms_median")(summary)
    return 1000 / latency if latency else None


#: What a model costs, and where a summary has it. Bytes as MB are powers of ten.
COSTS: Mapping[str, tuple[Quantity, Extract]] = {
    quantity.name: (quantity, extract)
    for quantity, extract in (
        (
            Quantity("latency_ms", "latency", "ms", False, "inference of one image, the median"),
            _of("costs", "measured", "latency_ms_median"),
        ),
        (
            Quantity("latency_p95_ms", "latency 95 %", "ms", False, "inference of one image, the 95th percentile"),
            _of("costs", "measured", "latency_ms_p95"),
        ),
        (
            Quantity("images_per_s", "images/s", "images/s", True, "inference one image at a time: 1000 / latency_ms"),
            _per_second,
        ),
        (
            Quantity("memory_mb", "memory", "MB", False, "the most that tensors take in one inference"),
            _of("costs", "measured", "inference_memory_bytes", unit=1e6),
        ),
        (
            Quantity("train_memory_mb", "train memory", "MB", False, "peak memory of the training"),
            _of("measured", "peak_memory_bytes", unit=1e6),
        ),
        (Quantity("parameters_m", "parameters", "M", False, "millions of parameters"), _of("parameters", unit=1e6)),
        (Quantity("gflops", "GFLOPs", "GFLOPs", False, "of one forward pass"), _of("costs", "flops", unit=1e9)),
        (
            Quantity("file_mb", "file", "MB", False, "the file that the weights make"),
            _of("costs", "weights_bytes", unit=1e6),
        ),
        (
            Quantity("train_min", "training", "min", False, "training time, without evaluations"),
            _of("measured", "train_s", unit=60),
        ),
        (
            Quantity("train_images_per_s", "train images/s", "images/s", True, "images trained in a second"),
            _of("measured", "images_per_s"),
        ),
        (Quantity("epoch", "epoch", "", None, "the selected epoch"), _of("selected", "epoch")),
    )
}

#: Other units of the same costs: name to the cost, and how many of the unit make one of it.
OTHER_UNITS: Mapping[str, tuple[str, float]] = {
    "latency_s": ("latency_ms", 1e-3),
    "latency_p95_s": ("latency_p95_ms", 1e-3),
    "memory_gb": ("memory_mb", 1e-3),
    "train_memory_gb": ("train_memory_mb", 1e-3),
    "parameters": ("parameters_m", 1e6),
    "file_gb": ("file_mb", 1e-3),
    "file_kb": ("file_mb", 1e3),
    "train_s": ("train_min", 60.0),
    "train_h": ("train_min", 1 / 60),
}

#: What is said of a model in words, and can be compared with == and !=.
TEXTS: Mapping[str, str] = {
    "name": "the model as the table names it",
    "model": "its key in the spec",
    "experiment": "the name of its experiment",
    "weights": "where its weights came from",
    "device": "on what its latency was measured",
    "precision": "in which it computes",
}


def costs_of(summary: Mapping[str, Any]) -> dict[str, float | None]:
    """Every cost of a finished run's summary."""
    return {name: extract(summary) for name, (_, extract) in COSTS.items()}


def of_metric(name: str, higher_is_better: bool | None) -> Quantity:
    """A number of a metric, as `coco/ap`."""
    quantity = Quantity(name, name, "", higher_is_better)
    return Quantity(name, quantity.label, "", higher_is_better, f"of the metric {name.partition('/')[0]}", None)


def by_wanted(names: Iterable[str], primary: str) -> list[str]:
    """Numbers of metrics in the order in which people ask for them; the primary one first."""

    def rank(name: str) -> tuple[bool, bool, int]:
        last = name.rsplit("/", 1)[-1]
        other_metric = name.partition("/")[0] != primary.partition("/")[0]
        return (name != primary, other_metric, WANTED.index(last) if last in WANTED else len(WANTED))

    return sorted(names, key=rank)


def full_name(name: str, known: Sequence[str], primary: str) -> str | None:
    """The number that a short or full name means: `ap` is that of the primary metric; None where it means none."""
    bare, bracket, of_class = name.partition("[")
    if bare in known:
        return name
    metric = primary.partition("/")[0]
    fitting = [f"{metric}/{bare}"] + [one for one in known if one.rsplit("/", 1)[-1] == bare]
    found = next((one for one in fitting if one in known), None)
    return None if found is None else found + bracket + of_class
