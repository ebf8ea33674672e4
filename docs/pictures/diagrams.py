"""The diagrams of "What precision, recall, AP and AR are": drawn from numbers, which a test holds to the evaluator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

#: The example of the page: detections of one class by falling score, and whether each is right; of so many objects.
SCORES = (0.95, 0.90, 0.85, 0.80, 0.70, 0.60, 0.50, 0.40)
RIGHT = (True, True, False, True, True, False, False, True)
OBJECTS = 6

INK, PALE, GREEN, RED, BLUE, GREY = "#1f2430", "#eef0f5", "#1a7f4b", "#c2372e", "#3949ab", "#6b7280"
FONT = 'font-family="system-ui, sans-serif"'


def curve() -> tuple[list[float], list[float]]:
    """Recall and precision after each detection."""
    found = 0
    recalls, precisions = [], []
    for number, right in enumerate(RIGHT, 1):
        found += right
        recalls.append(found / OBJECTS)
        precisions.append(found / number)
    return recalls, precisions


def envelope(recalls: Sequence[float], precisions: Sequence[float], recall: float) -> float:
    """The highest precision at this recall or a higher one; 0 where none is reached."""
    return max((p for r, p in zip(recalls, precisions, strict=True) if r >= recall), default=0.0)


def average_precision() -> float:
    """Of the example, as COCO does: the mean of the envelope at the recalls 0, 0.01, ..., 1."""
    recalls, precisions = curve()
    return sum(envelope(recalls, precisions, step / 100) for step in range(101)) / 101


def precision_recall() -> str:
    left, top, width, height = 70, 24, 560, 300

    def x(recall: float) -> float:
        return left + recall * width

    def y(precision: float) -> float:
        return top + (1 - precision) * height

    recalls, precisions = curve()
    parts = [frame(700, 390)]
    for tick in (0, 0.2, 0.4, 0.6, 0.8, 1.0):
        parts.append(line(x(tick), top, x(tick), top + height, PALE, 1))
        parts.append(line(left, y(tick), left + width, y(tick), PALE, 1))
        parts.append(text(x(tick), top + height + 20, f"{tick:g}", "middle", 13, GREY))
        parts.append(text(left - 10, y(tick) + 5, f"{tick:g}", "end", 13, GREY))
    steps = [(0.0, envelope(recalls, precisions, 0.0))]
    for recall in sorted(set(recalls)):
        level = envelope(recalls, precisions, recall)
        steps += [(steps[-1][0], level), (recall, level)]
    steps.append((steps[-1][0], 0.0))
    outline = " ".join(f"{x(r):.1f},{y(p):.1f}" for r, p in steps)
    area = f"{x(0):.1f},{y(0):.1f} {outline}"
    parts.append(f'<polygon points="{area}" fill="{BLUE}" fill-opacity="0.14"/>')
    parts.append(f'<polyline points="{outline}" fill="none" stroke="{BLUE}" stroke-width="2.5"/>')
    measured = " ".join(f"{x(r):.1f},{y(p):.1f}" for r, p in zip(recalls, precisions, strict=True))
    dashed = f'stroke="{GREY}" stroke-width="1.5" stroke-dasharray="5 4"'
    parts.append(f'<polyline points="{measured}" fill="none" {dashed}/>')
    for recall, precision, right in zip(recalls, precisions, RIGHT, strict=True):
        colour = GREEN if right else RED
        parts.append(f'<circle cx="{x(recall):.1f}" cy="{y(precision):.1f}" r="5" fill="{colour}"/>')
    parts.append(text(x(0.24), y(0.40), f"AP = {average_precision():.3f}", "middle", 22, BLUE, bold=True))
    parts.append(text(x(0.24), y(0.40) + 22, "the blue area", "middle", 14, BLUE))
    recall_axis = "recall: the share of the 6 objects that were found"
    parts.append(text(x(0.5), top + height + 46, recall_axis, "middle", 15, INK))
    parts.append(
        f'<text x="20" y="{top + height / 2}" {FONT} font-size="15" fill="{INK}" text-anchor="middle"'
        f' transform="rotate(-90 20 {top + height / 2})">precision so far</text>'
    )
    parts.append(text(x(1.0), y(0.95), "● right", "end", 14, GREEN))
    parts.append(text(x(1.0), y(0.88), "● false alarm", "end", 14, RED))
    return picture(700, 390, "Precision over recall of eight detections of six objects", parts)


def matching() -> str:
    parts = [frame(700, 250)]
    for number, (left, caption) in enumerate(((40, "found"), (250, "found, twice"), (560, "missed"))):
        parts.append(f'<ellipse cx="{left + 45}" cy="125" rx="45" ry="60" fill="#c8cdd9"/>')
        parts.append(text(left + 45, 222, f"object {number + 1}: {caption}", "middle", 14, INK))
    parts.append(box(34, 70, 92, 112, GREEN, "0.93", "true positive"))
    parts.append(box(247, 62, 98, 122, GREEN, "0.88", "true positive"))
    parts.append(box(274, 84, 92, 108, RED, "0.61", ""))
    parts.append(text(372, 146, "second box:", "start", 13, RED))
    parts.append(text(372, 162, "false positive", "start", 13, RED))
    parts.append(box(430, 40, 74, 60, RED, "0.55", "false positive"))
    parts.append(
        f'<rect x="556" y="62" width="98" height="126" fill="none" stroke="{INK}" stroke-width="1.5"'
        ' stroke-dasharray="6 5"/>'
    )
    parts.append(text(605, 52, "false negative", "middle", 13, INK))
    return picture(700, 250, "Three objects and four boxes", parts)


def box(x: float, y: float, width: float, height: float, colour: str, score: str, caption: str) -> str:
    place = f'x="{x}" y="{y}" width="{width}" height="{height}"'
    shown = [f'<rect {place} fill="none" stroke="{colour}" stroke-width="3"/>']
    shown.append(text(x + 5, y + 18, score, "start", 13, colour, bold=True))
    if caption:
        shown.append(text(x + width / 2, y - 9, caption, "middle", 13, colour))
    return "".join(shown)


def line(x0: float, y0: float, x1: float, y1: float, colour: str, width: float) -> str:
    return f'<path d="M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}" stroke="{colour}" stroke-width="{width}"/>'


def text(x: float, y: float, words: str, anchor: str, size: int, colour: str, *, bold: bool = False) -> str:
    weight = ' font-weight="700"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" {FONT} font-size="{size}"{weight} fill="{colour}"'
        f' text-anchor="{anchor}">{words}</text>'
    )


def frame(width: int, height: int) -> str:
    """White behind all: the site has dark pages too."""
    return f'<rect width="{width}" height="{height}" rx="8" fill="#ffffff"/>'


def picture(width: int, height: int, title: str, parts: Sequence[str]) -> str:
    inner = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        f' role="img"><title>{title}</title>\n{inner}\n</svg>\n'
    )


#: File name to what draws it.
DIAGRAMS: Mapping[str, Callable[[], str]] = {"matching": matching, "precision-recall": precision_recall}
