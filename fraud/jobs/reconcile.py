"""No row is lost between what came in and what is committed."""

from __future__ import annotations

from collections.abc import Mapping

from fraud.errors import UnreconciledError


def reconcile(job: str, rows_in: int, became: Mapping[str, int]) -> None:
    """Check, before any row can be seen, that all that came in became something.

    Args:
        job: Its name, for the message.
        rows_in: Rows as they were read.
        became: Rows as they are about to be committed or were left out, by what became of them.

    Raises:
        UnreconciledError: The sums differ.
    """
    if rows_in != sum(became.values()):
        raise UnreconciledError(job, rows_in, dict(became))
