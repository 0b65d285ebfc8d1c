from __future__ import annotations

import re
from pathlib import Path

import pytest

from serve_app.telemetry import BUCKETS_S, METRICS, Telemetry

OPERATIONS = Path(__file__).resolve().parents[3] / "docs" / "operations.md"


def test_decisions_count_by_outcome_and_cause() -> None:
    telemetry = Telemetry()
    for degraded in (None, None, "state_busy"):
        telemetry.decided("review", degraded=degraded)
    totals = telemetry.totals()
    assert totals["fraud_decisions", "review", "no"] == 2
    assert totals["fraud_decisions", "review", "state_busy"] == 1


def test_every_call_counts_under_a_name_that_is_listed() -> None:
    telemetry = Telemetry()
    telemetry.decided("approve", degraded=None)
    telemetry.refused("card_number")
    telemetry.shadowed(agrees=False)
    telemetry.unread(2)
    telemetry.unread(0)
    telemetry.stage("state", 0.001)
    telemetry.count("records_shipped", 5)
    telemetry.swapped("3")
    telemetry.gauge("disk_free_bytes", 7)
    tags = {metric.name: len(metric.tags) for metric in METRICS}
    counted = {**telemetry.totals(), **telemetry.gauges()}
    assert all(len(key) - 1 == tags[key[0]] for key in counted)
    assert counted["fraud_unread_attributes",] == 2
    assert counted["fraud_records_shipped",] == 5
    assert counted["fraud_disk_free_bytes",] == 7


def test_a_bucket_holds_all_durations_up_to_its_edge() -> None:
    telemetry = Telemetry()
    for seconds in (0.0001, 0.001, 0.0011, 9.0):
        telemetry.stage("total", seconds)
    totals = telemetry.totals()
    upto = {str(edge): totals["fraud_stage_seconds_bucket", "total", str(edge)] for edge in BUCKETS_S}
    assert (upto["0.00025"], upto["0.001"], upto["0.002"], upto["5.0"]) == (1, 2, 3, 3)
    assert totals["fraud_stage_seconds_bucket", "total", "+Inf"] == 4
    assert totals["fraud_stage_seconds_count", "total"] == 4
    assert totals["fraud_stage_seconds_sum", "total"] == pytest.approx(9.0022)


def test_a_rise_is_told_once() -> None:
    telemetry = Telemetry()
    telemetry.refused("conflict")
    telemetry.refused("conflict")
    assert telemetry.rises() == {("fraud_refusals", "conflict"): 2}
    assert telemetry.rises() == {}
    telemetry.refused("conflict")
    assert telemetry.rises() == {("fraud_refusals", "conflict"): 1}


def test_one_model_serves_and_the_one_before_does_not() -> None:
    telemetry = Telemetry()
    for version in ("1", "2", "3"):
        telemetry.swapped(version)
    assert telemetry.gauges() == {("fraud_model", "2"): 0, ("fraud_model", "3"): 1}


def test_a_gauge_or_counter_nobody_listed_is_refused() -> None:
    with pytest.raises(KeyError):
        Telemetry().gauge("warp", 9)
    with pytest.raises(KeyError):
        Telemetry().count("warp")


def test_the_operations_page_lists_exactly_the_metrics() -> None:
    named = {metric.name for metric in METRICS}
    assert {name for name in re.findall(r"`(fraud_\w+)`", OPERATIONS.read_text()) if name in named} == named
    assert len(named) == len(METRICS)
