"""What the product's process of a benchmark is told of its Ray."""

from __future__ import annotations

import argparse
from typing import Any

from cluster.settings import Settings, load


def parser() -> argparse.ArgumentParser:
    """The options that ``measured.run_ours`` gives."""
    made = argparse.ArgumentParser()
    made.add_argument("--num-cpus", type=int, required=True)
    made.add_argument("--object-store-bytes", type=int, required=True)
    return made


def settings(options: argparse.Namespace, **more: Any) -> Settings:
    """The product's settings with a Ray of that size and no dashboard; ``section__name`` for others."""
    ray = {
        "ray.num_cpus": options.num_cpus,
        "ray.object_store_memory_bytes": options.object_store_bytes,
        "ray.dashboard": False,
    }
    return load(options=ray | {name.replace("__", "."): value for name, value in more.items()})
