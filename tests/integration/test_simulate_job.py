"""The simulate job on Ray: the same rows whoever makes them, and a folder that is whole or not there."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from simulated import columns, read

from fraud.errors import ConfigError
from fraud.jobs import simulate
from fraud.simulate.checksum import checksum, combine

pytestmark = pytest.mark.ray

SMALL: dict[str, Any] = {"customers": 700, "terminals": 1_000, "days": 10}


def test_rows_do_not_depend_on_the_parallelism(ray_cluster: None, tmp_path: Path):
    reports = [simulate.run(tmp_path / str(n), **SMALL, seed=3, parallelism=n) for n in (1, 3)]
    tables = [read(tmp_path / str(n), report) for n, report in zip((1, 3), reports, strict=True)]
    assert tables[0].equals(tables[1])
    assert reports[0]["checksum"] == reports[1]["checksum"] == combine([checksum(columns(tables[0]))])


def test_seeds_give_different_rows(ray_cluster: None, tmp_path: Path):
    tables = [
        read(tmp_path / str(seed), simulate.run(tmp_path / str(seed), **SMALL, seed=seed)) for seed in (0, 1)
    ]
    rows = [Counter(zip(*(column.tolist() for column in columns(table)), strict=True)) for table in tables]
    assert not rows[0] & rows[1]


def test_second_run_reuses_the_files(ray_cluster: None, tmp_path: Path):
    first = simulate.run(tmp_path / "out", **SMALL)
    times = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    again = simulate.run(tmp_path / "out", **SMALL)
    assert again == {**first, "reused": True}
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == times


def test_killed_run_is_written_again(ray_cluster: None, tmp_path: Path):
    first = simulate.run(tmp_path, **SMALL)
    (tmp_path / "simulation.json").unlink()
    (tmp_path / first["files"][0]).unlink()
    again = simulate.run(tmp_path, **SMALL)
    assert {**again, "seconds": 0} == {**first, "seconds": 0}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["simulation.json", *first["files"]]


def test_nobody_paying_is_refused(ray_cluster: None, tmp_path: Path):
    with pytest.raises(ConfigError, match="made no transaction"):
        simulate.run(tmp_path / "out", customers=1, terminals=1, days=2)


def test_bad_arguments_are_refused_before_anything_is_written(tmp_path: Path):
    for arguments in ({"customers": 0}, {"days": -1}, {"profile": "other"}, {"parallelism": 0}):
        with pytest.raises(ConfigError):
            simulate.run(tmp_path / "out", **arguments)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()
