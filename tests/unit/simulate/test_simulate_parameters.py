"""Parameters out of their bounds are refused by name."""

from __future__ import annotations

import pytest

from fraud.errors import ConfigError
from fraud.simulate.parameters import Parameters, file_count, file_name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("customers", 0),
        ("customers", -1),
        ("customers", 2**31),
        ("terminals", 0),
        ("days", 0),
        ("days", -3),
        ("days", 24_856),
        ("seed", -1),
        ("seed", 2**32),
        ("profile", "atlantis"),
    ],
)
def test_value_out_of_bounds_is_refused_by_name(name: str, value: object):
    with pytest.raises(ConfigError) as caught:
        Parameters(**{name: value})  # type: ignore[arg-type]
    assert caught.value.where == name
    assert str(value) in str(caught.value)


def test_extreme_values_are_accepted():
    Parameters(customers=1, terminals=1, days=1, seed=2**32 - 1)
    Parameters(days=24_855)


def test_a_file_holds_seven_days():
    assert [file_count(days) for days in (1, 7, 8, 183)] == [1, 1, 2, 27]
    assert [file_name(index) for index in (0, 1, 26)] == [
        "transactions-2018-04-01.parquet",
        "transactions-2018-04-08.parquet",
        "transactions-2018-09-30.parquet",
    ]
