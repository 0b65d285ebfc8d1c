"""The 15 features of handbook.yaml against the Handbook's published definitions, as pandas says them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from executors import batch_features

from fraud.features.definition import Event
from fraud.features.spec import load
from fraud.schema import tie
from fraud.simulate import population, scenario
from fraud.simulate.stream import generate
from fraud.simulate.table import table

HANDBOOK = load("handbook", Path(__file__).parents[2] / "configs" / "features")
CUSTOMERS, TERMINALS, DAYS = 120, 300, 60
DELAY = 7
WEEK_US = DELAY * 86_400_000_000


@pytest.fixture(scope="module")
def transactions() -> pd.DataFrame:
    """A small simulation under the published names, in the order in which its transactions see each other."""
    rows = generate(
        population.customers(CUSTOMERS, 0), population.terminals(TERMINALS, 0), days=DAYS, seed=0
    ).in_table_order()
    thefts = scenario.stolen(rows, scenario.compromised_customers(CUSTOMERS, days=DAYS, seed=0), seed=0)
    compromised = scenario.compromised_terminals(TERMINALS, days=DAYS, seed=0)
    frame = table(rows, scenario.label(rows, compromised, thefts), 0).to_pandas()
    frame["tie"] = [tie(number) for number in frame.TRANSACTION_ID]
    return frame.sort_values(["TX_DATETIME", "tie"], ignore_index=True)


def published(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """The inputs in the published order; money stays in major units."""

    def per(entity: str, column: str, of: Callable[[pd.Series], pd.Series]) -> np.ndarray:
        groups = [group.set_index("TX_DATETIME")[column] for _, group in frame.groupby(entity)]
        rows = np.concatenate([group.index for _, group in frame.groupby(entity)])
        values = np.empty(len(frame))
        values[rows] = np.concatenate([of(group) for group in groups])
        return values

    def customer_mean(days: int) -> np.ndarray:
        return per("CUSTOMER_ID", "TX_AMOUNT", lambda amounts: amounts.rolling(f"{days}D").mean())

    def delayed(days: int) -> Callable[[pd.Series], pd.Series]:
        return lambda values: values.rolling(f"{days + DELAY}D").sum() - values.rolling(f"{DELAY}D").sum()

    frame = frame.assign(ONE=1)
    at = frame.TX_DATETIME.dt
    inputs = {
        "TX_AMOUNT": frame.TX_AMOUNT.to_numpy(),
        "TX_DURING_WEEKEND": (at.day_of_week >= 5).to_numpy(),
        "TX_DURING_NIGHT": (at.hour <= 6).to_numpy(),
    }
    for days in (1, 7, 30):
        ones = per("CUSTOMER_ID", "ONE", lambda one, days=days: one.rolling(f"{days}D").sum())
        inputs[f"CUSTOMER_ID_NB_TX_{days}DAY_WINDOW"] = ones
    for days in (1, 7, 30):
        inputs[f"CUSTOMER_ID_AVG_AMOUNT_{days}DAY_WINDOW"] = customer_mean(days)
    for days in (1, 7, 30):
        inputs[f"TERMINAL_ID_NB_TX_{days}DAY_WINDOW"] = per("TERMINAL_ID", "ONE", delayed(days))
    for days in (1, 7, 30):
        count, frauds = (per("TERMINAL_ID", column, delayed(days)) for column in ("ONE", "TX_FRAUD"))
        inputs[f"TERMINAL_ID_RISK_{days}DAY_WINDOW"] = np.where(count > 0, frauds / np.maximum(count, 1), 0)
    return inputs


def ours(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    events = []
    for row in frame.itertuples():
        time = row.TX_DATETIME.value // 1000
        labels = ((time + WEEK_US, "handbook", True),) if row.TX_FRAUD else ()
        entities = {"card_id": row.CUSTOMER_ID, "terminal_id": row.TERMINAL_ID}
        amount = round(row.TX_AMOUNT * 100)
        events.append(Event(row.TRANSACTION_ID, None, time, row.tie, time, amount, labels, entities=entities))
    return batch_features(HANDBOOK, events)


def test_handbook_features_are_the_published_ones(transactions):
    expected, found = published(transactions), ours(transactions)
    assert len(expected) == len(found) == 15
    for (theirs, values), (name, column) in zip(expected.items(), found.items(), strict=True):
        scale = 100 if "AMOUNT" in theirs else 1
        np.testing.assert_allclose(column, values * scale, rtol=1e-9, atol=1e-9, err_msg=f"{name}, {theirs}")
    assert len(transactions) > 5_000
    assert expected["TERMINAL_ID_RISK_30DAY_WINDOW"].any()
