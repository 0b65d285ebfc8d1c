"""A damaged bundle is refused by a sentence, however it is damaged, and never takes the process with it."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from bundle_damage import KINDS, damage
from factories_train import make_bundle

from fraud.errors import FraudError
from fraud.model import bundle

COPIES = 153
RESEALED = 60
"""Copies of each file."""
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound") / "bundle"
    return make_bundle(folder)


@pytest.mark.parametrize("number", range(COPIES))
def test_no_damaged_copy_loads(sound, tmp_path, number):
    copy = tmp_path / "bundle"
    shutil.copytree(sound.path, copy)
    damage(copy, random.Random(number), KINDS[number % len(KINDS)])  # noqa: S311
    with pytest.raises(FraudError):
        bundle.load(copy, digest=sound.digest)


def test_resealed_copies_are_refused_or_harmless(sound, tmp_path):
    program = [sys.executable, "-m", "tests.bundle_damage", sound.path, tmp_path, str(RESEALED), "7"]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    ended = json.loads(done.stdout)
    assert {kind for counts in ended.values() for kind in counts} <= {
        "loaded",
        "BundleError",
        "FormatVersionError",
    }
    for name in ("booster.json", "calibration.json", "features.yaml", "golden.json"):
        assert ended[name]["BundleError"] > RESEALED / 2, name
