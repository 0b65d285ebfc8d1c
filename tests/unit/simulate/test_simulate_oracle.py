"""The simulator against a literal rendering of the Handbook's definition, with global seeds and loops."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from fraud.simulate import population, scenario
from fraud.simulate.scenario import Labels
from fraud.simulate.stream import Rows, concat, generate, split_by_file


@dataclass
class Transaction:
    second: int
    customer: int
    terminal: int
    amount: float
    scenario: int = 0

    @property
    def day(self) -> int:
        return self.second // 86_400

    def canonical(self) -> tuple[int, int, int, int, int]:
        return (self.second, self.customer, self.terminal, round(self.amount * 100), self.scenario)


def oracle(customers: int, terminals: int, days: int) -> list[Transaction]:
    table = oracle_transactions(customers, terminals, days)
    table.sort(key=lambda transaction: (transaction.second, transaction.customer))
    for transaction in table:
        if transaction.amount > 220:
            transaction.scenario = 1
    for day in range(days - 1):
        chosen = set(pd.Series(range(terminals)).sample(n=2, random_state=day))
        for transaction in table:
            if transaction.terminal in chosen and day <= transaction.day < day + 28:
                transaction.scenario = 2
    for day in range(days - 1):
        chosen = set(pd.Series(range(customers)).sample(n=3, random_state=day))
        candidates = [row for row in table if row.customer in chosen and day <= row.day < day + 14]
        random.seed(day)
        for transaction in random.sample(candidates, k=int(len(candidates) / 3)):
            transaction.amount *= 5
            transaction.scenario = 3
    return table


def oracle_transactions(customers: int, terminals: int, days: int) -> list[Transaction]:
    np.random.seed(0)
    profiles = [[np.random.uniform(0, 100), np.random.uniform(0, 100), np.random.uniform(5, 100),
                 np.random.uniform(0, 4)] for _ in range(customers)]  # fmt: skip
    np.random.seed(1)
    places = [(np.random.uniform(0, 100), np.random.uniform(0, 100)) for _ in range(terminals)]
    pick = random.choice
    rows = []
    for customer, (x, y, mean, mean_count) in enumerate(profiles):
        available = [i for i, place in enumerate(places) if math.dist((x, y), place) < 5]
        random.seed(customer)
        np.random.seed(customer)
        for day in range(days):
            for _ in range(np.random.poisson(mean_count)):
                time = int(np.random.normal(43_200, 20_000))
                if not 0 < time < 86_400:
                    continue
                amount = np.random.normal(mean, mean / 2)
                if amount < 0:
                    amount = np.random.uniform(0, mean * 2)
                amount = float(np.round(amount, decimals=2))
                if available:
                    rows.append(Transaction(day * 86_400 + time, customer, pick(available), amount))
    return rows


def simulate(
    customers: int, terminals: int, days: int, *, seed: int = 0, chunk: int = 7
) -> tuple[Rows, Labels]:
    places = population.terminals(terminals, seed)
    chunks = population.customers(customers, seed).chunks(chunk)
    drawn = concat([generate(some, places, days=days, seed=seed) for some in chunks])
    chosen = scenario.compromised_customers(customers, days=days, seed=seed)
    thefts = scenario.stolen(drawn, chosen, seed=seed)
    rows = drawn.in_table_order()
    compromised = scenario.compromised_terminals(terminals, days=days, seed=seed)
    return rows, scenario.label(rows, compromised, thefts)


def canonical(rows: Rows, labels: Labels) -> list[tuple[int, ...]]:
    columns = (rows.second, rows.customer, rows.terminal, labels.cents, labels.scenario)
    return list(zip(*(column.tolist() for column in columns), strict=True))


@pytest.mark.parametrize(
    ("customers", "terminals", "days"),
    [
        pytest.param(120, 1_000, 40, id="all scenarios"),
        pytest.param(40, 60, 30, id="customers without a terminal in reach"),
        pytest.param(3, 3_000, 31, id="transactions stolen on several days"),
        pytest.param(5, 500, 1, id="one day has no compromise"),
    ],
)
def test_rows_equal_the_literal_definition(customers: int, terminals: int, days: int):
    expected = [transaction.canonical() for transaction in oracle(customers, terminals, days)]
    assert canonical(*simulate(customers, terminals, days)) == expected
    assert expected


def test_oracle_cases_reach_what_they_claim():
    everything = {row.scenario for row in oracle(120, 1_000, 40)}
    without_terminal = {row.customer for row in oracle(40, 60, 30)}
    rows = oracle_transactions(3, 3_000, 31)
    rows.sort(key=lambda row: (row.second, row.customer))
    factors = {
        round(late.amount / early.amount) for late, early in zip(oracle(3, 3_000, 31), rows, strict=True)
    }
    assert everything == {0, 1, 2, 3}
    assert len(without_terminal) < 30
    assert {1, 5, 25, 125} <= factors


def test_newly_fraudulent_counts_add_up_to_the_frauds():
    rows, labels = simulate(120, 1_000, 40)
    large_before = [row for row in oracle_transactions(120, 1_000, 40) if row.amount > 220]
    assert labels.newly[0] == len(large_before) > 0
    assert sum(labels.newly) == int(labels.is_fraud().sum()) > 0
    assert len(labels.cents) == len(rows)


def test_chunks_do_not_change_the_rows():
    assert canonical(*simulate(25, 1_000, 20, chunk=1)) == canonical(*simulate(25, 1_000, 20, chunk=25))


def test_another_seed_gives_other_rows_reproducibly():
    first, again = (canonical(*simulate(25, 1_000, 20, seed=7)) for _ in range(2))
    other, published = (canonical(*simulate(25, 1_000, 20, seed=seed)) for seed in (8, 0))
    assert first == again
    assert len(first) > 300
    for another in (other, published):
        assert len(set(first) & set(another)) == 0


def test_files_split_rows_at_whole_weeks():
    rows = generate(population.customers(20, 0), population.terminals(1_000, 0), days=15, seed=0)
    files = split_by_file(rows, days=15)
    assert [sorted(set((file.second // 86_400).tolist())) for file in files] == [
        list(range(7)),
        list(range(7, 14)),
        [14],
    ]
    assert sorted(concat(files).key().tolist()) == sorted(rows.key().tolist())


def test_terminal_exactly_at_the_reach_is_out_of_reach():
    places = population.Terminals(
        np.array([4, 2, 9], np.int32), np.array([45.0, 50.0, 53.0]), np.full(3, 50.0)
    )
    assert places.reachable(50.0, 50.0).tolist() == [2, 9]
    assert places.reachable(50.0, 46.0).tolist() == [2]


def test_amount_of_exactly_220_is_genuine():
    zeros = np.zeros(2, np.int32)
    rows = Rows(zeros, zeros, np.arange(2, dtype=np.int32), zeros, np.array([22_000, 22_001], np.int32))
    nothing = scenario.Stolen(np.empty(0, np.int64), np.empty(0, np.int64))
    labels = scenario.label(rows, np.zeros((1, 1), np.bool_), nothing)
    assert labels.scenario.tolist() == [0, 1]
    assert labels.newly == (1, 0, 0)


def test_no_compromise_starts_on_the_last_day():
    assert not scenario.compromised_terminals(5, days=1, seed=0).any()
    assert scenario.compromised_terminals(500, days=2, seed=0).sum(axis=0).tolist() == [2, 2]
    assert scenario.compromised_customers(5, days=3, seed=0).shape == (2, 3)


def test_each_fraud_is_counted_for_the_first_scenario_it_falls_to():
    zeros, cents = np.zeros(4, np.int32), np.array([30_000, 30_000, 100, 100], np.int32)
    rows = Rows(zeros, zeros, np.arange(4, dtype=np.int32), np.array([0, 1, 0, 1], np.int32), cents)
    thefts = scenario.Stolen(np.array([1, 2, 3]), np.array([1, 1, 2]))
    labels = scenario.label(rows, np.array([[True], [False]]), thefts)
    assert labels.newly == (2, 1, 1)
    assert labels.scenario.tolist() == [2, 3, 3, 3]
    assert labels.cents.tolist() == [30_000, 150_000, 500, 2_500]
