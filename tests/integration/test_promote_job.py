"""Promotion on a lake and a registry: the gate, its report, and the ways around it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import pyarrow.compute as pc
import pytest
from factories_policy import make_policy
from factories_train import FEATURE_SET, START, make_bundle, make_lake

from fraud.errors import ChangedMeanwhileError, ConfigError, PromotionRefusedError
from fraud.features import spec
from fraud.jobs import featurize, promote, proof
from fraud.jobs import state as states
from fraud.jobs.promote import Terms
from fraud.settings import FeatureSettings, LabelSettings, PolicySettings, PromotionSettings
from fraud.storage.lake import Lake
from fraud.storage.registry import Registry
from fraud.storage.tracking import Tracking, connect

pytestmark = pytest.mark.ray

POLICY = make_policy("1")
TERMS = Terms(PromotionSettings(min_rows=500, resamples=500), LabelSettings(), PolicySettings())
DAYS = 40
MATURE = date(2026, 4, 9)
"""The first day whose truth is not known: 7 days before the newest label, of the 9th, became known."""


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    """Forty days with features that were computed, and so can be proved."""
    lake = Lake(str(tmp_path_factory.mktemp("promote") / "lake"))
    make_lake(lake, days=DAYS, features=False)
    featurize.run(lake, FEATURE_SET, FeatureSettings())
    return lake


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlflow")
    return f"sqlite:///{folder}/mlflow.db", folder


@pytest.fixture
def registry(store, request):
    return Registry(store[0], request.node.name)


def register(store, registry, tmp_path, **changes):
    folder = tmp_path / f"bundle-{len(registry.versions())}"
    make_bundle(folder, **{"trained_d": 14, **changes})
    with Tracking(store[0], str(store[1] / "artifacts"), "tests").run("train") as run:
        return registry.register(run.id, folder, POLICY)


def run(
    lake,
    registry,
    tmp_path,
    version,
    *,
    alias="champion",
    force=False,
    terms=TERMS,
    reason="better",
    state=None,
):
    return promote.run(
        lake,
        registry,
        version=version,
        alias=alias,
        actor="ann",
        reason=reason,
        force=force,
        terms=terms,
        cache=tmp_path / "cache",
        reports=tmp_path / "reports",
        state=state,
    )


def checks(report):
    return {check["name"]: check for check in report["checks"]}


def test_a_model_as_good_takes_the_place_and_a_worse_one_does_not(
    lake, store, registry, tmp_path, ray_cluster
):
    for blind in (False, False, True):
        register(store, registry, tmp_path, blind=blind)

    first = run(lake, registry, tmp_path, "1")
    assert (first["from"], first["how"], first["model_version"]) == (None, "gate", "1")
    assert set(checks(first["gate"])) == {
        "enough_rows", "average_precision", "calibration_error", "latency_ms", "features_proved",
    }  # fmt: skip
    # Trained on 14 days from 1 March; the truth is known up to 8 April.
    evaluation = first["gate"]["evaluation"]
    assert (evaluation["first"], evaluation["last"], evaluation["rows"]) == (
        "2026-03-15",
        "2026-04-08",
        25 * 50,
    )

    second = run(lake, registry, tmp_path, "2")
    assert (second["from"], registry.resolve("champion").version) == ("1", "2")
    assert {"average_precision_difference", "cost_minor"} <= set(checks(second["gate"]))

    with pytest.raises(PromotionRefusedError, match="the difference may be as low") as refused:
        run(lake, registry, tmp_path, "3")
    assert registry.resolve("champion").version == "2"
    written = json.loads(Path(refused.value.report).read_text())
    failed = {name for name, check in checks(written).items() if not check["passed"]}
    assert {"average_precision_difference", "cost_minor"} <= failed
    assert written["champion"] == "2"

    changes = registry.history()
    assert [(c["from"], c["to"], c["how"]) for c in changes] == [(None, "1", "gate"), ("1", "2", "gate")]
    client = connect(store[0])
    for version, verdict in (("2", "passed"), ("3", "refused")):
        kept = client.get_model_version(registry.model_name, version)
        assert kept.tags["gate"] == verdict
        assert "average_precision_difference" in kept.description
        files = client.list_artifacts(kept.run_id, kept.tags["gate_report"])
        assert {Path(file.path).name for file in files} == {
            "report.json",
            "report.md",
            "precision_recall.png",
            "reliability.png",
        }
    assert changes[-1]["report"] == client.get_model_version(registry.model_name, "2").tags["gate_report"]

    assert run(lake, registry, tmp_path, "2")["gate"] is None
    assert len(registry.history()) == 2


def test_a_model_refitted_on_everything_is_challenger_only(lake, store, registry, tmp_path):
    register(store, registry, tmp_path, trained_d=DAYS)
    with pytest.raises(PromotionRefusedError, match="it may be challenger until there are some"):
        run(lake, registry, tmp_path, "1")
    done = run(lake, registry, tmp_path, "1", alias="challenger")
    assert (done["how"], registry.aliases()) == ("plain", {"challenger": "1"})


def test_rows_that_a_model_has_seen_are_not_compared_on(lake, store, registry, tmp_path):
    register(store, registry, tmp_path)
    seen = replace(TERMS, first=date(2026, 3, 14))
    with pytest.raises(PromotionRefusedError, match="trained or calibrated on days before 2026-03-15"):
        run(lake, registry, tmp_path, "1", terms=seen)
    young = replace(TERMS, last=date(2026, 4, 10))
    with pytest.raises(PromotionRefusedError, match=f"from {MATURE} on is not known yet"):
        run(lake, registry, tmp_path, "1", terms=young)


def test_force_leaves_the_gate_out_and_is_told(lake, store, registry, tmp_path):
    register(store, registry, tmp_path, blind=True)
    with pytest.raises(ConfigError, match="--reason"):
        run(lake, registry, tmp_path, "1", force=True, reason=" ")
    done = run(lake, registry, tmp_path, "1", force=True, reason="champion is down")
    assert (done["how"], done["gate"]) == ("forced", None)
    (change,) = registry.history()
    assert (change["how"], change["reason"], change["report"]) == ("forced", "champion is down", None)


def test_features_that_cannot_be_proved_are_refused(store, registry, tmp_path, ray_cluster):
    lake = Lake(str(tmp_path / "lake"))
    make_lake(lake, days=30)  # whose counts are made up
    register(store, registry, tmp_path)
    with pytest.raises(PromotionRefusedError, match="run `fraud featurize` first"):
        run(lake, registry, tmp_path, "1")


def test_a_proof_is_good_for_the_features_it_was_made_of(lake):
    promote._proved(lake, FEATURE_SET, 1)
    found = proof.newest(lake, FEATURE_SET)
    assert proof.holds(lake, FEATURE_SET, found)
    assert found["last_day"] == str(START.date().replace(month=4, day=9))
    assert not proof.holds(lake, FEATURE_SET, {**found, "features_table_version": 99})
    assert not proof.holds(lake, FEATURE_SET, {**found, "code_version": "other"})
    assert not proof.holds(lake, FEATURE_SET, None)
    proofs = lake.read("feature_proofs").num_rows
    assert promote._proved(lake, FEATURE_SET, 1).passed
    assert lake.read("feature_proofs").num_rows == proofs


def test_wrong_features_fail_their_proof(lake, tmp_path):
    wrong = Lake(str(tmp_path / "lake"))
    for name in ("transactions", "labels"):
        wrong.append(name, lake.read(name))
    featurize.run(wrong, FEATURE_SET, FeatureSettings())
    table = wrong.read(FEATURE_SET.table)
    place = table.column_names.index("card_id_count_1d")
    shifted = table.set_column(place, table.schema.field(place), pc.add(table.column(place), 1.0))
    parts = wrong.parts(FEATURE_SET.table)
    app = {"featurize": 0}
    wrong.commit(
        FEATURE_SET.table,
        table.schema,
        wrong.write_parts(FEATURE_SET.table, shifted),
        removed=parts,
        apps=app,
    )
    check = promote._proved(wrong, FEATURE_SET, 1)
    assert not check.passed
    assert "by replay" in check.says


def test_another_promotion_meanwhile_ends_this_one(lake, store, registry, tmp_path, monkeypatch):
    for seed in (1, 2):
        register(store, registry, tmp_path, seed=seed)
    judged = promote._report

    def slow(*arguments, **more):
        registry.set_alias("champion", "2", "bob", "meanwhile")
        return {**judged(*arguments, **more), "passed": True}

    monkeypatch.setattr(promote, "_report", slow)
    with pytest.raises(ChangedMeanwhileError):
        run(lake, registry, tmp_path, "1", terms=replace(TERMS, first=date(2026, 3, 1)))
    assert registry.resolve("champion").version == "2"


def test_a_model_whose_features_the_online_state_lacks_waits_for_it_or_is_forced(
    lake, store, registry, tmp_path, ray_cluster
):
    register(store, registry, tmp_path)
    path = tmp_path / "state"
    narrow = spec.load_text(FEATURE_SET.to_yaml().replace("1d", "1h"), "narrow")
    states.build(lake, [narrow], path)
    with pytest.raises(PromotionRefusedError, match="the online state keeps less"):
        run(lake, registry, tmp_path, "1", state=path)
    states.build(lake, [FEATURE_SET], path)
    passed = run(lake, registry, tmp_path, "1", state=path)
    assert checks(passed["gate"])["online_state"]["passed"]
    states.build(lake, [narrow], path)
    register(store, registry, tmp_path)
    assert run(lake, registry, tmp_path, "2", state=path, force=True)["how"] == "forced"
