"""The simulator at full size: the published data, row by row."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from simulated import columns, read

from fraud.jobs import simulate
from fraud.simulate.checksum import checksum, combine
from fraud.simulate.table import SCHEMA

pytestmark = pytest.mark.ray

PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "handbook.parquet"
CHECKSUM = "09a6c3eda06ecbab"
"""Of the rows that were compared with the published data, one by one."""


@pytest.fixture(scope="module")
def full(
    ray_cluster: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, dict[str, Any]]]:
    out = tmp_path_factory.mktemp("simulate") / "handbook"
    yield out, simulate.run(out)
    for path in out.iterdir():
        path.unlink()


def test_report_has_the_published_counts(full: tuple[Path, dict[str, Any]]):
    _, report = full
    assert (report["transactions"], report["frauds"]) == (1_754_155, 14_681)
    assert report["frauds_by_scenario"] == {"1": 978, "2": 9_099, "3": 4_604}
    assert (report["first_event_time"], report["last_event_time"]) == (
        "2018-04-01T00:00:31+00:00",
        "2018-09-30T23:59:57+00:00",
    )
    assert report["checksum"] == CHECKSUM
    assert (len(report["files"]), report["files"][-1]) == (27, "transactions-2018-09-30.parquet")
    assert report["reused"] is False


def test_rows_have_the_published_sums(full: tuple[Path, dict[str, Any]]):
    second, customer, terminal, cents, label, scenario = columns(read(*full))
    assert len(second) == 1_754_155
    assert second.sum(dtype=np.int64) == 13_863_496_926_060
    assert cents.sum() == 9_407_937_008
    assert customer.sum() == 4_392_424_120
    assert terminal.sum() == 8_765_044_444
    assert second[label == 1].sum(dtype=np.int64) == 122_363_094_803
    assert np.bincount(scenario).tolist() == [1_739_474, 973, 9_077, 4_631]
    assert cents.max() == 262_800
    absent = {513, 1345, 1936, 2083, 2155, 3165, 3441, 3613, 3642, 3660}
    assert set(range(5_000)) - set(customer.tolist()) == absent


def test_files_follow_one_another_in_time(full: tuple[Path, dict[str, Any]]):
    table = read(*full)
    seconds, ids = table["TX_TIME_SECONDS"].to_numpy(), table["TRANSACTION_ID"].cast(pa.int64()).to_numpy()
    first = table.slice(0, 3).to_pylist()
    assert table.schema == SCHEMA
    assert (np.diff(seconds) >= 0).all()
    assert (ids == np.arange(1_754_155)).all()
    assert [(r["TX_TIME_SECONDS"], r["CUSTOMER_ID"], r["TERMINAL_ID"], r["TX_AMOUNT"]) for r in first] == [
        (31, "596", "3156", 57.16),
        (130, "4961", "3412", 81.51),
        (476, "2", "1365", 146.00),
    ]
    delay = pc.unique(pc.subtract(table["LABEL_TIME"], table["TX_DATETIME"]))
    assert delay.to_pylist() == [timedelta(days=7)]


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the published data are not beside the repository")
def test_rows_equal_the_published_rows(full: tuple[Path, dict[str, Any]]):
    ours, published = (np.stack(columns(table)) for table in (read(*full), pq.read_table(PUBLISHED)))
    np.testing.assert_array_equal(ours[:, np.lexsort(ours)], published[:, np.lexsort(published)])
    assert combine([checksum(published)]) == CHECKSUM
