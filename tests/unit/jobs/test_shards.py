from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud.errors import SchemaError
from fraud.jobs.shards import Piece, _Write, batches, columns, deal
from fraud.settings import TrainSettings


def test_pieces_are_cut_where_a_part_ends() -> None:
    five, one, four = Piece("five", 0, 5), Piece("one", 7, 1), Piece("four", 2, 4)
    assert deal([five, one, four], 2) == [(five,), (one, four)]
    assert deal([five, one], 3) == [
        (Piece("five", 0, 2),),
        (Piece("five", 2, 2),),
        (Piece("five", 4, 1), one),
    ]


@given(data=st.data(), lengths=st.lists(st.integers(1, 300), min_size=1, max_size=20))
def test_parts_hold_every_row_once_and_differ_by_one_row_at_most(
    data: st.DataObject, lengths: list[int]
) -> None:
    parts = deal(
        [Piece(str(block), 0, length) for block, length in enumerate(lengths)],
        data.draw(st.integers(1, sum(lengths))),
    )
    sizes = [sum(map(len, part)) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    assert min(len(piece) for part in parts for piece in part) >= 1
    seen = [(p.block, row) for part in parts for p in part for row in range(p.first, p.first + p.rows)]
    assert seen == [(str(block), row) for block, length in enumerate(lengths) for row in range(length)]


def test_written_rows_are_read_back_in_batches_of_any_size(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1_000, 3)).astype(np.float32)
    x[::7, 1] = np.nan
    y = rng.random(1_000) < 0.3
    table = pa.table({"is_fraud": y, "other": ["x"] * 1_000, **{f"f{at}": x[:, at] for at in range(3)}})
    write = _Write(("f0", "f1", "f2"), 1.0, str(tmp_path / "rows"))
    written = [write(table.slice(first, 300)).to_pylist()[0] for first in range(0, 1_000, 300)]
    assert sum(block["frauds"] for block in written) == int(y.sum())
    pieces = [Piece(block["block"], 0, block["rows"]) for block in written]
    for rows in (1, 256, 5_000):
        read = list(batches(pieces, 3, rows))
        assert max(len(labels) for _, labels in read) <= rows
        np.testing.assert_array_equal(np.concatenate([features for features, _ in read]), x)
        np.testing.assert_array_equal(np.concatenate([labels for _, labels in read]), y)


def test_a_missing_column_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    table = pa.table({"is_fraud": [True], "a": [1.0]})
    with pytest.raises(SchemaError, match=r"column b is missing.*column c is missing"):
        _Write(("a", "b", "c"), 1.0, str(tmp_path / "rows"))(table)
    with pytest.raises(SchemaError, match="column transaction_id is missing"):
        _Write(("a",), 0.5, str(tmp_path / "rows"))(table)
    assert list(tmp_path.iterdir()) == []


def test_ids_are_read_only_where_they_choose_rows() -> None:
    assert columns(TrainSettings()) == ["is_fraud"]
    assert columns(TrainSettings(negative_share=0.5)) == ["is_fraud", "transaction_id"]
