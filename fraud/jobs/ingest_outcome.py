"""What an ingest found: new rows, known ones, refused ones, per file and in total."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from fraud import schema
from fraud.jobs import ingest_labels
from fraud.jobs.ingest_slice import NewPart, Slicer, Written
from fraud.jobs.known import Known, find_known
from fraud.jobs.source_rows import Slice, rows_at
from fraud.jobs.source_type import Described
from fraud.mapping.faults import Faults, refused
from fraud.storage.lake import Lake, Part


@dataclass(slots=True)
class Outcome:
    """What is to be committed, and the counts of every file.

    Attributes:
        slicer: The ingest.
        files: Its files, in their order.
        pieces: Their slices.
        labels: Rows for ``labels``.
        parts: Of ``transactions``.
        rejects: Parts of ``rejects``.
        counts: By file: rows, transactions, known, late, labels, rejected.
        reasons: Refused rows by reason.
    """

    slicer: Slicer
    files: Sequence[str]
    pieces: Sequence[Slice]
    labels: pa.Table
    parts: list[Part] = field(default_factory=list)
    rejects: list[Part] = field(default_factory=list)
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def rows(self) -> int:
        """Rows read."""
        return self._total("rows")

    @property
    def transactions(self) -> int:
        """New transactions."""
        return self._total("transactions")

    @property
    def known(self) -> int:
        """Rows that say what the lake has."""
        return self._total("known")

    @property
    def late(self) -> int:
        """New transactions of days that were featurized before."""
        return self._total("late")

    @property
    def rejected(self) -> int:
        """Rows refused."""
        return self._total("rejected")

    def _total(self, name: str) -> int:
        return sum(counts[name] for counts in self.counts.values())

    def file_rows(self, files: Iterable[Described]) -> pa.Table:
        """Return the rows of ``ingested_files``."""
        slicer = self.slicer
        rows = [
            {
                "ingest_id": slicer.ingest_id,
                "path": file.path,
                "bytes": file.size,
                "sha256": file.sha256,
                "mapping": slicer.mapping.name,
                "mapping_sha256": slicer.mapping.digest,
                **{
                    name: self.counts[file.path][name]
                    for name in ("rows", "transactions", "known", "labels", "rejected")
                },
                "ingested_at": slicer.now,
            }
            for file in files
        ]
        return pa.Table.from_pylist(rows, schema=schema.INGESTED_FILES_SCHEMA)


def settle(
    slicer: Slicer,
    written: Sequence[Written],
    files: Sequence[str],
    pieces: Sequence[Slice],
    entities: Sequence[str],
) -> Outcome:
    """Leave out what is known, refuse what contradicts it, and join the labels."""
    outcome = Outcome(slicer, files, pieces, schema.labels(entities).empty_table())
    outcome.counts = {path: Counter() for path in files}
    for piece in written:
        outcome.rejects += piece.rejects
        outcome.reasons += piece.reasons
        outcome.counts[piece.path].update(rows=piece.rows, rejected=piece.reasons.total())
    conflicts = _keep_new(outcome, [part for piece in written for part in piece.parts])
    _settle_labels(outcome, written, entities, conflicts)
    return outcome


def discard(lake: Lake, outcome: Outcome) -> None:
    """Delete the parts that will not be committed."""
    lake.discard(schema.TRANSACTIONS, outcome.parts)
    lake.discard(schema.REJECTS, outcome.rejects)


def _keep_new(outcome: Outcome, parts: Sequence[NewPart]) -> dict[tuple[int, int], str]:
    """Keep new rows only; return the conflicts by file and row number."""
    found = find_known(outcome.slicer.lake, parts, outcome.files)
    refused_rows: dict[tuple[int, int], str] = {}
    for part in parts:
        known = found.get(part.part.path)
        kept = [part.part] if known is None else _rewritten(outcome.slicer.lake, part, known)
        outcome.parts += kept
        # What this ingest stored before it was cut short is new, though it is there.
        stored = 0 if known is None else int(known.stored.sum())
        rows = sum(each.rows for each in kept) + stored
        late = rows if outcome.slicer.is_late(part.part.event_date) else 0
        outcome.counts[part.path].update(transactions=rows, late=late)
        if known is not None:
            outcome.counts[part.path].update(known=int(known.equal.sum()) - stored)
            file = outcome.files.index(part.path)
            refused_rows |= {(file, int(row)): "conflict" for row in part.rows[known.conflict]}
    _refuse(outcome, refused_rows)
    return refused_rows


def _rewritten(lake: Lake, part: NewPart, known: Known) -> list[Part]:
    new = lake.read_part(schema.TRANSACTIONS, part.part).filter(pa.array(~(known.equal | known.conflict)))
    kept = [lake.write_part(schema.TRANSACTIONS, new, part.part.event_date)] if new.num_rows else []
    lake.discard(schema.TRANSACTIONS, [part.part])
    return kept


def _settle_labels(
    outcome: Outcome,
    written: Sequence[Written],
    entities: Sequence[str],
    conflicts: dict[tuple[int, int], str],
) -> None:
    mapping = outcome.slicer.mapping
    place = {path: number for number, path in enumerate(outcome.files)}
    tables = [
        table.append_column("file", pa.array([place[piece.path]] * table.num_rows, pa.int64()))
        for piece in written
        for table in piece.labels
    ]
    said = pa.concat_tables(tables) if tables else pa.table({})
    if conflicts and said.num_rows:
        named = zip(said.column("file").to_pylist(), said.column("row").to_pylist(), strict=True)
        said = said.filter(pa.array([each not in conflicts for each in named]))
    settled = ingest_labels.settle(outcome.slicer.lake, said, mapping, entities, outcome.slicer.ingest_id)
    outcome.labels = settled.fresh
    for file, path in enumerate(outcome.files):
        outcome.counts[path]["labels"] += int((settled.fresh_files == file).sum())
    for file, count in settled.known.items():
        if mapping.kind == "labels":
            outcome.counts[outcome.files[file]]["known"] += count
    if mapping.kind == "transactions":
        # Such a row's transaction is known, its label contradicts what is known of it: it counts as refused.
        for file, _ in settled.refused:
            outcome.counts[outcome.files[file]]["known"] -= 1
    _refuse(outcome, settled.refused)


def _refuse(outcome: Outcome, reasons: dict[tuple[int, int], str]) -> None:
    """Write refused rows as the source has them, read again: they are few."""
    for file, path in enumerate(outcome.files):
        of_file = {row: reason for (place, row), reason in reasons.items() if place == file}
        if not of_file:
            continue
        pieces = [piece for piece in outcome.pieces if piece.path == path]
        batch = rows_at(pieces, np.array(sorted(of_file), np.int64), outcome.slicer.mapping.format)
        faults = Faults(len(batch.rows))
        for reason in sorted(set(of_file.values())):
            faults.add(np.array([of_file[int(row)] == reason for row in batch.rows]), reason)
        table = refused(batch.table, batch.rows, faults)
        outcome.rejects.append(outcome.slicer.write_rejects(table, path))
        outcome.reasons.update(of_file.values())
        outcome.counts[path]["rejected"] += len(of_file)
