"""A shipper may die at any point: what was acknowledged reaches the lake, once."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from factories_journal import decision, event, label, shadow, write
from ship_killed import KEYS, begin, die_at, killed

from fraud.errors import NotWrittenError
from fraud.jobs.ship import Shipper, run
from fraud.storage.journal import segments
from fraud.storage.lake import Lake

STEPS = (
    "scores written",
    "scores committed",
    "transactions written",
    "rejects written",
    "rejects committed",
    "transactions committed",
    "labels kept",
    "labels written",
    "labels committed",
    "decisions written",
    "decisions committed",
    "segment deleted",
)


def ids(lake: Lake) -> dict[str, list[str]]:
    names = KEYS.keys() & set(lake.tables())
    return {name: sorted(lake.read(name).column("transaction_id").to_pylist()) for name in names}


@pytest.mark.parametrize("step", STEPS)
def test_a_pass_that_dies_at_a_step_is_made_again(lake: Lake, tmp_path: Path, step: str):
    begin(lake)
    folder = tmp_path / "journal"
    said = [decision("a"), label("a"), label("later"), shadow("a"), event("b"), decision("other")]
    write(folder, [*said, decision("a")])
    assert die_at(lake, folder, step) == (0 if step == "segment deleted" else 9)
    if step == "segment deleted":
        assert _dies_when_deleting(lake, folder)
    write(folder, [decision("later"), label("a"), decision("c")])
    run(lake, folder)
    assert ids(lake) == {
        "decisions": ["a", "c", "later", "other"],
        "transactions": ["a", "b", "c", "later", "old", "other"],
        "labels": ["a", "later"],
        "scores": ["a"],
    }
    assert lake.read("rejects").num_rows == 1
    assert run(lake, folder)["waiting"] == 0


def _dies_when_deleting(lake: Lake, folder: Path) -> bool:
    class Died(BaseException):
        pass

    def die(step: str) -> None:
        if step == "segment deleted":
            raise Died

    with pytest.raises(Died):
        Shipper(lake, folder, keep_s=-1, passed=die).run()
    return segments(folder) == []


def test_eight_kills_lose_and_double_nothing(lake: Lake, tmp_path: Path):
    begin(lake)
    outcome = killed(lake, tmp_path / "journal", kills=8, seed=1)
    assert min(outcome.records.values()) > 8
    assert set(outcome.missing.values()) == set(outcome.doubled.values()) == {0}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Eight megabytes of a disk of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"only root may mount a small disk: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_is_said_and_loses_nothing(small_disk: Path, tmp_path: Path):
    lake, folder = Lake(str(small_disk / "lake")), tmp_path / "journal"
    begin(lake)
    filler, shipper = small_disk / "filler", Shipper(lake, folder)
    failures = []
    for number in range(12):
        features = [number + n / 7 for n in range(300)]
        write(folder, [decision(f"t{number}-{n}", features=features) for n in range(40)])
        if number == 3:
            filler.write_bytes(bytes(_free(small_disk) - 120_000))
        if number == 9:
            filler.unlink()
        try:
            shipper.run()
        except NotWrittenError as error:
            failures.append((number, str(error)))
    assert failures
    assert all(3 <= number < 9 and "No space left" in said for number, said in failures)
    assert ids(lake)["decisions"] == sorted(f"t{number}-{n}" for number in range(12) for n in range(40))
    assert lake.read("transactions").num_rows == 12 * 40 + 2


def _free(disk: Path) -> int:
    found = os.statvfs(disk)
    return found.f_bavail * found.f_bsize
