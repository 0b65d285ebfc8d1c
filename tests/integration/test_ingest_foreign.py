"""Ingest of a source that is nothing like the handbook's, with its chargebacks in a second file."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest

from fraud import schema
from fraud.errors import ExpectationError, SchemaError, TableNotFoundError
from fraud.jobs import ingest
from fraud.jobs.mapping import check, init
from fraud.jobs.source import SourceName
from fraud.mapping.spec import Mapping, load
from fraud.settings import IngestSettings, MoneySettings, RateSettings
from fraud.storage.lake import Lake

pytestmark = pytest.mark.ray

MONEY = MoneySettings(
    rates=(
        RateSettings(currency="USD", since=date(2024, 1, 1), rate=0.92),
        RateSettings(currency="JPY", since=date(2024, 1, 1), rate=0.006),
    )
)
NOW = datetime(2025, 1, 1, tzinfo=UTC)
MAPPING = """format_version: 1
format: {separator: ";", decimal: ",", thousands: ".", encoding: latin-1, null_values: ["k.A."]}
times: {formats: ["%d.%m.%Y %H:%M:%S"], zone: Europe/Berlin, clock_change: reject}
columns: {transaction_id: Beleg, event_time: Zeitpunkt, amount: Betrag}
amount: {currency_column: Währung, negative: refund}
entities: {card_id: Karte}
attributes:
  age: {column: Kontoalter, type: number}
  note: {column: Vermerk, type: category}
"""
EXPECTING = (
    MAPPING
    + """expect:
  ranges: {age: {max: 100}}
  domains: {currency: [EUR, USD]}
  not_in_future_s: 0
"""
)
CHARGEBACKS = """format_version: 1
kind: labels
format: {separator: ";"}
times: {formats: ["%d.%m.%Y"], zone: Europe/Berlin}
columns: {transaction_id: Beleg}
labels: {time_column: Gemeldet, fraud_type: Grund, source: chargeback, delay_d: 30}
"""
ROWS = """Beleg;Zeitpunkt;Betrag;Währung;Karte;Kontoalter;Vermerk;Zeile
b0;01.10.2024 12:00:00;1.234,50;EUR;tok_1;1.000,5;"ä;
zwei Zeilen";x
b1;27.10.2024 01:59:59;10,00;USD;tok_1;k.A.;;x
b2;27.10.2024 02:30:00;10,00;EUR;tok_2;3;;x

only three;fields;here
b3;27.10.2024 03:00:00;-5,00;EUR;tok_2;3;;x
b4;31.10.2024 00:30:00;1500;JPY;;3;;x
b5;31.10.2024 00:30:00;15,5;JPY;tok_2;3;;x
b6;31.10.2024 00:30:00;1,00;CHF;tok_2;3;;x
b7;31.10.2024 00:30:00;zwölf;EUR;tok_2;3;;x
"""


def mapping(folder: Path, text: str = MAPPING, name: str = "bank") -> Mapping:
    file = folder / f"{name}.yaml"
    file.write_text(text, encoding="utf-8")
    return load(str(file), folder)


def run(
    lake: Lake, source: Path, declared: Mapping, money: MoneySettings = MONEY, share: float = 0.6
) -> dict[str, Any]:
    settings = IngestSettings(max_reject_share=share)
    return ingest.run(lake, SourceName(str(source)), declared, ingest=settings, money=money, now=NOW)


@pytest.fixture
def payments(tmp_path: Path) -> Path:
    file = tmp_path / "payments.csv"
    file.write_text(ROWS, encoding="latin-1")
    return file


def test_foreign_file_is_read_as_declared(tmp_path: Path, lake: Lake, payments: Path, ray_cluster: None):
    report = run(lake, payments, mapping(tmp_path))
    assert (report["rows"], report["transactions"], report["rejected"]) == (9, 4, 5)
    assert report["rejected_by_reason"] == {
        "amount_not_whole_minor": 1,
        "ambiguous_time": 1,
        "malformed_row": 1,
        "no_rate": 1,
        "unparsable_amount": 1,
    }
    columns = [
        "event_time",
        "kind",
        "amount_minor",
        "currency",
        "amount_base_minor",
        "card_id",
        "age",
        "note",
    ]
    table = lake.read(schema.TRANSACTIONS).sort_by("transaction_id")
    assert [tuple(row.values()) for row in table.select(columns).to_pylist()] == [
        (
            datetime(2024, 10, 1, 10, tzinfo=UTC),
            "purchase",
            123450,
            "EUR",
            123450,
            "tok_1",
            1000.5,
            "ä;\nzwei Zeilen",
        ),
        (datetime(2024, 10, 26, 23, 59, 59, tzinfo=UTC), "purchase", 1000, "USD", 920, "tok_1", None, None),
        (datetime(2024, 10, 27, 2, tzinfo=UTC), "refund", 500, "EUR", 500, "tok_2", 3.0, None),
        (datetime(2024, 10, 30, 23, 30, tzinfo=UTC), "purchase", 1500, "JPY", 900, None, 3.0, None),
    ]


def test_refused_rows_keep_their_number_and_all_columns(
    tmp_path: Path, lake: Lake, payments: Path, ray_cluster: None
):
    run(lake, payments, mapping(tmp_path))
    refused = lake.read(schema.REJECTS).sort_by("row").to_pylist()
    assert [(row["row"], row["reason"]) for row in refused] == [
        (2, "ambiguous_time"),
        (3, "malformed_row"),
        (6, "amount_not_whole_minor"),
        (7, "no_rate"),
        (8, "unparsable_amount"),
    ]
    assert json.loads(refused[1]["raw"]) == {"line": "only three;fields;here"}
    assert json.loads(refused[4]["raw"])["Zeile"] == "x"
    assert {row["source"] for row in refused} == {str(payments)}


def test_transactions_stay_known_when_rates_change(
    tmp_path: Path, lake: Lake, payments: Path, ray_cluster: None
):
    run(lake, payments, mapping(tmp_path))
    payments.write_text(payments.read_text(encoding="latin-1") + "\n", encoding="latin-1")
    other = MoneySettings(
        rates=tuple(entry.model_copy(update={"rate": 2 * entry.rate}) for entry in MONEY.rates)
    )
    report = run(lake, payments, mapping(tmp_path), other)
    assert (report["transactions"], report["known"]) == (0, 4)
    assert "conflict" not in report["rejected_by_reason"]


def test_chargebacks_label_the_transactions_of_the_lake(
    tmp_path: Path, lake: Lake, payments: Path, ray_cluster: None
):
    told = mapping(tmp_path, CHARGEBACKS, "chargebacks")
    file = tmp_path / "chargebacks.csv"
    file.write_text(
        "Beleg;Gemeldet;Grund\nb0;15.10.2024;gestohlen\nb1;;\nb9;15.10.2024;?\nb3;01.01.2024;?\nb0;15.10.2024;?\n"
    )
    with pytest.raises(TableNotFoundError, match="ingest the transactions"):
        run(lake, file, told)
    run(lake, payments, mapping(tmp_path))
    report = run(lake, file, told)
    assert (report["rows"], report["labels"], report["known"], report["rejected"]) == (5, 2, 1, 2)
    assert report["rejected_by_reason"] == {"label_before_event": 1, "unknown_transaction": 1}
    assert report["versions"]["transactions"] == 0
    labels = lake.read(schema.LABELS).drop_columns(["ingest_id"]).sort_by("transaction_id").to_pylist()
    assert labels == [
        {
            "transaction_id": "b0",
            "event_time": datetime(2024, 10, 1, 10, tzinfo=UTC),
            "label_time": datetime(2024, 10, 14, 22, tzinfo=UTC),
            "source": "chargeback",
            "is_fraud": True,
            "fraud_type": "gestohlen",
            "card_id": "tok_1",
        },
        {
            "transaction_id": "b1",
            "event_time": datetime(2024, 10, 26, 23, 59, 59, tzinfo=UTC),
            "label_time": datetime(2024, 11, 25, 23, 59, 59, tzinfo=UTC),
            "source": "chargeback",
            "is_fraud": True,
            "fraud_type": None,
            "card_id": "tok_1",
        },
    ]
    refused = lake.read(schema.REJECTS).filter(pc.field("source") == str(file)).sort_by("row").to_pylist()
    assert [(row["row"], row["reason"]) for row in refused] == [
        (2, "unknown_transaction"),
        (3, "label_before_event"),
    ]
    assert json.loads(refused[0]["raw"]) == {"Beleg": "b9", "Gemeldet": "15.10.2024", "Grund": "?"}
    file.write_text(file.read_text() + "b3;20.11.2024;neu\n")
    more = run(lake, file, told)
    assert (more["labels"], more["known"]) == (1, 3)


def test_label_that_contradicts_a_known_one_is_refused(
    tmp_path: Path, lake: Lake, payments: Path, ray_cluster: None
):
    run(lake, payments, mapping(tmp_path))
    said = CHARGEBACKS.replace("labels: {", "labels: {column: Betrug, genuine: recorded, ")
    file = tmp_path / "review.csv"
    file.write_text("Beleg;Gemeldet;Grund;Betrug\nb0;15.10.2024;;1\nb0;15.10.2024;;0\nb0;16.10.2024;;0\n")
    report = run(lake, file, mapping(tmp_path, said, "review"))
    assert (report["labels"], report["rejected_by_reason"]) == (2, {"conflict": 1})
    labels = lake.read(schema.LABELS).sort_by("label_time").column("is_fraud").to_pylist()
    assert labels == [True, False]


def test_json_lines_may_leave_keys_out_but_not_in_all_lines(tmp_path: Path, lake: Lake, ray_cluster: None):
    text = MAPPING.replace('["%d.%m.%Y %H:%M:%S"]', "[epoch_ms]").replace('","', '"."').replace('"."}', '""}')
    text = text.replace('thousands: ".", ', "")
    declared = mapping(tmp_path, text)
    base = {"Zeitpunkt": 1727776800000, "Betrag": 12.1, "Währung": "EUR", "Karte": "c"}
    lines = [
        {"Beleg": "j0", **base},
        {"Beleg": 7, **base, "Kontoalter": 3, "Vermerk": True},
        {"Beleg": "j2", **base, "Kontoalter": None},
    ]
    whole = [json.dumps(line) for line in lines]
    (tmp_path / "a.jsonl").write_text("\n".join([*whole[:2], "", "{broken", "[1]", whole[2]]))
    report = run(lake, tmp_path / "a.jsonl", declared)
    assert (report["rows"], report["transactions"]) == (5, 3)
    assert report["rejected_by_reason"] == {"malformed_row": 2}
    assert lake.read(schema.REJECTS).column("row").to_pylist() == [2, 3]
    rows = lake.read(schema.TRANSACTIONS).sort_by("transaction_id").to_pylist()
    assert [(row["transaction_id"], row["amount_minor"], row["age"], row["note"]) for row in rows] == [
        ("7", 1210, 3.0, "true"),
        ("j0", 1210, None, None),
        ("j2", 1210, None, None),
    ]
    (tmp_path / "b.jsonl").write_text(whole[0])
    with pytest.raises(SchemaError, match="'Kontoalter'"):
        run(lake, tmp_path / "b.jsonl", declared)


def test_check_shows_what_ingest_would_do(tmp_path: Path, lake: Lake, payments: Path):
    report = check(SourceName(str(payments)), mapping(tmp_path), MONEY, NOW)
    assert (report["rows"], report["accepted"], report["refused"]) == (9, 4, 5)
    assert report["refused_by_reason"]["ambiguous_time"] == 1
    assert report["refused_examples"]["unparsable_amount"][0]["row"] == 8
    assert report["accepted_examples"][0]["transaction_id"] == "b0"
    json.dumps(report)
    assert not Path(lake.uri).exists()


def test_draft_loads_and_reads_most_rows_with_one_correction(tmp_path: Path):
    file = tmp_path / "bank.csv"
    days = "\n".join(
        f"r{i};{1 + i % 28:02d}.06.2024 12:{i % 60:02d}:00;1.{i:03d},{i % 100:02d};EUR;"
        f"tok_{i % 9};{i // 7},{i % 7}5;web;{int(i % 20 == 0)}"
        for i in range(200)
    )
    file.write_text(f"Beleg;Zeitpunkt;Betrag;Waehrung;Karte;Abstand;Kanal;Betrug\n{days}\n")
    text = init(str(file))
    assert "# guess:" in text
    declared = mapping(tmp_path, text, "draft")
    assert declared.format.separator == ";"
    assert declared.format.decimal == ","
    assert (declared.columns.transaction_id, declared.columns.event_time, declared.columns.amount) == (
        "Beleg",
        "Zeitpunkt",
        "Betrag",
    )
    assert declared.entities == {"card_id": "Karte"}
    assert {name: each.type for name, each in declared.attributes.items()} == {
        "abstand": "number",
        "kanal": "category",
    }
    assert declared.labels is not None
    assert declared.labels.column == "Betrug"
    report = check(SourceName(str(file)), declared, MONEY, NOW)
    assert report["accepted"] == 200
    assert report["accepted_examples"][1]["amount_minor"] == 100101


def test_rows_that_break_expectations_are_refused_with_their_reasons(
    tmp_path: Path, lake: Lake, payments: Path, ray_cluster: None
):
    with payments.open("a", encoding="latin-1") as file:
        file.write("b8;01.01.2025 01:00:01;1,00;EUR;tok_2;3;;x\n")
    report = run(lake, payments, mapping(tmp_path, EXPECTING), share=0.9)
    assert report["expectations"] == []
    table = lake.read(schema.REJECTS, columns=["row", "reason", "detail"]).sort_by("row").to_pylist()
    expected = {"out_of_range", "not_in_domain", "in_future"}
    assert [(row["row"], row["reason"]) for row in table if row["reason"] in expected] == [
        (0, "out_of_range"),
        (5, "not_in_domain"),
        (9, "in_future"),
    ]
    assert table[0]["detail"] == "age is outside its range in expect.ranges of the mapping"
    assert lake.read(schema.TRANSACTIONS).column("transaction_id").to_pylist() == ["b1", "b3"]


def test_batch_that_breaks_expectations_changes_no_table(tmp_path: Path, lake: Lake, ray_cluster: None):
    def day(at: date, ids: str, card: str = "tok_1") -> Path:
        rows = [f"{at:%d}{each};{at:%d.%m.%Y} 12:00:00;1,00;EUR;{card};;;" for each in ids]
        file = tmp_path / f"{at}.csv"
        file.write_text("\n".join([ROWS.splitlines()[0], *rows]), encoding="latin-1")
        return file

    for at in (date(2024, 12, 16), date(2024, 12, 23)):
        run(lake, day(at, "abcd"), mapping(tmp_path))
    before = _tables(lake)
    expect = "expect: {max_null_share: {card_id: 0.5}, volume: {min_ratio: 0.5, min_weeks: 2}}\n"
    declared = mapping(tmp_path, MAPPING + expect)
    monday = date(2024, 12, 30)
    with pytest.raises(ExpectationError) as stopped:
        run(lake, day(monday, "a", card="k.A."), declared)
    assert list(stopped.value.broken) == [
        "card_id has no value in 1 of the rows, expected at most 0.5",
        "event_date=2024-12-30 has 0.25 of its weekday's usual rows, expected at least 0.5",
    ]
    assert _tables(lake) == before
    report = run(lake, day(monday, "abc"), declared)
    assert [(each["column"], each["found"], each["held"]) for each in report["expectations"]] == [
        ("card_id", 0.0, True),
        ("event_date=2024-12-30", 0.75, True),
    ]


def _tables(lake: Lake) -> tuple[dict[str, int | None], set[Path]]:
    """The versions of all tables, and every data file: what a stopped ingest must leave alone."""
    return {name: lake.version(name) for name in lake.tables()}, set(Path(lake.uri).rglob("*.parquet"))
