"""Every transaction of a history, scored online one by one, has the features that the batch computes."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import card_not_present
import pytest
from replay import FEATURES, Period, replay

from fraud.features.spec import load
from fraud.jobs import featurize
from fraud.settings import FeatureSettings
from fraud.storage.lake import Lake

DATA = Path(__file__).parents[3] / "shared" / "data" / "handbook.parquet"
TRANSACTIONS = 1_754_155
FIRST = date(2018, 4, 1)
DAYS = 183
SETS = ("handbook", "rich")


@pytest.fixture(scope="module")
def handbook(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    if not DATA.exists():
        pytest.skip(f"{DATA} is not there")
    lake = Lake(str(tmp_path_factory.mktemp("replay") / "lake"))
    command = [
        sys.executable,
        "-m",
        "cluster",
        "ingest",
        str(DATA),
        "--mapping",
        "handbook",
        "--lake",
        lake.uri,
    ]
    subprocess.run(command, check=True, capture_output=True)
    for name in SETS:
        done = featurize.run(lake, load(name, FEATURES), FeatureSettings())
        assert done["transactions"] == TRANSACTIONS
    return lake


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", SETS)
def test_every_transaction_replayed_equals_the_batch(handbook: Lake, tmp_path: Path, name: str) -> None:
    """Each process takes up the history at its own day, from a state that is built as of then."""
    parts = 2 * (os.cpu_count() or 1)
    cuts = [FIRST + timedelta(days=DAYS * part // parts) for part in range(parts + 1)]
    periods = [
        Period(handbook.uri, name, first, end, str(tmp_path / f"state-{first}"))
        for first, end in pairwise(cuts)
    ]
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        compared = list(pool.map(replay, periods))
    assert [difference for part in compared for difference in part.differences] == []
    assert sum(part.transactions for part in compared) == TRANSACTIONS
    assert sum(part.labels for part in compared) > 10_000


@pytest.mark.timeout(7200)
def test_history_of_many_entities_with_late_facts_replayed_equals_the_batch(tmp_path: Path) -> None:
    """Most devices are missing, one ip is hot, outcomes, refunds and labels come late, some are withdrawn."""
    populations = []
    for seed in range(os.cpu_count() or 1):
        folder = tmp_path / str(seed)
        folder.mkdir()
        populations.append(card_not_present.Growing(100_000, seed, str(folder)))
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        compared = list(pool.map(card_not_present.replay, populations))
    assert [difference for part in compared for difference in part.differences] == []
    assert all(part.transactions > 80_000 and part.labels > 3_000 for part in compared)
