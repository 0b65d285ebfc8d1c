from __future__ import annotations

from pathlib import Path

from fraud.jobs.checkpoints import Checkpoints


def test_nothing_was_kept_where_there_is_no_folder(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "missing").load() == []


def test_the_newest_of_every_booster_is_kept_in_order(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "run" / "boosters")
    for index, booster in ((0, b"zero"), (1, b"one"), (1, b"one grown")):
        checkpoints.save(index, booster)
    assert checkpoints.load() == [b"zero", b"one grown"]


def test_what_was_not_written_to_its_end_is_not_read(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(0, b"zero")
    (tmp_path / "0000.unfinished").write_bytes(b"ze")
    (tmp_path / "0001.unfinished").write_bytes(b"o")
    assert checkpoints.load() == [b"zero"]
