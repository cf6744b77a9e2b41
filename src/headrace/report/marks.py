"""What a drawing is made of: rectangles, paths, dots and words, as plain data for the SVG template."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from headrace.report.scales import Scale, Tick

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True)
class Rect:
    """A rectangle."""

    shape: ClassVar[str] = "rect"
    x: float
    y: float
    width: float
    height: float
    style: str = "bar"
    tip: str = ""
    opacity: float | None = None


@dataclass(frozen=True)
class Path:
    """A line or an area, as SVG path data."""

    shape: ClassVar[str] = "path"
    d: str
    style: str
    tip: str = ""


@dataclass(frozen=True)
class Dot:
    """A point; `reach` is the radius of the invisible disc that takes the pointer."""

    shape: ClassVar[str] = "dot"
    x: float
    y: float
    radius: float
    style: str
    tip: str = ""


@dataclass(frozen=True)
class Word:
    """A short text."""

    shape: ClassVar[str] = "word"
    x: float
    y: float
    text: str
    style: str = "tick"
    anchor: str = "middle"


Mark = Rect | Path | Dot | Word


@dataclass(frozen=True)
class Drawing:
    """One SVG.

    Parameters
    ----------
    width, height : float
        The view box in pixels; the page scales it to the room it has.
    label : str
        What it shows, for screen readers.
    marks : tuple of Mark
        In painting order.
    """

    width: float
    height: float
    label: str
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class Frame:
    """The area inside the axes of a drawing."""

    left: float
    top: float
    right: float
    bottom: float

    def x(self, low: float, high: float) -> Scale:
        """Return the scale from left to right."""
        return Scale(low, high, self.left, self.right)

    def y(self, low: float, high: float) -> Scale:
        """Return the scale from the bottom up."""
        return Scale(low, high, self.bottom, self.top)


def line(points: Iterable[tuple[float, float]], style: str, tip: str = "") -> Path:
    """Join pixels by straight lines."""
    return Path("M" + "L".join(f"{x:g},{y:g}" for x, y in points), style, tip)


def area(upper: Sequence[tuple[float, float]], lower: Sequence[tuple[float, float]], style: str) -> Path:
    """Fill between two lines of pixels."""
    points = [*upper, *reversed(lower)]
    return Path("M" + "L".join(f"{x:g},{y:g}" for x, y in points) + "Z", style)


def segment(x1: float, y1: float, x2: float, y2: float, style: str, tip: str = "") -> Path:
    """Draw one straight line."""
    return Path(f"M{x1:g},{y1:g}L{x2:g},{y2:g}", style, tip)


def x_axis(
    frame: Frame, scale: Scale, marks: Iterable[Tick], *, below: float = 13, grid: bool = False
) -> list[Mark]:
    """Draw the base line and its labels; labels that would touch their neighbour are left out."""
    drawn: list[Mark] = [segment(frame.left, frame.bottom, frame.right, frame.bottom, "axis")]
    taken = -1e9
    for tick in marks:
        at = scale(tick.value)
        if grid:
            drawn.append(segment(at, frame.top, at, frame.bottom, "grid"))
        half = 3.3 * len(tick.label)
        centre = min(max(at, frame.left - 18 + half), frame.right + 8 - half)
        if centre - half < taken + 4:
            continue
        taken = centre + half
        drawn.extend(
            (
                segment(at, frame.bottom, at, frame.bottom + 3, "axis"),
                Word(round(centre, 1), frame.bottom + below, tick.label),
            )
        )
    return drawn


def y_axis(frame: Frame, scale: Scale, marks: Iterable[Tick]) -> list[Mark]:
    """Draw horizontal grid lines with their labels to the left."""
    drawn: list[Mark] = []
    for tick in marks:
        at = scale(tick.value)
        drawn.extend(
            (
                segment(frame.left, at, frame.right, at, "grid"),
                Word(frame.left - 5, at + 3.5, tick.label, "tick", "end"),
            )
        )
    return drawn
