from __future__ import annotations

import json
from datetime import UTC, date, datetime

import numpy as np
import pytest
import ray
from factories_train import FEATURE_SET, make_lake

from fraud.errors import ConfigError, NotEnoughDataError, TableNotFoundError
from fraud.jobs import train
from fraud.jobs.reference import profile
from fraud.model import histogram
from fraud.settings import LabelSettings, PolicySettings, TrainSettings
from fraud.storage.registry import Registry
from fraud.storage.tracking import Tracking

pytestmark = pytest.mark.ray

SETTINGS = TrainSettings(engine="xgboost_ray", workers=1, rounds=20, train_d=8, calibration_d=3)


def run(lake, tmp_path, *, settings=SETTINGS, **changes):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    tracking, registry = Tracking(uri, str(tmp_path / "artifacts"), "tests"), Registry(uri, "fraud")
    report = train.run(
        lake,
        FEATURE_SET,
        train=settings,
        labels=LabelSettings(),
        policy=PolicySettings(reviews_per_day=5),
        tracking=tracking,
        registry=registry,
        storage=tmp_path / "checkpoints",
        **changes,
    )
    return report, registry


def test_a_training_becomes_a_verified_version(lake, tmp_path, ray_cluster):
    make_lake(lake, days=27)
    report, registry = run(lake, tmp_path, alias="challenger")
    # 27 days from 1 March: calibration is the 3 days before the newest 7, training 8 days before 7 more.
    assert (report["calibration"]["first"], report["calibration"]["last"]) == ("2026-03-18", "2026-03-20")
    assert (report["train"]["first"], report["train"]["last"]) == ("2026-03-03", "2026-03-10")
    assert (report["train"]["rows"], report["calibration"]["rows"]) == (400, 150)
    assert report["train"]["frauds"] > 8
    assert not report["shrunk"]
    assert report["average_precision"] > 0.95  # the amount alone decides
    assert report["auc_roc"] > 0.95

    bundle, policy = registry.fetch("challenger", tmp_path / "cache")
    assert (bundle.digest, policy.to_json()) == (report["digest"], report["policy"])
    assert report["model_version"] == registry.resolve("challenger").version == "1"
    assert bundle.reference["amount"].rows == 400
    assert bundle.reference["score"].rows == 150
    assert bundle.metadata["split"]["calibration"] == ["2026-03-18", "2026-03-21"]
    assert json.loads(registry.resolve("1").data_version)["transactions"] == 0
    rows = np.array([[9_800, 0, 1], [500, 0, 1]], np.float32)
    fraud, genuine = bundle.probabilities(bundle.scores(rows))
    assert fraud > 0.5
    assert genuine < 0.05
    assert json.dumps(report)
    assert [change["to"] for change in registry.history()] == ["1"]

    # Every day was calibrated by the two others, and the diagram lies with the run.
    reliability, worth = report["reliability"], report["worth"]
    assert 0 < reliability["expected_calibration_error"] < 0.1
    assert report["reviews_per_day"]["mean"] <= 5
    assert worth["savings"] > 0.5
    assert worth["card_precision_5"] <= worth["card_precision_5_ceiling"]
    run_artifacts = tmp_path / "artifacts" / report["run_id"] / "artifacts"
    assert (run_artifacts / "calibration" / "reliability.png").stat().st_size > 0


def test_a_training_never_makes_a_champion(lake, tmp_path):
    with pytest.raises(ConfigError, match="fraud promote"):
        run(lake, tmp_path, alias="champion")


def test_too_little_data_is_said_before_training(lake, tmp_path):
    with pytest.raises(TableNotFoundError, match="fraud"):
        run(lake, tmp_path)
    make_lake(lake, days=16)
    with pytest.raises(NotEnoughDataError, match=r"17 days before 2026-03-17\. The lake has 16"):
        run(lake, tmp_path)


def test_no_frauds_is_said_before_training(lake, tmp_path, ray_cluster):
    make_lake(lake, days=20, labels=False)
    with pytest.raises(NotEnoughDataError, match="0 of them fraud"):
        run(lake, tmp_path)


def test_profile_counts_every_row(ray_cluster):
    rng = np.random.default_rng(0)
    values = rng.normal(size=500).astype(np.float32)
    values[:7] = np.nan
    rows = [{"is_fraud": bool(at % 10 == 0), "x": float(value)} for at, value in enumerate(values)]
    found = profile(ray.data.from_items(rows, override_num_blocks=4).materialize(), ["x"])
    assert (found.rows, found.frauds) == (500, 50)
    assert found.histograms["x"] == histogram.build(values)


def test_periods_leave_gaps_for_labels():
    span = train.periods(
        date(2026, 1, 1), date(2026, 3, 1), train=SETTINGS, labels=LabelSettings(label_maturity_d=7), end=None
    )
    assert (span.calibration.first, span.calibration.last) == (date(2026, 2, 19), date(2026, 2, 22))
    assert (span.train.first, span.train.last) == (date(2026, 2, 4), date(2026, 2, 12))
    assert span.train.as_of == datetime(2026, 2, 19, tzinfo=UTC)
    assert span.calibration.as_of == datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("end", "calibration_last"),
    [
        (date(2026, 2, 15), date(2026, 2, 8)),
        (date(2026, 3, 4), date(2026, 2, 25)),
        (date(2027, 1, 1), date(2026, 3, 1)),
    ],
)
def test_periods_end_where_truth_is_known(end, calibration_last):
    span = train.periods(date(2026, 1, 1), date(2026, 3, 1), train=SETTINGS, labels=LabelSettings(), end=end)
    assert span.calibration.last == calibration_last


def test_periods_shrink_in_proportion():
    # 25 days leave 11 after the two gaps; asked for 28 and 7, a fifth of them calibrates.
    asked = TrainSettings(train_d=28, calibration_d=7)
    span = train.periods(date(2026, 3, 1), date(2026, 3, 26), train=asked, labels=LabelSettings(), end=None)
    assert (span.train.days, span.calibration.days, span.shrunk) == (9, 2, True)
    assert span.train.first == date(2026, 3, 1)
