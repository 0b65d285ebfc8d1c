"""A feature set is read from YAML; what cannot be used is refused with its line and a remedy."""

from __future__ import annotations

import re
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


WINDOW = "window: card_id, stats: [count], spans: [1d]"
MEANS = (
    "column: amount",
    "window: card_id, of: amount, stats: [mean], spans: [7d]",
    "window: card_id, of: amount, stats: [mean], spans: [7d], include_self: false",
)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        # the kind
        ("kolumn: amount", "a feature is one of calendar, categorical, .*; did you mean column?"),
        ("stats: [count], windw: card_id, spans: [1d]", "did you mean window?"),
        ("z_score: amount, window: card_id, spans: [7d]", "unknown key z_score; a window has window, of,"),
        ("column: amount, column: age", "the key column is there twice"),
        # its keys
        ("window: card_id, stat: [count], spans: [1d]", "unknown key stat; did you mean stats?"),
        (f"{WINDOW}, dellay: 7d", "unknown key dellay; did you mean delay?"),
        ("column: amount, values: [a]", "unknown key values; a column has column"),
        ("window: card_id, spans: [1d]", "the key stats is missing: write {window: card_id, of: amount,"),
        ("categorical: c", "the key values is missing: write {categorical: channel, values: [web, shop]}"),
        ("ratio: amount", "the key to is missing: write {ratio: amount, to: "),
        ("zscore: amount, window: card_id, spans: [7d], empty: 0", "unknown key empty; a zscore has zscore,"),
        # names of columns
        ("column: 5", "column: 5 is no text"),
        ("column: ", "column: nothing is no text"),
        ("column: amount_minor", "write amount: it is the amount in minor units of the base currency"),
        ("column: event_time", "event_time is no attribute"),
        ("column: fraud", "write a window with of: fraud and a delay"),
        ("column: kind", "write categorical: kind"),
        ("categorical: amount, values: [a]", "amount is a number"),
        ("categorical: status, values: [a]", "a status is known later than its transaction"),
        ("window: card_id, of: status, stats: [distinct], spans: [1d]", "a status is known later than"),
        ("categorical: c, values: web", "values: write a list: [web]"),
        ("categorical: c, values: [1]", "values: 1 is no text: write a name, in quotes"),
        ("categorical: c, values: [NO]", "values: YAML reads this as false: write it in quotes"),
        ("categorical: c, values: [a, a]", "values: a is there twice"),
        ("categorical: c, values: []", "values: the list is empty"),
        ("categorical: event_date, values: [a]", "a feature cannot be named event_date"),
        # entities
        ("window: [a, b, c], stats: [count], spans: [1d]", "two such as [card_id, ip]"),
        ("window: [a, a], stats: [count], spans: [1d]", "two such as [card_id, ip]"),
        ("window: , stats: [count], spans: [1d]", "window: None is no entity"),
        ("window: amount, stats: [count], spans: [1d]", "amount is a number"),
        # durations
        ("window: card_id, stats: [count], spans: [7]", "spans: 7 has no unit: write 7d or 7h"),
        ("window: card_id, stats: [count], spans: 7d", "spans: write a list: [7d]"),
        ("window: card_id, stats: [count], spans: [1w]", "a whole number and s, m, h or d, such as 7d"),
        ("window: card_id, stats: [count], spans: [1.5d]", "a whole number and s, m, h or d, such as 7d"),
        ("window: card_id, stats: [count], spans: [0d]", "spans: a span is longer than nothing"),
        ("zscore: amount, window: card_id, spans: [0d]", "spans: a span is longer than nothing"),
        ("window: card_id, stats: [count], spans: [1d, 24h]", "spans: 1d is there twice"),
        ("window: card_id, stats: [count], spans: []", "spans: the list is empty"),
        (f"{WINDOW}, delay: 7", "delay: 7 has no unit: write 7d or 7h"),
        # statistics
        ("window: card_id, stats: [cuont], spans: [1d]", "cuont is none of count, .*; did you mean count?"),
        ("window: card_id, stats: [median], spans: [1d]", "median is none of count, sum, mean, std, min,"),
        ("window: card_id, stats: count, spans: [1d]", "stats: write a list: [count]"),
        ("window: card_id, stats: [count, count], spans: [1d]", "card_id_count_1d is declared twice"),
        ("window: card_id, stats: [mean], spans: [1d]", "mean needs to know of what: .* of: amount"),
        (
            "window: card_id, stats: [distinct], spans: [1d]",
            "distinct needs to know of what: .* of: terminal",
        ),
        ("window: card_id, of: amount, stats: [distinct], spans: [1d]", "of a column of texts, such as"),
        ("window: card_id, of: card_id, stats: [mean], spans: [1d]", "card_id is a text: it has distinct,"),
        (
            "window: card_id, of: x, stats: [distinct, mean], spans: [1d]",
            "write distinct and first_time apart",
        ),
        ("window: card_id, of: x, stats: [distinct], spans: [1d], delay: 1d", "leave delay out"),
        ("window: card_id, of: fraud, stats: [mean], spans: [1d]", "needs a delay, such as delay: 7d"),
        (
            "window: card_id, of: fraud, stats: [std], spans: [1d], delay: 7d",
            "a window of fraud has count, mean",
        ),
        (
            "window: card_id, of: fraud, stats: [mean], spans: [1d], delay: 7d, where: {kind: refund}",
            "a window of fraud takes no where",
        ),
        (f"{WINDOW}, empty: none", "empty: none should be a valid number"),
        (f"{WINDOW}, empty: .nan", "empty: nan should be a finite number"),
        (f"{WINDOW}, include_self: maybe", "include_self: maybe should be a valid boolean"),
        # conditions
        (f"{WINDOW}, where: web", "'web' is no condition: .* such as {channel: [web]}"),
        (f"{WINDOW}, where: [web]", "is no condition: .* such as {channel: [web]}"),
        (f"{WINDOW}, where: {{status: []}}", "status has no value: name one, or leave the condition out"),
        (f"{WINDOW}, where: {{country: NO}}", "YAML reads false there: write a text, in quotes"),
        (f"{WINDOW}, where: {{code: 5}}", "YAML reads 5 there: write a text, in quotes"),
        (f"{WINDOW}, where: {{kind: refnd}}", "refnd is no kind: they are purchase, verification, refund"),
        (f"{WINDOW}, where: {{amount: '5'}}", "amount is a number"),
        (f"{WINDOW}, where: {{event_time: '5'}}", "event_time is no attribute"),
        # the clock
        ("calendar: nite", "nite is none of weekend, night, hour, day_of_week; did you mean night?"),
        ("calendar: night", "hours: [first, last]"),
        ("calendar: hour, hours: [0, 6]", "hours: [first, last] with night, and only there"),
        ("calendar: night, hours: [22, 6]", "a night begins at midnight"),
        ("calendar: night, hours: [0, 24]", "hours: 24 should be less than or equal to 23"),
        ("calendar: night, hours: [0]", "part of hours is missing: write {calendar: night, hours: [0, 6]}"),
        # what it stands on
        ("zscore: fraud, window: card_id, spans: [7d]", "write a window with of: fraud and a delay"),
        (
            "zscore: amount, window: card_id, spans: [7d], floor: -1",
            "floor: -1 should be greater than or equal",
        ),
        ("ratio: amount, to: nothing", "nothing is not declared above, and what is needed comes first"),
        ("ratio: amount, to: card_id_amount_mean_7", "did you mean card_id_amount_mean_7d?"),
        ("difference: amount, minus: amuont", "amuont is not declared above: did you mean amount?"),
        ("ratio: amount, to: card_id_amount_mean_7d", "declare that window with include_self: false"),
        ("column: amount", "amount is declared in line 5 already"),
    ],
)
def test_unusable_entry_is_refused_with_its_line_and_a_remedy(entry: str, message: str):
    with pytest.raises(DeclarationError) as error:
        load_text(of(*MEANS, entry), "own.yaml")
    assert re.match(f"own.yaml, line 8: .*{plain(message)}", str(error.value))


def plain(message: str) -> str:
    """A pattern in which only ``.*`` is special."""
    return re.escape(message).replace(r"\.\*", ".*")


TOP = of("column: amount")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "own.yaml, line 1: this is not YAML"),
        (TOP + "\t- column: age", "own.yaml, line 6: this is not YAML"),
        ("[]", "own.yaml: expected the keys format_version, name, time_zone, features"),
        ("", "own.yaml: expected the keys"),
        (
            TOP.replace("UTC", "Mars/Base"),
            "own.yaml, line 3: the time zone Mars/Base is not known: write UTC",
        ),
        (TOP.replace("UTC", "Europe"), "own.yaml, line 3: the time zone Europe is not known: write UTC"),
        (TOP.replace("UTC", "5"), "own.yaml, line 3: the time zone 5 is not known: write UTC"),
        (TOP.replace("name: t", "name: 5"), "own.yaml, line 2: 5 is no text: write the name in quotes"),
        (TOP.replace("name: t\n", ""), "own.yaml: the key name is missing"),
        (TOP.replace("features", "feature"), "own.yaml, line 4: unknown key feature; did you mean features?"),
        (TOP + "extra: 1\n", "own.yaml, line 6: unknown key extra; the keys are format_version, name,"),
        (TOP + "1: 1\n", "own.yaml, line 6: unknown key 1; the keys are"),
        (TOP + "features: []\n", "own.yaml, line 6: the key features is there twice"),
        (TOP.replace(": 1", ": '1'"), "own.yaml, line 1: write format_version: 1"),
        (of(), "own.yaml, line 4: features is a list of at least one feature"),
        (of() + "  column: amount\n", "own.yaml, line 4: features is a list of at least one feature"),
        (of() + "  - amount\n", "own.yaml, line 5: a feature is one of .* with its keys: - column: amount"),
        (of() + "  -\n", "own.yaml, line 5: a feature is one of .* with its keys: - column: amount"),
    ],
)
def test_unusable_file_is_refused_with_its_line_and_a_remedy(text: str, message: str):
    with pytest.raises(DeclarationError) as error:
        load_text(text, "own.yaml")
    assert re.match(plain(message), str(error.value))


def test_kind_is_told_by_its_key_wherever_it_stands():
    (first,) = load_text(of("zscore: amount, window: card_id, spans: [7d]"), "a").declarations
    (second,) = load_text(of("window: card_id, spans: [7d], zscore: amount"), "b").declarations
    assert first == second


def test_same_duration_in_another_unit_is_the_same_set():
    week, hours = (load_text(of(f"window: card_id, stats: [count], spans: [{s}]"), s) for s in ("7d", "168h"))
    assert week.version == hours.version
    assert week.names == hours.names == ("card_id_count_7d",)


def test_set_says_what_it_reads():
    features = load_text(
        of(
            "column: amount",
            "categorical: channel, values: [web]",
            "zscore: risk, window: card_id, spans: [7d]",
            "window: [card_id, ip], of: age, stats: [mean], spans: [1d], delay: 2d",
            "window: card_id, of: ip, stats: [distinct], spans: [3d], where: {country: de, kind: refund}",
            "window: card_id, stats: [count], spans: [3d], where: {status: declined}",
        ),
        "t",
    )
    assert features.entities == ("card_id", "ip")
    assert (*features.keys,) == ("card_id", "card_id+ip")
    assert features.numbers == ("risk", "age")
    assert features.texts == ("channel", "country")
    assert features.kinds == ("purchase", "verification", "refund")
    assert features.history == timedelta(days=7)


@pytest.mark.parametrize(
    ("entry", "names"),
    [
        (
            "window: card_id, of: amount, stats: [sum, count], spans: [1d]",
            "card_id_amount_sum_1d card_id_count_1d",
        ),
        (
            "window: card_id, of: amount, stats: [max, seconds_since_last], spans: [6h], include_self: false",
            "card_id_amount_max_6h_before card_id_seconds_since_last_6h",
        ),
        (
            "window: terminal_id, of: fraud, stats: [count, seconds_since_last], spans: [28d], delay: 7d",
            "terminal_id_count_28d_delay_7d terminal_id_fraud_seconds_since_last_28d_delay_7d",
        ),
        ("window: [card_id, ip], stats: [first_time], spans: [30d]", "card_id_ip_first_time_30d"),
        (
            "window: card_id, stats: [count], spans: [1d], where: {status: [declined, no-show]}",
            "card_id_count_1d_where_status_declined_no_show",
        ),
        ("zscore: risk, window: [card_id, ip], spans: [7d], delay: 1d", "card_id_ip_risk_zscore_7d_delay_1d"),
    ],
)
def test_names_say_what_is_asked_for(entry: str, names: str):
    assert " ".join(load_text(of(entry), "t").names) == names


def test_other_format_version_is_refused():
    with pytest.raises(FormatVersionError, match="format_version 2"):
        load_text(of("column: amount").replace("format_version: 1", "format_version: 2"), "own.yaml")


def test_missing_feature_set_names_the_known_ones():
    with pytest.raises(ConfigError, match="handbook"):
        load("handbok", FOLDER)
