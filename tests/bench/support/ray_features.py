"""Compute the features of a lake with the product, in a process of its own; print what it took."""

from __future__ import annotations

import argparse
import json
import time

from cluster.runtime import connect
from cluster.settings import CONFIGS, load


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("lake")
    parser.add_argument("--num-cpus", type=int, required=True)
    parser.add_argument("--object-store-bytes", type=int, required=True)
    options = parser.parse_args()
    settings = load(
        options={
            "ray.num_cpus": options.num_cpus,
            "ray.object_store_memory_bytes": options.object_store_bytes,
            "ray.dashboard": False,
        }
    )
    with connect(settings.ray, name="bench-features"):
        # Ray reads its environment, which connect has set, when it is imported.
        import ray
        from ray._private.internal_api import get_memory_info_reply, get_state_from_address

        from fraud.features import spec
        from fraud.jobs import featurize
        from fraud.storage.lake import Lake

        features = spec.load("handbook", CONFIGS / "features")
        started = time.perf_counter()
        featurize.run(Lake(options.lake), features, settings.features)
        seconds = time.perf_counter() - started
        state = get_state_from_address(ray.get_runtime_context().gcs_address)
        spilled = int(get_memory_info_reply(state).store_stats.spilled_bytes_total)
    print(json.dumps({"seconds": seconds, "spilled_bytes": spilled}))


if __name__ == "__main__":
    main()
