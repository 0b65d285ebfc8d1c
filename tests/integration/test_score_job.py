from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from factories_policy import make_policy
from factories_train import FEATURE_SET, START, make_bundle, make_lake

from fraud import schema
from fraud.errors import ClusterError, ConfigError, TableNotFoundError
from fraud.features.encode import matrix
from fraud.jobs import score
from fraud.settings import ScoreSettings
from fraud.storage.registry import ModelRef

pytestmark = pytest.mark.ray

POLICY = make_policy("p1", max_reasons=2)
SETTINGS = ScoreSettings(actors=2, cpus_per_actor=0.5)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundle"))


def reference(version="1"):
    return ModelRef("fraud", version, "run", "digest", "policy", FEATURE_SET.version, "{}", datetime.now(UTC))


def run(lake, bundle, *, version="1", **changes):
    return score.run(lake, reference(version), bundle, POLICY, settings=SETTINGS, **changes)


def commit_scores(lake, ids, *, version, run_kind):
    """Commit scores of transactions on the factories' first two days, as another run would."""
    row = {
        "score": 0.5,
        "probability": 0.1,
        "decision": "review",
        "reasons": [],
        "model_digest": "",
        "policy_version": "",
        "features_version": "",
        "scored_at": START,
        "run_id": "other",
    }
    rows = []
    for position, name in enumerate(ids):
        at = START + timedelta(days=position // 20)
        ident = {"transaction_id": name, "event_time": at, "event_date": at.date()}
        rows.append({**row, **ident, "model_version": version, "run_kind": run_kind})
    lake.append(schema.SCORES, pa.Table.from_pylist(rows, schema=schema.SCORES_SCHEMA))


def test_every_transaction_is_scored_once(lake, bundle, ray_cluster):
    ids = make_lake(lake, days=3, per_day=40)
    report = run(lake, bundle)
    assert (report["rows_in"], report["scored"], report["already_scored"]) == (120, 120, 0)
    assert sum(report["decisions"].values()) == 120
    scores = lake.read(schema.SCORES)
    assert sorted(scores.column("transaction_id").to_pylist()) == sorted(ids)

    again = run(lake, bundle)
    assert (again["rows_in"], again["scored"], again["already_scored"]) == (120, 0, 120)
    assert again["scores_version"] == report["scores_version"] == 0

    make_lake(lake, days=2, per_day=30, first_day=2, kind="verification")
    more = run(lake, bundle)
    assert (more["rows_in"], more["scored"], more["already_scored"]) == (180, 60, 120)
    assert lake.read(schema.SCORES).num_rows == 180
    assert lake.app_version(schema.SCORES, "score:fraud:1:live") == lake.version(schema.TRANSACTIONS)


def test_scores_are_those_of_the_bundle(lake, bundle, ray_cluster):
    make_lake(lake, days=1, per_day=60)
    report = run(lake, bundle)
    scores = lake.read(schema.SCORES).sort_by("transaction_id")
    features = lake.read(FEATURE_SET.table).sort_by("transaction_id")
    values = matrix(features, FEATURE_SET.names)
    expected = bundle.scores(values)
    probabilities = bundle.probabilities(expected)
    amounts = lake.read(schema.TRANSACTIONS).sort_by("transaction_id").column("amount_base_minor").to_numpy()
    decisions = POLICY.decide(probabilities, amounts)
    why = bundle.explainer.causes(values, most=2)
    told = [
        [cause.code for cause in causes] if decision != "approve" else []
        for causes, decision in zip(why, decisions, strict=True)
    ]
    np.testing.assert_array_equal(scores.column("score").to_numpy(), expected)
    np.testing.assert_array_equal(scores.column("probability").to_numpy(), probabilities)
    assert scores.column("decision").to_pylist() == decisions
    assert scores.column("reasons").to_pylist() == told
    assert len(set(decisions)) > 1
    assert ["AMOUNT"] in [codes[:1] for codes in told]
    assert report["decisions"] == {name: decisions.count(name) for name in ("approve", "review", "decline")}
    assert set(scores.column("model_digest").to_pylist()) == {bundle.digest}
    assert set(scores.column("run_id").to_pylist()) == {report["run_id"]}


def test_each_version_and_kind_of_run_has_scores_of_its_own(lake, bundle, ray_cluster):
    ids = make_lake(lake, days=2, per_day=20)
    commit_scores(lake, ids[:30], version="1", run_kind="live")
    commit_scores(lake, ids[:30], version="2", run_kind="rescore")
    report = run(lake, bundle, version="1", run_kind="backfill", first=date(2026, 3, 2))
    assert (report["rows_in"], report["scored"], report["already_scored"]) == (20, 20, 0)
    report = run(lake, bundle, version="2", run_kind="rescore")
    assert (report["rows_in"], report["scored"], report["already_scored"]) == (40, 10, 30)


def test_what_has_no_features_is_reported_and_refunds_are_not_scored(lake, bundle, ray_cluster):
    make_lake(lake, days=1, per_day=10)
    make_lake(lake, days=2, per_day=5, features=False)
    make_lake(lake, days=1, per_day=7, kind="refund")
    report = run(lake, bundle)
    assert (report["scored"], report["without_features"]) == (10, 10)


def test_a_run_beside_another_is_refused(lake):
    commit_scores(lake, ["a"], version="1", run_kind="backfill")
    before = score._score_parts(lake)
    commit_scores(lake, ["b"], version="1", run_kind="live")
    stamp = score.Stamp("1", "live", "", "", "", datetime.now(UTC), "")
    with pytest.raises(ClusterError, match="run it again"):
        score._refuse_race(lake, before, stamp)
    other = score.Stamp("2", "live", "", "", "", datetime.now(UTC), "")
    score._refuse_race(lake, before, other)


def test_missing_tables_and_unknown_kinds_are_refused(lake, bundle):
    with pytest.raises(TableNotFoundError, match="fraud ingest"):
        run(lake, bundle)
    make_lake(lake, days=1, per_day=5, features=False)
    with pytest.raises(TableNotFoundError, match="fraud featurize"):
        run(lake, bundle)
    with pytest.raises(ConfigError, match="live, backfill, rescore"):
        run(lake, bundle, run_kind="again")
