"""A feature set is read from YAML; what cannot be used is refused with its line and a remedy."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from fraud.errors import ConfigError, DeclarationError, FormatVersionError
from fraud.features.spec import load, load_text

FOLDER = Path(__file__).parents[3] / "configs" / "features"


def of(*features: str) -> str:
    return "format_version: 1\nname: t\ntime_zone: UTC\nfeatures:\n" + "".join(
        f"  - {{{entry}}}\n" for entry in features
    )


def test_handbook_has_the_fifteen_published_features():
    handbook = load("handbook", FOLDER)
    assert len(handbook.names) == 15
    assert handbook.names[:4] == ("amount", "is_weekend", "is_night", "card_id_count_1d")
    assert handbook.names[-1] == "terminal_id_fraud_mean_30d_delay_7d"
    assert handbook.history == timedelta(days=37)


def test_canonical_text_reads_back_as_the_same_set():
    handbook = load("handbook", FOLDER)
    assert load_text(handbook.to_yaml(), "again") == handbook


def test_version_ignores_the_name_and_comments_but_no_declaration():
    plain = load_text(of("column: amount"), "a")
    renamed = load_text("# other\n" + of("column: amount").replace("name: t", "name: u"), "b")
    other = load_text(of("column: amount", "calendar: weekend"), "c")
    assert plain.version == renamed.version != other.version


def test_attributes_are_what_the_source_must_carry():
    features = load_text(of("column: age", "column: amount", "categorical: shop, values: [a]"), "x")
    assert features.attributes == ("age", "shop")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (of("column: amount", "column: amount"), "line 6: amount is declared in line 5 already"),
        (of("window: card_id, of: fraud, stats: [mean], spans: [1d]"), "delay: 7d"),
        (of("window: card_id, stats: [mean], spans: [1d]"), "of: amount or of: fraud"),
        (of("window: card_id, stats: [count], spans: [1w]"), "such as 7d"),
        (of("window: card_id, stats: [count], spans: [0d]"), "longer than nothing"),
        (of("window: card_id, stats: [median], spans: [1d]"), "line 5: stats.0"),
        (of("window: card_id, stats: [count], spans: [1d], dellay: 7d"), "dellay"),
        (of("calendar: night"), "hours: \\[first, last\\]"),
        (of("calendar: night, hours: [22, 6]"), "split a night at midnight"),
        (of("kolumn: amount"), "line 5: a feature starts with one of column, categorical"),
        ("a: [", "not YAML"),
        ("[]", "expected the keys"),
        (of("column: amount").replace("UTC", "Mars/Base"), "time_zone 'Mars/Base' is not known"),
        (of("column: amount") + "extra: 1\n", "unknown key 'extra'"),
        (of("column: amount").replace("name: t\n", ""), "key 'name' is missing"),
        ("format_version: 1\nname: t\ntime_zone: UTC\nfeatures: []\n", "at least one feature"),
    ],
)
def test_unusable_declaration_says_where_and_what(text: str, message: str):
    with pytest.raises(DeclarationError, match=message):
        load_text(text, "own.yaml")


def test_other_format_version_is_refused():
    with pytest.raises(FormatVersionError, match="format_version 2"):
        load_text(of("column: amount").replace("format_version: 1", "format_version: 2"), "own.yaml")


def test_missing_feature_set_names_the_known_ones():
    with pytest.raises(ConfigError, match="handbook"):
        load("handbok", FOLDER)
