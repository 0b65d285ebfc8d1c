"""Simulate transactions and frauds: named Ray tasks draw customers in chunks, then write a file a week each.

    customers ──> rows, split by file ──┬─────────────────────────────> write: label, sort, number
                 rows of the compromised customers ──> scenario 3 ──┘

Rows go from task to task through the object store; the driver sees only counts and the rows of the few
customers that scenario 3 draws from (three a day, whatever the population).
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.parquet as pq
import ray
from numpy.typing import NDArray

from fraud.errors import ConfigError
from fraud.simulate import folder, population, scenario
from fraud.simulate.checksum import checksum, combine
from fraud.simulate.parameters import START, Parameters, file_count, file_name
from fraud.simulate.population import Customers, Terminals
from fraud.simulate.scenario import Stolen
from fraud.simulate.stream import Rows, concat, generate, split_by_file
from fraud.simulate.table import canonical, table

CUSTOMERS_PER_TASK: Final = 625
"""Makes a task's share of a file (140 kB) too large for Ray to send through the driver (100 kB)."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Chunk:
    """What the driver learns of some customers: rows per file, and the compromised customers' rows."""

    counts: tuple[int, ...]
    compromised: Rows


@dataclass(frozen=True, slots=True)
class _File:
    """What the driver learns of a file; ``seconds`` are the first and last row's, since the start."""

    name: str
    rows: int
    newly: tuple[int, int, int]
    seconds: tuple[int, int]
    checksum: int


def run(
    out: Path,
    *,
    profile: str = "handbook",
    customers: int = 5_000,
    terminals: int = 10_000,
    days: int = 183,
    seed: int = 0,
    parallelism: int = 2,
) -> dict[str, Any]:
    """Write a folder of Parquet files in time order; equal arguments give equal rows.

    With the defaults the rows are those of the published Handbook data.

    Args:
        out: Absolute path of the folder, on a file system all workers share.
        profile: Which kind of data; see ``fraud.simulate.parameters.PROFILES``.
        customers: How many customers pay, at most; one who never happens to does not occur.
        terminals: How many terminals there are on the same square.
        days: From 2018-04-01 on.
        seed: 0 for the published streams, another for other data.
        parallelism: How many tasks run at once; the rows do not depend on it.

    Returns:
        The parameters; ``transactions``, ``frauds``, ``frauds_by_scenario`` (rows each scenario was the first
        to make fraudulent), ``first_event_time``, ``last_event_time``, ``files``, ``checksum``, ``seconds``,
        ``out``, and ``reused``: whether the folder already held this simulation.

    Raises:
        ConfigError: An argument is out of its bounds, or the folder holds something else.
    """
    started = time.monotonic()
    parameters = Parameters(profile, customers, terminals, days, seed)
    if parallelism < 1:
        raise ConfigError("parallelism", f"must be at least 1, not {parallelism}")
    report = folder.prepare(out, parameters)
    if report is not None:
        return {**report, "out": str(out), "reused": True}
    files = _simulate(out, parameters, parallelism)
    report = {**_report(parameters, files), "seconds": round(time.monotonic() - started, 3)}
    folder.publish(out, parameters, report)
    return {**report, "out": str(out), "reused": False}


def _simulate(out: Path, parameters: Parameters, parallelism: int) -> list[_File]:
    days, seed = parameters.days, parameters.seed
    chosen = scenario.compromised_customers(parameters.customers, days=days, seed=seed)
    chunks, pieces = _draw(parameters, chosen, parallelism)
    if not any(sum(chunk.counts) for chunk in chunks):
        raise ConfigError("customers", "made no transaction; ask for more customers, terminals or days")
    thefts = ray.put(scenario.stolen(concat([chunk.compromised for chunk in chunks]), chosen, seed=seed))
    compromised = ray.put(scenario.compromised_terminals(parameters.terminals, days=days, seed=seed))
    rows = [sum(counts) for counts in zip(*(chunk.counts for chunk in chunks), strict=True)]
    first_ids = itertools.accumulate(rows, initial=0)
    starts = [
        partial(
            _task(_write_file, f"simulate: {file_name(index)}").remote,
            *(out / file_name(index), first_id, compromised, thefts),
            *(parts[index] for parts in pieces),
        )
        for index, (count, first_id) in enumerate(zip(rows, first_ids, strict=False))
        if count
    ]
    return _in_turn(starts, parallelism, "files")


def _draw(
    parameters: Parameters, chosen: NDArray[np.int32], parallelism: int
) -> tuple[list[_Chunk], list[list[ray.ObjectRef]]]:
    """Draw all customers; return what the driver learns of each chunk, and a reference per chunk and file."""
    everyone = population.customers(parameters.customers, parameters.seed)
    places = ray.put(population.terminals(parameters.terminals, parameters.seed))
    watched = ray.put(np.unique(chosen))
    pieces: list[list[ray.ObjectRef]] = []

    def start(some: Customers) -> ray.ObjectRef:
        name = f"simulate: customers {some.first}-{some.first + len(some) - 1}"
        task = _task(_draw_customers, name, num_returns=1 + file_count(parameters.days))
        chunk, *parts = task.remote(some, places, watched, parameters.days, parameters.seed)
        pieces.append(parts)
        return chunk

    starts = [partial(start, some) for some in everyone.chunks(CUSTOMERS_PER_TASK)]
    return _in_turn(starts, parallelism, "chunks of customers"), pieces


def _draw_customers(
    customers: Customers, terminals: Terminals, watched: NDArray[np.int32], days: int, seed: int
) -> tuple[_Chunk | Rows, ...]:
    """Task: draw some customers' transactions; the rows of each file are an object of their own."""
    rows = generate(customers, terminals, days=days, seed=seed)
    parts = split_by_file(rows, days=days)
    compromised = rows.take(np.flatnonzero(np.isin(rows.customer, watched)))
    return _Chunk(tuple(len(part) for part in parts), compromised), *parts


def _write_file(
    path: Path, first_id: int, terminals: NDArray[np.bool_], thefts: Stolen, *parts: Rows
) -> _File:
    """Task: bring a file's rows in order, label and number them, and write them."""
    rows = concat(parts).in_table_order()
    labels = scenario.label(rows, terminals, thefts)
    with folder.renamed_when_whole(path) as hidden:
        pq.write_table(table(rows, labels, first_id), hidden, compression="zstd")
    return _File(
        name=path.name,
        rows=len(rows),
        newly=labels.newly,
        seconds=(int(rows.second[0]), int(rows.second[-1])),
        checksum=checksum(canonical(rows, labels)),
    )


def _task(function: Callable[..., object], name: str, *, num_returns: int = 1) -> Any:
    return ray.remote(function).options(name=name, num_cpus=1, num_returns=num_returns)


def _in_turn(starts: Sequence[Callable[[], ray.ObjectRef]], parallelism: int, what: str) -> list[Any]:
    """Run tasks, at most ``parallelism`` at once; return their results in the order given."""
    waiting = iter(starts)
    running = [start() for start in itertools.islice(waiting, parallelism)]
    ordered = list(running)
    done = 0
    while running:
        finished, running = ray.wait(running, num_returns=1)
        ray.get(finished)  # raises here what a task raised, before more of them start
        done += 1
        for start in itertools.islice(waiting, 1):
            running.append(start())
            ordered.append(running[-1])
        if done % max(1, len(starts) // 10) == 0:
            _log.info("simulating", extra={"what": what, "done": done, "of": len(starts)})
    return list(ray.get(ordered))


def _report(parameters: Parameters, files: Sequence[_File]) -> dict[str, Any]:
    by_scenario = [sum(counts) for counts in zip(*(file.newly for file in files), strict=True)]
    first, last = (
        START + timedelta(seconds=file.seconds[end]) for file, end in ((files[0], 0), (files[-1], 1))
    )
    return {
        **asdict(parameters),
        "transactions": sum(file.rows for file in files),
        "frauds": sum(by_scenario),
        "frauds_by_scenario": {
            str(n): count for n, count in zip(scenario.SCENARIOS, by_scenario, strict=True)
        },
        "first_event_time": first.isoformat(),
        "last_event_time": last.isoformat(),
        "files": [file.name for file in files],
        "checksum": combine(file.checksum for file in files),
    }
