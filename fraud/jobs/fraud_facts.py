"""When transactions counted as fraud, from the ``labels`` table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fraud.features.batch import EntityFrauds
from fraud.features.facts import Frauds
from fraud.features.window import NEVER
from fraud.jobs.entity_numbers import entity_numbers, integers


def fraud_labels(labels: pa.Table) -> pa.Table:
    """Return all labels of the transactions that were ever called fraud: the others never count."""
    ids = labels.filter(labels.column("is_fraud")).column("transaction_id")
    return labels.filter(pc.is_in(labels.column("transaction_id"), value_set=ids.combine_chunks()))


def frauds_of(labels: pa.Table, entity: Sequence[str]) -> EntityFrauds:
    """Return the spans in which an entity's transactions counted as fraud.

    At every time the greatest (label_time, source) known by then holds, so a label ends where the next one
    of the same transaction begins.

    Args:
        labels: Rows of ``labels``, in any order, repeated ones allowed.
        entity: The id columns; rows without such an id are left out.
    """
    rows = labels.sort_by(
        [("transaction_id", "ascending"), ("label_time", "ascending"), ("source", "ascending")]
    )
    known = integers(rows, "label_time")
    withdrawn = np.append(known[1:], NEVER)[: len(known)]
    ids = rows.column("transaction_id").combine_chunks()
    if len(known) > 1:
        same = np.asarray(pc.equal(ids.slice(0, len(ids) - 1), ids.slice(1)))
        withdrawn[:-1][~same] = NEVER
    number, present = entity_numbers(rows, entity)
    held = present & np.asarray(rows.column("is_fraud").to_numpy(), np.bool_) & (known < withdrawn)
    return EntityFrauds(
        number[held], Frauds(integers(rows, "event_time")[held], known[held], withdrawn[held])
    )
