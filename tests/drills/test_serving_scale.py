from __future__ import annotations

from pathlib import Path

import pytest
import serving_scale
from serving import serving

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]


def test_replicas_come_and_go_unnoticed(tmp_path: Path) -> None:
    with serving(tmp_path / "served", min_replicas=1, max_replicas=3, downscale_delay_s=3) as service:
        serving_scale.scale(service, tmp_path / "served", times=5, most=3, seed=1)
