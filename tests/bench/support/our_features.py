"""Compute the features of a lake with the product, in a process of its own; print what it took.

As `fraud featurize` does, Ray is started only where it is needed; the time that takes is told apart.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

from support import our_ray

from cluster.runtime import connect
from cluster.settings import CONFIGS, Settings
from fraud.features import spec
from fraud.jobs import featurize
from fraud.storage.lake import Lake


class Cluster:
    """A Ray that is connected to once.

    Attributes:
        start_s: How long that took.
        spilled_bytes: What it spilled.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.start_s = 0.0
        self.spilled_bytes = 0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        begun = time.perf_counter()
        with connect(self._settings.ray, name="bench-features"):
            self.start_s = time.perf_counter() - begun
            yield
            # Ray reads its environment, which connect has set, when it is imported.
            import ray
            from ray._private.internal_api import get_memory_info_reply, get_state_from_address

            state = get_state_from_address(ray.get_runtime_context().gcs_address)
            self.spilled_bytes = int(get_memory_info_reply(state).store_stats.spilled_bytes_total)


def main() -> None:
    parser = our_ray.parser()
    parser.add_argument("lake")
    options = parser.parse_args()
    settings = our_ray.settings(options)
    features = spec.load("handbook", CONFIGS / "features")
    cluster = Cluster(settings)
    started = time.perf_counter()
    featurize.run(Lake(options.lake), features, settings.features, cluster=cluster)
    seconds = time.perf_counter() - started - cluster.start_s
    print(
        json.dumps({"seconds": seconds, "start_s": cluster.start_s, "spilled_bytes": cluster.spilled_bytes})
    )


if __name__ == "__main__":
    main()
