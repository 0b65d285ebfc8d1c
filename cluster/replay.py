"""Replay: post past transactions to the endpoint and compare each answer with the batch score, exactly.

Transactions go out one by one in the order of their events; a label goes to ``/v1/labels`` once an event
has reached its label time, as it would have in production. Equal means ``==`` on score,
probability, decision and the codes of its reasons.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fraud import schema
from fraud.errors import ClusterError, NotEnoughDataError
from fraud.features.spec import FeatureSet
from fraud.storage.lake import Lake

_SHOWN = 5
"""Differences listed in the report; all are counted."""


@dataclass(slots=True)
class _Tally:
    posted: int = 0
    labels: int = 0
    equal: int = 0
    different: list[dict[str, Any]] = field(default_factory=list)
    latencies_ms: list[float] = field(default_factory=list)


def run(
    lake: Lake,
    feature_set: FeatureSet,
    *,
    url: str,
    since: datetime,
    rows: int,
    model_version: str,
    api_key: str = "",
) -> dict[str, Any]:
    """Post the first transactions since a time and compare with their rows in ``scores``.

    Args:
        lake: Holds the transactions, their labels and their batch scores.
        feature_set: Whose attributes are sent along.
        url: Of the endpoint, such as ``http://127.0.0.1:8000``, with a state as of ``since``.
        since: The first event time.
        rows: How many transactions to post.
        model_version: The version both sides scored with.
        api_key: May score and label; empty where the endpoint asks for none.

    Returns:
        ``posted``, ``labels``, ``equal``, ``different``, up to five ``differences``, ``p50_ms``, ``p99_ms``,
        ``requests_per_s`` and ``seconds``.

    Raises:
        NotEnoughDataError: No transaction since then has a batch score.
        ClusterError: The endpoint cannot be reached or refuses a request.
    """
    started = time.monotonic()
    expected = _batch_scores(lake, since, model_version)
    tally = _Tally()
    client = _Client(url, api_key)
    labels = iter(_labels(lake, since))
    due = next(labels, None)
    for transaction in _transactions(lake, feature_set, since, rows, set(expected)):
        while due is not None and due["label_time"] <= transaction["event_time"]:
            client.post("/v1/labels", _wire(due))
            tally.labels += 1
            due = next(labels, None)
        _post(client, transaction, expected[transaction["transaction_id"]], tally)
    return _report(tally, time.monotonic() - started)


def _post(client: _Client, transaction: dict[str, Any], expected: dict[str, Any], tally: _Tally) -> None:
    begun = time.perf_counter()
    answer = client.post("/v1/score", _wire(transaction))
    tally.latencies_ms.append((time.perf_counter() - begun) * 1000)
    tally.posted += 1
    online = {name: answer[name] for name in ("score", "probability", "decision")}
    online["reasons"] = [reason["code"] for reason in answer["reasons"]]
    if online == expected:
        tally.equal += 1
        return
    tally.different.append(
        {"transaction_id": transaction["transaction_id"], "batch": expected, "online": online}
    )


def _report(tally: _Tally, seconds: float) -> dict[str, Any]:
    p50, p99 = np.percentile(tally.latencies_ms, [50, 99])
    return {
        "posted": tally.posted,
        "labels": tally.labels,
        "equal": tally.equal,
        "different": len(tally.different),
        "differences": tally.different[:_SHOWN],
        "p50_ms": round(float(p50), 3),
        "p99_ms": round(float(p99), 3),
        "requests_per_s": round((tally.posted + tally.labels) / seconds, 1),
        "seconds": round(seconds, 3),
    }


def _batch_scores(lake: Lake, since: datetime, model_version: str) -> dict[str, dict[str, Any]]:
    compared = ["transaction_id", "score", "probability", "decision", "reasons"]
    columns = [*compared, "model_version", "event_time"]
    scores = lake.read(schema.SCORES, columns=columns, days=(since.date(), date.max))
    mine = pc.and_(
        pc.equal(scores.column("model_version"), model_version),
        pc.greater_equal(scores.column("event_time"), pa.scalar(since, schema.TIME)),
    )
    rows = scores.filter(mine).select(compared).to_pylist()
    if not rows:
        raise NotEnoughDataError(
            f"model version {model_version} has scored nothing since {since.isoformat()}: run `fraud score`"
        )
    return {row.pop("transaction_id"): row for row in rows}


def _transactions(
    lake: Lake, feature_set: FeatureSet, since: datetime, rows: int, scored: set[str]
) -> Iterator[dict[str, Any]]:
    """The wire fields of scored transactions in the order (event_time, tie), day by day."""
    attributes = list(feature_set.attributes)
    fields = ["transaction_id", "event_time", "kind", "amount_minor", "currency", *feature_set.entities]
    days = sorted({part.event_date for part in lake.parts(schema.TRANSACTIONS) if part.event_date})
    left = rows
    for day in (day for day in days if day >= since.date()):
        table = lake.read(
            schema.TRANSACTIONS, columns=[*fields, "tie", *attributes], days=(day, day + timedelta(days=1))
        )
        ordered = table.sort_by([("event_time", "ascending"), ("tie", "ascending")])
        for row in ordered.to_pylist():
            if left == 0:
                return
            if row["transaction_id"] in scored:
                left -= 1
                yield {name: row[name] for name in fields} | {
                    "attributes": {name: row[name] for name in attributes}
                }


def _labels(lake: Lake, since: datetime) -> list[dict[str, Any]]:
    """The labels that became known since a time, in the order in which they did."""
    if not lake.exists(schema.LABELS):
        return []
    table = lake.read(schema.LABELS, columns=["transaction_id", "label_time", "source", "is_fraud"])
    recent = table.filter(pc.greater_equal(table.column("label_time"), pa.scalar(since, schema.TIME)))
    return list(recent.sort_by([("label_time", "ascending"), ("source", "ascending")]).to_pylist())


def _wire(row: dict[str, Any]) -> bytes:
    def text(value: object) -> str:
        if isinstance(value, datetime):
            return value.isoformat()
        raise TypeError(type(value))

    return json.dumps(
        {name: value for name, value in row.items() if value is not None}, default=text
    ).encode()


class _Client:
    """One kept-alive connection."""

    def __init__(self, url: str, api_key: str) -> None:
        address = urlsplit(url)
        self._url = url
        self._headers = {"Content-Type": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._connection = HTTPConnection(address.hostname or "127.0.0.1", address.port or 80, timeout=30)

    def post(self, path: str, body: bytes) -> dict[str, Any]:
        try:
            self._connection.request("POST", path, body, self._headers)
            response = self._connection.getresponse()
            answer: dict[str, Any] = json.loads(response.read())
        except (OSError, ValueError) as error:
            raise ClusterError(
                f"no answer from {self._url}{path}: is `fraud serve` running there?"
            ) from error
        if response.status >= 300:
            raise ClusterError(f"{self._url}{path} answered {response.status}: {answer}")
        return answer
