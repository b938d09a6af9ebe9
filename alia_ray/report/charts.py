"""Numbers -> the coordinates of a line chart; the template draws them as SVG."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 460, 250
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 30  # margins in pixels, for the axes' numbers


@dataclass(frozen=True)
class Line:
    """One series: its name, its points in pixels from the top left, and its last value."""

    name: str
    points: list[tuple[float, float]]
    last: float


@dataclass(frozen=True)
class Chart:
    """A line chart: its lines, and the ticks of both axes as (pixel, text)."""

    lines: list[Line]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]


def line_chart(series: Mapping[str, Sequence[tuple[float, float]]]) -> Chart | None:
    """The chart of some (x, y) series; None where none has a point. What is not finite is skipped."""
    finite = {name: [(x, y) for x, y in points if math.isfinite(y)] for name, points in series.items()}
    drawn = {name: points for name, points in finite.items() if points}
    if not drawn:
        return None
    xs, ys = zip(*(point for points in drawn.values() for point in points), strict=True)
    y_values = _ticks(min(ys), max(ys))
    x_low, x_high = min(xs), max(xs)
    x_values = sorted({round(x_low + (x_high - x_low) * part / 4) for part in range(5)})

    def across(x: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * (x - x_low) / ((x_high - x_low) or 1), 1)

    def down(y: float) -> float:
        share = (y - y_values[0]) / (y_values[-1] - y_values[0])
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share, 1)

    return Chart(
        [Line(name, [(across(x), down(y)) for x, y in points], points[-1][1]) for name, points in drawn.items()],
        [(across(x), f"{x:g}") for x in x_values],
        [(down(y), f"{y:.4g}") for y in y_values],
    )


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers from at or below `low` to at or above `high`, about five of them."""
    span = (high - low) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / 4))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= span / 4)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, max(last, first + 1) + 1)]
