from __future__ import annotations

from pathlib import Path

import pytest

from fraud.errors import ClusterError
from tuning.journal import Finished, Journal, file_for, opened

FIRST = Finished({"max_depth": 3, "learning_rate": 0.1}, 0.5, 40, 50, 1.5)
SECOND = Finished({"max_depth": 4, "learning_rate": 0.2}, 0.6, 90, 90, 2.5)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "search.jsonl"


def test_search_opened_again_keeps_its_name_and_its_trials(file: Path) -> None:
    with opened(file) as journal:
        journal.append(FIRST)
        journal.append(SECOND)
    with opened(file) as again:
        assert again.search == journal.search
        assert again.trials() == [FIRST, SECOND]


def test_last_line_cut_at_any_byte_costs_that_trial_alone(file: Path) -> None:
    with opened(file) as journal:
        journal.append(FIRST)
        length = file.stat().st_size
        journal.append(SECOND)
    raw = file.read_bytes()
    for cut in range(length, len(raw)):
        file.write_bytes(raw[:cut])
        with opened(file) as again:
            assert again.trials() == [FIRST]
            assert again.search == journal.search
            again.append(SECOND)
            assert again.trials() == [FIRST, SECOND]


def test_first_line_cut_at_any_byte_begins_another_search(file: Path) -> None:
    with opened(file) as journal:
        pass
    raw = file.read_bytes()
    for cut in range(len(raw)):
        file.write_bytes(raw[:cut])
        with opened(file) as again:
            assert again.search != journal.search
            assert again.trials() == []
            again.append(FIRST)
        with opened(file) as once_more:
            assert (once_more.search, once_more.trials()) == (again.search, [FIRST])


def test_bytes_that_are_no_text_are_left_out(file: Path) -> None:
    with opened(file) as journal:
        journal.append(FIRST)
    file.write_bytes(file.read_bytes() + b"\n\xff\xfe[1]\n[1]\n")
    with opened(file) as again:
        assert again.trials() == [FIRST]


def test_search_is_not_run_twice_at_a_time(file: Path) -> None:
    with opened(file), pytest.raises(ClusterError, match="another process is at this search"), opened(file):
        pass
    with opened(file) as again:
        assert isinstance(again, Journal)


def test_search_of_another_identity_has_another_journal(tmp_path: Path) -> None:
    one = file_for(tmp_path, {"lake": 1, "trials": 4})
    assert one == file_for(tmp_path, {"trials": 4, "lake": 1})
    assert one != file_for(tmp_path, {"lake": 2, "trials": 4})
