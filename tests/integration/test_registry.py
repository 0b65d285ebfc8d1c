from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from factories_policy import make_policy
from factories_train import make_bundle
from mlflow.exceptions import MlflowException

from fraud.errors import BundleError, ChangedMeanwhileError, ConfigError, ModelNotFoundError
from fraud.model import policy as policies
from fraud.storage.registry import Registry
from fraud.storage.tracking import Tracking, connect

POLICY = make_policy("1", review_saving_minor=300.0)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """One SQLite store for all: making its tables takes seconds. Each test has a model name of its own."""
    folder = tmp_path_factory.mktemp("mlflow")
    return f"sqlite:///{folder}/store/mlflow.db", folder


@pytest.fixture
def tracking(store):
    uri, folder = store
    return Tracking(uri, str(folder / "artifacts"), "tests")


@pytest.fixture
def registry(store, request):
    return Registry(store[0], request.node.name)


def register(tracking, registry, tmp_path, *, seed=0, policy=POLICY):
    folder = tmp_path / f"bundle-{seed}"
    bundle = make_bundle(folder, seed=seed)
    with tracking.run("train") as run:
        version = registry.register(run.id, folder, policy)
    return bundle, version, run.id


def test_a_registered_version_comes_back_verified(tracking, registry, tmp_path):
    bundle, version, run_id = register(tracking, registry, tmp_path)
    fetched, policy = registry.fetch(version, tmp_path / "cache")
    rows = np.random.default_rng(0).random((20, 3)).astype(np.float32)
    np.testing.assert_array_equal(fetched.scores(rows), bundle.scores(rows))
    assert fetched.digest == bundle.digest
    assert policy == POLICY
    ref = registry.resolve(version)
    assert (ref.version, ref.run_id, ref.digest) == ("1", run_id, bundle.digest)
    assert (ref.policy_digest, ref.features_version) == (POLICY.digest, bundle.feature_set.version)
    assert json.loads(ref.data_version) == {"transactions": 3}


def test_every_spelling_names_the_version(tracking, registry, tmp_path):
    _, version, _ = register(tracking, registry, tmp_path)
    registry.set_alias("champion", version, "ann", "first model")
    name = registry.model_name
    for reference in (
        "1",
        "champion",
        f"models:/{name}/1",
        f"models:/{name}@champion",
        f"models:/{name}/champion",
    ):
        assert registry.resolve(reference).version == "1"


@pytest.mark.parametrize("reference", ["champion", "7", "models:/other/1", "no/such", ""])
def test_an_unknown_reference_says_what_to_run(registry, reference):
    with pytest.raises(ModelNotFoundError, match="fraud train"):
        registry.resolve(reference)


def test_promotions_are_kept_in_a_history(tracking, registry, tmp_path):
    first, _, _ = register(tracking, registry, tmp_path, seed=1)
    second, _, _ = register(tracking, registry, tmp_path, seed=2)
    registry.set_alias("champion", "1", "ann", "first model")
    registry.set_alias("champion", "2", "bob", "better")
    assert registry.resolve("champion").digest == second.digest
    assert registry.aliases() == {"champion": "2"}
    assert [ref.version for ref in registry.versions()] == ["2", "1"]
    told = [
        (c["alias"], c["from"], c["to"], c["actor"], c["reason"], c["digest"]) for c in registry.history()
    ]
    assert told == [
        ("champion", None, "1", "ann", "first model", first.digest),
        ("champion", "1", "2", "bob", "better", second.digest),
    ]


def test_a_promotion_needs_an_existing_version(tracking, registry, tmp_path):
    register(tracking, registry, tmp_path)
    with pytest.raises(ModelNotFoundError):
        registry.set_alias("champion", "9", "ann", "why not")
    assert registry.history() == []


def test_the_history_says_who_is_champion_when_a_crash_left_mlflow_behind(
    tracking, registry, tmp_path, monkeypatch
):
    for seed in (1, 2):
        register(tracking, registry, tmp_path, seed=seed)
    registry.set_alias("champion", "1", "ann", "first model")
    with monkeypatch.context() as crash:
        crash.setattr(Registry, "settle", lambda self, alias: None)
        registry.set_alias("champion", "2", "ann", "better")
    assert registry._copied_aliases() == {"champion": "1"}
    assert registry.resolve("champion").version == registry.aliases()["champion"] == "2"
    registry.set_alias("champion", "2", "ann", "again")
    assert registry._copied_aliases() == {"champion": "2"}


def test_an_alias_without_history_is_left_as_it_is(tracking, registry, tmp_path):
    register(tracking, registry, tmp_path)
    client = connect(registry.tracking_uri)
    client.set_registered_model_alias(registry.model_name, "champion", "1")
    registry.settle("champion")
    assert registry.aliases() == {"champion": "1"}


def test_a_copy_that_cannot_be_set_leaves_the_promotion(tracking, registry, tmp_path, monkeypatch):
    register(tracking, registry, tmp_path)

    def fails(self, client, alias, version):
        raise MlflowException("the server is away")

    monkeypatch.setattr(Registry, "_set_copy", fails)
    registry.set_alias("champion", "1", "ann", "first model")
    assert registry.resolve("champion").version == "1"


def test_a_late_copy_of_an_alias_is_set_right(tracking, registry, tmp_path, monkeypatch):
    for seed in (1, 2):
        register(tracking, registry, tmp_path, seed=seed)
    set_copy, overtaken = Registry._set_copy, []

    def slow(self, client, alias, version):
        if not overtaken:
            overtaken.append(version)
            registry.set_alias("champion", "2", "bob", "overtakes")
        set_copy(self, client, alias, version)

    monkeypatch.setattr(Registry, "_set_copy", slow)
    registry.set_alias("champion", "1", "ann", "first model")
    assert overtaken == ["1"]
    assert registry._copied_aliases() == registry.aliases() == {"champion": "2"}


def test_an_alias_that_moved_meanwhile_is_left_alone(tracking, registry, tmp_path):
    for seed in (1, 2):
        register(tracking, registry, tmp_path, seed=seed)
    registry.set_alias("champion", "1", "ann", "first model", expected=None)
    for expected in (None, "2"):
        with pytest.raises(ChangedMeanwhileError):
            registry.set_alias("champion", "2", "bob", "better", expected=expected)
    registry.set_alias("champion", "2", "bob", "better", expected="1")
    assert len(registry.history()) == 2


def test_rolling_back_twice_leads_back_twice(tracking, registry, tmp_path):
    for seed in (1, 2, 3):
        register(tracking, registry, tmp_path, seed=seed)
        registry.set_alias("champion", str(seed), "ann", "better")
    assert registry.roll_back("champion", "bob", "false alarms").version == "2"
    assert registry.roll_back("champion", "bob", "still").version == "1"
    with pytest.raises(ConfigError, match="no version before"):
        registry.roll_back("champion", "bob", "and again")
    told = [(c["number"], c["how"], c["from"], c["to"]) for c in registry.history()]
    assert told[3:] == [(4, "rollback", "3", "2"), (5, "rollback", "2", "1")]


@pytest.mark.parametrize(("actor", "reason"), [("", "why"), ("ann", "  ")])
def test_a_promotion_needs_actor_and_reason(registry, actor, reason):
    with pytest.raises(ConfigError, match="--actor and --reason"):
        registry.set_alias("champion", "1", actor, reason)


def test_an_alias_that_mlflow_refuses_is_a_config_error(tracking, registry, tmp_path):
    register(tracking, registry, tmp_path)
    with pytest.raises(ConfigError, match="alias v1"):
        registry.set_alias("v1", "1", "ann", "a name like a version")
    assert registry.history() == []


def test_thresholds_change_without_a_new_model(tracking, registry, tmp_path):
    bundle, version, _ = register(tracking, registry, tmp_path)
    other = make_policy("2", review_saving_minor=200.0)
    registry.set_policy(version, other, "ann", "more reviewers")
    fetched, policy = registry.fetch(version, tmp_path / "cache")
    assert (fetched.digest, policy) == (bundle.digest, other)
    change = registry.history()[-1]
    assert (change["alias"], change["from"], change["to"]) == ("policy", POLICY.digest, other.digest)


def test_a_rollback_of_policies_leads_back_twice(tracking, registry, tmp_path):
    _, version, _ = register(tracking, registry, tmp_path)
    second, third = make_policy("2"), make_policy("3")
    registry.set_policy(version, second, "ann", "try")
    registry.set_policy(version, second, "ann", "once more, which changes nothing")
    registry.set_policy(version, third, "ann", "try another")
    ref = registry.roll_back_policy(version, tmp_path / "cache", "bob", "too many reviews")
    assert ref.policy_digest == second.digest
    assert registry.fetch(version, tmp_path / "cache")[1] == second
    ref = registry.roll_back_policy(version, tmp_path / "cache", "bob", "still")
    assert ref.policy_digest == POLICY.digest
    told = [(c["from"], c["to"], c["how"], c["actor"]) for c in registry.policy_history(ref)]
    assert told[-2:] == [
        (third.digest, second.digest, "rollback", "bob"),
        (second.digest, POLICY.digest, "rollback", "bob"),
    ]
    with pytest.raises(ConfigError, match="no policy was in force before"):
        registry.roll_back_policy(version, tmp_path / "cache", "bob", "further")
    with pytest.raises(ConfigError, match="--actor and --reason"):
        registry.roll_back_policy(version, tmp_path / "cache", "bob", " ")


def test_a_policy_that_is_only_kept_is_not_in_force(tracking, registry, tmp_path):
    _, version, _ = register(tracking, registry, tmp_path)
    other, ref = make_policy("2"), registry.resolve(version)
    registry.keep_policy(ref, other)
    assert registry.policies(ref) == sorted([POLICY.digest, other.digest])
    assert registry.policy(ref, other.digest, tmp_path / "cache") == other
    assert registry.fetch(version, tmp_path / "cache")[1] == POLICY
    assert registry.policy_history(ref) == []


def test_the_cache_is_used_without_the_artifacts(tracking, registry, tmp_path, store):
    _, version, run_id = register(tracking, registry, tmp_path)
    registry.fetch(version, tmp_path / "cache")
    (store[1] / "artifacts" / run_id).rename(store[1] / "artifacts" / f"{run_id}-gone")
    assert registry.fetch(version, tmp_path / "cache")[1] == POLICY
    with pytest.raises(BundleError, match="cannot be downloaded"):
        registry.fetch(version, tmp_path / "empty")


def test_a_damaged_copy_is_replaced(tracking, registry, tmp_path):
    bundle, version, _ = register(tracking, registry, tmp_path)
    cached, _ = registry.fetch(version, tmp_path / "cache")
    (cached.path / "booster.json").write_bytes(b"{}")
    (tmp_path / "cache" / "policies" / POLICY.digest / "policy.json").write_bytes(b"{}")
    again, policy = registry.fetch(version, tmp_path / "cache")
    assert (again.digest, policy) == (bundle.digest, POLICY)


def test_another_policy_in_the_cache_is_replaced(tracking, registry, tmp_path):
    _, version, _ = register(tracking, registry, tmp_path)
    registry.fetch(version, tmp_path / "cache")
    lenient = make_policy("1", review_saving_minor=None)
    file = tmp_path / "cache" / "policies" / POLICY.digest / "policy.json"
    file.write_text(json.dumps(lenient.to_json()))
    assert registry.fetch(version, tmp_path / "cache")[1] == POLICY


def test_an_artifact_changed_in_the_store_is_refused(tracking, registry, tmp_path, store):
    _, version, run_id = register(tracking, registry, tmp_path)
    file = store[1] / "artifacts" / run_id / "artifacts" / "bundle" / "calibration.json"
    file.write_bytes(file.read_bytes().replace(b"0.", b"0.1", 1))
    with pytest.raises(BundleError, match=r"calibration\.json does not match"):
        registry.fetch(version, tmp_path / "cache")
    assert not list((tmp_path / "cache" / "bundles").iterdir())


def test_a_damaged_bundle_is_never_registered(tracking, registry, tmp_path):
    make_bundle(tmp_path / "bundle")
    (tmp_path / "bundle" / "metadata.json").write_bytes(b"{}")
    with tracking.run("train") as run, pytest.raises(BundleError):
        registry.register(run.id, tmp_path / "bundle", POLICY)
    assert registry.versions() == []


def test_promotions_at_once_leave_one_chain(tracking, registry, tmp_path, store):
    for seed in (1, 2):
        register(tracking, registry, tmp_path, seed=seed)

    def promote(version):
        Registry(store[0], registry.model_name).set_alias("champion", version, "ann", "race")

    with ThreadPoolExecutor(4) as racers:
        list(racers.map(promote, ["1", "2"] * 4))
    chain = registry.history()
    assert [change["from"] for change in chain] == [None, *(change["to"] for change in chain[:-1])]
    assert registry.resolve("champion").version == chain[-1]["to"]


def test_runs_keep_what_they_were_told(tracking, tmp_path):
    (tmp_path / "note.txt").write_text("hello")
    with (
        tracking.run("search", tags={"kind": "search"}) as parent,
        tracking.run("trial", parent=parent.id) as child,
    ):
        child.params({"max_depth": 3})
        child.metrics({"average_precision": 0.5}, step=2)
        child.tags({"fold": "1"})
        child.file(tmp_path / "note.txt")
        child.document({"a": 1}, "facts.json")
        child.table({"day": ["2026-03-01"], "ap": [0.5]}, "folds.json")
    (found,) = tracking.children(parent.id)
    assert (found["run_id"], found["name"], found["status"]) == (child.id, "trial", "FINISHED")
    assert (found["params"], found["metrics"]) == ({"max_depth": "3"}, {"average_precision": 0.5})


def test_a_run_that_raises_is_failed(tracking):
    with (
        tracking.run("search") as parent,
        pytest.raises(RuntimeError),
        tracking.run("trial", parent=parent.id),
    ):
        raise RuntimeError
    assert tracking.children(parent.id)[0]["status"] == "FAILED"


@pytest.mark.parametrize("uri", ["mlruns", "sqlite:///mlflow.db", "ftp://x"])
def test_an_unusable_store_is_a_config_error(uri, tmp_path):
    with pytest.raises(ConfigError, match=r"mlflow\.tracking_uri"), Tracking(uri, "", "x").run("a"):
        pass


def test_a_file_that_is_no_database_is_a_config_error(tmp_path: Path):
    (tmp_path / "x.db").write_text("no database " * 500)
    with pytest.raises(ConfigError, match=r"mlflow\.tracking_uri"):
        Registry(f"sqlite:///{tmp_path}/x.db", "fraud").versions()


def test_a_registry_on_a_server_needs_a_lake():
    with pytest.raises(ConfigError, match="lake"):
        Registry("http://127.0.0.1:1", "fraud")


@pytest.mark.filterwarnings("ignore:.*AnyType:UserWarning")
def test_mlflow_itself_loads_a_version(tracking, registry, tmp_path, store):
    import mlflow
    import pandas as pd

    bundle, _, run_id = register(tracking, registry, tmp_path)
    loaded = mlflow.pyfunc.load_model(str(store[1] / "artifacts" / run_id / "artifacts"))
    names = list(bundle.feature_set.names)
    assert loaded.metadata.get_input_schema().input_names() == names
    assert list(loaded.input_example.columns) == names
    rows = pd.concat(
        [loaded.input_example, pd.DataFrame({name: [1.0, 9500.0] for name in names})], ignore_index=True
    )
    answer = loaded.predict(rows[names[::-1]])  # the signature puts columns in order
    np.testing.assert_array_equal(answer["score"], bundle.scores(rows.to_numpy(np.float32)))
    assert list(answer.columns) == ["score", "probability"]
    with pytest.raises(mlflow.MlflowException, match="missing inputs"):
        loaded.predict(rows[names[:-1]])


def test_policy_file_is_read_by_its_own_reader(tracking, registry, tmp_path, store):
    _, _, run_id = register(tracking, registry, tmp_path)
    file = store[1] / "artifacts" / run_id / "artifacts" / "policy" / POLICY.digest / "policy.json"
    assert policies.from_json(json.loads(file.read_bytes()), path="here") == POLICY
