"""An alert is noted once a cause, whoever notices it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from fraud.storage import alerts
from fraud.storage.alerts import Alert
from fraud.storage.lake import Lake

ALERT = Alert("model_refused", alerts.ERROR, "models:/fraud/3", "its booster is damaged", "1", "steward")


def test_alert_is_kept_with_what_somebody_needs_to_act(lake: Lake) -> None:
    assert alerts.add(lake, ALERT)
    (row,) = alerts.entries(lake)
    assert row["id"] == ALERT.id
    assert (row["kind"], row["severity"], row["subject"]) == ("model_refused", "error", "models:/fraud/3")
    assert (row["message"], row["actor"], row["run_id"]) == ("its booster is damaged", "steward", None)


def test_the_same_cause_is_noted_once_however_often_it_is_met(lake: Lake) -> None:
    assert [alerts.add(lake, ALERT) for _ in range(3)] == [True, False, False]
    # Told in other words, it is the same cause.
    assert not alerts.add(lake, replace(ALERT, message="it is still damaged"))
    assert len(alerts.entries(lake)) == 1


def test_another_subject_or_occasion_is_another_alert(lake: Lake) -> None:
    others = [replace(ALERT, subject="models:/fraud/4"), replace(ALERT, occasion="2")]
    assert all(alerts.add(lake, each) for each in (ALERT, *others))
    assert len({row["id"] for row in alerts.entries(lake)}) == 3


def test_writers_at_the_same_moment_note_a_cause_once(lake: Lake) -> None:
    with ThreadPoolExecutor(8) as pool:
        noted = list(pool.map(lambda _: alerts.add(lake, ALERT), range(8)))
    assert noted.count(True) == 1
    assert len(alerts.entries(lake)) == 1


def test_a_lake_without_alerts_has_none(lake: Lake) -> None:
    assert alerts.entries(lake) == []
