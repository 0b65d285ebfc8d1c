from __future__ import annotations

import pytest
import yaml
from kind_examples import declare, example

from fraud.features.kind import Kind
from fraud.features.kinds import KINDS
from fraud.features.measure import NO_YES, Unit, code

AMOUNT = {"column": "amount"}
USUAL = {"window": "card_id", "of": "amount", "stats": ["mean"], "spans": ["7d"], "include_self": False}


def measured(*entries):
    return declare(*entries).measures


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_feature_of_every_kind_has_a_measure(kind: type[Kind]):
    found = example(kind)
    assert tuple(found.measures) == found.names
    for measure in found.measures.values():
        assert measure.code == measure.code.upper().strip("_")
        assert measure.subject
        assert bool(measure.choices) == (measure.unit is Unit.CHOICE)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("{window: card_id, stats: [count], spans: [1h, 30d]}", "CARD_VELOCITY"),
        ("{window: card_id, stats: [count], spans: [2d], delay: 7d}", "CARD_VELOCITY"),
        ("{window: card_id, of: amount, stats: [sum], spans: [1d]}", "CARD_AMOUNT_TOTAL"),
        ("{window: card_id, of: amount, stats: [mean, std, min, max], spans: [1d]}", "CARD_AMOUNT_LEVEL"),
        ("{window: ip, of: basket_items, stats: [max], spans: [1d]}", "IP_BASKET_ITEMS_LEVEL"),
        ("{window: card_id, of: device_id, stats: [distinct], spans: [1d]}", "CARD_DEVICE_VARIETY"),
        ("{window: card_id, of: device_id, stats: [first_time], spans: [1d]}", "CARD_DEVICE_NEW"),
        ("{window: [card_id, device_id], stats: [first_time], spans: [1d]}", "CARD_DEVICE_NEW"),
        ("{window: email_hash, stats: [seconds_since_last], spans: [1d]}", "EMAIL_RECENCY"),
        (
            "{window: ip, of: fraud, stats: [sum, mean, seconds_since_last], spans: [1d], delay: 7d}",
            "IP_KNOWN_FRAUDS",
        ),
        (
            "{window: card_id, stats: [count], spans: [1d], where: {status: [declined]}}",
            "CARD_DECLINED_VELOCITY",
        ),
        ("{calendar: night, hours: [0, 5]}", "NIGHT"),
        ("{calendar: hour}", "TIME_OF_DAY"),
        ("{categorical: channel, values: [web]}", "CHANNEL"),
        ("{column: ip_distance_km}", "IP_DISTANCE_KM"),
        ("{zscore: amount, window: card_id, spans: [7d, 90d]}", "AMOUNT_UNUSUAL_FOR_CARD"),
    ],
)
def test_code_follows_from_whose_and_what_not_from_the_span(entry, expected):
    assert {measure.code for measure in measured(yaml.safe_load(entry)).values()} == {expected}


def test_comparison_with_an_entitys_usual_says_of_whom():
    usual = "card_id_amount_mean_7d_before"
    comparisons = ({"ratio": "amount", "to": usual}, {"difference": "amount", "minus": usual})
    ratio, difference = list(measured(AMOUNT, USUAL, *comparisons).values())[-2:]
    assert ratio.code == difference.code == "AMOUNT_UNUSUAL_FOR_CARD"
    assert (ratio.unit, difference.unit) == (Unit.RATIO, Unit.MONEY)
    assert ratio.subject == "amount relative to mean amount over transactions of this card in 7 days"


def test_comparison_with_the_same_entitys_longer_past_stays_the_measure():
    counts = {"window": "card_id", "stats": ["count"], "spans": ["1h"]}
    before = {"window": "card_id", "stats": ["count"], "spans": ["30d"], "include_self": False}
    ratio = {"ratio": "card_id_count_1h", "to": "card_id_count_30d_before"}
    assert {measure.code for measure in measured(counts, before, ratio).values()} == {"CARD_VELOCITY"}


def test_comparison_of_two_columns_has_a_code():
    entries = [{"column": "spent"}, {"column": "limit"}, {"ratio": "spent", "to": "limit"}]
    assert list(measured(*entries).values())[-1].code == "SPENT_UNUSUAL"


def test_subject_says_whose_when_and_under_which_condition():
    window = {"window": "card_id", "stats": ["count"], "spans": ["1d"], "where": {"status": ["declined"]}}
    fraud = {"window": "terminal_id", "of": "fraud", "stats": ["sum"], "spans": ["28d"], "delay": "7d"}
    first = {"window": ["card_id", "ip"], "stats": ["first_time"], "spans": ["30m"]}
    subjects = [measure.subject for measure in measured(window, fraud, first).values()]
    assert subjects == [
        "declined transactions of this card in 24 h",
        "known frauds among transactions of this terminal in the 28 days that ended 7 days before",
        "first among transactions of this card and ip in 30 min",
    ]


def test_choices_stand_for_the_values():
    found = measured({"calendar": "weekend"}, {"categorical": "channel", "values": ["web", "shop"]})
    assert [measure.choices for measure in found.values()] == [NO_YES, ("web", "shop", "another")]


def test_code_is_made_of_words():
    assert code("card_id", "my-own {column}", "", "velocity") == "CARD_MY_OWN_COLUMN_VELOCITY"
