"""When transactions counted as fraud, from the ``labels`` table."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fraud.features.batch import Frauds
from fraud.features.window import NEVER
from fraud.jobs.exchange import entity_numbers, integers


def frauds_of(labels: pa.Table, entity: str) -> Frauds:
    """Return the spans in which an entity's transactions counted as fraud.

    At every time the greatest (label_time, source) known by then holds, so a label ends where the next one
    of the same transaction begins.

    Args:
        labels: Rows of ``labels``, in any order, repeated ones allowed.
        entity: The entity id column; rows without such an id are left out.
    """
    rows = labels.filter(pc.is_valid(labels.column(entity))).sort_by(
        [("transaction_id", "ascending"), ("label_time", "ascending"), ("source", "ascending")]
    )
    known = integers(rows, "label_time")
    withdrawn = np.append(known[1:], NEVER)[: len(known)]
    ids = rows.column("transaction_id").combine_chunks()
    if len(known) > 1:
        same = np.asarray(pc.equal(ids.slice(0, len(ids) - 1), ids.slice(1)))
        withdrawn[:-1][~same] = NEVER
    held = np.asarray(rows.column("is_fraud").to_numpy(), np.bool_) & (known < withdrawn)
    number, _ = entity_numbers(rows.column(entity))
    return Frauds(number[held], integers(rows, "event_time")[held], known[held], withdrawn[held])
