"""What a layout keeps follows from its windows, and tells which feature sets a state can serve."""

from __future__ import annotations

import pytest

from fraud.features.layout import Layout
from fraud.features.spec import FeatureSet, load_text

AMOUNTS = "{window: card_id, of: amount, stats: [mean], spans: [30d]}"
FRAUDS = "{window: terminal_id, of: fraud, stats: [mean], spans: [30d], delay: 7d}"


def features(*entries: str) -> FeatureSet:
    listed = "".join(f"  - {entry}\n" for entry in entries)
    return load_text(f"format_version: 1\nname: x\ntime_zone: UTC\nfeatures:\n{listed}", "x")


@pytest.mark.parametrize(
    ("entry", "columns"),
    [
        ("{window: card_id, stats: [count, seconds_since_last], spans: [1d]}", {}),
        ("{window: card_id, of: amount, stats: [count], spans: [1d]}", {}),
        (AMOUNTS, {"amount": "<i8"}),
        ("{window: card_id, of: risk, stats: [std], spans: [1d]}", {"risk": "<f8"}),
        ("{window: card_id, of: channel, stats: [distinct], spans: [1d]}", {"channel": "<i8"}),
        ("{window: card_id, stats: [count], spans: [1d], where: {kind: [refund]}}", {}),
        (
            "{window: card_id, stats: [count], spans: [1d], where: {status: [declined]}}",
            {"status": "<i8", "status_time": "<i8"},
        ),
        ("{zscore: amount, window: card_id, spans: [1d]}", {"amount": "<i8"}),
        (FRAUDS, {}),
    ],
)
def test_a_record_holds_what_the_window_reads_and_no_more(entry: str, columns: dict[str, str]):
    (key,) = Layout.of([features(entry)]).keys.values()
    assert key.columns == columns


def test_the_kind_is_kept_where_windows_want_different_ones():
    refunds = "{window: card_id, stats: [count], spans: [1d], where: {kind: [refund]}}"
    key = Layout.of([features(AMOUNTS, refunds)]).keys["card_id"]
    assert key.columns == {"amount": "<i8", "kind": "<i8"}
    assert key.kinds == ("purchase", "verification", "refund")


def test_labels_are_kept_for_windows_of_fraud_only():
    keys = Layout.of([features(AMOUNTS, FRAUDS)]).keys
    assert keys["card_id"].labels is None
    assert keys["terminal_id"].labels is not None


def test_each_entity_has_the_history_of_its_own_windows():
    keys = Layout.of([features(AMOUNTS, FRAUDS)]).keys
    days = {name: key.history_us / 86_400_000_000 for name, key in keys.items()}
    assert days == {"card_id": 30, "terminal_id": 37}


@pytest.mark.parametrize(
    "entry",
    [
        AMOUNTS,
        "{window: card_id, of: amount, stats: [std, max, sum], spans: [1h, 7d], delay: 2d}",
        "{window: card_id, stats: [count, first_time], spans: [3d]}",
        "{zscore: amount, window: card_id, spans: [7d]}",
        "{window: terminal_id, of: fraud, stats: [seconds_since_last], spans: [10d], delay: 1d}",
        "{column: distance}",
    ],
)
def test_windows_over_what_is_kept_are_covered(entry: str):
    assert Layout.of([features(AMOUNTS, FRAUDS)]).covers(features(entry))


@pytest.mark.parametrize(
    "entry",
    [
        "{window: card_id, of: amount, stats: [mean], spans: [31d]}",
        "{window: card_id, of: risk, stats: [mean], spans: [1d]}",
        "{window: card_id, of: terminal_id, stats: [distinct], spans: [1d]}",
        "{window: card_id, stats: [count], spans: [1d], where: {kind: [refund]}}",
        "{window: card_id, stats: [count], spans: [1d], where: {kind: [purchase]}}",
        "{window: card_id, of: fraud, stats: [count], spans: [1d], delay: 7d}",
        "{window: ip, stats: [count], spans: [1d]}",
        "{window: [card_id, terminal_id], stats: [count], spans: [1d]}",
    ],
)
def test_windows_over_anything_else_are_not_covered(entry: str):
    assert not Layout.of([features(AMOUNTS, FRAUDS)]).covers(features(entry))
    assert Layout.of([features(AMOUNTS, FRAUDS), features(entry)]).covers(features(entry))


def test_a_layout_is_read_back_as_it_was():
    layout = Layout.of(
        [features(AMOUNTS, FRAUDS), features("{zscore: amount, window: card_id, spans: [1d]}")]
    )
    assert Layout.from_json(layout.to_json()) == layout
