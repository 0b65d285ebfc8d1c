from __future__ import annotations

from datetime import UTC, date, datetime

from fraud.monitor.week import is_complete, monday


def test_a_week_is_named_by_its_monday():
    assert monday(date(2026, 3, 2)) == monday(date(2026, 3, 8)) == date(2026, 3, 2)
    assert monday(date(2026, 1, 1)) == date(2025, 12, 29)


def test_a_week_is_complete_once_its_sunday_has_begun():
    assert not is_complete(date(2026, 3, 2), datetime(2026, 3, 7, 23, 59, 59, tzinfo=UTC))
    assert is_complete(date(2026, 3, 2), datetime(2026, 3, 8, tzinfo=UTC))
