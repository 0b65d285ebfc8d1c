"""The ledger of readings: a table of the lake that remembers every look at test weeks.

Test weeks judge a choice once; whoever looks again and chooses by what was seen tunes to them. So every
reading has a number, and the first one of a feature set under a protocol is its headline.
"""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

import pyarrow as pa

from fraud import schema
from fraud.errors import ChangedMeanwhileError
from fraud.storage.lake import Lake

_ATTEMPTS: Final = 50
"""Of a row, against others who read at the same moment."""


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
    for attempt in range(_ATTEMPTS):
        before = entries(lake)
        ordinal = len(before) + 1
        row = pa.Table.from_pylist([_row(reading, ordinal)], schema=schema.READINGS_SCHEMA)
        try:
            lake.append_next(schema.READINGS, row, app=schema.READINGS, number=ordinal)
        except ChangedMeanwhileError:
            time.sleep(random.uniform(0, 0.02 * (attempt + 1)))  # noqa: S311  # so that writers part
            continue
        return Entry(ordinal, _is_first(reading, before), reading.configuration_digest)
    raise ChangedMeanwhileError(schema.READINGS)


def entries(lake: Lake) -> list[dict[str, Any]]:
    """Return every row of ``schema.READINGS_SCHEMA``, in the order of their ordinals."""
    if not lake.exists(schema.READINGS):
        return []
    return sorted(lake.read(schema.READINGS).to_pylist(), key=lambda row: int(row["ordinal"]))


def _is_first(reading: Reading, before: Sequence[Mapping[str, Any]]) -> bool:
    key = (reading.protocol, reading.features_version)
    return all((row["protocol"], row["features_version"]) != key for row in before)


def _row(reading: Reading, ordinal: int) -> dict[str, Any]:
    return {
        "ordinal": ordinal,
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
