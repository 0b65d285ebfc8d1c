"""Verifying the features of a lake: silent where they are right, and loud about each way to be wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from factories import label_table, random_history, transaction_table

from fraud import schema
from fraud.errors import NotEnoughDataError, VerificationError
from fraud.features.spec import load
from fraud.jobs import featurize, verify_features
from fraud.jobs.history import History
from fraud.settings import FeatureSettings
from fraud.storage.lake import Lake

START = datetime(2020, 1, 1, tzinfo=UTC)
HANDBOOK = load("handbook", Path(__file__).parents[2] / "configs" / "features")


@pytest.fixture
def featurized(lake: Lake) -> Lake:
    transactions, labels = random_history(600, days=50, seed=11, start=START)
    late = {"transaction_id": "late", "event_time": START + timedelta(days=45), "card_id": "c1"}
    refund = {"transaction_id": "back", "event_time": START + timedelta(days=49), "kind": "refund"}
    others = [{**late, "known_at": START + timedelta(days=47)}, {**refund, "card_id": "c1"}]
    lake.append("transactions", pa.concat_tables([transactions, transaction_table(others)]))
    lake.append("labels", labels)
    featurize.run(lake, HANDBOOK, FeatureSettings())
    return lake


def test_right_features_pass_in_every_way(featurized):
    done = verify_features.run(featurized, HANDBOOK, days=3)
    assert len(done["days"]) == 3
    assert set(done["differences"]) == {"no_future", "replay", "definition", "history_complete"}
    assert set(done["differences"].values()) == {0}
    assert min(done["rows"].values()) > 15


def test_label_that_leaked_is_found(featurized, monkeypatch):
    # A computation that takes a label as known before its label time.
    labels = featurized.read("labels")
    early = pc.subtract(labels.column("label_time"), pa.scalar(timedelta(days=6), pa.duration("us")))
    leaking = labels.set_column(labels.column_names.index("label_time"), "label_time", early)
    other = Lake(f"{featurized.uri}-leaking")
    other.append("transactions", featurized.read("transactions"))
    other.append("labels", leaking)
    featurize.run(other, HANDBOOK, FeatureSettings())
    monkeypatch.setattr(Lake, "read", lambda lake, name, read=Lake.read, **more: read(
        featurized if (lake, name) == (other, schema.LABELS) else lake, name, **more))  # fmt: skip
    with pytest.raises(VerificationError, match="by no_future") as found:
        verify_features.run(other, HANDBOOK, days=8)
    assert "by replay" in str(found.value)
    assert "by definition" in str(found.value)


def test_window_that_lost_a_day_is_found(lake):
    transactions, _ = random_history(300, days=20, seed=12, start=START)
    lake.append("transactions", transactions)
    featurize.run(lake, HANDBOOK, FeatureSettings())
    kept = lake.read(HANDBOOK.table)
    short = pc.subtract(kept.column("card_id_count_30d"), 1.0)
    place = kept.column_names.index("card_id_count_30d")
    wrong = Lake(f"{lake.uri}-wrong")
    wrong.append("transactions", transactions)
    wrong.append("labels", label_table([]))
    apps = {"featurize": 0, "featurize-labels": 0}
    wrong.append(HANDBOOK.table, kept.set_column(place, "card_id_count_30d", short), apps=apps)
    with pytest.raises(VerificationError, match=r"card_id_count_30d of t[0-9]+ is .* in the table"):
        verify_features.run(wrong, HANDBOOK, days=1)


def test_row_marked_complete_too_early_is_found(lake, monkeypatch):
    transactions, _ = random_history(300, days=20, seed=13, start=START)
    lake.append("transactions", transactions)
    monkeypatch.setattr(History, "complete", lambda _, event_time: event_time > 0)
    featurize.run(lake, HANDBOOK, FeatureSettings())
    with pytest.raises(VerificationError, match="by history_complete"):
        verify_features.run(lake, HANDBOOK, days=1)


def test_lake_without_features_is_refused(lake):
    with pytest.raises(NotEnoughDataError, match="fraud featurize"):
        verify_features.run(lake, HANDBOOK, days=1)
