from __future__ import annotations

from pathlib import Path

import pytest
import serving_rollouts
import serving_soak
from serving import serving

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]


def test_ten_minutes_take_no_memory_and_slow_nothing_down(tmp_path: Path) -> None:
    models = serving_rollouts.prepare(tmp_path / "served", 5)
    with serving(models.folder, max_replicas=1, cpus_per_replica=1) as service:
        serving_soak.soak(service, models, seconds=600, seed=1)
