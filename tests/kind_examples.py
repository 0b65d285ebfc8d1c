"""Every kind's example as a feature set, for the tests that hold all kinds to the same claims."""

from __future__ import annotations

from typing import Any

import yaml

from fraud.features.kind import Kind
from fraud.features.spec import FeatureSet, load_text

# What an example may stand on.
PRELUDE = (
    {"column": "amount"},
    {"window": "card_id", "of": "amount", "stats": ["mean"], "spans": ["7d"]},
    {"window": "card_id", "of": "amount", "stats": ["mean"], "spans": ["7d"], "include_self": False},
)


def entry_of(kind: type[Kind]) -> dict[str, Any]:
    return yaml.safe_load(kind.example)


def declare(*entries: dict[str, Any]) -> FeatureSet:
    top = {"format_version": 1, "name": "t", "time_zone": "Europe/Berlin", "features": [*entries]}
    return load_text(yaml.safe_dump(top, sort_keys=False), "own.yaml")


def example(kind: type[Kind], **changes: Any) -> FeatureSet:
    """A set whose last entry is the kind's example, below what it may stand on."""
    taken = set(kind.model_validate(entry_of(kind)).names)
    above = [entry for entry in PRELUDE if not taken & set(declare(entry).names)]
    return declare(*above, entry_of(kind) | changes)
