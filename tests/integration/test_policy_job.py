"""`fraud policy`: fitted and judged on past days, put in force, rolled back, shown."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta

import pytest
from factories_policy import make_policy
from factories_train import FEATURE_SET, START, make_bundle, make_lake

from cluster.cli import main
from fraud.errors import NotEnoughDataError
from fraud.jobs import policy
from fraud.jobs.policy import Days
from fraud.settings import LabelSettings, PolicySettings
from fraud.storage.registry import Registry
from fraud.storage.tracking import Tracking

pytestmark = pytest.mark.ray

SETTINGS = PolicySettings(reviews_per_day=3, review_cost_minor=10)
TWO_DAYS = Days(date(2026, 3, 3), date(2026, 3, 5))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundle"))


def test_a_fit_needs_no_labels_and_keeps_the_budget(lake, bundle, ray_cluster):
    make_lake(lake, days=6, labels=False)
    fitted, report = policy.fit(lake, bundle, days=TWO_DAYS, settings=SETTINGS, labels=LabelSettings())
    assert report["days"] == {"first": "2026-03-03", "last": "2026-03-04"}
    assert report["transactions"] == 100
    assert 0 < report["reviews_per_day"]["mean"] <= 3
    assert fitted.costs.review_cost_minor == 10
    far = Days(date(2027, 1, 1), date(2027, 1, 2))
    with pytest.raises(NotEnoughDataError, match="no transactions from 2027"):
        policy.fit(lake, bundle, days=far, settings=SETTINGS, labels=LabelSettings())


def test_a_simulation_judges_what_is_known(lake, bundle, ray_cluster):
    make_lake(lake, days=6)
    common = {"days": TWO_DAYS, "settings": SETTINGS, "labels": LabelSettings()}
    compared = {"in_force": make_policy("1"), "idle": make_policy("2", decline_probability=1.0)}
    # Truth comes after 7 days: just before this one, that of the first day only.
    as_of = START + timedelta(days=10, microseconds=-1)
    report = policy.simulate(lake, bundle, compared=compared, as_of=as_of, **common)
    assert (report["transactions"], report["known"]) == (100, 50)
    assert report["calibrated_on"] is False
    assert list(report["policies"]) == ["in_force", "idle"]
    assert report["policies"]["in_force"]["savings"] > 0.8  # the amount alone decides
    assert report["grid"][0]["reviews_per_day"]["mean"] == 0
    assert [each["cost_minor"] for each in report["grid"]]

    report = policy.simulate(lake, bundle, compared=compared, **common)
    assert report["known"] == 100
    with pytest.raises(NotEnoughDataError, match="take older days"):
        policy.simulate(lake, bundle, compared={}, as_of=datetime(2026, 3, 5, tzinfo=UTC), **common)


@pytest.fixture
def work(bundle, lake, tmp_path):
    """A work directory whose champion is a model with a policy."""
    work = tmp_path / "work"
    uri = f"sqlite:///{work}/mlflow.db"
    with Tracking(uri, str(work / "artifacts"), "fraud").run("train") as run:
        registry = Registry(uri, "fraud", lake)
        registry.register(run.id, bundle.path, make_policy("1"))
    registry.set_alias("champion", "1", "ann", "first")
    return work


def test_policies_are_put_in_force_by_command(work, lake, ray_cluster, capfd):
    make_lake(lake, days=6)
    registry = Registry(f"sqlite:///{work}/mlflow.db", "fraud", lake)

    def fraud(*words, code=0):
        assert main(["policy", *words, "--lake", lake.uri, "--work", str(work)]) == code
        out, err = capfd.readouterr()
        return json.loads(out) if code == 0 else err

    first = registry.resolve("1").policy_digest
    fitted = fraud("fit", "--first", "2026-03-03", "--last", "2026-03-04")
    assert fraud("show")["policy_digest"] == first
    assert sorted([first, fitted["policy_digest"]]) == fraud("show")["kept"]

    changed = fraud("activate", fitted["policy_digest"][:12], "--reason", "fits March", "--actor", "ann")
    assert (changed["from"], changed["policy_digest"]) == (first, fitted["policy_digest"])
    shown = fraud("show")
    assert shown["policy"] == fitted["policy"]
    (told,) = shown["history"]
    assert (told["to"], told["actor"], told["reason"]) == (fitted["policy_digest"], "ann", "fits March")

    by_hand = work / "mine.json"
    by_hand.write_text(json.dumps(make_policy("mine").to_json()))
    simulated = fraud("simulate", "--policy", str(by_hand), "--first", "2026-03-03", "--last", "2026-03-04")
    assert list(simulated["policies"]) == ["in_force", str(by_hand)]
    fraud("activate", str(by_hand), "--reason", "by hand")
    assert fraud("rollback", "--reason", "no")["policy_digest"] == fitted["policy_digest"]
    assert fraud("rollback", "--reason", "neither")["policy_digest"] == first
    assert "no policy was in force before" in fraud("rollback", "--reason", "more", code=1)
    assert "fraud policy show" in fraud("activate", "ffffff", "--reason", "x", code=1)
    assert "--first and --last" in fraud("fit", code=1)  # the test's model says nothing of its days
    assert "is after the last day" in fraud("fit", "--first", "2026-03-04", "--last", "2026-03-03", code=1)
    assert FEATURE_SET.version == registry.resolve("1").features_version
