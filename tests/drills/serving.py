"""What drills of the service share: load in the background, what was promised, a table of what was seen."""

from __future__ import annotations

import hashlib
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
from factories_serve import FEATURE_SET, make_places
from load import Plan
from mlflow_server import free_port
from serve_process import Service, Shape, running
from support.generator import Generator
from support.tally import Report

from fraud import schema
from fraud.jobs import ship
from fraud.storage import journal as journals
from fraud.storage.lake import Lake


@dataclass(frozen=True)
class Seen:
    """One line of the table.

    Attributes:
        drill: What was done.
        times: How often.
        bar: What must hold.
        seen: What held.
        met: Whether that is enough.
    """

    drill: str
    times: int
    bar: str
    seen: str
    met: bool


TABLE: list[Seen] = []


def check(drill: str, times: int, bars: Mapping[str, tuple[Any, bool]]) -> None:
    """Put what was seen into the table, and fail where it is not enough.

    Args:
        drill: What was done.
        times: How often.
        bars: By what must hold: what was seen, and whether that is enough.
    """
    rows = [Seen(drill, times, bar, str(seen), met) for bar, (seen, met) in bars.items()]
    TABLE.extend(rows)
    missed = [row for row in rows if not row.met]
    assert not missed, missed


def zero(seen: int) -> tuple[int, bool]:
    """A bar: none at all."""
    return seen, seen == 0


def answered(report: Report) -> tuple[str, bool]:
    """A bar: no request without a 2xx in the end; what there was instead is told."""
    return f"{report.failed}; {report.statuses}, {report.errors}", report.failed == 0


def most(seen: float, limit: float) -> tuple[float, bool]:
    """A bar from above."""
    return round(float(seen), 3), bool(seen <= limit)


@contextmanager
def serving(folder: Path, *, registry: str = "", **settings: Any) -> Iterator[Service]:
    """Serve the small model from a folder, made here where it is missing; a registry is followed."""
    if not (folder / "pointer.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        make_places(folder)
    given = {"port": free_port(), "cpus_per_replica": 0.25, "pointer_poll_s": 0.2, **settings}
    with running(Shape(folder, given, registry=registry), folder / "service.log") as service:
        yield service


class Traffic(Generator):
    """Load in the background until it is ended; it retries as a good client does, unless told otherwise."""

    def __init__(self, url: str, folder: Path, **plan: Any) -> None:
        plan = {"retries": 3, "timeout_s": 2.0, "seconds": 3600, "start_us": time.time_ns() // 1000, **plan}
        super().__init__(Plan(url, **plan), folder)

    def answers(self) -> dict[str, set[str]]:
        """SHA-256 of all answers by id, as the client got them."""
        found = defaultdict(set)
        for line in self.acknowledged.read_text().splitlines():
            _, identifier, shown = line.split()
            found[identifier].add(shown)
        return found


class _Decided(msgspec.Struct):
    answer: msgspec.Raw
    record: str = ""


class _Named(msgspec.Struct):
    transaction_id: str


def journalled(folder: Path) -> dict[str, set[str]]:
    """SHA-256 of all answers by id, as the journal has them."""
    found = defaultdict(set)
    for segment in journals.segments(folder):
        for record in journals.read(segment):
            if record.startswith(b'{"record":"decision"'):
                answer = bytes(msgspec.json.decode(record, type=_Decided).answer)
                identifier = msgspec.json.decode(answer, type=_Named).transaction_id
                found[identifier].add(hashlib.sha256(answer).hexdigest())
    return found


def shipped(folder: Path) -> Counter[str]:
    """Ship a service's journal into a lake beside it; return how often ``decisions`` has each id."""
    lake = Lake(str(folder / "lake"))
    ship.run(lake, folder / "journal", feature_set=FEATURE_SET)
    return Counter(lake.read(schema.DECISIONS, columns=["transaction_id"]).column(0).to_pylist())


@dataclass
class Promises:
    """What clients were told, against what is on disk.

    Attributes:
        missing: Acknowledged decisions that the journal lacks.
        different: Ids with more than one answer, among all clients and the journal.
    """

    missing: int = 0
    different: int = 0
    acknowledged: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))


def promises(journal: Path, traffics: Iterable[Traffic]) -> Promises:
    """Compare what was acknowledged with the journal."""
    found, kept = Promises(), journalled(journal)
    for traffic in traffics:
        for identifier, shown in traffic.answers().items():
            found.acknowledged[identifier] |= shown
    for identifier, shown in found.acknowledged.items():
        found.missing += not shown <= kept.get(identifier, set())
        found.different += len(shown | kept.get(identifier, set())) > 1
    return found


def until(is_so: Callable[[], bool], *, within_s: float) -> float:
    """Wait until something is so, at most so long; return how long it took."""
    began = time.monotonic()
    while not is_so():
        assert time.monotonic() < began + within_s, "it took too long"
        time.sleep(0.02)
    return time.monotonic() - began


def longest_silence_s(samples: Any, start: float, end: float) -> float:
    """Return the longest time without an answer of status 200 between two times of the load's clock."""
    done = samples[samples[:, 2] == 200]
    done = sorted(at for at in done[:, 0] + done[:, 1] if start <= at <= end)
    edges = [start, *done, end]
    return max(later - earlier for earlier, later in pairwise(edges))
