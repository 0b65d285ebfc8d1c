"""The peer: the Handbook's features by Polars' best lazy plan, from the same files to one Parquet file.

Runs in an environment and a process of its own. The plan makes one integer axis of an entity column (entity
after entity, further apart than the longest window looks back), sorts narrow frames by it, lets
``rolling_sum_by`` run over the whole axis, and brings the sums back by row number: strings are never moved. A
card's later ties are taken off again, because a rolling sum sees all rows of an instant.

It is told more than the product is, to its own advantage: that transactions are known at once and are all
scored, that every terminal is known, and that a fraud is known by the end of the delay; and it need not say
whether a row's history is complete. The axis holds 2^18
entities of 407 days, which is enough for 40 million rows.

Plans tried on 2 cores beside other work, which cost some runs twice their time; the fastest of one to four
runs with 1,750,000 rows / of one or two with 17,500,000, in seconds. Only this plan's values were compared:

===========================================================================  =====  =====
this one, narrow frames in the in-memory engine, both at once                  2.1   17.8
the same, fraud sums by ``gather`` of a running total                          2.7   33 *
the same with ``join_asof`` on the axis instead of rolling sums                3.4   34 *
the same, one narrow frame after the other                                     4.8   24.4
the same, narrow frames in the streaming engine                                4.3   46 *
``rolling_sum_by`` on the axis, whole rows sorted twice, streaming             2.5   33.9
``rolling_sum_by(...).over(entity)``, streaming                                2.4   38.4
``search_sorted`` on the axis, narrow frames, streaming                        3.1   66.7
``join_asof(by=entity)`` of running totals, streaming                          3.9
``rolling(group_by=entity)``, streaming                                       52.6
===========================================================================  =====  =====

(*) in a busy hour, where this plan took 32.5. ``rolling(group_by=entity)`` leaves the order of ties aside.
Between the in-memory and the streaming engine no plan that is one query differed beyond the noise, but
``over``: 3.4 and 2.4. ``.cache()`` instead of collecting the axes first took 4.1.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time

import polars as pl

DAY_US = 86_400_000_000
STRIDE_US = 2**45
SPANS = (1, 7, 30)
DELAY = 7
EDGES = (DELAY, *(DELAY + span for span in SPANS))
COUNT = pl.UInt32


def keyed(lake: str) -> pl.LazyFrame:
    """Rows in the files' order, with a place on the axis of either entity column."""
    rows = pl.scan_parquet(f"{lake}/transactions/*/*.parquet", hive_partitioning=False)
    frauds = pl.scan_parquet(f"{lake}/labels/*.parquet").filter(
        pl.col("is_fraud") & (pl.col("label_time") <= pl.col("event_time") + pl.duration(days=DELAY))
    )
    return (
        rows.join(
            frauds.select("transaction_id", fraud=pl.lit(1, COUNT)),
            on="transaction_id",
            how="left",
            maintain_order="left",
        )
        .select(
            "transaction_id",
            "event_time",
            "tie",
            pl.col("fraud").fill_null(0),
            amount="amount_base_minor",
            card=axis("card_id"),
            terminal=axis("terminal_id"),
        )
        .with_row_index("row")
    )


def axis(entity: str) -> pl.Expr:
    """Entity after entity, each in the order of time."""
    code = pl.col(entity).cast(pl.Categorical).to_physical().cast(pl.Int64)
    return code * STRIDE_US + pl.col("event_time").cast(pl.Int64)


def rolled(value: str, key: str, days: int) -> pl.Expr:
    """The sum over so many days up to and with the row's own instant."""
    return pl.col(value).rolling_sum_by(key, window_size=f"{days * DAY_US}i").alias(f"{value}_{days}")


def card_sums(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Counts and amounts of a card's last days, in the order of the rows."""
    last = (pl.col("card") != pl.col("card").shift(-1)).fill_null(value=True)
    ordered = rows.select("row", "card", "tie", "amount", one=pl.lit(1, COUNT)).sort("card", "tie")
    totals = {value: pl.col(value).cum_sum() for value in ("one", "amount")}
    summed = ordered.select(
        "row",
        *(rolled(value, "card", days) for value in totals for days in SPANS),
        *(
            (pl.when(last).then(total).backward_fill() - total).alias(f"{value}_later")
            for value, total in totals.items()
        ),
    )
    own = [
        (pl.col(f"{value}_{days}") - pl.col(f"{value}_later")).alias(f"card_{value}_{days}")
        for value in totals
        for days in SPANS
    ]
    return summed.select("row", *own).sort("row").drop("row")


def terminal_sums(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Counts and frauds of a terminal's days before the delay, in the order of the rows."""
    ordered = rows.select("row", "terminal", "fraud", one=pl.lit(1, COUNT)).sort("terminal")
    summed = ordered.select(
        "row", *(rolled(value, "terminal", days) for value in ("one", "fraud") for days in EDGES)
    )
    between = [
        (pl.col(f"{value}_{DELAY + days}") - pl.col(f"{value}_{DELAY}")).alias(f"terminal_{value}_{days}")
        for value in ("one", "fraud")
        for days in SPANS
    ]
    return summed.select("row", *between).sort("row").drop("row")


def features() -> list[pl.Expr]:
    """The fifteen features in the order of the product's feature set."""
    at, count = pl.col("event_time").dt, {days: pl.col(f"card_one_{days}") for days in SPANS}
    past = {days: pl.col(f"terminal_one_{days}") for days in SPANS}
    return [
        pl.col("amount"),
        at.weekday() >= 6,
        at.hour() <= 6,
        *count.values(),
        *(pl.col(f"card_amount_{days}") / count[days] for days in SPANS),
        *past.values(),
        *(
            pl.when(past[days] > 0).then(pl.col(f"terminal_fraud_{days}") / past[days]).otherwise(0)
            for days in SPANS
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("lake")
    parser.add_argument("out")
    parser.add_argument("names", help="of the features, with commas between them")
    parser.add_argument("--compression", required=True)
    parser.add_argument("--compression-level", type=int, required=True)
    options = parser.parse_args()
    times = [time.perf_counter()]
    rows = keyed(options.lake).collect(engine="streaming")
    times.append(time.perf_counter())
    sums = pl.collect_all([card_sums(rows.lazy()), terminal_sums(rows.lazy())], engine="in-memory")
    times.append(time.perf_counter())
    whole = pl.concat([rows.select("transaction_id", "event_time", "amount"), *sums], how="horizontal")
    named = dict(zip(options.names.split(","), features(), strict=True))
    columns = [column.cast(pl.Float64).alias(name) for name, column in named.items()]
    whole.lazy().select("transaction_id", "event_time", *columns).sink_parquet(
        options.out,
        compression=options.compression,
        compression_level=options.compression_level,
        engine="streaming",
    )
    times.append(time.perf_counter())
    seconds = [after - before for before, after in itertools.pairwise(times)]
    steps = dict(zip(("read", "windows", "write"), seconds, strict=True))
    print(json.dumps({"seconds": sum(seconds), "steps": steps, "name": f"polars {pl.__version__}"}))


if __name__ == "__main__":
    main()
