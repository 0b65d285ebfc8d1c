"""Windows of the batch executor against pandas: the same columns from the same rows, in one process each."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd

from fraud.features.batch import Frauds, Transactions, window_features
from fraud.features.spec import load

FEATURES = load("handbook", Path(__file__).parents[2] / "configs" / "features")
DAY_US = 86_400_000_000


def rows(n: int) -> Transactions:
    rng = np.random.default_rng(1)
    time_us = np.sort(rng.integers(0, 90 * DAY_US, n)) // 1_000_000 * 1_000_000
    return Transactions(
        rng.integers(0, max(1, n // 300), n), time_us, np.arange(n), time_us, rng.integers(100, 30_000, n)
    )


def ours(transactions: Transactions) -> dict[str, np.ndarray]:
    none = np.empty(0, np.int64)
    windows = [window for window in FEATURES.windows if window.window == "card_id"]
    return window_features(windows, transactions, Frauds(none, none, none, none))


def peer(transactions: Transactions) -> dict[str, np.ndarray]:
    """The textbook way: a rolling window per group."""
    frame = pd.DataFrame(
        {
            "card": transactions.entity,
            "at": pd.to_datetime(transactions.event_time, unit="us"),
            "amount": transactions.amount.astype(float),
        }
    )
    ordered = frame.sort_values(["card", "at"], kind="stable").set_index("at")
    columns = {}
    for days in (1, 7, 30):
        rolling = ordered.groupby("card")["amount"].rolling(f"{days}D")
        for stat, name in (("count", f"card_id_count_{days}d"), ("mean", f"card_id_amount_mean_{days}d")):
            columns[name] = getattr(rolling, stat)().to_numpy()
    order = np.lexsort((transactions.event_time, transactions.entity))
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    return {name: column[back] for name, column in columns.items()}


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--rows", type=int, default=500_000)
    transactions = rows(options.parse_args().rows)
    seconds, results = {}, {}
    for name, run in (("ours", ours), ("peer", peer)):
        started = time.perf_counter()
        results[name] = run(transactions)
        seconds[name] = round(time.perf_counter() - started, 3)
    for name, column in results["ours"].items():
        np.testing.assert_allclose(column, results["peer"][name], rtol=1e-9, err_msg=name)
    ratio = round(seconds["peer"] / seconds["ours"], 2)
    print(json.dumps({"rows": len(transactions.entity), **seconds, "ratio": ratio}))


if __name__ == "__main__":
    main()
