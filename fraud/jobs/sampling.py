"""Fewer genuine rows to train on: every fraud and a share of the rest, the same rows in every run."""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa

from fraud.xxh3 import hashes

ID: Final = "transaction_id"
"""The column that decides which genuine rows stay."""

_HASHES: Final = 2**64


def keep(rows: pa.Table, label: str, share: float) -> pa.Table:
    """Return every fraud and about a share of the genuine rows, chosen by the hash of their ids.

    Args:
        rows: With the label, bool, and ``transaction_id``.
        label: Name of the label column.
        share: Above 0, at most 1. The rows of a smaller share are among those of a larger one.
    """
    if share >= 1:
        return rows
    is_fraud = np.asarray(rows.column(label).to_numpy(), np.bool_)
    chosen = hashes(rows.column(ID), null=0).view(np.uint64) < np.uint64(share * _HASHES)
    return rows.filter(pa.array(is_fraud | chosen))
