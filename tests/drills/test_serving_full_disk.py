from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import serving_outages
from serving import serving

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A service's folder whose journal has a disk of its own, of 16 megabytes."""
    journal = tmp_path / "served" / "journal"
    journal.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(journal)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"only root may mount a small disk: {mounted.stderr.strip()}")
    yield journal.parent
    subprocess.run(["umount", "-l", str(journal)], check=True)


def test_a_full_disk_is_said_and_nothing_is_promised(small_disk: Path) -> None:
    with serving(small_disk, max_replicas=1, disk_reserve_bytes=0) as service:
        serving_outages.disk_full(service, small_disk, times=2)
