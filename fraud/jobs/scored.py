"""Examples with the model's score, brought to the driver without their features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xgboost as xgb
from numpy.typing import NDArray
from ray.data import Dataset

from fraud import schema
from fraud.features import encode
from fraud.jobs.examples import CARD, FIELDS
from fraud.model import booster as boosters
from fraud.model.traffic import Traffic


def score(booster: xgb.Booster, rows: Dataset, names: Sequence[str]) -> pa.Table:
    """Score examples in tasks.

    Args:
        booster: The model.
        rows: From ``examples``.
        names: Features in the model's order.

    Returns:
        The examples' ``FIELDS`` and ``score``.
    """
    model = _Model(boosters.to_json(booster), tuple(names))
    blocks = rows.map_batches(model, batch_size=None, batch_format="pyarrow").iter_batches(
        batch_size=None, batch_format="pyarrow"
    )
    whole = pa.schema([*FIELDS, pa.field("score", pa.float64())])
    return pa.concat_tables([whole.empty_table(), *(block.cast(whole) for block in blocks)])


def traffic(scored: pa.Table, probability: NDArray[np.float64], fraud_type: pa.Array) -> Traffic:
    """Return scored examples as columns of numbers.

    Args:
        scored: From ``score``; ``is_fraud`` is null where the truth is not known.
        probability: Calibrated, shape ``(n,)``.
        fraud_type: As labelled, length n.
    """
    is_fraud = scored.column("is_fraud").combine_chunks()
    return Traffic(
        day=day_numbers(scored.column(schema.PARTITION)),
        card=scored.column(CARD).combine_chunks(),
        amount=np.asarray(scored.column("amount_base_minor").to_numpy(), np.int64),
        score=np.asarray(scored.column("score").to_numpy(), np.float64),
        probability=probability,
        is_fraud=np.asarray(pc.fill_null(is_fraud, fill_value=False), np.bool_),
        is_known=np.asarray(is_fraud.is_valid(), np.bool_),
        fraud_type=fraud_type,
    )


def day_numbers(dates: pa.ChunkedArray) -> NDArray[np.int32]:
    """Return dates as days since 1970-01-01."""
    return np.asarray(dates.cast(pa.int32()).to_numpy(), np.int32)


@dataclass(frozen=True)
class _Model:
    """Scores blocks in Ray Data tasks; XGBoost JSON travels well, a booster does not."""

    raw: bytes
    names: tuple[str, ...]

    def __call__(self, batch: pa.Table) -> pa.Table:
        booster = boosters.from_json(self.raw, path="memory")
        scores = boosters.predict(booster, encode.matrix(batch, self.names))
        return batch.select([field.name for field in FIELDS]).append_column("score", pa.array(scores))
