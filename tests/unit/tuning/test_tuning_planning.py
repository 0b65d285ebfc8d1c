from __future__ import annotations

from datetime import date

import pyarrow as pa
import pytest

from fraud import schema
from fraud.errors import ConfigError, NotEnoughDataError
from fraud.features.spec import load_text
from fraud.model import protocol
from fraud.settings import LabelSettings
from fraud.storage.lake import Lake
from tuning.planning import newest, plan
from tuning.settings import TuneSettings

LABELS = LabelSettings(label_maturity_d=7)


def test_no_selection_week_is_a_week_of_the_test() -> None:
    selected = {fold.test for fold in protocol.find("handbook-validation").folds}
    for name in ("handbook-prequential", "handbook-baseline"):
        assert not selected & {fold.test for fold in protocol.find(name).folds}


def test_search_does_not_end_before_its_selection_was_known(lake: Lake) -> None:
    tune = TuneSettings(protocol="handbook-validation")
    feature_set = load_text(
        "format_version: 1\nname: one\ntime_zone: UTC\nfeatures: [{column: amount}]", "test"
    )
    lake.append(schema.TRANSACTIONS, pa.table({"event_date": pa.array([date(2018, 6, 1), date(2018, 9, 1)])}))
    versions = {schema.TRANSACTIONS: 0}
    with pytest.raises(ConfigError, match="known on 2018-08-08: end later"):
        plan(lake, feature_set, versions, tune=tune, labels=LABELS, end=date(2018, 8, 7))
    assert plan(lake, feature_set, versions, tune=tune, labels=LABELS, end=date(2018, 8, 8))


def test_folds_end_with_the_newest_known_day() -> None:
    tune = TuneSettings(folds=2, train_d=5, test_d=3)
    folds = newest(date(2026, 3, 1), date(2026, 3, 19), tune=tune, labels=LABELS)
    assert [fold.test for fold in folds] == [
        (date(2026, 3, 16), date(2026, 3, 19)),
        (date(2026, 3, 13), date(2026, 3, 16)),
    ]
    with pytest.raises(NotEnoughDataError, match="needs 18 days whose truth is known, there are 17"):
        newest(date(2026, 3, 2), date(2026, 3, 19), tune=tune, labels=LABELS)
