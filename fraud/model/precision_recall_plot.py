"""The precision-recall diagram: two models on the same rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve

from fraud.model.metrics import average_precision


def draw(is_fraud: NDArray[np.bool_], scores: Mapping[str, NDArray[np.float64]], file: Path) -> None:
    """Write the diagram as a PNG.

    Args:
        is_fraud: Truth, shape ``(n,)``.
        scores: Of each model by its name in the legend, shape ``(n,)`` each.
        file: To write.
    """
    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.subplots()
    for name, score in scores.items():
        precision, recall, _ = precision_recall_curve(is_fraud, score, drop_intermediate=True)
        label = f"{name}, average precision {average_precision(is_fraud, score):.4f}"
        axes.step(recall, precision, where="post", linewidth=1.2, label=label)
    share = float(np.mean(is_fraud))
    axes.axhline(share, color="0.6", linestyle="--", linewidth=1, label=f"by chance, {share:.4f}")
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    axes.set_title(
        f"{len(is_fraud):,} later transactions, {np.count_nonzero(is_fraud):,} frauds", fontsize=10
    )
    axes.legend(loc="lower left", fontsize=9)
    axes.grid(visible=True, color="0.9")
    axes.set_axisbelow(True)
    figure.savefig(file, format="png", dpi=120)
