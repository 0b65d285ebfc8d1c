"""The ledger of readings: a table of the lake that remembers every look at test weeks.

Test weeks judge a choice once; whoever looks again and chooses by what was seen tunes to them. So every
reading has a number, and the first one of a feature set under a protocol is its headline.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from fraud import schema
from fraud.storage import numbered
from fraud.storage.lake import Lake


@dataclass(frozen=True, slots=True)
class Reading:
    """What was measured on test weeks, and with what.

    Attributes:
        protocol: Its name, or ``own-dates``.
        feature_set: The set's name.
        features_version: The set's hash.
        configuration: Everything that was chosen: parameters, training days, a model's digest.
        code_version: The commit, or the installed version.
        figures: The means that were read.
    """

    protocol: str
    feature_set: str
    features_version: str
    configuration: Mapping[str, Any]
    code_version: str
    figures: Mapping[str, float | None]

    @property
    def configuration_digest(self) -> str:
        """SHA-256 of the configuration's canonical JSON."""
        return hashlib.sha256(_canonical(self.configuration)).hexdigest()


@dataclass(frozen=True, slots=True)
class Entry:
    """A reading's place in the ledger.

    Attributes:
        ordinal: Counts from 1, over all readings of this lake.
        headline: Whether it is the first of its feature set under its protocol.
        configuration_digest: Of the reading.
    """

    ordinal: int
    headline: bool
    configuration_digest: str

    def to_json(self) -> dict[str, Any]:
        """Return it as a plain dict."""
        return asdict(self)


def append(lake: Lake, reading: Reading) -> Entry:
    """Note a reading; it is in the ledger when this returns, so a figure that was shown is noted.

    Raises:
        ChangedMeanwhileError: Others noted readings at the same moment, time and again.
    """

    def row() -> tuple[int, dict[str, Any]]:
        before = entries(lake)
        ordinal = len(before) + 1
        return ordinal, _row(reading, ordinal, headline=_is_first(reading, before))

    noted = numbered.add(lake, schema.READINGS, schema.READINGS_SCHEMA, app=schema.READINGS, make=row)
    return Entry(noted["ordinal"], noted["headline"], reading.configuration_digest)


def entries(lake: Lake) -> list[dict[str, Any]]:
    """Return every row of ``schema.READINGS_SCHEMA``, in the order of their ordinals."""
    if not lake.exists(schema.READINGS):
        return []
    return sorted(lake.read(schema.READINGS).to_pylist(), key=lambda row: int(row["ordinal"]))


def _is_first(reading: Reading, before: Sequence[Mapping[str, Any]]) -> bool:
    key = (reading.protocol, reading.features_version)
    return all((row["protocol"], row["features_version"]) != key for row in before)


def _row(reading: Reading, ordinal: int, *, headline: bool) -> dict[str, Any]:
    return {
        "ordinal": ordinal,
        "headline": headline,
        "read_at": datetime.now(UTC),
        "protocol": reading.protocol,
        "feature_set": reading.feature_set,
        "features_version": reading.features_version,
        "configuration_digest": reading.configuration_digest,
        "configuration": _canonical(reading.configuration).decode(),
        "code_version": reading.code_version,
        "figures": _canonical(reading.figures).decode(),
    }


def _canonical(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str).encode()
