"""The mart in files: it says of performance what the monitor says, and what may not leave does not."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from factories import micros
from factories_mart import MATURITY_D, OPTIONS, SETTINGS, START, fill

from fraud import schema
from fraud.errors import ConfigError, NotWrittenError, TableNotFoundError
from fraud.jobs import mart_export
from fraud.jobs.mart_rows import mart_of
from fraud.mart.rows import arrow_schema
from fraud.mart.table import ARROW_TYPES
from fraud.model.truth import FRAUD, GENUINE, UNKNOWN, UNOBSERVABLE, truth_as_of
from fraud.monitor.performance import measure, tally
from fraud.storage.lake import Lake

TRUTHS = {FRAUD: "fraud", GENUINE: "genuine", UNKNOWN: "unknown", UNOBSERVABLE: "unobservable"}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "export"


def export(lake: Lake, out: Path, **options: object) -> dict[str, object]:
    return mart_export.run(lake, SETTINGS, out, **{"form": "parquet", **OPTIONS, **options})


def read(out: Path, name: str) -> pa.Table:
    return pq.read_table(out / f"{name}.parquet")


def truth(lake: Lake, rows: pa.Table, as_of: date) -> np.ndarray:
    return truth_as_of(
        np.asarray(rows.column("event_time").cast(pa.int64())),
        rows.column("transaction_id").combine_chunks(),
        rows.column("status").combine_chunks(),
        rows.column("status_time").combine_chunks(),
        lake.read(schema.LABELS),
        as_of_us=micros(datetime.combine(as_of, time(), UTC)),
        maturity_us=MATURITY_D * 86_400_000_000,
    )


def known(rows: pa.Table, as_of: date) -> pa.Table:
    instant = pa.scalar(datetime.combine(as_of, time(), UTC), schema.TIME)
    return rows.filter(pc.less_equal(rows.column("known_at"), instant))


@pytest.mark.parametrize("seed", [3, 4])
def test_truth_of_every_day_is_that_of_the_model(seed: int, lake: Lake, out: Path) -> None:
    transactions = fill(lake, seed=seed)
    export(lake, out)
    periods = read(out, "truth_period")
    seen = set()
    for day in range(45):
        as_of = (START + timedelta(days=day)).date()
        rows = known(transactions, as_of)
        expected = {
            name: TRUTHS[value]
            for name, value in zip(
                rows.column("transaction_id").to_pylist(), truth(lake, rows, as_of).tolist(), strict=True
            )
        }
        at = periods.filter((pc.field("known_from") <= as_of) & (pc.field("known_to") > as_of))
        found = dict(
            zip(at.column("transaction_id").to_pylist(), at.column("truth").to_pylist(), strict=True)
        )
        assert at.num_rows == len(found)
        assert found == expected
        seen |= set(found.values())
    assert seen == set(TRUTHS.values())


def test_performance_of_a_week_is_that_of_the_monitor(lake: Lake, out: Path) -> None:
    transactions = fill(lake)
    export(lake, out)
    found = read(out, "performance_week")
    scores = lake.read(schema.SCORES).filter(pc.field("run_kind") == "live")
    for as_of in (date(2024, 1, 9), date(2024, 1, 24), date(2024, 2, 5)):
        rows = known(transactions, as_of).join(
            scores.select(["transaction_id", "model_version", "score", "decision"]),
            "transaction_id",
            join_type="inner",
        )
        weeks = pc.floor_temporal(rows.column("event_date"), unit="week")
        for row in found.filter(pc.field("as_of") == as_of).to_pylist():
            own = rows.filter(
                pc.and_(pc.equal(weeks, row["week"]), pc.equal(rows["model_version"], row["model_version"]))
            )
            alerted = pc.not_equal(own.column("decision"), "approve").to_numpy()
            expected = measure(
                row["week"],
                row["model_version"],
                tally(truth(lake, own, as_of), own.column("score").to_numpy(), alerted),
            )
            for name in ("transactions", "matured", "unknown", "unobservable", "frauds"):
                assert row[name] == getattr(expected, name), (name, row)
            assert row["true_positives"] + row["false_positives"] == expected.alerts
            assert row["true_positives"] + row["false_negatives"] == expected.frauds
            for name, value in (
                ("precision_share", expected.precision),
                ("recall_share", expected.recall),
                ("f1", expected.f1),
            ):
                assert row[name] == pytest.approx(value), (name, row)
        of_day = found.filter(pc.field("as_of") == as_of)
        assert pc.sum(of_day.column("transactions")).as_py() == rows.num_rows
        total = read(out, "performance_model").filter(pc.field("as_of") == as_of)
        assert pc.sum(total.column("frauds")).as_py() == pc.sum(of_day.column("frauds")).as_py() > 0


def test_only_live_scores_are_performance(lake: Lake, out: Path) -> None:
    fill(lake)
    export(lake, out)
    assert set(read(out, "performance_week").column("model_version").to_pylist()) == {"1", "2"}
    assert set(read(out, "dim_model").column("model_version").to_pylist()) == {"1", "2", "3"}


def test_every_table_and_view_has_the_columns_of_the_definition(lake: Lake, out: Path) -> None:
    fill(lake)
    export(lake, out)
    mart = mart_of(lake, SETTINGS)
    for each in (*mart.tables, *mart.views):
        expected = {column.name: ARROW_TYPES[column.type] for column in each.columns}
        found = pq.read_schema(out / f"{each.name}.parquet")
        assert {field.name: field.type for field in found} == expected, each.name


def test_wide_view_has_every_transaction_once_with_its_newest(lake: Lake, out: Path) -> None:
    transactions = fill(lake)
    export(lake, out)
    rows = {row["transaction_id"]: row for row in read(out, "transaction_newest").to_pylist()}
    assert len(rows) == read(out, "transaction_newest").num_rows == transactions.num_rows
    assert rows["t0"]["decision"] == "review"
    assert rows["t0"]["model_version"] == "2"
    labels = sorted(lake.read(schema.LABELS).to_pylist(), key=lambda row: (row["label_time"], row["source"]))
    newest = {row["transaction_id"]: row for row in labels}
    for name, row in rows.items():
        assert row["is_fraud"] == newest.get(name, {}).get("is_fraud")
        times = [row[column] for column in ("known_at", "scored_at", "decided_at", "label_time")]
        assert row["updated_at"] == max(at for at in times if at is not None)


def test_cards_and_requests_do_not_leave(lake: Lake, out: Path) -> None:
    fill(lake)
    export(lake, out, form="csv")
    names = {name for file in out.glob("*.csv") for name in file.read_text().splitlines()[0].split(",")}
    assert "terminal_id" in names
    assert names.isdisjoint(
        {"card_id", "request", "answer", "features", "policy", "caller", "tie", "ingest_id"}
    )
    assert not any("c-in-request" in file.read_text() for file in out.glob("*.csv"))


def test_card_leaves_where_it_is_named(lake: Lake, out: Path) -> None:
    fill(lake)
    settings = SETTINGS.model_copy(update={"entities": ("card_id",)})
    mart_export.run(lake, settings, out, form="parquet", **OPTIONS)
    assert read(out, "dim_card").num_rows == 12
    assert not (out / "dim_terminal.parquet").exists()


@pytest.mark.parametrize("name", ["device_id", "tie", "event_time"])
def test_column_that_the_lake_lacks_or_keeps_is_refused(name: str, lake: Lake, out: Path) -> None:
    fill(lake, n=20)
    settings = SETTINGS.model_copy(update={"entities": (name,)})
    with pytest.raises(ConfigError, match=f"no column {name} to publish; they have card_id, terminal_id"):
        mart_export.run(lake, settings, out, form="parquet", **OPTIONS)
    assert not out.exists()


def test_lake_without_scores_labels_and_alerts_is_exported(lake: Lake, out: Path) -> None:
    from factories import transaction_table

    lake.append(schema.TRANSACTIONS, transaction_table([{"transaction_id": "a", "event_time": START}]))
    rows = export(lake, out)["rows"]
    assert isinstance(rows, dict)
    assert (rows["transaction_newest"], rows["performance_week"], rows["dim_date"]) == (1, 0, 2)


def test_empty_lake_says_what_to_do(lake: Lake, out: Path) -> None:
    with pytest.raises(TableNotFoundError, match="fraud ingest"):
        export(lake, out)


def test_folder_of_something_else_is_not_replaced(lake: Lake, out: Path) -> None:
    fill(lake, n=20)
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="something else than an export"):
        export(lake, out)
    assert (out / "thesis.txt").read_text() == "mine"


def test_export_that_fails_leaves_the_earlier_one(
    lake: Lake, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(lake, n=20)
    export(lake, out)
    before = {file.name: file.read_bytes() for file in out.iterdir()}

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fraud.storage.mart_duckdb.MartDuckdb.write", full)
    with pytest.raises(NotWrittenError, match="No space left"):
        export(lake, out)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
    assert [file.name for file in out.parent.iterdir() if file.name.startswith(".")] == []


def test_export_replaces_the_earlier_one_whole(lake: Lake, out: Path) -> None:
    fill(lake, n=20)
    export(lake, out, form="csv")
    export(lake, out)
    assert {file.suffix for file in out.iterdir()} == {".parquet", ".json"}
    assert json.loads((out / "export.json").read_text())["rows"]["fact_transaction"] == 20


def test_empty_table_has_its_columns(lake: Lake, out: Path) -> None:
    fill(lake, n=20)
    export(lake, out)
    mart = mart_of(lake, SETTINGS)
    assert read(out, mart.facts[0].name).schema.names == arrow_schema(mart.facts[0]).names
