"""Numbers -> the coordinates of a line chart; the template draws them as SVG."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 460, 250
_TICKS = 6  # at most, at each point of an axis
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 30  # margins in pixels, for the axes' numbers


@dataclass(frozen=True)
class Line:
    """One series: its name, its points in pixels from the top left, and its last value, as text."""

    name: str
    points: list[tuple[float, float]]
    last: str


@dataclass(frozen=True)
class Chart:
    """A line chart: its lines, and the ticks of both axes as (pixel, text)."""

    lines: list[Line]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]


def line_chart(series: Mapping[str, Sequence[tuple[float, float]]], in_percent: bool = False) -> Chart | None:
    """The chart of some (x, y) series; None where none has a point. What is not finite is skipped.

    in_percent: y are shares, to be shown in percent.
    """
    scale, shown = (100, "{:.1f}") if in_percent else (1, "{:.4g}")
    finite = {name: [(x, scale * y) for x, y in points if math.isfinite(y)] for name, points in series.items()}
    drawn = {name: points for name, points in finite.items() if points}
    if not drawn:
        return None
    xs, ys = zip(*(point for points in drawn.values() for point in points), strict=True)
    y_values = _ticks(min(ys), max(ys))
    x_low, x_high = min(xs), max(xs)
    x_values = sorted(set(xs))
    if len(x_values) > _TICKS:  # epochs, which are whole numbers
        x_values = sorted({round(x_low + (x_high - x_low) * part / 4) for part in range(5)})

    def across(x: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * (x - x_low) / ((x_high - x_low) or 1), 1)

    def down(y: float) -> float:
        share = (y - y_values[0]) / (y_values[-1] - y_values[0])
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share, 1)

    return Chart(
        [
            Line(name, [(across(x), down(y)) for x, y in points], shown.format(points[-1][1]))
            for name, points in drawn.items()
        ],
        [(across(x), f"{x:.3g}" if x < 1000 else f"{x:g}") for x in x_values],
        [(down(y), f"{y:.4g}") for y in y_values],
    )


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers from at or below `low` to at or above `high`, about five of them."""
    span = (high - low) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / 4))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= span / 4)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, max(last, first + 1) + 1)]


@dataclass(frozen=True)
class Whisker:
    """One row: its name, its line's height, its value's place, the ends of its interval, and the value."""

    name: str
    y: float
    x: float
    low: float
    high: float
    value: float


@dataclass(frozen=True)
class IntervalChart:
    """Values with intervals, one below the other, on an axis of shares from 0 to 1."""

    rows: list[Whisker]
    x_ticks: list[tuple[float, str]]
    height: float

    @property
    def has_intervals(self) -> bool:
        """Whether any value has an interval."""
        return any(row.low < row.high for row in self.rows)


NAMES = 170  # pixels left of the axis, for the rows' names
ROW = 22  # pixels from row to row


def interval_chart(values: Mapping[str, tuple[float, float, float]]) -> IntervalChart:
    """The chart of name -> (value, low, high), shares in [0, 1]."""

    def across(x: float) -> float:
        return round(NAMES + (WIDTH - NAMES - RIGHT - 40) * x, 1)

    rows = [
        Whisker(name, TOP + ROW * (number + 0.5), across(value), across(low), across(high), value)
        for number, (name, (value, low, high)) in enumerate(values.items())
    ]
    ticks = [(across(x), f"{100 * x:g}") for x in (0, 0.25, 0.5, 0.75, 1)]
    return IntervalChart(rows, ticks, TOP + ROW * len(rows) + BOTTOM)
