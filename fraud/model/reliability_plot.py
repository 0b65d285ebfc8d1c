"""The reliability diagram: predicted against observed, and how many rows lie where."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from fraud.model.reliability import Floats, Reliability, reliability, riskiest


def draw(probability: Floats, is_fraud: NDArray[np.bool_], file: Path) -> None:
    """Write the diagram as a PNG.

    Both axes grow with the logarithm: nearly all transactions have a probability far below one percent.

    Args:
        probability: Of rows that the curve was not fitted on, shape ``(n,)``.
        is_fraud: The truth, shape ``(n,)``.
        file: To write.
    """
    whole, top = reliability(probability, is_fraud), riskiest(probability, is_fraud)
    figure = Figure(figsize=(6, 7), layout="constrained")
    diagram, counts = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    low = _lowest(whole)
    diagram.plot([low, 1], [low, 1], color="0.6", linestyle="--", linewidth=1, label="perfectly calibrated")
    _points(diagram, whole, low, "C0", "all, in bins of equal counts")
    _points(diagram, top, low, "C1", "the last of these bins, cut again")
    diagram.set(xscale="log", yscale="log", xlim=(low, 1), ylim=(low, 1), ylabel="observed share of frauds")
    diagram.set_title(
        f"expected calibration error {whole.expected_calibration_error:.5f}, Brier score {whole.brier:.5f}",
        fontsize=10,
    )
    diagram.legend(loc="upper left", fontsize=9)
    edges = np.geomspace(low, 1, 41)
    counts.hist(np.clip(probability, edges[0], edges[-1]), bins=edges.tolist(), color="0.6")
    counts.set(yscale="log", xlabel="predicted probability of fraud", ylabel="transactions")
    for axes in (diagram, counts):
        axes.grid(visible=True, which="major", color="0.9")
        axes.set_axisbelow(True)
    for axis in (diagram.xaxis, diagram.yaxis):
        axis.set_major_formatter(
            FuncFormatter(lambda share, _: f"{share:.4%}".rstrip("0%").rstrip(".") + " %")
        )
    figure.savefig(file, format="png", dpi=120)


def _points(axes: Axes, found: Reliability, low: float, color: str, label: str) -> None:
    """Draw bins; those without a fraud lie at the lower edge, hollow."""
    shown = found.observed > 0
    axes.plot(found.predicted[shown], found.observed[shown], "o-", color=color, linewidth=1, label=label)
    none = np.maximum(found.predicted[~shown], low)
    lowest = axes.plot(none, np.full(len(none), low), "v", color=color, markerfacecolor="none", clip_on=False)
    lowest[0].set_in_layout(False)


def _lowest(found: Reliability) -> float:
    """Where the axes begin: below every bin, and above nothing, which a logarithm lacks."""
    return float(
        max(min(found.predicted.min(), found.observed[found.observed > 0].min(initial=1.0)) / 2, 1e-6)
    )
