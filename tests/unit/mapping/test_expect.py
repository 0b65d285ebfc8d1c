"""A mapping says what it expects of its data, and is refused where that can never be meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from fraud.errors import DeclarationError
from fraud.mapping.spec import Mapping, load

CORE = """format_version: 1
columns: {transaction_id: id, event_time: at, amount: sum}
amount: {currency: EUR}
status: {column: state, values: {ok: approved}}
entities: {card_id: card}
attributes: {age: {column: a, type: number}, land: {column: l, type: category}}
"""
LABELS = """format_version: 1
kind: labels
columns: {transaction_id: id}
labels: {delay_d: 7}
"""


def mapping(folder: Path, text: str) -> Mapping:
    file = folder / "own.yaml"
    file.write_text(text, encoding="utf-8")
    return load(str(file), folder)


def test_digest_of_a_mapping_that_expects_nothing_is_that_of_earlier_releases(tmp_path: Path):
    found = mapping(tmp_path, CORE).digest
    assert found == "d09e0f2b1bfa71bc36ce95754bde322dc056360ce89edea95ce08955beb03710"
    assert mapping(tmp_path, CORE + "expect: {freshness_s: 60}\n").digest != found


@pytest.mark.parametrize(
    ("expect", "message"),
    [
        ("{freshness: 60}", "own.yaml:7: unknown key expect.freshness, did you mean freshness_s"),
        ("{ranges: {age: {mim: 0}}}", "unknown key expect.ranges.age.mim, did you mean min"),
        ("{volume: {min_ration: 0.5}}", "unknown key expect.volume.min_ration, did you mean min_ratio"),
        ("{ranges: {agee: {min: 0}}}", "own.yaml:7: expect: ranges.agee is no column of numbers, did you"),
        ("{ranges: {land: {min: 0}}}", "ranges.land is no column of numbers; known here: amount, age"),
        ("{ranges: {age: {min: 2, max: 1}}}", "expect.ranges.age: min 2 is above max 1"),
        ("{ranges: {age: {}}}", "state min, max or both"),
        ("{domains: {age: [x]}}", "domains.age is no column of categories"),
        (
            "{domains: {status: [aproved]}}",
            "domains.status: aproved is never a value of it, did you mean app",
        ),
        ("{domains: {kind: [buy]}}", "domains.kind: buy is never a value of it; known here: purchase"),
        ("{max_null_share: {amount: 0.1}}", "max_null_share.amount is no column that may be null"),
        (
            "{max_null_share: {age: 1.5}}",
            "expect.max_null_share.age: Input should be less than or equal to 1",
        ),
        ("{volume: {weeks: 4}}", "state min_ratio, max_ratio or both"),
        ("{volume: {max_ratio: 2, weeks: 2, min_weeks: 3}}", "min_weeks 3 is above weeks 2"),
    ],
)
def test_expectation_that_cannot_be_meant_is_refused_with_its_place(
    tmp_path: Path, expect: str, message: str
):
    with pytest.raises(DeclarationError) as refused:
        mapping(tmp_path, f"{CORE}expect: {expect}\n")
    assert message in str(refused.value)


def test_labels_have_no_expectations(tmp_path: Path):
    with pytest.raises(DeclarationError, match="a mapping of labels has"):
        mapping(tmp_path, LABELS + "expect: {freshness_s: 60}\n")


def test_domain_of_yaml_numbers_and_booleans_is_the_text_they_show(tmp_path: Path):
    expect = mapping(tmp_path, CORE + "expect: {domains: {land: [49, true]}}\n").expect
    assert expect is not None
    assert expect.domains["land"] == ("49", "true")
