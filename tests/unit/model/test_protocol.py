from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from fraud.errors import ConfigError
from fraud.model.protocol import PROTOCOLS, find, unknown_cards

PUBLISHED_DATA = Path(__file__).parents[4] / "shared" / "data" / "handbook.parquet"
TRAIN, TEST = 100, 114  # first days: 7 of training, 7 of waiting


def kept(rows: list[tuple[int, str | None]], frauds: list[tuple[int, str | None]]) -> list[bool]:
    return unknown_cards(
        np.array([day for day, _ in rows], np.int32),
        pa.array([card for _, card in rows], pa.string()),
        np.array([day for day, _ in frauds], np.int32),
        pa.array([card for _, card in frauds], pa.string()),
        train_last=TRAIN + 7,
    ).tolist()


@pytest.mark.parametrize("fraud_day", [TRAIN, TRAIN + 6])
def test_card_with_a_fraud_in_training_is_known_all_along(fraud_day):
    assert kept([(TEST, "a"), (TEST + 6, "a"), (TEST, "b")], [(fraud_day, "a")]) == [False, False, True]


def test_card_with_a_fraud_while_waiting_is_known_eight_days_later():
    assert kept([(TEST, "a"), (TEST + 1, "a")], [(TEST - 7, "a")]) == [True, False]
    assert kept([(TEST + 5, "a"), (TEST + 6, "a")], [(TEST - 2, "a")]) == [True, False]
    assert kept([(TEST + 6, "a")], [(TEST - 1, "a")]) == [True]


def test_earliest_fraud_counts():
    assert kept([(TEST + 1, "a")], [(TEST - 2, "a"), (TEST - 7, "a")]) == [False]


def test_fraud_before_training_is_forgotten():
    assert kept([(TEST, "a")], [(TRAIN - 1, "a")]) == [True]


def test_rows_and_frauds_without_a_card_remove_nothing():
    assert kept([(TEST, None), (TEST, "b")], [(TRAIN, None), (TRAIN, "a")]) == [True, True]


def test_without_frauds_everything_stays():
    assert kept([(TEST, "a"), (TEST, None)], []) == [True, True]


def test_published_weeks():
    (baseline,) = find("handbook-baseline").folds
    assert baseline.train == (date(2018, 7, 25), date(2018, 8, 1))
    assert baseline.test == (date(2018, 8, 8), date(2018, 8, 15))
    test = find("handbook-prequential").folds
    assert [fold.train[0].isoformat()[5:] for fold in test] == ["08-15", "08-08", "08-01", "07-25"]
    assert [fold.test[0].isoformat()[5:] for fold in test] == ["08-29", "08-22", "08-15", "08-08"]
    validation = find("handbook-validation").folds
    assert [fold.train[0].isoformat()[5:] for fold in validation] == ["07-11", "07-04", "06-27", "06-20"]
    assert [fold.test[0].isoformat()[5:] for fold in validation] == ["07-25", "07-18", "07-11", "07-04"]


def test_unknown_protocol_names_the_known_ones():
    with pytest.raises(ConfigError, match="handbook-baseline, handbook-prequential"):
        find("handbook")
    assert set(PROTOCOLS) == {"handbook-baseline", "handbook-prequential", "handbook-validation"}


@pytest.mark.skipif(not PUBLISHED_DATA.is_file(), reason="the published data are not beside the checkout")
def test_published_counts_of_the_baseline():
    columns = ["TX_DATETIME", "CUSTOMER_ID", "TX_FRAUD"]
    table = pq.read_table(PUBLISHED_DATA, columns=columns)
    day = np.asarray(table.column("TX_DATETIME").cast(pa.date32(), safe=False).cast(pa.int32()))
    card = table.column("CUSTOMER_ID").combine_chunks().cast(pa.string())
    is_fraud = np.asarray(table.column("TX_FRAUD")) == 1
    (fold,) = find("handbook-baseline").folds
    train_first, train_last, test_first, test_last = (
        (each - date(1970, 1, 1)).days for each in (*fold.train, *fold.test)
    )
    train = (day >= train_first) & (day < train_last)
    assert (np.count_nonzero(train), np.count_nonzero(is_fraud[train])) == (67_240, 598)
    test = np.flatnonzero((day >= test_first) & (day < test_last))
    keep = unknown_cards(
        day[test],
        pc.take(card, pa.array(test)),
        day[is_fraud],
        pc.filter(card, pa.array(is_fraud)),
        train_last=train_last,
    )
    assert (np.count_nonzero(keep), np.count_nonzero(is_fraud[test[keep]])) == (58_264, 385)


def test_choices_are_made_on_validation_weeks_only():
    assert [name for name, protocol in PROTOCOLS.items() if not protocol.is_test] == ["handbook-validation"]
    last_validated = max(fold.test[1] for fold in find("handbook-validation").folds)
    first_tested = min(fold.test[0] for fold in find("handbook-prequential").folds)
    assert last_validated <= first_tested
