from __future__ import annotations

from pathlib import Path

from tuning.journal import Finished, append, file_for, read

FIRST = Finished({"max_depth": 3, "learning_rate": 0.1}, 0.5, 40, 50, 1.5)
SECOND = Finished({"max_depth": 4, "learning_rate": 0.2}, 0.6, 90, 90, 2.5)


def test_finished_trials_survive_a_line_cut_short(tmp_path: Path) -> None:
    journal = tmp_path / "search.jsonl"
    append(journal, FIRST)
    append(journal, SECOND)
    assert read(journal) == [FIRST, SECOND]
    raw = journal.read_bytes()
    end_of_first = raw.index(b"}", raw.index(b"}") + 1) + 1
    for length in range(end_of_first, len(raw)):
        journal.write_bytes(raw[:length])
        assert read(journal) == [FIRST]


def test_trial_after_a_cut_line_is_kept(tmp_path: Path) -> None:
    journal = tmp_path / "search.jsonl"
    append(journal, FIRST)
    journal.write_bytes(journal.read_bytes()[:-10])
    append(journal, SECOND)
    assert read(journal) == [SECOND]


def test_search_of_another_identity_has_another_journal(tmp_path: Path) -> None:
    one = file_for(tmp_path, {"lake": 1, "trials": 4})
    assert one == file_for(tmp_path, {"trials": 4, "lake": 1})
    assert one != file_for(tmp_path, {"lake": 2, "trials": 4})


def test_missing_journal_holds_no_trials(tmp_path: Path) -> None:
    assert read(tmp_path / "search.jsonl") == []
