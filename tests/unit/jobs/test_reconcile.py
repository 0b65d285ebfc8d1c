"""No row is lost between what came in and what is committed."""

from __future__ import annotations

import pytest

from fraud.errors import UnreconciledError
from fraud.jobs.reconcile import reconcile


def test_rows_that_all_became_something_pass():
    reconcile("ingest", 10, {"new": 7, "known": 2, "rejected": 1})
    reconcile("score", 0, {})


@pytest.mark.parametrize("new", [6, 8])
def test_a_row_too_few_or_too_many_is_told_with_all_counts(new: int):
    with pytest.raises(UnreconciledError, match=rf"took in 10 rows and accounts for {new} new \+ 3 known"):
        reconcile("ingest", 10, {"new": new, "known": 3})
