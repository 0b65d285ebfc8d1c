"""The registry on an MLflow server over HTTP, whose clients share no folder but the lake."""

from __future__ import annotations

import numpy as np
import pytest
from factories_policy import make_policy
from factories_train import make_bundle
from mlflow_server import server
from promotion_race import race

from fraud.errors import ConfigError
from fraud.storage.lake import Lake
from fraud.storage.registry import Registry
from fraud.storage.tracking import Tracking

POLICY = make_policy("1")


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with server(tmp_path_factory.mktemp("server")) as address:
        yield address


def test_a_server_keeps_versions_and_the_lake_their_history(url, lake, tmp_path):
    registry, tracking = Registry(url, "fraud", lake), Tracking(url, "", "tests")
    for seed in (1, 2):
        bundle = make_bundle(tmp_path / str(seed), seed=seed)
        with tracking.run("train") as run:
            assert registry.register(run.id, bundle.path, POLICY) == str(seed)
        registry.set_alias("champion", str(seed), "ann", "better")
    elsewhere = Registry(url, "fraud", Lake(lake.uri))
    fetched, policy = elsewhere.fetch("champion", tmp_path / "cache")
    rows = np.random.default_rng(0).random((20, 3)).astype(np.float32)
    np.testing.assert_array_equal(fetched.scores(rows), bundle.scores(rows))
    assert (fetched.digest, policy) == (bundle.digest, POLICY)
    other = make_policy("2", review_saving_minor=300.0)
    elsewhere.set_policy("2", other, "bob", "more reviewers")
    assert registry.fetch("champion", tmp_path / "cache")[1] == other
    assert elsewhere.roll_back("champion", "bob", "false alarms").version == "1"
    assert [change["alias"] for change in registry.history()] == [
        "champion",
        "champion",
        "policy",
        "champion",
    ]
    assert registry._copied_aliases() == {"champion": "1"}


def test_processes_at_once_leave_one_chain(tmp_path):
    race(f"sqlite:///{tmp_path}/mlflow.db", str(tmp_path / "artifacts"), tmp_path, processes=3, times=1)


def test_a_server_that_is_down_is_a_config_error(lake, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(ConfigError, match=r"mlflow\.tracking_uri"):
        Registry("http://127.0.0.1:1", "fraud", lake).resolve("champion")
