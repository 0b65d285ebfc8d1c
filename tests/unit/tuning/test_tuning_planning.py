from __future__ import annotations

from datetime import date

import pytest

from fraud.errors import NotEnoughDataError
from fraud.model import protocol
from fraud.settings import LabelSettings
from tuning.planning import newest
from tuning.settings import TuneSettings

LABELS = LabelSettings(label_maturity_d=7)


def test_no_selection_week_is_a_week_of_the_test() -> None:
    selected = {fold.test for fold in protocol.find("handbook-validation").folds}
    for name in ("handbook-prequential", "handbook-baseline"):
        assert not selected & {fold.test for fold in protocol.find(name).folds}


def test_folds_end_with_the_newest_known_day() -> None:
    tune = TuneSettings(folds=2, train_d=5, test_d=3)
    folds = newest(date(2026, 3, 1), date(2026, 3, 19), tune=tune, labels=LABELS)
    assert [fold.test for fold in folds] == [
        (date(2026, 3, 16), date(2026, 3, 19)),
        (date(2026, 3, 13), date(2026, 3, 16)),
    ]
    with pytest.raises(NotEnoughDataError, match="needs 18 days whose truth is known, there are 17"):
        newest(date(2026, 3, 2), date(2026, 3, 19), tune=tune, labels=LABELS)
