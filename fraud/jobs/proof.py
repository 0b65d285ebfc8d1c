"""Proofs that features are right: verifications that found no difference, kept in the lake."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fraud import schema
from fraud.features.spec import FeatureSet
from fraud.jobs import provenance
from fraud.storage.lake import Lake


def record(
    lake: Lake, feature_set: FeatureSet, table_version: int | None, *, days: Sequence[date], rows: int
) -> None:
    """Note that a verification found no difference.

    Args:
        lake: The lake.
        feature_set: Whose features were verified.
        table_version: Of their table.
        days: Verified ones, ascending.
        rows: Comparisons of a row, by all ways together.
    """
    proof = {
        "features_version": feature_set.version,
        "features_table_version": table_version or 0,
        "code_version": provenance.code_version(),
        "first_day": days[0],
        "last_day": days[-1],
        "rows": rows,
        "proved_at": datetime.now(UTC),
    }
    lake.append(schema.FEATURE_PROOFS, pa.Table.from_pylist([proof], schema=schema.FEATURE_PROOFS_SCHEMA))


def newest(lake: Lake, feature_set: FeatureSet) -> dict[str, Any] | None:
    """Return the newest proof of a feature set with its times as text; None where there is none."""
    if not lake.exists(schema.FEATURE_PROOFS):
        return None
    proofs = lake.read(schema.FEATURE_PROOFS)
    own = proofs.filter(pc.equal(proofs.column("features_version"), feature_set.version))
    if not own.num_rows:
        return None
    (found,) = own.sort_by([("proved_at", "descending")]).slice(0, 1).to_pylist()
    return {name: value.isoformat() if isinstance(value, date) else value for name, value in found.items()}


def holds(lake: Lake, feature_set: FeatureSet, proof: dict[str, Any] | None) -> bool:
    """Whether a proof is of the features as they are, and of this code."""
    if proof is None:
        return False
    stated = (proof["features_table_version"], proof["code_version"])
    return stated == (lake.version(feature_set.table), provenance.code_version())
