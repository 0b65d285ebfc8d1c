"""What was known about a transaction at an instant: fraud, genuine, not yet known, or never to be known."""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fraud.schema import DECLINED, REVERSED, TIME

FRAUD: Final = 1
"""The newest label known says fraud, and it was not declined."""

GENUINE: Final = 0
"""The newest label known says so, or the transaction is mature and has none (presumed)."""

UNKNOWN: Final = -1
"""No label yet, and younger than the label maturity."""

UNOBSERVABLE: Final = -2
"""Known to be declined, or to be reversed without a label that says fraud: never presumed genuine.

A declined transaction stays unobservable when a label says fraud: of what was declined only frauds are ever
confirmed, so counting them would teach, and measure, that whatever is declined is fraud.
"""


def newest_labels(labels: pa.Table, *, as_of_us: int) -> pa.Table:
    """Return the label of each transaction that holds at ``as_of_us``: the greatest (label_time, source).

    Args:
        labels: Rows with at least ``transaction_id``, ``label_time`` and ``source``.
        as_of_us: Instant in UTC microseconds; a label of that very instant is known.

    Returns:
        The same columns, one row per labelled transaction.
    """
    instant = pa.scalar(as_of_us, pa.int64()).cast(TIME)
    known = labels.filter(pc.less_equal(labels.column("label_time"), instant))
    newest_first = known.sort_by([("label_time", "descending"), ("source", "descending")])
    ids = newest_first.column("transaction_id").combine_chunks()
    if len(ids) == 0:
        return newest_first
    first_seen = np.asarray(pc.index_in(ids, value_set=ids))
    return newest_first.take(pa.array(np.flatnonzero(first_seen == np.arange(len(ids)))))


def truth_as_of(
    event_time_us: NDArray[np.int64],
    transaction_id: pa.Array,
    status: pa.Array | None,
    status_time: pa.Array | None,
    labels: pa.Table,
    *,
    as_of_us: int,
    maturity_us: int,
) -> NDArray[np.int8]:
    """Return what was known about each transaction at ``as_of_us``.

    Args:
        event_time_us: Event times in UTC microseconds, shape ``(n,)``.
        transaction_id: Strings, length n.
        status: Strings with nulls, length n; None where the lake has no statuses.
        status_time: When each status was known, length n; null or None means at the event.
        labels: Rows of the ``labels`` table; labels of other transactions are ignored.
        as_of_us: The instant, in UTC microseconds; facts of that very instant are known.
        maturity_us: Age from which a transaction without a label is presumed genuine, in microseconds.

    Returns:
        ``FRAUD``, ``GENUINE``, ``UNKNOWN`` or ``UNOBSERVABLE``, shape ``(n,)``.
    """
    mature = event_time_us <= as_of_us - maturity_us
    truth = np.where(mature, GENUINE, UNKNOWN).astype(np.int8)
    newest = newest_labels(labels, as_of_us=as_of_us)
    ids = newest.column("transaction_id").combine_chunks().cast(pa.string())
    found = pc.index_in(transaction_id.cast(pa.string()), value_set=ids)
    at = np.asarray(pc.fill_null(found, -1))
    labelled = at >= 0
    truth[labelled] = np.where(_flags(newest.column("is_fraud"))[at[labelled]], FRAUD, GENUINE)
    if status is not None:
        known = _status_known(event_time_us, status_time, as_of_us)
        truth[known & _is(status, REVERSED) & (truth != FRAUD)] = UNOBSERVABLE
        truth[known & _is(status, DECLINED)] = UNOBSERVABLE
    return truth


def fraud_types(transaction_id: pa.Array, labels: pa.Table, *, as_of_us: int) -> pa.Array:
    """Return the type of fraud that the label of each transaction names at ``as_of_us``.

    Args:
        transaction_id: Strings, length n.
        labels: Rows of the ``labels`` table; labels of other transactions are ignored.
        as_of_us: Instant in UTC microseconds.

    Returns:
        Strings, length n; null without a label, and where it names none.
    """
    newest = newest_labels(labels, as_of_us=as_of_us)
    ids = newest.column("transaction_id").combine_chunks().cast(pa.string())
    at = pc.index_in(transaction_id.cast(pa.string()), value_set=ids)
    return newest.column("fraud_type").combine_chunks().cast(pa.string()).take(at)


def _status_known(
    event_time_us: NDArray[np.int64], status_time: pa.Array | None, as_of_us: int
) -> NDArray[np.bool_]:
    if status_time is None:
        return event_time_us <= as_of_us
    given = pc.coalesce(status_time.cast(TIME).cast(pa.int64()), pa.array(event_time_us))
    known: NDArray[np.bool_] = np.asarray(given) <= as_of_us
    return known


def _is(status: pa.Array, wanted: str) -> NDArray[np.bool_]:
    return _flags(pc.fill_null(pc.equal(status, wanted), False))


def _flags(values: pa.Array | pa.ChunkedArray) -> NDArray[np.bool_]:
    return np.asarray(values.to_numpy(zero_copy_only=False), np.bool_)
