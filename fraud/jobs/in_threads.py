"""The three steps of features over files in threads of this process, which share the arrays; no Ray."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from fraud.jobs import feature_steps as steps
from fraud.jobs.feature_steps import FeatureFile, PartitionedFrauds, Piece, Work


def run(work: Work, frauds: PartitionedFrauds, threads: int) -> list[FeatureFile]:
    """Compute and write in this process; return the features files."""
    windows = work.feature_set.keys
    with ThreadPoolExecutor(threads) as pool:
        sent = list(pool.map(lambda group: steps.cut(work, group), work.groups))
        places = list(enumerate(work.columns))
        found = pool.map(
            lambda place: steps.compute(
                windows[place[1][0]], frauds[place[1][0]][place[1][1]], [slices[place[0]] for slices in sent]
            ),
            places,
        )
        pieces = [(key, given) for (key, _), given in zip(work.columns, found, strict=True)]
        written = pool.map(
            lambda number: steps.write(work, work.groups[number], _of_group(work, pieces, number)),
            range(len(work.groups)),
        )
        return [part for parts in written for part in parts]


def _of_group(
    work: Work, pieces: Iterable[tuple[str, Sequence[Piece]]], number: int
) -> dict[str, list[Piece]]:
    own: dict[str, list[Piece]] = {key: [] for key in work.feature_set.keys}
    for key, given in pieces:
        own[key].append(given[number])
    return own
