from __future__ import annotations

import math

import pytest

from fraud.features.measure import NO_YES, Measure, Unit
from fraud.model.reason_catalogue import Catalogue
from fraud.model.reason_texts import Wording

CATALOGUE = Catalogue("en", "We could not confirm this payment", {"CARD_VELOCITY": "Unusual number"})


def analyst(unit, value, usual, *, currency="EUR", choices=()):
    return Wording(currency, CATALOGUE).analyst(Measure("X", "it", unit, choices=choices), value, usual)


def test_reason_has_a_code_and_a_text_for_each_reader():
    measure = Measure("CARD_VELOCITY", "transactions of this card in 24 h", Unit.COUNT)
    assert Wording("EUR", CATALOGUE).told(measure, 7.0, 1.0) == {
        "code": "CARD_VELOCITY",
        "analyst": "transactions of this card in 24 h: 7, usually 1",
        "customer": "Unusual number",
    }


@pytest.mark.parametrize(
    ("unit", "value", "usual", "said"),
    [
        (Unit.MONEY, 22_000.0, 4_812.4, "it: 220.00 EUR, usually 48.12 EUR"),
        (Unit.MONEY, -150.0, 0.0, "it: -1.50 EUR, usually 0.00 EUR"),
        (Unit.SHARE, 0.25, 0.0, "it: 25 %, usually 0 %"),
        (Unit.SHARE, 1 / 3, 0.005, "it: 33.3 %, usually 0.5 %"),
        (Unit.SECONDS, 40.0, 39_600.0, "it: 40 s, usually 11.0 h"),
        (Unit.SECONDS, 7199.0, 7200.0, "it: 120.0 min, usually 2.0 h"),
        (Unit.SECONDS, 90_000.0, 267_840.0, "it: 25.0 h, usually 3.1 days"),
        (Unit.RATIO, 4.236, 0.98, "it: 4.24, usually 0.98"),
        (Unit.NUMBER, 812.5, 3.0, "it: 812.5, usually 3"),
        (Unit.COUNT, 14.0, 2.0, "it: 14, usually 2"),
    ],
)
def test_value_and_usual_are_in_the_units_people_use(unit, value, usual, said):
    assert analyst(unit, value, usual) == said


@pytest.mark.parametrize(
    ("currency", "said"),
    [("JPY", "22000 JPY"), ("KWD", "22.000 KWD"), ("USD", "220.00 USD"), ("XAU", "22000 XAU")],
)
def test_money_has_the_digits_of_its_currency(currency, said):
    assert analyst(Unit.MONEY, 22_000.0, 22_000.0, currency=currency) == f"it: {said}, usually {said}"


def test_choice_is_said_by_its_name_without_a_usual_one():
    assert analyst(Unit.CHOICE, 1.0, 0.0, choices=NO_YES) == "it: yes"


def test_missing_is_said():
    assert analyst(Unit.COUNT, math.nan, 3.0) == "it: missing, usually 3"
    assert analyst(Unit.SECONDS, 9.0, math.nan) == "it: 9 s, usually missing"
    assert analyst(Unit.CHOICE, math.nan, math.nan, choices=("web", "another")) == "it: missing"
