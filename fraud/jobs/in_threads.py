"""The three steps of features over files in threads of this process, which share the arrays; no Ray."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from fraud.jobs import feature_steps as steps
from fraud.jobs.feature_steps import FeatureFile, PartitionedFrauds, Piece, Slice, Work
from fraud.jobs.waves import Wave

logger = logging.getLogger(__name__)


def run(work: Work, frauds: PartitionedFrauds, waves: Sequence[Wave], threads: int) -> list[FeatureFile]:
    """Compute and write in this process; return the features files."""
    written: list[FeatureFile] = []
    sent: dict[int, list[Slice]] = {}
    with ThreadPoolExecutor(threads) as pool:
        for wave in waves:
            sent = {number: slices for number, slices in sent.items() if number >= wave.first}
            fresh = [number for number in range(wave.first, wave.end) if number not in sent]
            sent |= zip(fresh, pool.map(partial(_cut, work), fresh), strict=True)
            places = range(len(work.columns))
            found = list(pool.map(partial(_computed, work, frauds, wave, sent), places))
            for files in pool.map(partial(_written, work, wave, found), wave.asked(work.groups)):
                written += files
            logger.info("featurize", extra={"stage": "waves", "done": wave.end, "of": len(work.groups)})
    return written


def _cut(work: Work, number: int) -> list[Slice]:
    return steps.cut(work, work.groups[number])


def _computed(
    work: Work, frauds: PartitionedFrauds, wave: Wave, sent: dict[int, list[Slice]], place: int
) -> list[Piece]:
    key, partition = work.columns[place]
    before = [sent[number][place] for number in range(wave.first, wave.begin)]
    slices = [sent[number][place] for number in range(wave.begin, wave.end)]
    return steps.compute(work.feature_set.keys[key], frauds[key][partition], before, slices)


def _written(work: Work, wave: Wave, found: Sequence[Sequence[Piece]], number: int) -> list[FeatureFile]:
    own: dict[str, list[Piece]] = {key: [] for key in work.feature_set.keys}
    for (key, _), pieces in zip(work.columns, found, strict=True):
        own[key].append(pieces[number - wave.begin])
    return steps.write(work, work.groups[number], own)
