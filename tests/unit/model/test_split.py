from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud.errors import NotEnoughDataError
from fraud.model.split import Fold, fold, prequential, require_days, with_train_days


def test_fold_waits_for_the_labels():
    made = fold(date(2018, 7, 25), train_d=7, gap_d=7, test_d=7)
    assert made == Fold(
        "2018-08-08", (date(2018, 7, 25), date(2018, 8, 1)), (date(2018, 8, 8), date(2018, 8, 15))
    )


def test_newest_fold_comes_first_and_ends_with_the_data():
    newest, older = prequential(date(2024, 1, 1), date(2024, 2, 1), folds=2, train_d=10, gap_d=5, test_d=3)
    assert newest.test == (date(2024, 1, 29), date(2024, 2, 1))
    assert newest.train == (date(2024, 1, 14), date(2024, 1, 24))
    assert older.test == (date(2024, 1, 26), date(2024, 1, 29))


def test_folds_may_use_every_day_but_not_one_more():
    def cut(first: date) -> int:
        return len(prequential(first, date(2024, 1, 23), folds=2, train_d=10, gap_d=6, test_d=3))

    assert cut(date(2024, 1, 1)) == 2
    with pytest.raises(NotEnoughDataError, match=r"need 22 days, 2024-01-02 to 2024-01-22 .* are 21"):
        cut(date(2024, 1, 2))


def test_data_must_reach_over_all_folds():
    folds = [fold(date(2018, 7, 25), train_d=7, gap_d=7, test_d=7)]
    require_days("it", folds, first=date(2018, 7, 25), last=date(2018, 8, 15))
    for first, last in [(date(2018, 7, 26), date(2018, 8, 15)), (date(2018, 7, 25), date(2018, 8, 14))]:
        with pytest.raises(NotEnoughDataError, match="needs transactions of 2018-07-25 to 2018-08-14"):
            require_days("it", folds, first=first, last=last)


@given(st.integers(1, 5), st.integers(1, 30), st.integers(0, 30), st.integers(1, 10))
def test_no_fold_tests_a_day_it_could_have_trained_on(folds, train_d, gap_d, test_d):
    first = date(2020, 1, 1)
    last = first + timedelta(days=train_d + gap_d + test_d * folds)
    made = prequential(first, last, folds=folds, train_d=train_d, gap_d=gap_d, test_d=test_d)
    for each in made:
        assert each.test[0] - each.train[1] == timedelta(days=gap_d)
        assert first <= each.train[0] < each.train[1] <= each.test[0] < each.test[1] <= last
    for newer, older in pairwise(made):
        assert older.test[1] == newer.test[0]


def test_more_training_days_begin_earlier_and_test_the_same():
    one = fold(date(2024, 1, 10), train_d=7, gap_d=7, test_d=7)
    longer = with_train_days(one, 28)
    assert longer.train == (date(2023, 12, 20), one.train[1])
    assert (longer.name, longer.test) == (one.name, one.test)
