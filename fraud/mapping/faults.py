"""Why rows are refused, and what is kept of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fraud.mapping.ids import masked
from fraud.mapping.text import Bools

REASONS: Final[Mapping[str, str]] = {
    "missing_id": "{column} has no value",
    "invalid_id": "{column} is a number with a fraction or with lost digits, or holds control characters",
    "missing_time": "{column} has no value",
    "unparsable_time": "{column} fits none of times.formats of the mapping",
    "time_out_of_range": "{column} is before 1990 or after 2099",
    "ambiguous_time": "a clock change repeats this local hour: set times.clock_change: first to read it",
    "nonexistent_time": "a clock change skips this local hour: set times.clock_change: first to read it",
    "missing_amount": "{column} has no value",
    "unparsable_amount": "{column} is no number with the marks of the mapping",
    "non_finite_amount": "{column} is not a finite number",
    "amount_too_large": "{column} is more than 10^9 minor units",
    "amount_not_whole_minor": "{column} has more decimals than its currency",
    "negative_amount": "{column} is negative: set amount.negative to refund or reversal if it means that",
    "unknown_currency": "{column} is no ISO-4217 code",
    "no_rate": "money.rates has no rate of this currency on that day",
    "unknown_kind": "{column} has a value that kinds.values does not name",
    "unknown_status": "{column} has a value that status.values does not name",
    "known_before_event": "{column} is before the event",
    "card_number": "{column} holds a card number: replace it by a token (or list it in not_card_numbers)",
    "unparsable_attribute": "{column} is not a finite number with the marks of the mapping",
    "out_of_range": "{column} is outside its range in expect.ranges of the mapping",
    "not_in_domain": "{column} has a value that expect.domains of the mapping does not name",
    "in_future": "{column} is later than the ingest by more than expect.not_in_future_s of the mapping",
    "label_before_event": "the label is older than its transaction",
    "missing_label_time": "{column} has no value",
    "malformed_row": "the row has more or fewer fields than the header, or is no JSON object",
    "conflict": "the transaction (or label) is known with other content",
    "unknown_transaction": "the lake has no transaction of this id: ingest its transaction first",
}
"""Why a row is refused, with what to do about it."""


@dataclass(slots=True)
class Faults:
    """The first fault of every row."""

    rows: int
    _place: NDArray[np.int16] = field(init=False)
    _said: list[tuple[str, str]] = field(init=False)

    def __post_init__(self) -> None:
        self._place = np.zeros(self.rows, np.int16)  # in what is said: 0 is no fault
        self._said = [("", "")]

    def add(self, mask: Bools, reason: str, column: str = "") -> None:
        """Refuse the rows of a mask that have no fault yet."""
        if mask.any():
            self._place[mask & self.none] = len(self._said)
            self._said.append((reason, REASONS[reason].format(column=column)))

    @property
    def none(self) -> Bools:
        """Rows without a fault."""
        return np.asarray(self._place == 0, np.bool_)

    def said(self, rows: NDArray[np.int64]) -> list[tuple[str, str]]:
        """Return the reason and the detail of some rows, empty where there is no fault."""
        return [self._said[place] for place in self._place[rows].tolist()]


def refused(raw: pa.Table, rows: NDArray[np.int64], faults: Faults) -> pa.Table:
    """Return the refused rows: row, reason, detail, and the source's columns as JSON (``raw``).

    Args:
        raw: All rows under the source's own column names.
        rows: Their numbers in the file, shape ``(n,)``.
        faults: Of these rows.
    """
    places = np.flatnonzero(~faults.none)
    found = raw.take(pa.array(places)).to_pylist()
    said = faults.said(places)
    return pa.table(
        {
            "row": pa.array(rows[places], pa.int64()),
            "reason": pa.array([reason for reason, _ in said], pa.string()),
            "detail": pa.array([detail for _, detail in said], pa.string()),
            "raw": pa.array([masked_json(row) for row in found], pa.string()),
        }
    )


def masked_json(row: Mapping[str, Any]) -> str:
    """Return a row as JSON, every run of 13 and more digits in its values and names masked."""
    return json.dumps({masked(name): _shown(value) for name, value in row.items()}, ensure_ascii=False)


def _shown(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    text = value if isinstance(value, str) else str(value)
    hidden = masked(text)
    plain = isinstance(value, int) or (isinstance(value, float) and value - value == 0)
    return value if plain and hidden == text else hidden
