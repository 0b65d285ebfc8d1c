"""The time columns of a source as its mapping declares them."""

from __future__ import annotations

import pyarrow as pa

from fraud.mapping.faults import Faults
from fraud.mapping.spec import Mapping
from fraud.mapping.times import Reading, read_times


def read_mapped_times(table: pa.Table, column: str, mapping: Mapping) -> Reading:
    """Read a column of times by the mapping's formats, zone and rule for clock changes."""
    times = mapping.times
    return read_times(
        table.column(column),
        column,
        formats=times.formats,
        zone=times.zone,
        clock_change=times.clock_change,
        nulls=mapping.format.null_values,
    )


def refuse_times(reading: Reading, column: str, faults: Faults) -> None:
    """Refuse the rows whose time cannot be read; a missing time is for the caller to judge."""
    faults.add(reading.unparsable, "unparsable_time", column)
    faults.add(reading.out_of_range, "time_out_of_range", column)
    faults.add(reading.ambiguous, "ambiguous_time", column)
    faults.add(reading.nonexistent, "nonexistent_time", column)
