"""One transaction against the online state: its features, and its record in it, on LMDB in one process.

Cards have 30 events each; one terminal has --rows events in its windows, every hundredth a known fraud.
"""

from __future__ import annotations

import argparse
import gc
import json
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import mkdtemp

import numpy as np

from fraud.features.facts import text_number
from fraud.features.layout import Layout
from fraud.features.online import OnlineTransaction
from fraud.features.packed import Packed
from fraud.features.spec import load
from fraud.storage.state import OnlineState, create, empty

FEATURES = load("handbook", Path(__file__).parents[2] / "configs" / "features")
DAY_US = 86_400_000_000
NOW_US = 1_600_000_000_000_000
CARDS, CARD_EVENTS = 10_000, 30


def events(rng: np.random.Generator, kind: np.dtype, n: int, days: float) -> Packed:
    rows = np.zeros(n, kind)
    rows["event_time"] = np.sort(NOW_US - rng.integers(1, int(days * DAY_US), n))
    rows["tie"] = rng.integers(-(2**62), 2**62, n)
    if "amount" in (kind.names or ()):
        rows["amount"] = rng.integers(100, 30_000, n)
    return rows


def filled(path: Path, hot: int) -> OnlineState:
    layout, rng = Layout.of([FEATURES]), np.random.default_rng(1)
    create(path, empty(layout, datetime.fromtimestamp(NOW_US / 1e6, UTC)))
    state = OnlineState.open(path)
    cards, terminals = layout.keys["card_id"].transactions, layout.keys["terminal_id"]
    kind = cards.format.types[0]
    state.insert(cards, {text_number(f"c{n}"): events(rng, kind, CARD_EVENTS, 30) for n in range(CARDS)})
    rows = events(rng, terminals.transactions.format.types[0], hot, 37)
    state.insert(terminals.transactions, {text_number("hot"): rows})
    labels = np.zeros(hot // 100, terminals.labels.format.widest)
    labels["event_time"], labels["tie"] = rows["event_time"][::100], rows["tie"][::100]
    labels["label_time"], labels["is_fraud"] = labels["event_time"] + 7 * DAY_US, True
    state.insert(terminals.labels, {text_number("hot"): labels})
    gc.collect()
    gc.freeze()  # as Serve does once a replica is up
    return state


def requests(numbers: range, card: bool, terminal: bool) -> Iterator[OnlineTransaction]:
    """One a millisecond, each of another card."""
    for number in numbers:
        entities = {
            "card_id": f"c{number % CARDS}" if card else None,
            "terminal_id": "hot" if terminal else None,
        }
        at = NOW_US + number * 1000
        yield OnlineTransaction(f"new-{number}", at, "purchase", 100, "EUR", 100, entities, {})


def measured(state: OnlineState, numbers: range, *, card: bool, terminal: bool) -> dict[str, float]:
    waited, worked = [], []
    for transaction in requests(numbers, card, terminal):
        begun, cpu = time.perf_counter_ns(), time.thread_time_ns()
        state.observe(FEATURES, transaction, b"12345678")
        worked.append(time.thread_time_ns() - cpu)
        waited.append(time.perf_counter_ns() - begun)
    spent = {"": waited, "cpu_": worked}
    return {
        f"{name}p{q}_us": round(float(np.percentile(times, q)) / 1000, 1)
        for name, times in spent.items()
        for q in (50, 99)
    }


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--rows", type=int, default=1_000_000, help="Events of the busy terminal.")
    options.add_argument("--requests", type=int, default=5_000)
    given = options.parse_args()
    folder = Path(mkdtemp(prefix="bench-online-"))
    try:
        state = filled(folder / "state", given.rows)
        n = given.requests
        measured(state, range(300), card=True, terminal=True)
        found = {
            "card": measured(state, range(n, 2 * n), card=True, terminal=False),
            "busy_terminal": measured(state, range(2 * n, 3 * n), card=False, terminal=True),
            "both": measured(state, range(3 * n, 4 * n), card=True, terminal=True),
        }
        state.close()
    finally:
        shutil.rmtree(folder)
    print(json.dumps({"rows": given.rows, "requests": given.requests, "cards": CARDS, **found}))


if __name__ == "__main__":
    main()
