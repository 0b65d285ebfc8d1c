"""The pictures of a search's report; each is a figure of its own, so that nothing global is touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tuning.journal import Finished

DPI: Final = 110
_TRIAL, _BEST, _QUIET = "#7a8fa6", "#c2410c", "#b8bec6"


def history(trials: Sequence[Finished], metric: str) -> Figure:
    """Draw the trials in the order they ended, and the best value so far."""
    figure, axes = _drawn(7.2, 3.6)
    numbers = np.arange(1, len(trials) + 1)
    values = [trial.value for trial in trials]
    axes.plot(numbers, values, "o", color=_TRIAL, markersize=4, label="a trial")
    best = np.maximum.accumulate(values)
    axes.step(numbers, best, where="post", color=_BEST, linewidth=1.6, label="the best so far")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="trial", ylabel=f"{_words(metric)}, validation")
    _legend(figure, axes)
    return figure


def importance(shares: Mapping[str, float]) -> Figure:
    """Draw how much of the values' variance each parameter explains, the largest on top."""
    figure, axes = _drawn(7.2, 0.9 + 0.34 * len(shares))
    names = list(shares)[::-1]
    bars = axes.barh(names, [shares[name] for name in names], color=_TRIAL, height=0.62)
    axes.bar_label(bars, fmt="{:.0%}", padding=3, fontsize=9)
    axes.set(xlabel="share of the variance explained", xlim=(0, max(shares.values()) * 1.15))
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    return figure


def cost(trials: Sequence[Finished], metric: str) -> Figure:
    """Draw the trials' values against the rounds they were trained and the time that took."""
    figure = Figure(figsize=(9.6, 3.6), dpi=DPI, layout="constrained")
    best = max(range(len(trials)), key=lambda place: trials[place].value)
    panels = figure.subplots(1, 2, sharey=True)
    sides = (
        ("boosting rounds trained", [float(trial.trained_rounds) for trial in trials]),
        ("seconds", [trial.seconds for trial in trials]),
    )
    for axes, (label, xs) in zip(panels, sides, strict=True):
        _plain(axes)
        values = [trial.value for trial in trials]
        axes.plot(xs, values, "o", color=_TRIAL, markersize=4, label="a trial")
        axes.plot(xs[best], values[best], "o", color=_BEST, markersize=6, label="the best")
        axes.set(xlabel=label, xlim=(0, max(xs) * 1.05 or 1))
    panels[0].set(ylabel=f"{_words(metric)}, validation")
    _legend(figure, panels[0])
    return figure


def on_test(validation: Sequence[float], test: Sequence[float], metric: str) -> Figure:
    """Draw values on test against those on validation; on the line, selection did not flatter."""
    figure, axes = _drawn(5.2, 5.2)
    low, high = min(*validation, *test), max(*validation, *test)
    room = (high - low) * 0.08 or 0.01
    edges = (low - room, high + room)
    axes.plot(edges, edges, "-", color=_QUIET, linewidth=1, label="as good on test")
    best = int(np.argmax(validation))
    axes.plot(validation, test, "o", color=_TRIAL, markersize=4, label="a trial")
    axes.plot(validation[best], test[best], "o", color=_BEST, markersize=6, label="the best on validation")
    axes.set(xlim=edges, ylim=edges, aspect="equal")
    axes.set(xlabel=f"{_words(metric)}, validation", ylabel=f"{_words(metric)}, test")
    _legend(figure, axes)
    return figure


def _drawn(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    _plain(axes)
    return figure, axes


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, color="#e7e9ec", linewidth=0.8)
    axes.set_axisbelow(True)


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, loc="outside upper right", ncols=len(labels))


def _words(metric: str) -> str:
    return metric.replace("_", " ").replace("auc roc", "AUC ROC")
