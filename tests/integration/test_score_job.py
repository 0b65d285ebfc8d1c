from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from factories_policy import make_policy
from factories_train import FEATURE_SET, START, make_bundle, make_lake

from fraud import schema
from fraud.errors import ConfigError, NotWrittenError, TableNotFoundError
from fraud.features.encode import matrix
from fraud.jobs import score
from fraud.settings import ScoreSettings
from fraud.storage.lake import Lake
from fraud.storage.registry import ModelRef
from fraud.storage.tracking import Tracking, connect

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


def score_files(lake):
    return Path(lake.table_uri(schema.SCORES)).rglob("*.parquet")


def test_every_transaction_is_scored_once(lake, bundle, ray_cluster):
    ids = make_lake(lake, days=3, per_day=40)
    report = run(lake, bundle)
    assert (report["rows_in"], report["scored"], report["already_scored"]) == (120, 120, 0)
    assert sum(report["decisions"].values()) == 120
    scores = lake.read(schema.SCORES)
    assert sorted(scores.column("transaction_id").to_pylist()) == sorted(ids)

    again = run(lake, bundle)
    assert (again["rows_in"], again["scored"], again["already_scored"]) == (120, 0, 120)
    assert again["scores_version"] == report["scores_version"] == 1

    make_lake(lake, days=2, per_day=30, first_day=2, kind="verification")
    more = run(lake, bundle)
    assert (more["rows_in"], more["scored"], more["already_scored"]) == (180, 60, 120)
    assert lake.read(schema.SCORES).num_rows == 180
    apps = [f"score:fraud:1:live:2026-03-{day:02}" for day in range(1, 5)]
    _, reached = lake.committed(schema.SCORES, apps)
    newest = lake.version(schema.TRANSACTIONS)
    assert [reached[app] for app in apps] == [0, 0, newest, newest]


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


class Overtaken(Lake):
    """A lake in which another run scores everything just before this one commits."""

    __slots__ = ("other",)

    def __init__(self, lake, other):
        super().__init__(lake.uri)
        object.__setattr__(self, "other", [other])

    def commit_beside(self, name, version, parts, *, apps):
        if self.other:
            self.other.pop()()
        Lake.commit_beside(self, name, version, parts, apps=apps)

    def __reduce__(self):
        return Lake, (self.uri,)


def test_of_two_runs_of_the_same_days_one_commits_and_the_other_says_so(lake, bundle, ray_cluster, caplog):
    ids = make_lake(lake, days=2, per_day=20)
    winner = {}
    report = run(Overtaken(lake, lambda: winner.update(run(lake, bundle))), bundle)
    assert (winner["scored"], winner["overtaken"]) == (40, 0)
    assert (report["scored"], report["already_scored"], report["overtaken"]) == (0, 40, 1)
    assert "another run scored the same meanwhile" in caplog.text
    assert sorted(lake.read(schema.SCORES).column("transaction_id").to_pylist()) == sorted(ids)
    files = {str(file.relative_to(lake.table_uri(schema.SCORES))) for file in score_files(lake)}
    assert files == {part.path for part in lake.parts(schema.SCORES)}


def test_a_run_of_another_day_or_version_does_not_overtake(lake, bundle, ray_cluster):
    make_lake(lake, days=2, per_day=20)

    def others():
        run(lake, bundle, last=date(2026, 3, 1))
        run(lake, bundle, version="2")

    report = run(Overtaken(lake, others), bundle, first=date(2026, 3, 2))
    assert (report["scored"], report["overtaken"]) == (20, 0)


def test_days_are_chosen_by_both_ends_and_the_run_is_noted(lake, bundle, tmp_path, ray_cluster):
    make_lake(lake, days=3, per_day=10)
    store = f"sqlite:///{tmp_path}/mlflow.db"
    tracking = Tracking(store, f"file://{tmp_path}/artifacts", "test")
    report = run(lake, bundle, first=date(2026, 3, 2), last=date(2026, 3, 2), tracking=tracking)
    assert report["scored"] == 10
    assert {part.event_date for part in lake.parts(schema.SCORES)} == {date(2026, 3, 2)}
    client = connect(store)
    (noted,) = client.search_runs([client.get_experiment_by_name("test").experiment_id])
    assert (noted.data.tags["run_id"], noted.data.params["last"]) == (report["run_id"], "2026-03-02")
    assert (noted.data.metrics["scored"], noted.data.metrics["rows_in"]) == (10, 10)


def test_a_day_that_cannot_be_written_leaves_the_table_as_it_was(lake, bundle, ray_cluster):
    make_lake(lake, days=2, per_day=20)
    obstacle = Path(lake.table_uri(schema.SCORES)) / f"{schema.PARTITION}=2026-03-02"
    obstacle.parent.mkdir()
    obstacle.write_text("where the day's folder is to be")
    with pytest.raises(NotWrittenError, match="scores"):
        run(lake, bundle)
    assert lake.parts(schema.SCORES) == []
    obstacle.unlink()
    assert run(lake, bundle)["scored"] == 40


def test_missing_tables_and_unknown_kinds_are_refused(lake, bundle):
    with pytest.raises(TableNotFoundError, match="fraud ingest"):
        run(lake, bundle)
    make_lake(lake, days=1, per_day=5, features=False)
    with pytest.raises(TableNotFoundError, match="fraud featurize"):
        run(lake, bundle)
    with pytest.raises(ConfigError, match="live, backfill, rescore"):
        run(lake, bundle, run_kind="again")
