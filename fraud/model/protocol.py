"""The published test of the Fraud Detection Handbook: its weeks, its removal of known cards, its figures.

Source: Le Borgne, Siblini, Lebichot, Bontempi, Reproducible Machine Learning for Credit Card Fraud
Detection, 2022, chapters 3 to 5. The data are simulated; real card data are much harder (the same book
reports an average precision of 0.095 on real ones), so the figures compare methods, not businesses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fraud.errors import ConfigError
from fraud.model.split import Fold, fold

DAYS: Final = 7
"""Of training, of the label delay and of testing, in every fold."""

KNOWN_AFTER_D: Final = DAYS + 1
"""A fraud of day d is labelled during day d + 7, so its card is left out from day d + 8 on."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """Folds fixed by a publication, and what was published for them.

    Attributes:
        name: As given to ``--protocol``.
        folds: The newest first, of 7 training days each.
        is_test: Whether these weeks judge a choice; on others a choice may be made.
        published: The figures to compare with, JSON-able.
    """

    name: str
    folds: tuple[Fold, ...]
    is_test: bool
    published: Mapping[str, Any]


def find(name: str) -> Protocol:
    """Return a protocol by name.

    Raises:
        ConfigError: There is none of that name.
    """
    if name not in PROTOCOLS:
        raise ConfigError("protocol", f"there is no {name!r}: choose one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def unknown_cards(
    day: NDArray[np.int32],
    card: pa.Array,
    fraud_day: NDArray[np.int32],
    fraud_card: pa.Array,
    *,
    train_last: int,
) -> NDArray[np.bool_]:
    """Say which test rows stay: those of cards that nobody knew to be compromised on that day.

    Cards with a fraud in the seven days before the waiting days are known throughout the test; on test day
    d, the cards with a fraud on day d - 8 join them. Other frauds of the waiting days stay hidden, as in the
    book. Those seven days are the book's training days; a longer training changes no test row.

    Args:
        day: Days of the test rows since 1970-01-01, shape ``(n,)``.
        card: Their card ids, strings with nulls, length n; a row without a card stays.
        fraud_day: Days of frauds since 1970-01-01, shape ``(m,)``, of any period.
        fraud_card: Their card ids, strings with nulls, length m.
        train_last: The day after the last training day, since 1970-01-01.

    Returns:
        True for rows to keep, shape ``(n,)``.
    """
    counted = fraud_day >= train_last - DAYS
    pool = fraud_card.cast(pa.string()).filter(pa.array(counted))
    names = pool.drop_null().unique()
    # One place more than there are names: it stands for every card that is never known.
    known_from = np.full(len(names) + 1, np.iinfo(np.int64).max)
    known = fraud_day[counted].astype(np.int64) + KNOWN_AFTER_D
    np.minimum.at(known_from, _position(pool, names), known)
    known_from[-1] = np.iinfo(np.int64).max
    return np.asarray(day < known_from[_position(card, names)], np.bool_)


def _position(card: pa.Array, names: pa.Array) -> NDArray[np.int64]:
    """Where each card stands among the names; ``len(names)`` for another card or none."""
    found = pc.index_in(card.cast(pa.string()), value_set=names, skip_nulls=True)
    return np.asarray(pc.fill_null(found, len(names)), np.int64)


def _weeks(*starts: date) -> tuple[Fold, ...]:
    return tuple(fold(start, train_d=DAYS, gap_d=DAYS, test_d=DAYS) for start in starts)


def _backwards(start: date) -> tuple[Fold, ...]:
    return _weeks(*(start - timedelta(days=DAYS * number) for number in range(4)))


def _figure(mean: float, std: float | None = None) -> dict[str, float | None]:
    return {"mean": mean, "std": std}


PROTOCOLS: Final[Mapping[str, Protocol]] = MappingProxyType(
    {
        protocol.name: protocol
        for protocol in (
            Protocol(
                "handbook-baseline",
                _weeks(date(2018, 7, 25)),
                True,
                {
                    "model": "XGBoost, 100 rounds, learning rate 0.3, depth 6, exact",
                    "auc_roc": _figure(0.862),
                    "average_precision": _figure(0.639),
                    "card_precision_100": _figure(0.273),
                },
            ),
            Protocol(
                "handbook-prequential",
                _backwards(date(2018, 8, 15)),
                True,
                {
                    "model": "XGBoost, 100 rounds, learning rate 0.1, depth 3, exact",
                    "auc_roc": _figure(0.8708, 0.0124),
                    "average_precision": _figure(0.6940, 0.0084),
                    "card_precision_100": _figure(0.3039, 0.0123),
                },
            ),
            Protocol(
                "handbook-validation",
                _backwards(date(2018, 7, 11)),
                False,
                {
                    "model": "XGBoost, 100 rounds, learning rate 0.1, depth 3, exact",
                    "auc_roc": _figure(0.8784, 0.0092),
                    "average_precision": _figure(0.7052, 0.0198),
                    "card_precision_100": _figure(0.2882, 0.0157),
                },
            ),
        )
    }
)
"""Select on ``handbook-validation``; the other two are the test."""
