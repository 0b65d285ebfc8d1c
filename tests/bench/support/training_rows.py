"""Made-up examples of the Handbook's 15 features with a learnable signal, as Parquet files.

The columns have the kinds of the real ones: an amount, two flags, small counts, means of amounts and shares,
most of the last at 0.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fraud.features.spec import load

CHECKOUT = Path(__file__).parents[3]
LABEL = "is_fraud"
NAMES = load("handbook", CHECKOUT / "configs" / "features").names
FRAUD_SHARE = 0.008
FILE_ROWS = 500_000
TEST_ROWS = 500_000


def make(work: Path, rows: int) -> Path:
    """Return a folder with ``train/*.parquet`` of so many rows and ``test.parquet``; made where missing."""
    folder = work / f"training-{rows}"
    if not folder.exists():
        unfinished = work / f"training-{rows}.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        (unfinished / "train").mkdir(parents=True)
        for number, first in enumerate(range(0, rows, FILE_ROWS)):
            part = _rows(min(FILE_ROWS, rows - first), seed=number + 1)
            pq.write_table(part, unfinished / "train" / f"{number:05}.parquet", compression="zstd")
        pq.write_table(_rows(TEST_ROWS, seed=0), unfinished / "test.parquet", compression="zstd")
        unfinished.rename(folder)
    return folder


def _rows(count: int, seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    amount = np.round(rng.lognormal(3.5, 0.8, count), 2)
    flags = [rng.random(count) < 0.28, rng.random(count) < 0.18]
    usual = rng.lognormal(3.5, 0.5, count)
    card_counts = np.cumsum([1 + rng.poisson(mean, count) for mean in (1, 10, 40)], axis=0)
    card_means = [usual * rng.lognormal(0, 0.6 / np.sqrt(counts)) for counts in card_counts]
    terminal_counts = np.cumsum([rng.poisson(mean, count) for mean in (1, 6, 25)], axis=0)
    bad = rng.random(count) < 0.01
    risks = [
        np.where(counts > 0, rng.binomial(counts, np.where(bad, 0.5, 0.002)) / np.maximum(counts, 1), 0)
        for counts in terminal_counts
    ]
    signal = (
        6 * risks[2] + 2 * risks[1] + 1.5 * np.log(amount / card_means[1]) * (amount > 100) + 0.5 * flags[1]
    ) + rng.normal(0, 1, count)
    is_fraud = signal >= np.quantile(signal, 1 - FRAUD_SHARE)
    values = [amount, *flags, *card_counts, *card_means, *terminal_counts, *risks]
    columns = {name: np.asarray(value, np.float32) for name, value in zip(NAMES, values, strict=True)}
    return pa.table({LABEL: is_fraud, **columns})
