"""Ship: what the endpoint journalled becomes rows of the lake, each exactly once.

A pass reads every segment from where ``decisions`` has it, some thousands of records at a time, and commits
them table by table, ``decisions`` last: what that table has of a segment, all of them have. Each commit says
how far it came in every segment, so a pass that was cut short between two of them, or that cannot know
whether its last commit held, is simply made again: each table leaves out what it has.

A record may be in the journal more than once. What was looked up in a version of a table is committed onto
that very version or looked up again: of several shippers none writes a row that another one wrote.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from fraud import schema
from fraud.features.spec import FeatureSet
from fraud.jobs import ship_records, ship_tables
from fraud.jobs.ship_commit import Committer, Passed
from fraud.jobs.ship_records import Decision, Entry, Event, Label, Shadow
from fraud.jobs.ship_segments import Haul, alone, app, read
from fraud.jobs.ship_tables import Had, New
from fraud.storage import alerts, journal
from fraud.storage.alerts import Alert
from fraud.storage.lake import Lake, Part

logger = logging.getLogger(__name__)

KEEP_S: Final = 172_800.0
"""How long a shipped segment stays: answers are rebuilt from those of two days."""

_AT_ONCE: Final = 10_000
_WAIT_S: Final = 30.0
_WAITING: Final = "labels.waiting"


def run(
    lake: Lake, journal_folder: Path, *, feature_set: FeatureSet | None = None, keep_s: float = KEEP_S
) -> dict[str, Any]:
    """Make one pass, see ``Shipper``."""
    return Shipper(lake, journal_folder, feature_set=feature_set, keep_s=keep_s).run()


def _nothing(_: str) -> None:
    """Where nobody wants to know how far a pass is."""


@dataclass
class Shipper:
    """Makes passes, and remembers between them which segments are done and which ids there are.

    Attributes:
        lake: Where to.
        folder: The journal's.
        feature_set: Says the columns of ``transactions`` in a lake that has none; without it such a lake gets
            decisions only, and labels wait.
        keep_s: How long a shipped segment stays after its last record, seconds.
        passed: Called with the name of each step when it is done.
    """

    lake: Lake
    folder: Path
    feature_set: FeatureSet | None = None
    keep_s: float = KEEP_S
    passed: Passed = _nothing
    _done: set[str] = field(default_factory=set, init=False)
    _searched: set[str] = field(default_factory=set, init=False)
    _counts: Counter[str] = field(default_factory=Counter, init=False)

    def __post_init__(self) -> None:
        self._had = Had(self.lake)

    def run(self) -> dict[str, Any]:
        """Ship what is in the journal now.

        Returns:
            New rows in ``decisions``, ``transactions``, ``labels`` and ``shadow``; ``duplicates``, rows left
            out because their table has them; ``conflicts``, those that contradict their table and are in
            ``rejects`` now; ``waiting`` labels, whose transaction is not known; ``unread`` entity ids and
            attributes that ``transactions`` has no column for; ``unplaced`` transactions for want of that
            table; ``segments`` of the journal, ``segments_done``, ``damaged`` and ``deleted`` ones;
            ``seconds``.

        Raises:
            BusyError: Another process ships this journal.
            NotWrittenError: The lake cannot be written; what it lacks stays in the journal.
            JournalError: Labels that wait cannot be kept; they stay in the journal.
            ChangedMeanwhileError: Others write the same table all the time.
        """
        started = time.monotonic()
        self._counts = Counter()
        damaged: dict[str, str] = {}
        if self.folder.is_dir():
            with alone(self.folder, _WAIT_S):
                damaged = self._ship()
                self._ship_waiting()
                self._delete()
        segments = journal.segments(self.folder)
        tables = ("decisions", "transactions", "labels", "shadow")
        others = ("duplicates", "conflicts", "waiting", "unread", "unplaced")
        return {
            **{name: self._counts[name] for name in (*tables, *others)},
            "segments": len(segments),
            "segments_done": sum(segment.stem in self._done for segment in segments),
            "damaged": len(damaged),
            "deleted": self._counts["deleted"],
            "seconds": round(time.monotonic() - started, 3),
        }

    def _ship(self) -> dict[str, str]:
        """Ship all segments as far as they can be read; return what keeps one from being read further."""
        damaged: dict[str, str] = {}
        is_full = True
        while is_full:
            left = [
                each for each in journal.segments(self.folder) if each.stem not in {*self._done, *damaged}
            ]
            haul = read(left, self._offsets(left), records=_AT_ONCE)
            if haul.entries:
                self._commit_all(haul)
            self._done |= haul.ended
            damaged |= haul.damaged
            is_full = haul.is_full
        for segment, problem in damaged.items():
            self._tell(segment, problem)
        return damaged

    def _tell(self, segment: str, problem: str) -> None:
        alert = Alert(
            kind="journal_damaged",
            severity=alerts.ERROR,
            subject=segment,
            message=problem,
            occasion=segment,
            actor="fraud ship",
        )
        if alerts.add(self.lake, alert):
            logger.error("a journal segment is damaged", extra={"segment": segment, "problem": problem})

    def _offsets(self, segments: Sequence[Path]) -> dict[str, int]:
        """Up to where all tables have each segment."""
        if not self.lake.exists(schema.DECISIONS):
            return {}
        apps = {app(segment.stem): segment.stem for segment in segments}
        _, found = self.lake.committed(schema.DECISIONS, apps)
        return {apps[each]: offset for each, offset in found.items()}

    def _commit_all(self, haul: Haul) -> None:
        committer = Committer(self.lake, haul, self.passed)
        self._commit_shadows(committer)
        self._commit_transactions(committer)
        self._commit_labels(committer, self._transaction_parts())
        self._commit_decisions(committer)

    def _commit_shadows(self, committer: Committer) -> None:
        own = committer.haul.of(Shadow)
        if own:
            self.lake.ensure(schema.SCORES, schema.SCORES_SCHEMA)
            find = partial(ship_tables.shadows, self._had)
            self._count("shadow", committer.commit(schema.SCORES, own, find))

    def _commit_transactions(self, committer: Committer) -> None:
        own = committer.haul.of(Decision, Event)
        if own and not self._has_transactions():
            self._counts["unplaced"] += len(own)
        elif own:
            find = partial(ship_tables.transactions, self.lake, self._had)
            self._count("transactions", committer.commit(schema.TRANSACTIONS, own, find))

    def _has_transactions(self) -> bool:
        """Whether there is such a table, made where the columns are known."""
        if not self.lake.exists(schema.TRANSACTIONS) and self.feature_set is not None:
            self.lake.ensure(schema.LABELS, schema.labels(self.feature_set.entities))
            self.lake.ensure(schema.TRANSACTIONS, ship_records.transactions_schema(self.feature_set))
        return self.lake.exists(schema.TRANSACTIONS)

    def _transaction_parts(self) -> list[Part]:
        return self.lake.parts(schema.TRANSACTIONS) if self.lake.exists(schema.TRANSACTIONS) else []

    def _commit_labels(self, committer: Committer, parts: Sequence[Part]) -> list[bytes]:
        """Commit the labels of transactions in these files; return those that wait for theirs."""
        own = committer.haul.of(Label)
        if not own:
            return []
        if not parts or not self.lake.exists(schema.LABELS):
            self._wait_for(own)
            return [entry.raw for entry in own]

        def find(entries: list[Entry]) -> New:
            new = ship_tables.labels(self.lake, entries, parts)
            # Kept before the table may say that it has come past them.
            self._wait_for(new.waiting)
            return new

        new = committer.commit(schema.LABELS, own, find)
        self._count("labels", new)
        return [entry.raw for entry in new.waiting]

    def _commit_decisions(self, committer: Committer) -> None:
        self.lake.ensure(schema.DECISIONS, schema.DECISIONS_SCHEMA)
        own, find = committer.haul.of(Decision), partial(ship_tables.decisions, self._had)
        self._count("decisions", committer.commit(schema.DECISIONS, own, find, always=True))

    def _count(self, name: str, new: New) -> None:
        found = {name: new.rows.num_rows, "duplicates": new.known, "conflicts": len(new.refused)}
        self._counts.update({**found, "unread": new.unread})

    def _waiting(self) -> list[bytes]:
        file = self.folder / _WAITING
        return list(journal.read(file)) if file.exists() else []

    def _wait_for(self, entries: Sequence[Entry]) -> None:
        """Keep labels beside the journal until their transactions come."""
        waiting = self._waiting()
        more = dict.fromkeys([*waiting, *(entry.raw for entry in entries)])
        if len(more) > len(waiting):
            journal.keep(self.folder / _WAITING, more)
            self.passed("labels kept")

    def _ship_waiting(self) -> None:
        """Look for the transactions of waiting labels in the files that are new since the last look."""
        waiting = self._waiting()
        self._counts["waiting"] = len(waiting)
        if not waiting:
            return
        parts = self._transaction_parts()
        unsearched = [part for part in parts if part.path not in self._searched]
        if unsearched:
            entries = [ship_records.read(_WAITING, number + 1, raw) for number, raw in enumerate(waiting)]
            left = self._commit_labels(Committer(self.lake, Haul(entries), self.passed), unsearched)
            if len(left) < len(waiting):
                journal.keep(self.folder / _WAITING, left)
            self._counts["waiting"] = len(left)
        self._searched = {part.path for part in parts}

    def _delete(self) -> None:
        """Delete the segments that are done and old."""
        oldest = time.time() - self.keep_s
        for segment in journal.segments(self.folder):
            if segment.stem in self._done and segment.stat().st_mtime < oldest:
                segment.unlink()
                self._done.remove(segment.stem)
                self._counts["deleted"] += 1
                self.passed("segment deleted")
