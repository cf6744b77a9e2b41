"""The drawings of an assessment, chosen by the curves that it holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.report import numbers
from headrace.report.curves import Band, calibration, confusion, histogram_bars, measure_bars, unit_curve
from headrace.report.marks import Drawing, Frame, Mark, Path, Word, segment, x_axis, y_axis
from headrace.report.scales import ticks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


RESIDUAL = "prediction \N{MINUS SIGN} truth"


@dataclass(frozen=True)
class Figure:
    """A drawing with the words around it."""

    title: str
    note: str
    drawing: Drawing


def figures(metrics: Mapping[str, Any], classes: Sequence[str]) -> list[Figure]:
    """Draw what an assessment holds.

    Parameters
    ----------
    metrics : mapping
        An ``Assessment`` as a dict: the keys of ``curves`` decide what is drawn.
    classes : sequence of str
        Labels of the classes, in the order of the confusion matrix; numbers where there are none.
    """
    curves: Mapping[str, Any] = metrics.get("curves") or {}
    values: Mapping[str, Any] = metrics.get("metrics") or {}
    found: list[Figure] = []
    matrix = curves.get("confusion")
    labels = list(classes)
    if matrix and len(labels) != len(matrix):
        labels = [str(index) for index in range(len(matrix))]
    if curves.get("roc"):
        found.append(_roc(curves["roc"], values))
    if curves.get("pr"):
        found.append(_precision_recall(curves["pr"], values, matrix))
    if curves.get("roc") and matrix:
        found.append(_gains(curves["roc"], matrix))
    if curves.get("calibration"):
        found.append(_calibration(curves["calibration"], values))
    if curves.get("score_histogram"):
        found.append(_scores(curves["score_histogram"], labels))
    if matrix:
        found.append(_confusion(labels, matrix))
    return found + _of_numbers(curves)


def _of_numbers(curves: Mapping[str, Any]) -> list[Figure]:
    """Draw residuals and cluster sizes."""
    found: list[Figure] = []
    if curves.get("residual_histogram"):
        held = curves["residual_histogram"]
        drawing = histogram_bars(
            "Residuals", held["edges"], {"rows": held["weights"]}, x_name=RESIDUAL, zero=True
        )
        found.append(Figure("Residuals", "The outer bars hold all that lies beyond.", drawing))
    if curves.get("residuals"):
        drawing = residual_scatter(curves["residuals"])
        found.append(
            Figure(
                "Residual by prediction",
                f"{numbers.count(len(curves['residuals']))} rows drawn at random.",
                drawing,
            )
        )
    if curves.get("sizes"):
        sizes = curves["sizes"]
        total = sum(sizes.values()) or 1.0
        rows = [
            (f"cluster {label}", float(size), numbers.share(size / total)) for label, size in sizes.items()
        ]
        found.append(Figure("Cluster sizes", "", measure_bars("Cluster sizes", rows)))
    return found


def _value(values: Mapping[str, Any], name: str) -> str:
    return numbers.score((values.get(name) or {}).get("value"))


def _roc(points: Sequence[Sequence[float]], values: Mapping[str, Any]) -> Figure:
    drawing = unit_curve(
        "ROC curve",
        [x for x, _ in points],
        [y for _, y in points],
        x_name="false positive rate",
        y_name="true positive rate",
        reference=((0.0, 0.0), (1.0, 1.0)),
        caption=f"area {_value(values, 'roc_auc')}",
        filled=True,
    )
    return Figure("ROC", "Dashed: guessing.", drawing)


def _precision_recall(
    points: Sequence[Sequence[float]], values: Mapping[str, Any], matrix: Sequence[Sequence[float]] | None
) -> Figure:
    base = 0.0
    if matrix and sum(map(sum, matrix)):
        base = sum(matrix[1]) / sum(map(sum, matrix))
    drawing = unit_curve(
        "Precision-recall curve",
        [x for x, _ in points],
        [y for _, y in points],
        x_name="recall",
        y_name="precision",
        reference=((0.0, base), (1.0, base)),
        caption=f"average precision {_value(values, 'average_precision')}",
    )
    return Figure("Precision and recall", f"Dashed: the share of the class, {numbers.share(base)}.", drawing)


def _gains(points: Sequence[Sequence[float]], matrix: Sequence[Sequence[float]]) -> Figure:
    """Draw what share of the class is found by acting on the rows with the highest scores: ROC over all rows."""
    total = sum(map(sum, matrix)) or 1.0
    base = sum(matrix[1]) / total
    acted = [base * true + (1 - base) * false for false, true in points]
    found = [true for _, true in points]
    at = float(np.interp(0.2, acted, found)) if acted else 0.0
    drawing = unit_curve(
        "Cumulative gains",
        acted,
        found,
        x_name="share of rows acted on",
        y_name="share of the class found",
        reference=((0.0, 0.0), (1.0, 1.0)),
        caption=f"top 20 % finds {numbers.share(at)}",
    )
    return Figure("Gains", "Acting on the rows with the highest scores first. Dashed: at random.", drawing)


def _calibration(bands: Sequence[Mapping[str, Any]], values: Mapping[str, Any]) -> Figure:
    held = [
        Band(
            float(band["score"]),
            float(band["observed"]),
            float(band["observed"] if band.get("low") is None else band["low"]),
            float(band["observed"] if band.get("high") is None else band["high"]),
            float(band["weight"]),
        )
        for band in bands
    ]
    drawing = calibration(held, f"error {_value(values, 'calibration_error')}")
    return Figure(
        "Calibration",
        "On the dashed line a predicted 30 % comes true in 30 % of the rows. Bars: 95 %.",
        drawing,
    )


def _scores(held: Mapping[str, Any], labels: Sequence[str]) -> Figure:
    edges, parts = held["edges"], held["classes"]
    last = max((i for part in parts for i, weight in enumerate(part) if weight), default=len(edges) - 2)
    names = list(labels) if len(labels) == len(parts) else [f"class {index}" for index in range(len(parts))]
    series = {name: part[: last + 1] for name, part in zip(names, parts, strict=True)}
    drawing = histogram_bars("Scores by class", edges[: last + 2], series, x_name="predicted probability")
    return Figure("Scores", "The further apart, the better.", drawing)


def _confusion(labels: Sequence[str], matrix: Sequence[Sequence[float]]) -> Figure:
    note = "Shade: share of the row. Blue is right, orange is wrong."
    if len(labels) > 24:
        note += f" The first 24 of {len(labels)} classes."
    return Figure("Confusion", note, confusion(labels, matrix))


def residual_scatter(points: Sequence[Sequence[float]]) -> Drawing:
    """Draw residuals against predictions; the middle 99 % of each axis is shown, the rest held at the edge."""
    frame = Frame(50.0, 22.0, 348.0, 292.0)
    predictions = sorted(point[0] for point in points)
    sizes = sorted(abs(point[1]) for point in points)
    edge = min(len(points) - 1, int(0.995 * len(points)))
    reach = sizes[min(len(points) - 1, int(0.99 * len(points)))] or 1.0
    low, high = predictions[len(points) - 1 - edge], predictions[edge]
    x, y = frame.x(low, high), frame.y(-reach, reach)
    marks: list[Mark] = [
        Word(4.0, 11.0, RESIDUAL, "axis-name", "start"),
        Word((frame.left + frame.right) / 2, 322.0, "prediction", "axis-name"),
        *y_axis(frame, y, ticks(-reach, reach, 6)),
        *x_axis(frame, x, ticks(low, high, 5)),
        # One path of zero-length lines with round ends: a thousand points in a few kilobytes.
        Path("".join(f"M{x(a):g},{y(b):g}h0" for a, b in points[:2000]), "points"),
        segment(frame.left, y(0.0), frame.right, y(0.0), "reference"),
    ]
    return Drawing(360.0, 326.0, "Residuals by prediction", tuple(marks))
