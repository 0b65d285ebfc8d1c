"""Export the mart as files: the same tables and views, without a server."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from fraud.errors import ConfigError, NotWrittenError
from fraud.jobs.mart_rows import mart_of, reader, versions
from fraud.mart.facts import SETTING
from fraud.mart.model import FORMAT_VERSION, Mart
from fraud.settings import MartSettings
from fraud.storage.lake import Lake
from fraud.storage.mart_duckdb import Format, MartDuckdb, building

_REPORT: Final = "export.json"
"""Tells an export's folder from others, which are not replaced."""


def run(
    lake: Lake, settings: MartSettings, out: Path, *, form: Format, label_maturity_d: int, base_currency: str
) -> dict[str, Any]:
    """Write every table and view into a folder, in place of an earlier export.

    Args:
        lake: The lake.
        settings: What may leave.
        out: The folder; an absolute path.
        form: ``parquet`` or ``csv``.
        label_maturity_d: Days; the views state it and follow it.
        base_currency: ISO 4217 code.

    Returns:
        ``rows`` by table and view, the lake's ``versions``, ``out``, ``format``, ``seconds``.

    Raises:
        TableNotFoundError: The lake has no transactions.
        ConfigError: A column named in the settings is not in the lake, or the folder is not an export's.
        NotWrittenError: The disk is full or fails; an earlier export stands.
    """
    started = time.perf_counter()
    mart = mart_of(lake, settings)
    if out.exists() and not (out / _REPORT).exists() and not (out.is_dir() and not any(out.iterdir())):
        raise ConfigError("--out", f"{out} holds something else than an export: name another folder")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as folder:
            report = _write(lake, mart, Path(folder), form, (FORMAT_VERSION, label_maturity_d, base_currency))
            _replace(out, Path(folder))
    except OSError as error:
        raise NotWrittenError(str(out), str(error)) from error
    return {"out": str(out), "format": form, **report, "seconds": round(time.perf_counter() - started, 3)}


def _write(
    lake: Lake, mart: Mart, folder: Path, form: Format, setting: tuple[int, int, str]
) -> dict[str, Any]:
    new = folder / "new"
    new.mkdir()
    pinned = versions(lake, mart)
    with building(folder) as database:
        _fill(lake, mart, database, pinned, setting)
        names = [*(table.name for table in mart.tables), *(view.name for view in mart.views)]
        rows = {name: database.write(name, new / f"{name}.{form}", form) for name in names}
    report = {"rows": rows, "versions": pinned}
    (new / _REPORT).write_text(json.dumps(report) + "\n", encoding="utf-8")
    return report


def _fill(
    lake: Lake, mart: Mart, database: MartDuckdb, pinned: dict[str, int], setting: tuple[int, int, str]
) -> None:
    for fact in mart.facts:
        # What the lake has once needs no key here.
        database.execute(fact.create(key=False))
        if fact.source in pinned:
            parts = lake.parts(fact.source, version=pinned[fact.source])
            database.load(fact.name, reader(lake, fact, parts, None))
    for dimension in mart.dimensions:
        database.execute(dimension.table.create(key=True))
        for fact in dimension.facts:
            database.execute(dimension.fill(fact, fact.name))
    database.execute(SETTING.create(key=False))
    database.execute(f"insert into {SETTING.name} values {setting}")
    for view in mart.views:
        database.execute(view.create())


def _replace(out: Path, folder: Path) -> None:
    """Put the new export in the old one's place; the old one goes with the temporary folder."""
    if out.exists():
        out.rename(folder / "old")
    (folder / "new").rename(out)
