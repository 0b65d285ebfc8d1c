"""What the training rows looked like: a histogram per feature, made on the workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from ray.data import Dataset

from fraud.model import histogram
from fraud.model.histogram import Histogram

_SAMPLE_ROWS: Final = 100_000
"""Rows the edges are made from; the counts are of all rows."""


@dataclass(frozen=True)
class Profile:
    """Rows, frauds and a histogram per feature of a dataset of examples."""

    rows: int
    frauds: int
    histograms: Mapping[str, Histogram]


def profile(dataset: Dataset, names: Sequence[str]) -> Profile:
    """Count a materialised dataset of examples.

    Args:
        dataset: ``is_fraud`` and one float column per name.
        names: The features.
    """
    rows = dataset.count()
    if rows == 0:
        return Profile(0, 0, {name: histogram.build(np.empty(0)) for name in names})
    sample = dataset if rows <= _SAMPLE_ROWS else dataset.random_sample(_SAMPLE_ROWS / rows, seed=0)
    edges = _edges(sample, names)
    counted = dataset.map_batches(
        _count, fn_kwargs={"edges": edges}, batch_size=None, batch_format="pyarrow"
    ).take_all()
    histograms = {
        name: reduce(
            histogram.add,
            (Histogram(edges[name], tuple(block[name]), block[f"missing {name}"]) for block in counted),
        )
        for name in names
    }
    return Profile(rows, sum(block["frauds"] for block in counted), histograms)


def _edges(sample: Dataset, names: Sequence[str]) -> dict[str, tuple[float, ...]]:
    if not names:
        return {}
    batches = sample.select_columns(list(names)).iter_batches(batch_size=None, batch_format="pyarrow")
    whole = pa.concat_tables(batch for batch in batches)
    return {name: histogram.build(whole.column(name).to_numpy()).edges for name in names}


def _count(batch: pa.Table, edges: Mapping[str, tuple[float, ...]]) -> pa.Table:
    row: dict[str, list[object]] = {"frauds": [pc.sum(batch.column("is_fraud")).as_py() or 0]}
    for name, at in edges.items():
        found = histogram.count(batch.column(name).to_numpy(), at)
        row[name] = [list(found.counts)]
        row[f"missing {name}"] = [found.missing]
    return pa.table(row)
