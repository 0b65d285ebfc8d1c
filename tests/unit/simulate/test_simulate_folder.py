"""A folder holds one simulation, whole, or is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fraud.errors import ConfigError
from fraud.simulate import folder
from fraud.simulate.parameters import Parameters
from fraud.simulate.table import SCHEMA

NAME = "transactions-2018-04-01.parquet"
PARAMETERS = Parameters(customers=3)
REPORT = {"files": [NAME], "transactions": 0}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    out = tmp_path / "deep" / "out"
    assert folder.prepare(out, PARAMETERS) is None
    pq.write_table(SCHEMA.empty_table(), out / NAME)
    folder.publish(out, PARAMETERS, REPORT)
    return out


def test_same_simulation_is_reused(written: Path):
    assert folder.prepare(written, PARAMETERS) == REPORT


def test_other_parameters_are_refused(written: Path):
    with pytest.raises(ConfigError, match=r"another simulation .*customers 3"):
        folder.prepare(written, Parameters(customers=4))


def test_changed_file_is_refused(written: Path):
    (written / NAME).write_bytes(b"x")
    with pytest.raises(ConfigError, match=f"{NAME} was added, removed or changed"):
        folder.prepare(written, PARAMETERS)


def test_missing_file_is_refused(written: Path):
    (written / NAME).unlink()
    with pytest.raises(ConfigError, match=NAME):
        folder.prepare(written, PARAMETERS)


def test_added_file_is_refused(written: Path):
    (written / "transactions-2017-01-01.parquet").write_bytes(b"x")
    with pytest.raises(ConfigError, match="2017-01-01"):
        folder.prepare(written, PARAMETERS)


@pytest.mark.parametrize("text", ["{", "[]", json.dumps({"format_version": 2})])
def test_unreadable_manifest_is_refused(written: Path, text: str):
    (written / folder.MANIFEST).write_text(text)
    with pytest.raises(ConfigError, match=folder.MANIFEST):
        folder.prepare(written, PARAMETERS)


def test_what_a_killed_run_left_is_removed(written: Path):
    (written / folder.MANIFEST).unlink()
    (written / f".{NAME}.{'0a' * 16}").write_bytes(b"half a file")
    assert folder.prepare(written, PARAMETERS) is None
    assert list(written.iterdir()) == []


@pytest.mark.parametrize("name", ["notes.txt", NAME, "simulation.json.bak"])
def test_foreign_file_is_refused_and_kept(tmp_path: Path, name: str):
    pq.write_table(SCHEMA.remove_metadata().empty_table(), tmp_path / name)
    with pytest.raises(ConfigError, match=name):
        folder.prepare(tmp_path, PARAMETERS)
    assert (tmp_path / name).exists()


def test_path_of_a_file_is_refused(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is a file"):
        folder.prepare(tmp_path / "file", PARAMETERS)
    with pytest.raises(ConfigError, match="cannot be written to"):
        folder.prepare(tmp_path / "file" / "below", PARAMETERS)


def test_relative_path_is_refused():
    with pytest.raises(ConfigError, match="absolute"):
        folder.prepare(Path("out"), PARAMETERS)


def test_failed_write_leaves_no_file(tmp_path: Path):
    def write_half() -> None:
        with folder.renamed_when_whole(tmp_path / NAME) as hidden:
            hidden.write_bytes(b"half")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        write_half()
    assert list(tmp_path.iterdir()) == []
