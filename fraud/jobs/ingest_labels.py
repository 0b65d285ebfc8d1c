"""Labels of an ingest: joined with the transactions they label, the known ones left out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fraud import schema
from fraud.errors import TableNotFoundError
from fraud.mapping.apply import Faults, rejects
from fraud.mapping.ids import tie
from fraud.mapping.spec import Mapping
from fraud.storage.lake import Lake

_KEY = ("transaction_id", "label_time", "source", "is_fraud")


def label_entities(lake: Lake) -> list[str]:
    """Return the entity columns that the lake's labels carry.

    Raises:
        TableNotFoundError: No transactions were ingested before.
    """
    if not lake.exists(schema.LABELS):
        raise TableNotFoundError(
            schema.TRANSACTIONS, lake.uri, "ingest the transactions of these labels first"
        )
    plain = schema.labels([]).names
    return [name for name in lake.schema(schema.LABELS).names if name not in plain]


def join_labels(lake: Lake, said: pa.Table, mapping: Mapping) -> tuple[pa.Table, pa.Table]:
    """Find the transactions that a file of labels speaks of.

    Args:
        lake: With the transactions.
        said: From ``apply_labels``.
        mapping: Of kind labels.

    Returns:
        The labels with event time and entities, and the refused rows (row, reason, detail, raw).
    """
    entities = label_entities(lake)
    known = _transactions(lake, said.column("transaction_id").combine_chunks(), entities)
    place = pc.index_in(said.column("transaction_id"), known.column("transaction_id").combine_chunks())
    faults = Faults(said.num_rows)
    faults.add(np.asarray(pc.is_null(place)), "unknown_transaction")
    event_time = (
        known.column("event_time").combine_chunks().take(pc.fill_null(place, 0))
        if known.num_rows
        else (pa.nulls(said.num_rows, schema.TIME))
    )
    label_time = _label_time(said, event_time, mapping)
    faults.add(
        np.asarray(pc.fill_null(pc.less(label_time, event_time), fill_value=False)), "label_before_event"
    )
    kept = pa.array(np.flatnonzero(faults.none))
    own = known.take(place.take(kept)) if known.num_rows else known
    labels = mapping.labels
    columns = {
        "transaction_id": said.column("transaction_id").take(kept),
        "event_time": event_time.take(kept),
        "label_time": label_time.take(kept),
        "source": pa.array([labels.source if labels else ""] * len(kept), pa.string()),
        "is_fraud": said.column("is_fraud").take(kept),
        "fraud_type": said.column("fraud_type").take(kept),
    } | {entity: own.column(entity) for entity in entities}
    refused = rejects(said.drop_columns(["row"]), faults, 0)
    rows = said.column("row").take(refused.column("row"))
    return pa.table(columns), refused.set_column(0, "row", rows)


def new_labels(lake: Lake, labels: Sequence[pa.Table], entities: Sequence[str], ingest_id: str) -> pa.Table:
    """Return labels in the table's schema, each once, without those the lake has."""
    kind = schema.labels(entities)
    found = [
        table.append_column("ingest_id", pa.array([ingest_id] * table.num_rows, pa.string()))
        .select(kind.names)
        .cast(kind)
        for table in labels
        if table.num_rows
    ]
    whole = pa.concat_tables([kind.empty_table(), *found])
    if not whole.num_rows:
        return whole
    keys = _keys(whole)
    _, first = np.unique(keys, return_index=True)
    fresh = np.zeros(len(keys), np.bool_)
    fresh[first] = True
    if lake.exists(schema.LABELS):
        old = lake.read(schema.LABELS, columns=list(_KEY))
        ids = whole.column("transaction_id").combine_chunks()
        old = old.filter(pc.is_in(old.column("transaction_id"), value_set=ids))
        fresh &= ~np.isin(keys, _keys(old))
    return whole.filter(pa.array(fresh))


def _keys(labels: pa.Table) -> np.ndarray:
    texts = [
        labels.column(name).cast(pa.int64() if name == "label_time" else pa.string()).cast(pa.string())
        for name in _KEY
    ]
    return np.asarray(pc.binary_join_element_wise(*texts, "\0").to_pylist(), dtype=object).astype(str)


def _label_time(said: pa.Table, event_time: pa.Array, mapping: Mapping) -> pa.Array:
    stated = said.column("label_time").combine_chunks()
    if mapping.labels is None or mapping.labels.delay_d is None:
        return stated
    delay = round(mapping.labels.delay_d * 86_400_000_000)
    return pc.coalesce(stated, pc.add(event_time.cast(pa.int64()), delay).cast(schema.TIME))


def _transactions(lake: Lake, ids: pa.Array, entities: Sequence[str]) -> pa.Table:
    """Id, event time and entities of the transactions of these ids."""
    wanted = pa.array(np.unique(tie(ids)))
    columns = ["transaction_id", "tie", "event_time", *entities]
    rows = lake.read(schema.TRANSACTIONS, columns=columns)
    return rows.filter(pc.is_in(rows.column("tie"), value_set=wanted)).combine_chunks()
