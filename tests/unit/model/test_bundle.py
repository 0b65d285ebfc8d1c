from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import xgboost as xgb

from fraud.errors import BundleError, FormatVersionError
from fraud.features import spec
from fraud.model import bundle, histogram
from fraud.model.calibration import Calibration

FEATURES = """
format_version: 1
name: small
time_zone: UTC
features:
  - column: amount
  - calendar: night
    hours: [0, 6]
  - window: card_id
    of: amount
    stats: [count]
    spans: [1d]
"""
FEATURE_SET = spec.load_text(FEATURES, "test")
ROWS = np.random.default_rng(0).random((300, 3)).astype(np.float32)


def write(folder, **changes):
    booster = xgb.train(
        {"max_depth": 3, "objective": "binary:logistic"},
        xgb.DMatrix(ROWS, (ROWS[:, 0] > 0.7).astype(float)),
        8,
    )
    reference = {name: histogram.build(ROWS[:, at]) for at, name in enumerate(FEATURE_SET.names)}
    parts = {
        "booster": booster,
        "feature_set": FEATURE_SET,
        "calibration": Calibration((0.1, 0.5, 0.9), (0.01, 0.3, 0.8)),
        "reference": {**reference, "score": histogram.build(booster.inplace_predict(ROWS))},
        "golden_rows": bundle.golden_rows(reference, FEATURE_SET.names),
        "metadata": {"params": {"max_depth": 3}},
        **changes,
    }
    return bundle.save(folder, **parts)


def reseal(folder):
    """Make the digests right again, as somebody would who changes a file and hides it."""
    files = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in bundle.FILES}
    whole = bundle._whole(files)
    stated = {"format_version": bundle.FORMAT_VERSION, "files": files, "digest": whole}
    (folder / "digests.json").write_text(json.dumps(stated))


def change(folder, name, edit):
    content = json.loads((folder / name).read_bytes())
    edit(content)
    (folder / name).write_text(json.dumps(content))
    reseal(folder)


def test_a_saved_bundle_scores_as_the_booster_did(tmp_path):
    booster = xgb.train(
        {"objective": "binary:logistic"}, xgb.DMatrix(ROWS, (ROWS[:, 1] > 0.5).astype(float)), 5
    )
    digest = write(tmp_path, booster=booster)
    loaded = bundle.load(tmp_path, digest=digest)
    np.testing.assert_array_equal(loaded.scores(ROWS), booster.inplace_predict(ROWS).astype(np.float64))
    assert loaded.digest == digest
    assert loaded.feature_set == FEATURE_SET
    assert loaded.metadata["params"] == {"max_depth": 3}
    assert loaded.reference["score"].rows == 300
    np.testing.assert_array_equal(loaded.probabilities(np.array([0.5])), [0.3])


def test_the_same_parts_have_the_same_digest(tmp_path):
    assert write(tmp_path / "a") == write(tmp_path / "b")


def test_other_metadata_is_another_digest(tmp_path):
    assert write(tmp_path / "a") != write(tmp_path / "b", metadata={"params": {}})


def test_rows_alone_and_in_threads_have_the_bits_of_many(tmp_path):
    write(tmp_path)
    loaded = bundle.load(tmp_path)
    rows = np.where(np.random.default_rng(1).random(ROWS.shape) < 0.2, np.float32(np.nan), ROWS)
    with ThreadPoolExecutor(4) as threads:
        alone = [*threads.map(lambda row: loaded.scores(row[None]).item(), rows)]
    np.testing.assert_array_equal(alone, loaded.scores(rows))


def test_golden_rows_are_drawn_from_edges():
    reference = {"a": histogram.build(np.arange(100.0)), "b": histogram.Histogram((), (5,), 3)}
    rows = bundle.golden_rows(reference, ("a", "b"))
    assert set(rows[:-1, 0].tolist()) <= set(reference["a"].edges)
    assert set(rows[:-1, 1].tolist()) == {0.0}
    assert np.isnan(rows[-1]).all()
    np.testing.assert_array_equal(rows, bundle.golden_rows(reference, ("a", "b")))


@pytest.mark.parametrize("name", [*bundle.FILES, "digests.json"])
def test_a_changed_byte_is_refused(tmp_path, name):
    write(tmp_path)
    content = bytearray((tmp_path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / name).write_bytes(bytes(content))
    with pytest.raises(BundleError, match="register the model again"):
        bundle.load(tmp_path, digest=None)


@pytest.mark.parametrize("name", [*bundle.FILES, "digests.json"])
def test_a_missing_file_is_refused(tmp_path, name):
    write(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(BundleError, match=f"{name} is missing"):
        bundle.load(tmp_path, digest=None)


def test_an_extra_file_is_refused(tmp_path):
    write(tmp_path)
    (tmp_path / "model.pkl").write_bytes(b"")
    with pytest.raises(BundleError, match=r"model\.pkl is no part of a bundle"):
        bundle.load(tmp_path, digest=None)


def test_another_bundle_than_asked_for_is_refused(tmp_path):
    write(tmp_path)
    with pytest.raises(BundleError, match="the registry names 000000000000"):
        bundle.load(tmp_path, digest="0" * 64)


def test_no_folder_is_refused(tmp_path):
    with pytest.raises(BundleError, match="no such folder"):
        bundle.load(tmp_path / "none", digest=None)


@pytest.mark.parametrize("content", ["", "[]", '"x"', '{"files": 3, "format_version": 1}'])
def test_strange_digests_are_refused(tmp_path, content):
    write(tmp_path)
    (tmp_path / "digests.json").write_text(content)
    with pytest.raises(BundleError, match=r"digests\.json"):
        bundle.load(tmp_path, digest=None)


def test_other_format_version_is_refused(tmp_path):
    write(tmp_path)
    stated = json.loads((tmp_path / "digests.json").read_bytes())
    (tmp_path / "digests.json").write_text(json.dumps({**stated, "format_version": 2}))
    with pytest.raises(FormatVersionError, match="this release reads 1"):
        bundle.load(tmp_path, digest=None)


def test_golden_rows_guard_the_scores(tmp_path):
    write(tmp_path)

    def nudge(golden):
        golden["scores"][0] = float(np.nextafter(golden["scores"][0], 1))

    change(tmp_path, "golden.json", nudge)
    with pytest.raises(BundleError, match="golden rows do not give their scores"):
        bundle.load(tmp_path, digest=None)


def test_golden_rows_guard_the_calibration(tmp_path):
    write(tmp_path)
    change(tmp_path, "calibration.json", lambda curve: curve["y"].__setitem__(0, 0.02))
    with pytest.raises(BundleError, match="golden rows do not give their scores"):
        bundle.load(tmp_path, digest=None)


def test_a_bundle_without_golden_rows_is_refused(tmp_path):
    write(tmp_path)
    change(tmp_path, "golden.json", lambda golden: golden.update(rows=[], scores=[], probabilities=[]))
    with pytest.raises(BundleError, match="golden rows"):
        bundle.load(tmp_path, digest=None)


def test_features_of_another_version_are_refused(tmp_path):
    write(tmp_path)
    change(tmp_path, "metadata.json", lambda metadata: metadata.update(features_version="00000000"))
    with pytest.raises(BundleError, match="train a model with this release"):
        bundle.load(tmp_path, digest=None)


def test_a_histogram_too_few_is_refused(tmp_path):
    write(tmp_path)
    change(tmp_path, "reference.json", lambda reference: reference.pop("score"))
    with pytest.raises(BundleError, match="histogram"):
        bundle.load(tmp_path, digest=None)


def test_a_booster_of_other_width_is_refused(tmp_path):
    wide = xgb.train({"objective": "binary:logistic"}, xgb.DMatrix(np.ones((9, 4)), [0, 1, 0] * 3), 2)
    reference = {name: histogram.build(ROWS[:, 0]) for name in FEATURE_SET.names}
    write(
        tmp_path,
        booster=wide,
        golden_rows=np.zeros((3, 4), np.float32),
        reference={**reference, "score": reference["amount"]},
    )
    with pytest.raises(BundleError, match="3 features"):
        bundle.load(tmp_path, digest=None)
