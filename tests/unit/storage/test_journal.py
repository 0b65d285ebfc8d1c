from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import orjson
import pytest

from fraud.errors import FormatVersionError, SourceError
from fraud.storage import journal as journal_module
from fraud.storage.journal import Journal, JournalError, is_open, keep, read, read_from, segments


def written(folder: Path) -> list[bytes]:
    return [record for segment in segments(folder) for record in read(segment)]


def write_all(folder: Path, records: list[bytes], *, segment_bytes: int = 1 << 20) -> None:
    async def scenario() -> None:
        journal = Journal(folder, segment_bytes=segment_bytes)
        await asyncio.gather(*(journal.write(record) for record in records))
        await journal.close()

    asyncio.run(scenario())


def test_records_come_back_in_order(tmp_path: Path) -> None:
    records = [orjson.dumps({"n": n}) for n in range(50)]
    write_all(tmp_path, records)
    assert written(tmp_path) == records


def test_waiters_share_one_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs = []
    sync = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: (syncs.append(descriptor), sync(descriptor)))
    write_all(tmp_path, [b"{}"] * 200)
    assert len(syncs) <= 4  # the header, the first record or two, all that gathered meanwhile


def test_write_returns_only_after_the_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> list[str]:
        events: list[str] = []
        journal = Journal(tmp_path)
        sync = os.fdatasync
        monkeypatch.setattr(os, "fdatasync", lambda descriptor: (sync(descriptor), events.append("on disk")))
        await journal.write(b"{}")
        events.append("returned")
        await journal.close()
        return events

    assert asyncio.run(scenario()) == ["on disk", "returned"]


def test_cancelled_waiter_stops_nobody(tmp_path: Path) -> None:
    async def scenario() -> None:
        journal = Journal(tmp_path)
        tasks = [asyncio.create_task(journal.write(b'{"n":%d}' % n)) for n in range(20)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert sum(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes) == 10
        await asyncio.wait_for(journal.write(b'{"n":20}'), timeout=5)
        await journal.close()

    asyncio.run(scenario())
    assert len(written(tmp_path)) == 21


def test_failed_write_is_reported_and_leaves_no_half_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwrite = os.pwrite

    def full_disk(descriptor: int, data: memoryview, offset: int) -> int:
        pwrite(descriptor, bytes(data)[:5], offset)
        raise OSError(errno.ENOSPC, "No space left on device")

    async def scenario() -> None:
        journal = Journal(tmp_path)
        await journal.write(b'{"n":1}')
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", full_disk)
            with pytest.raises(JournalError, match="No space left"):
                await journal.write(b'{"n":2}')
        await journal.write(b'{"n":3}')
        await journal.close()

    asyncio.run(scenario())
    assert written(tmp_path) == [b'{"n":1}', b'{"n":3}']


def test_reader_of_a_batch_that_failed_misses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[Path, int] = {}

    def read_on() -> list[bytes]:
        found = []
        for segment in segments(tmp_path):
            for offset, record in read_from(segment, seen.get(segment, 0)):
                seen[segment] = offset
                found.append(record)
        return found

    def read_then_fail(descriptor: int) -> None:
        assert read_on()  # complete, and not on disk yet
        raise OSError(errno.EIO, "Input/output error")

    async def scenario() -> None:
        journal = Journal(tmp_path)
        await journal.write(b'{"n":1}')
        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", read_then_fail)
            with pytest.raises(JournalError):
                await journal.write(b'{"name":"of another length"}')
        await journal.write(b'{"n":2}')
        await journal.write(b'{"n":3}')
        await journal.close()

    asyncio.run(scenario())
    assert read_on() == [b'{"n":2}', b'{"n":3}']


def test_full_disk_leaves_no_pile_of_empty_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header = len(journal_module._header())
    pwrite = os.pwrite

    def full_disk(descriptor: int, data: memoryview, offset: int) -> int:
        if offset >= header:
            raise OSError(errno.ENOSPC, "No space left on device")
        return pwrite(descriptor, data, offset)

    async def scenario() -> None:
        journal = Journal(tmp_path)
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", full_disk)
            for _ in range(5):
                with pytest.raises(JournalError):
                    await journal.write(b"{}")
        assert segments(tmp_path) == []
        await journal.write(b"{}")
        await journal.close()

    asyncio.run(scenario())
    assert written(tmp_path) == [b"{}"]


def test_reading_goes_on_where_it_stopped(tmp_path: Path) -> None:
    write_all(tmp_path, [b'{"n":1}', b'{"n":2}', b'{"n":3}'])
    (segment,) = segments(tmp_path)
    offsets = [offset for offset, _ in read_from(segment, 0)]
    assert [record for _, record in read_from(segment, offsets[0])] == [b'{"n":2}', b'{"n":3}']
    assert list(read_from(segment, offsets[-1])) == []


def test_line_that_is_being_written_is_read_when_it_is_whole(tmp_path: Path) -> None:
    write_all(tmp_path, [b'{"n":1}', b'{"n":2}'])
    (segment,) = segments(tmp_path)
    whole = segment.read_bytes()
    segment.write_bytes(whole[:-4])
    ((offset, _),) = read_from(segment, 0)
    segment.write_bytes(whole)
    assert [record for _, record in read_from(segment, offset)] == [b'{"n":2}']


def test_segment_is_open_while_its_writer_may_append(tmp_path: Path) -> None:
    async def scenario() -> None:
        journal = Journal(tmp_path, segment_bytes=40)
        await journal.write(b'{"n":1}')
        await journal.write(b'{"n":2}')
        assert [is_open(segment) for segment in segments(tmp_path)] == [False, True]
        await journal.close()
        assert not any(is_open(segment) for segment in segments(tmp_path))

    asyncio.run(scenario())


def test_batch_that_was_not_synced_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken_disk(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    async def scenario() -> None:
        journal = Journal(tmp_path)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", broken_disk)
            lost = await asyncio.gather(
                *(journal.write(b'{"lost":%d}' % n) for n in range(5)), return_exceptions=True
            )
        assert all(isinstance(outcome, JournalError) for outcome in lost)
        await journal.write(b'{"kept":1}')
        await journal.close()

    asyncio.run(scenario())
    assert written(tmp_path) == [b'{"kept":1}']


def test_full_segment_is_followed_by_a_new_one(tmp_path: Path) -> None:
    async def scenario() -> None:
        journal = Journal(tmp_path, segment_bytes=40)
        for n in range(10):
            await journal.write(b'{"n":%d}' % n)
        await journal.close()

    asyncio.run(scenario())
    assert len(segments(tmp_path)) > 1
    assert written(tmp_path) == [b'{"n":%d}' % n for n in range(10)]


@pytest.mark.parametrize("lost", [1, 2, 9, 17])
def test_torn_tail_is_left_out(tmp_path: Path, lost: int) -> None:
    write_all(tmp_path, [b'{"n":1}', b'{"n":2}'])
    (segment,) = segments(tmp_path)
    segment.write_bytes(segment.read_bytes()[:-lost])
    assert written(tmp_path) == [b'{"n":1}']


def test_damage_before_the_tail_is_refused(tmp_path: Path) -> None:
    write_all(tmp_path, [b'{"n":1}', b'{"n":2}'])
    (segment,) = segments(tmp_path)
    segment.write_bytes(segment.read_bytes().replace(b'{"n":1}', b'{"n":7}'))
    with pytest.raises(SourceError, match="byte 30"):
        written(tmp_path)


def test_other_format_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "FORMAT_VERSION", 2)
    write_all(tmp_path, [b"{}"])
    monkeypatch.undo()
    with pytest.raises(FormatVersionError, match="format_version 2"):
        written(tmp_path)


def test_empty_segment_has_no_records(tmp_path: Path) -> None:
    (tmp_path / "0-1-a.journal").touch()
    assert written(tmp_path) == []


def test_record_of_two_lines_is_a_programming_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one line"):
        write_all(tmp_path, [b"{\n}"])


def test_files_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    write_all(tmp_path / "journal", [b"{}"])
    assert (tmp_path / "journal").stat().st_mode & 0o077 == 0
    assert segments(tmp_path / "journal")[0].stat().st_mode & 0o077 == 0


def test_what_is_kept_takes_the_place_of_what_was(tmp_path: Path) -> None:
    file = tmp_path / "some.kept"
    keep(file, [b'{"n":1}', b'{"n":2}'])
    keep(file, [b'{"n":3}'])
    assert list(read(file)) == [b'{"n":3}']
    assert segments(tmp_path) == []


def test_what_cannot_be_kept_leaves_what_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "some.kept"
    keep(file, [b'{"n":1}'])

    def broken_disk(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", broken_disk)
        with pytest.raises(JournalError):
            keep(file, [b'{"n":2}'])
    keep(tmp_path / "other.kept", [])
    assert list(read(file)) == [b'{"n":1}']


def test_a_segment_is_shown_when_it_is_locked_and_has_its_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(descriptor: int) -> None:
        assert segments(tmp_path) == []

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", look)
        Journal(tmp_path)
    (segment,) = segments(tmp_path)
    assert is_open(segment)
    assert segment.stat().st_size > 0
