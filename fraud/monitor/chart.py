"""Two drawings as inline SVG: measures by week, and a feature's stability index by week."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

_WIDTH: Final = 1040
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 14, 12, 218
_HEIGHT: Final = 246
_LABELS: Final = 13
"""Week labels that fit beside each other."""

_SPARK_WIDTH, _SPARK_HEIGHT, _SPARK_EDGE = 150, 28, 4


@dataclass(frozen=True, slots=True)
class Series:
    """One measure by week: its name on the page, its style class, and its values (None where undefined)."""

    name: str
    style: str
    values: tuple[float | None, ...]


def measures(weeks: Sequence[str], provisional: Sequence[bool], series: Sequence[Series]) -> str:
    """Draw measures between 0 and 1 by week; provisional weeks are shaded and their points hollow."""
    parts = [
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(", ".join(line.name for line in series))} by week">',
        *_grid(),
        *_week_axis(weeks, provisional),
    ]
    for line in series:
        parts += _line(line, weeks, provisional)
    return "".join([*parts, "</svg>"])


def mark(series: Series) -> str:
    """Draw the mark of a series for a legend: the same shape as its points."""
    line = f'<path class="line {series.style}" d="M1 6H21"/>'
    return f'<svg width="22" height="12" aria-hidden="true">{line}{_point(series, 11, 6, "")}</svg>'


def sparkline(values: Sequence[float], threshold: float) -> str:
    """Draw one index by week against the dashed alert threshold, both from 0."""
    top = max(*values, threshold) * 1.05
    xs = [_spread(i, len(values), _SPARK_EDGE, _SPARK_WIDTH - _SPARK_EDGE) for i in range(len(values))]
    ys = [_SPARK_HEIGHT - _SPARK_EDGE - (_SPARK_HEIGHT - 2 * _SPARK_EDGE) * value / top for value in values]
    limit = _SPARK_HEIGHT - _SPARK_EDGE - (_SPARK_HEIGHT - 2 * _SPARK_EDGE) * threshold / top
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in zip(xs, ys, strict=True))
    label = "by week: " + ", ".join(f"{value:.2f}" for value in values)
    return (
        f'<svg class="spark" width="{_SPARK_WIDTH}" height="{_SPARK_HEIGHT}" role="img" aria-label="{label}">'
        f"<title>{label}</title>"
        f'<path class="limit" d="M0 {limit:.1f}H{_SPARK_WIDTH}"/><path class="psi" d="M{path}"/>'
        f'<circle class="end" cx="{xs[-1]:.1f}" cy="{ys[-1]:.1f}" r="2.5"/></svg>'
    )


def _grid() -> list[str]:
    parts = []
    for fifth in range(6):
        y = _y(fifth / 5)
        style = "grid" if fifth else "axis"
        parts.append(f'<path class="{style}" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{fifth / 5:.1f}</text>')
    return parts


def _week_axis(weeks: Sequence[str], provisional: Sequence[bool]) -> list[str]:
    half = (_WIDTH - _RIGHT - _LEFT) / len(weeks) / 2
    every = -(-len(weeks) // _LABELS)
    parts = []
    for i, week in enumerate(weeks):
        x = _x(i, len(weeks))
        if provisional[i]:
            corner, size = (
                f'x="{x - half:.1f}" y="{_TOP}"',
                f'width="{2 * half:.1f}" height="{_BOTTOM - _TOP}"',
            )
            parts.append(f'<rect class="band" {corner} {size}/>')
        if (len(weeks) - 1 - i) % every == 0:
            parts.append(f'<text x="{x:.1f}" y="{_BOTTOM + 20}" text-anchor="middle">{escape(week)}</text>')
    return parts


def _line(series: Series, weeks: Sequence[str], provisional: Sequence[bool]) -> list[str]:
    """A path broken where the measure is undefined, and a point a week."""
    path, points, pen = [], [], "M"
    for i, value in enumerate(series.values):
        if value is None:
            pen = "M"
            continue
        x, y = _x(i, len(weeks)), _y(value)
        path.append(f"{pen}{x:.1f} {y:.1f}")
        pen = "L"
        state = ", provisional" if provisional[i] else ""
        title = f"{series.name} {value:.3f}, week of {weeks[i]}{state}"
        points.append(_point(series, x, y, title, hollow=provisional[i]))
    return [f'<path class="line {series.style}" d="{"".join(path)}"/>', *points] if path else []


def _point(series: Series, x: float, y: float, title: str, *, hollow: bool = False) -> str:
    style = f'class="dot {"open-dot " if hollow else ""}{series.style}"'
    label = f"<title>{escape(title)}</title>" if title else ""
    if series.style == "recall":
        return f'<rect {style} x="{x - 3.5:.1f}" y="{y - 3.5:.1f}" width="7" height="7">{label}</rect>'
    if series.style == "f1":
        return f'<path {style} d="M{x:.1f} {y - 5:.1f}l5 5l-5 5l-5-5z">{label}</path>'
    return f'<circle {style} cx="{x:.1f}" cy="{y:.1f}" r="4">{label}</circle>'


def _x(i: int, n: int) -> float:
    # Half a step of room on both sides, so that a shaded week has its full width.
    step = (_WIDTH - _RIGHT - _LEFT) / n
    return _LEFT + step * (i + 0.5)


def _y(value: float) -> float:
    return _BOTTOM - (_BOTTOM - _TOP) * value


def _spread(i: int, n: int, first: float, last: float) -> float:
    return last if n == 1 else first + (last - first) * i / (n - 1)
