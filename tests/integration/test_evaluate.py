from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import xgboost as xgb
from sklearn.metrics import average_precision_score, roc_auc_score

from fraud import schema
from fraud.errors import ConfigError, NotEnoughDataError, SchemaError
from fraud.features.spec import FeatureSet, load_text
from fraud.jobs import evaluate
from fraud.jobs.examples import examples, to_table
from fraud.model.booster import booster_params
from fraud.model.bundle import Bundle
from fraud.model.calibration import Calibration
from fraud.settings import EvaluateSettings, LabelSettings, PolicySettings, TrainSettings
from fraud.storage.lake import Lake
from fraud.storage.readings import entries
from fraud.storage.tracking import Tracking

pytestmark = pytest.mark.ray

FIRST = datetime(2018, 7, 10, tzinfo=UTC)
DAYS, PER_DAY, CARDS = 40, 60, 80
TRAIN = TrainSettings(workers=1, rounds=10, max_bin=64)
SETTINGS = {
    "train": TRAIN,
    "evaluate": EvaluateSettings(folds=2, top_k_cards=5),
    "labels": LabelSettings(),
    "policy": PolicySettings(reviews_per_day=5),
}


def feature_set(*columns: str) -> FeatureSet:
    wanted = ", ".join(f"{{column: {column}}}" for column in columns or ("amount", "risk"))
    return load_text(f"format_version: 1\nname: two\ntime_zone: UTC\nfeatures: [{wanted}]", "test")


class Rows:
    """The test's own plain copy of what the lake holds."""

    def __init__(self) -> None:
        rng = np.random.default_rng(7)
        self.day = np.repeat(np.arange(DAYS), PER_DAY)
        self.card = rng.integers(0, CARDS, self.day.size)
        self.amount = rng.integers(1, 100_000, self.day.size)
        self.risk = rng.normal(size=self.day.size)
        self.is_fraud = rng.random(self.day.size) < 1 / (1 + np.exp(4.5 - 2.5 * self.risk))
        self.is_fraud[-1] = True  # its label is the newest, and says up to when the truth is known
        self.x = np.column_stack([self.amount, self.risk]).astype(np.float32)

    def between(self, first: date, last: date) -> np.ndarray:
        days = [FIRST.date() + timedelta(days=int(day)) for day in self.day]
        return np.array([first <= day < last for day in days])

    def store(
        self,
        lake: Lake,
        *,
        cards: bool = True,
        genuine_labels: bool = False,
        declined: np.ndarray | None = None,
    ) -> None:
        n = self.day.size
        status = [None] * n if declined is None else np.where(declined, "declined", "approved").tolist()
        times = [
            FIRST + timedelta(days=int(day), minutes=number % PER_DAY) for number, day in enumerate(self.day)
        ]
        own = {
            "transaction_id": [f"t{number}" for number in range(n)],
            "event_time": times,
            "event_date": [time.date() for time in times],
            "card_id": [str(card) for card in self.card],
            "ingest_id": ["i"] * n,
        }
        entities = ["card_id"] if cards else []
        transactions = schema.transactions(entities, {})
        constant = {"known_at": times, "kind": ["purchase"] * n, "currency": ["EUR"] * n, "tie": [0] * n}
        amounts = {"amount_minor": self.amount, "amount_base_minor": self.amount}
        outcome = {"status": status, "status_time": [None] * n}
        lake.append(schema.TRANSACTIONS, table(own | constant | amounts | outcome, transactions))
        values = {**own, "history_complete": [True] * n, "amount": self.amount, "risk": self.risk}
        lake.append(feature_set().table, table(values, schema.features(feature_set().names)))
        labels = {
            "label_time": [time + timedelta(days=7) for time in times],
            "source": ["bank"] * n,
            "is_fraud": self.is_fraud,
            "fraud_type": np.where(self.amount > 50_000, "large", "small"),
        }
        every = table(own | labels, schema.labels(entities))
        lake.append(schema.LABELS, every if genuine_labels else every.filter(every.column("is_fraud")))


def table(columns: dict, wanted: pa.Schema) -> pa.Table:
    return pa.table([pa.array(columns[field.name], field.type) for field in wanted], schema=wanted)


@pytest.fixture(scope="module")
def rows() -> Rows:
    return Rows()


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("mlflow")
    tracking = Tracking(f"sqlite:///{folder}/mlflow.db", str(folder / "artifacts"), "tests")
    return SETTINGS | {"tracking": tracking}


def bundle(rows: Rows, features: FeatureSet) -> Bundle:
    matrix = xgb.QuantileDMatrix(rows.x, rows.is_fraud, max_bin=TRAIN.max_bin)
    booster = xgb.train(booster_params(TRAIN), matrix, 5)
    return Bundle(booster, features, Calibration((0.0, 1.0), (0.0, 1.0)), {}, {}, "d" * 64, Path())


def test_trained_folds_equal_one_process_and_scikit_learn(ray_cluster, lake, tmp_path, rows, settings):
    rows.store(lake)
    report = evaluate.run(lake, feature_set(), protocol=None, storage=tmp_path / "runs", **settings)

    # The newest label is of the last day, 2018-08-18, a week after it: only the days before are mature.
    expected = []
    for test_first in (date(2018, 8, 11), date(2018, 8, 4)):
        train = rows.between(test_first - timedelta(days=14), test_first - timedelta(days=7))
        test = rows.between(test_first, test_first + timedelta(days=7))
        matrix = xgb.QuantileDMatrix(rows.x[train], rows.is_fraud[train], max_bin=TRAIN.max_bin)
        booster = xgb.train(booster_params(TRAIN), matrix, TRAIN.rounds)
        score = booster.inplace_predict(rows.x[test])
        y = rows.is_fraud[test]
        expected.append((roc_auc_score(y, score), average_precision_score(y, score)))
    for fold, test_first in zip(report["folds"], (date(2018, 8, 11), date(2018, 8, 4)), strict=True):
        train = rows.between(test_first - timedelta(days=14), test_first - timedelta(days=7))
        assert fold["name"] == test_first.isoformat()
        assert fold["test"] == [test_first.isoformat(), (test_first + timedelta(days=6)).isoformat()]
        assert fold["train_rows"] == 7 * PER_DAY == fold["test_rows"]
        assert fold["train_frauds"] == np.count_nonzero(rows.is_fraud[train])
    assert report["auc_roc"]["folds"] == pytest.approx([auc for auc, _ in expected], abs=1e-3)
    assert report["average_precision"]["folds"] == pytest.approx([ap for _, ap in expected], abs=1e-3)
    assert report["average_precision"]["mean"] == pytest.approx(np.mean(report["average_precision"]["folds"]))
    assert report["average_precision"]["std"] == pytest.approx(np.std(report["average_precision"]["folds"]))
    assert report["average_precision"]["mean"] > 0.2  # the signal is learnable
    assert report["engine"] == "ray_train"
    assert report["params"]["rounds"] == 10
    assert report["features_version"] == feature_set().version
    assert report["published"] is None


def trained_rows(lake: Lake) -> pa.Table:
    """What a training at the beginning of the newest test week would see."""
    span = {"first": date(2018, 7, 28), "last": date(2018, 8, 4), "as_of": datetime(2018, 8, 11, tzinfo=UTC)}
    table = to_table(examples(lake, feature_set(), maturity=timedelta(days=7), **span))
    return table.sort_by("transaction_id")


def measured(lake: Lake, model: Bundle, storage: Path, settings: dict) -> dict:
    report = evaluate.run(lake, feature_set(), protocol=None, storage=storage, bundle=model, **settings)
    return {name: value for name, value in report.items() if name not in ("seconds", "run_id")}


def test_without_genuine_labels_the_same_rows_train_and_measure(ray_cluster, tmp_path, rows, settings):
    whole, sparse = Lake(str(tmp_path / "whole")), Lake(str(tmp_path / "sparse"))
    rows.store(whole, genuine_labels=True)
    rows.store(sparse, genuine_labels=False)
    model = bundle(rows, feature_set())
    assert trained_rows(whole).equals(trained_rows(sparse))
    assert measured(whole, model, tmp_path, settings) == measured(sparse, model, tmp_path, settings)


def test_declined_transactions_train_and_measure_nothing(ray_cluster, lake, tmp_path, rows, settings):
    declined = np.random.default_rng(1).random(rows.day.size) < 0.05
    rows.store(lake, declined=declined)
    week = rows.between(date(2018, 7, 28), date(2018, 8, 4))
    assert np.count_nonzero(week & declined & rows.is_fraud) > 0
    numbers = [int(name[1:]) for name in trained_rows(lake).column("transaction_id").to_pylist()]
    assert sorted(numbers) == np.flatnonzero(week & ~declined).tolist()
    for fold in measured(lake, bundle(rows, feature_set()), tmp_path, settings)["folds"]:
        first, last = (date.fromisoformat(day) for day in fold["test"])
        seen = rows.between(first, last + timedelta(days=1)) & ~declined
        assert fold["test_rows"] == np.count_nonzero(seen)
        assert fold["test_frauds"] == np.count_nonzero(seen & rows.is_fraud)


def test_protocol_scores_a_bundle_on_the_published_weeks(ray_cluster, lake, tmp_path, rows, settings):
    rows.store(lake)
    model = bundle(rows, feature_set())
    report = evaluate.run(
        lake, feature_set(), protocol="handbook-baseline", storage=tmp_path, bundle=model, **settings
    )

    first = (date(2018, 7, 25) - FIRST.date()).days
    keep = []
    for number in np.flatnonzero(rows.between(date(2018, 8, 8), date(2018, 8, 15))):
        earlier = (rows.day >= first) & (rows.day <= rows.day[number] - 8) & rows.is_fraud
        if rows.card[number] not in rows.card[earlier]:
            keep.append(number)
    y, score = rows.is_fraud[keep], model.scores(rows.x[keep])
    (fold,) = report["folds"]
    assert 0 < fold["removed_rows"] == 7 * PER_DAY - len(keep)
    assert (fold["test_rows"], fold["test_frauds"]) == (len(keep), np.count_nonzero(y))
    assert (fold["train"], fold["train_rows"]) == (None, None)
    assert report["auc_roc"]["mean"] == pytest.approx(roc_auc_score(y, score), abs=1e-12)
    assert report["average_precision"]["mean"] == pytest.approx(average_precision_score(y, score), abs=1e-12)
    assert 0 < report["card_precision_5"]["mean"] <= report["card_precision_5_ceiling"]["mean"] <= 1
    assert 0 < report["value_detected_5"]["mean"] <= 1
    assert 0 < report["savings"]["mean"] < 1
    recalls = report["recall_1pct_fpr_by_fraud_type"]
    large = (rows.amount[keep] > 50_000)[y]
    assert report["recall_1pct_fpr"]["mean"] == pytest.approx(
        np.average(
            [recalls["large"]["mean"], recalls["small"]["mean"]], weights=[large.sum(), (~large).sum()]
        )
    )
    assert report["published"]["average_precision"]["mean"] == 0.639
    assert (report["engine"], report["model"]) == (None, model.digest)
    assert (report["reading"]["ordinal"], report["reading"]["headline"]) == (1, True)


def test_every_reading_of_test_weeks_is_in_the_ledger(ray_cluster, lake, tmp_path, rows, settings):
    rows.store(lake)
    asked = {"storage": tmp_path, "bundle": bundle(rows, feature_set()), **settings}
    first = evaluate.run(lake, feature_set(), protocol=None, **asked)
    again = evaluate.run(lake, feature_set(), protocol=None, **asked)
    assert [report["reading"]["headline"] for report in (first, again)] == [True, False]
    assert [row["ordinal"] for row in entries(lake)] == [1, 2]
    digests = {row["configuration_digest"] for row in entries(lake)}
    assert digests == {first["reading"]["configuration_digest"], again["reading"]["configuration_digest"]}
    assert len(digests) == 1


def test_without_cards_the_card_figures_state_why_not(ray_cluster, lake, tmp_path, rows, settings):
    rows.store(lake, cards=False)
    model = bundle(rows, feature_set())
    report = evaluate.run(lake, feature_set(), protocol=None, storage=tmp_path, bundle=model, **settings)
    assert report["card_precision_5"]["mean"] is None
    assert "card_id" in report["card_precision_5"]["reason"]
    assert report["average_precision"]["mean"] > 0
    with pytest.raises(SchemaError, match="needs the column card_id"):
        evaluate.run(
            lake, feature_set(), protocol="handbook-baseline", storage=tmp_path, bundle=model, **settings
        )


def test_bad_requests_are_refused_before_anything_runs(ray_cluster, lake, tmp_path, rows, settings):
    rows.store(lake)
    model = bundle(rows, feature_set("amount"))
    with pytest.raises(ConfigError, match="choose one of handbook-baseline"):
        evaluate.run(lake, feature_set(), protocol="handbok", storage=tmp_path, **settings)
    with pytest.raises(NotEnoughDataError, match="handbook-prequential needs transactions of 2018-07-25 to"):
        evaluate.run(lake, feature_set(), protocol="handbook-prequential", storage=tmp_path, **settings)
    with pytest.raises(ConfigError, match="name the feature set the model was trained on"):
        evaluate.run(lake, feature_set(), protocol=None, storage=tmp_path, bundle=model, **settings)
    many = settings | {"evaluate": EvaluateSettings(folds=9)}
    with pytest.raises(NotEnoughDataError, match=r"evaluate\.folds"):
        evaluate.run(lake, feature_set(), protocol=None, storage=tmp_path, **many)
