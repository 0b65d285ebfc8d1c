"""The monitor on a lake made by hand: three weeks of five transactions a day."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from factories import label_table, transaction_table

from fraud import schema
from fraud.errors import ConfigError, NotEnoughDataError, TableNotFoundError
from fraud.features.spec import load_text
from fraud.jobs import monitor
from fraud.model import histogram
from fraud.settings import LabelSettings, MonitorSettings
from fraud.storage.lake import Lake
from fraud.storage.tracking import Tracking, connect

pytestmark = pytest.mark.ray

FEATURES = load_text("format_version: 1\nname: tiny\ntime_zone: UTC\nfeatures:\n  - column: amount\n", "test")
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
WEEKS, PER_DAY = 3, 40
AS_OF = MONDAY + timedelta(days=21)
REFERENCE = {
    "amount": histogram.build(np.arange(40.0)),
    "score": histogram.build(np.arange(40) / 40),
}


def score_row(transaction, *, score, decision, model="1", kind="live"):
    filler = ("model_digest", "policy_version", "features_version", "run_id")
    return {
        **{name: transaction[name] for name in ("transaction_id", "event_time")},
        "event_date": transaction["event_time"].date(),
        **dict.fromkeys(filler, "test"),
        "model_version": model,
        "run_kind": kind,
        "score": score,
        "probability": score,
        "decision": decision,
        "reasons": [],
        "scored_at": transaction["event_time"],
    }


def make_lake(lake: Lake) -> None:
    """Write 40 transactions a day with amounts and scores 0 to 39; the amounts of the third week are doubled.

    Every day number 39 is a fraud that is declined, 38 one that is approved, and 37 a genuine one that is
    reviewed; labels come five days later. 36 is declined by the issuer. 35 becomes known after the end.
    """
    rows, labels, scores = [], [], []
    for number in range(WEEKS * 7 * PER_DAY):
        day, position = divmod(number, PER_DAY)
        at = MONDAY + timedelta(days=day, minutes=position)
        row = {"transaction_id": f"t{number}", "event_time": at}
        row["amount_minor"] = position * (2 if day >= 14 else 1)
        if position == 36:
            row |= {"status": "declined", "status_time": at}
        if position == 35:
            row["known_at"] = AS_OF + timedelta(days=1)
        if position >= 38:
            labels.append({**row, "label_time": at + timedelta(days=5)})
        decision = {39: "decline", 37: "review"}.get(position, "approve")
        rows.append(row)
        scores.append(score_row(row, score=position / 40, decision=decision))
        scores.append(score_row(row, score=0.5, decision="review", kind="backfill"))
    for label in labels:
        label.pop("amount_minor")
    scores += [score_row(row, score=0.5, decision="approve", model="0") for row in rows[:10]]
    transactions = transaction_table(rows)
    lake.append(schema.TRANSACTIONS, transactions)
    lake.append(schema.LABELS, label_table(labels))
    lake.append(schema.SCORES, pa.Table.from_pylist(scores, schema=schema.SCORES_SCHEMA))
    amounts = transactions.column("amount_base_minor").cast(pa.float64())
    complete = pa.array([True] * transactions.num_rows)
    columns = [transactions.column("transaction_id"), transactions.column("event_time"), complete, amounts]
    table = pa.table([*columns, transactions.column("event_date")], schema=schema.features(FEATURES.names))
    lake.append(FEATURES.table, table)


def run(lake, folder, **changes):
    asked = {
        "model_version": "1",
        "as_of": AS_OF,
        "labels": LabelSettings(label_maturity_d=7),
        "monitor": MonitorSettings(psi_alert=0.25),
        "report_dir": folder,
        **changes,
    }
    return monitor.run(lake, FEATURES, REFERENCE, **asked)


def test_weeks_are_measured_on_what_was_known(lake, tmp_path, ray_cluster):
    make_lake(lake)
    report = run(lake, tmp_path / "report")
    assert (report["weeks"], report["matured_weeks"], report["performance_rows"]) == (3, 2, 4)
    rows = lake.read(schema.MONITOR_PERFORMANCE).sort_by(
        [("model_version", "ascending"), ("week", "ascending")]
    )
    other, first, second, third = rows.to_pylist()
    assert (other["model_version"], other["transactions"], other["frauds"]) == ("0", 10, 0)
    # 39 known transactions a day: 1 unobservable, 2 frauds, 2 alerts of which one is a fraud.
    assert (first["week"], first["transactions"], first["matured"]) == (date(2026, 3, 2), 273, 266)
    assert (first["unknown"], first["unobservable"], first["frauds"], first["alerts"]) == (0, 7, 14, 14)
    assert (first["precision"], first["recall"], first["f1"], first["average_precision"]) == (
        0.5,
        0.5,
        0.5,
        1.0,
    )
    assert report["newest_matured"]["week"] == second["week"].isoformat() == "2026-03-09"
    # Of the last week, Monday's and Tuesday's labels are known; its very first transaction is just mature.
    assert (third["transactions"], third["unobservable"], third["frauds"], third["alerts"]) == (273, 7, 4, 2)
    assert (third["matured"], third["unknown"]) == (5, 261)


def test_drift_is_found_in_the_week_it_happens(lake, tmp_path, ray_cluster):
    make_lake(lake)
    report = run(lake, tmp_path)
    assert (report["judged_week"], report["drifted"]) == ("2026-03-16", ["amount"])
    rows = lake.read(schema.MONITOR_DRIFT)
    found = {(row["week"].day, row["name"]): row for row in rows.to_pylist()}
    assert len(found) == rows.num_rows == report["drift_rows"] == 6
    assert found[2, "amount"]["rows"] == found[2, "score"]["rows"] == 273
    assert found[2, "amount"]["psi"] < 0.1
    assert found[16, "amount"]["psi"] == report["psi_max"] > 0.25
    assert found[2, "score"]["psi"] == found[16, "score"]["psi"] < 0.1


def test_running_again_adds_nothing(lake, tmp_path, ray_cluster):
    make_lake(lake)
    first = run(lake, tmp_path)
    again = run(lake, tmp_path)
    assert (again["performance_rows"], again["drift_rows"]) == (0, 0)
    assert (lake.version(schema.MONITOR_PERFORMANCE), lake.version(schema.MONITOR_DRIFT)) == (0, 0)
    assert again["newest_matured"] == first["newest_matured"]
    later = run(lake, tmp_path, as_of=AS_OF + timedelta(days=7))
    assert later["matured_weeks"] == 3
    assert later["performance_rows"] == 4
    instants = pc.unique(lake.read(schema.MONITOR_PERFORMANCE).column("as_of"))
    assert sorted(instants.to_pylist()) == [AS_OF, AS_OF + timedelta(days=7)]


def test_the_page_and_the_run_say_the_same(lake, tmp_path, ray_cluster):
    make_lake(lake)
    store = f"sqlite:///{tmp_path}/mlflow.db"
    tracking = Tracking(store, f"file://{tmp_path}/artifacts", "test")
    report = run(lake, tmp_path / "report", as_of=None, tracking=tracking)
    # The newest event: number 39 of Sunday the 22nd.
    assert (report["as_of"], report["as_of_from"]) == ("2026-03-22T00:39:00+00:00", "newest_event")
    page = (tmp_path / "report" / "monitor.html").read_text(encoding="utf-8")
    assert report["page"] == str(tmp_path / "report" / "monitor.html")
    assert "2026-03-22 00:39 UTC" in page
    client = connect(store)
    experiment = client.get_experiment_by_name("test")
    (noted,) = client.search_runs([experiment.experiment_id])
    assert noted.data.metrics["precision"] == report["newest_matured"]["precision"]
    assert noted.data.metrics["drifted"] == len(report["drifted"])
    assert [file.path for file in client.list_artifacts(noted.info.run_id)] == ["monitor.html"]


def test_a_lake_without_scores_still_shows_drift(lake, tmp_path, ray_cluster):
    make_lake(lake)
    bare = Lake(str(tmp_path / "bare"))
    for name in (schema.TRANSACTIONS, FEATURES.table):
        bare.append(name, lake.read(name))
    report = run(bare, tmp_path)
    assert (report["weeks"], report["newest_matured"], report["drifted"]) == (0, None, ["amount"])
    assert not bare.exists(schema.MONITOR_PERFORMANCE)
    assert report["drift_rows"] == 3


def test_an_instant_before_all_data_or_without_zone_is_refused(lake, tmp_path, ray_cluster):
    with pytest.raises(TableNotFoundError):
        run(lake, tmp_path)
    make_lake(lake)
    with pytest.raises(NotEnoughDataError, match="up to 2020-01-01"):
        run(lake, tmp_path, as_of=datetime(2020, 1, 1, tzinfo=UTC))
    with pytest.raises(ConfigError, match="time zone"):
        run(lake, tmp_path, as_of=datetime(2026, 3, 22))  # noqa: DTZ001
    assert not (tmp_path / "monitor.html").exists()
