"""Transactions against the online state: their features, and their records in it, on LMDB in one process.

Cards have 30 events each and terminals 300; one busy terminal has --rows events in its windows. Every
hundredth is a known fraud. Transactions are observed one by one, then in batches, each in one transaction of
the store.
"""

from __future__ import annotations

import argparse
import gc
import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import mkdtemp

import numpy as np

from fraud.features.facts import text_number
from fraud.features.layout import Layout
from fraud.features.online import OnlineTransaction
from fraud.features.packed import Packed
from fraud.features.spec import FeatureSet, load
from fraud.storage.state import OnlineState, create, empty

FOLDER = Path(__file__).parents[2] / "configs" / "features"
DAY_US = 86_400_000_000
NOW_US = 1_600_000_000_000_000
CARDS, CARD_EVENTS = 10_000, 30
TERMINALS, TERMINAL_EVENTS = 1_000, 300
BATCH = 100


def events(rng: np.random.Generator, kind: np.dtype, n: int, days: float) -> Packed:
    rows = np.zeros(n, kind)
    rows["event_time"] = np.sort(NOW_US - rng.integers(1, int(days * DAY_US), n))
    rows["tie"] = rng.integers(-(2**62), 2**62, n)
    if "amount" in (kind.names or ()):
        rows["amount"] = rng.integers(100, 30_000, n)
    return rows


def labels_of(kind: np.dtype, rows: Packed) -> Packed:
    labels = np.zeros(len(rows[::100]), kind)
    labels["event_time"], labels["tie"] = rows["event_time"][::100], rows["tie"][::100]
    labels["label_time"], labels["is_fraud"] = labels["event_time"] + 7 * DAY_US, True
    return labels


def filled(path: Path, features: FeatureSet, busy: int) -> OnlineState:
    layout, rng = Layout.of([features]), np.random.default_rng(1)
    create(path, empty(layout, datetime.fromtimestamp(NOW_US / 1e6, UTC)))
    state = OnlineState.open(path)
    cards, terminals = layout.keys["card_id"].transactions, layout.keys["terminal_id"]
    kind = cards.format.types[0]
    state.insert(cards, {text_number(f"c{n}"): events(rng, kind, CARD_EVENTS, 30) for n in range(CARDS)})
    kind = terminals.transactions.format.types[0]
    rows = {text_number(f"t{n}"): events(rng, kind, TERMINAL_EVENTS, 37) for n in range(TERMINALS)}
    rows[text_number("busy")] = events(rng, kind, busy, 37)
    state.insert(terminals.transactions, rows)
    labels = {entity: labels_of(terminals.labels.format.types[0], own) for entity, own in rows.items()}
    state.insert(terminals.labels, labels)
    gc.collect()
    gc.freeze()  # as Serve does once a replica is up
    return state


def requests(numbers: range, *, card: bool, terminal: str | None) -> Iterator[OnlineTransaction]:
    """One a millisecond, each of another card."""
    for number in numbers:
        entities = {
            "card_id": f"c{number % CARDS}" if card else None,
            "terminal_id": f"t{number % TERMINALS}" if terminal == "usual" else terminal,
        }
        at = NOW_US + number * 1000
        yield OnlineTransaction(f"new-{number}", at, "purchase", 100, "EUR", 100, entities, {})


def spent(works: Iterable[Callable[[], object]], size: int = 1) -> dict[str, float]:
    """Microseconds a transaction of pieces of work on so many transactions each."""
    waited, worked = [], []
    for work in works:
        begun, cpu = time.perf_counter_ns(), time.thread_time_ns()
        work()
        worked.append((time.thread_time_ns() - cpu) / size)
        waited.append((time.perf_counter_ns() - begun) / size)
    return {
        f"{name}p{q}_us": round(float(np.percentile(times, q)) / 1000, 1)
        for name, times in {"": waited, "cpu_": worked}.items()
        for q in (50, 99)
    }


def alone(state: OnlineState, features: FeatureSet, given: Iterable[OnlineTransaction]) -> dict[str, float]:
    return spent(partial(state.observe, features, one, b"12345678") for one in given)


def together(
    state: OnlineState, features: FeatureSet, given: Iterable[OnlineTransaction]
) -> dict[str, float]:
    items = [(one, b"12345678") for one in given]
    batches = [items[begin : begin + BATCH] for begin in range(0, len(items), BATCH)]
    return spent((partial(state.observe_all, features, batch) for batch in batches), BATCH)


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--features", default="handbook", help="A feature set of configs/features.")
    options.add_argument("--rows", type=int, default=1_000_000, help="Events of the busy terminal.")
    options.add_argument("--requests", type=int, default=5_000)
    given = options.parse_args()
    features = load(given.features, FOLDER)
    folder = Path(mkdtemp(prefix="bench-online-"))
    numbers = (range(begin, begin + given.requests) for begin in count(0, given.requests))
    try:
        state = filled(folder / "state", features, given.rows)
        alone(state, features, requests(next(numbers), card=True, terminal="busy"))
        found = {
            "card": alone(state, features, requests(next(numbers), card=True, terminal=None)),
            "usual": alone(state, features, requests(next(numbers), card=True, terminal="usual")),
            "busy": alone(state, features, requests(next(numbers), card=True, terminal="busy")),
            "batch": together(state, features, requests(next(numbers), card=True, terminal="usual")),
        }
        state.close()
    finally:
        shutil.rmtree(folder)
    print(json.dumps({"features": given.features, "rows": given.rows, "requests": given.requests, **found}))


if __name__ == "__main__":
    main()
