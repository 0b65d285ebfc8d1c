"""The folder a simulation is written to: its files, and a manifest that is there only when all of them are.

transactions-2018-04-01.parquet ...    a week each, written under a hidden name and renamed when whole
simulation.json                        parameters, report, sizes of the files; written last
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from fraud.errors import ConfigError
from fraud.simulate.parameters import Parameters
from fraud.simulate.table import MARK

MANIFEST: Final = "simulation.json"
FORMAT_VERSION: Final = 1
_UNFINISHED: Final = re.compile(r"\.(transactions-\d{4}-\d\d-\d\d\.parquet|simulation\.json)\.[0-9a-f]{32}")
_FILE: Final = re.compile(r"transactions-\d{4}-\d\d-\d\d\.parquet")
_REMEDY: Final = "choose another folder, or remove this one first"


def prepare(folder: Path, parameters: Parameters) -> dict[str, Any] | None:
    """Make the folder ready, or return the report of the same simulation already there.

    What a killed run left behind is removed.

    Raises:
        ConfigError: The folder cannot be used: its path is relative, or it holds something else.
    """
    if not folder.is_absolute():
        raise ConfigError(
            str(folder), "is a relative path; give an absolute one, workers have folders of their own"
        )
    if folder.exists() and not folder.is_dir():
        raise ConfigError(str(folder), "is a file; name a folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / MANIFEST).exists():
            return _report_of(folder, parameters)
        _clear(folder)
    except OSError as error:
        raise ConfigError(str(folder), f"cannot be written to: {error.strerror}") from error
    return None


def publish(folder: Path, parameters: Parameters, report: Mapping[str, Any]) -> None:
    """Write the manifest: from now on the folder holds this simulation.

    Args:
        folder: Where the files are.
        parameters: What they were made from.
        report: JSON-able, with the names under ``files``.
    """
    sizes = {name: (folder / name).stat().st_size for name in report["files"]}
    manifest = {
        "format_version": FORMAT_VERSION,
        "parameters": asdict(parameters),
        "bytes": sizes,
        "report": dict(report),
    }
    with renamed_when_whole(folder / MANIFEST) as path:
        path.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


@contextmanager
def renamed_when_whole(path: Path) -> Iterator[Path]:
    """Give a hidden name to write to, and rename it to ``path`` when the block ends well."""
    hidden = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        yield hidden
        hidden.replace(path)
    finally:
        hidden.unlink(missing_ok=True)


def _report_of(folder: Path, parameters: Parameters) -> dict[str, Any]:
    manifest = _manifest(folder)
    if manifest["parameters"] != asdict(parameters):
        raise ConfigError(
            str(folder), f"holds another simulation ({_text(manifest['parameters'])}); {_REMEDY}"
        )
    present = {path.name: path.stat().st_size for path in folder.glob("transactions-*.parquet")}
    if present != manifest["bytes"]:
        changed = sorted(name for name, _ in present.items() ^ manifest["bytes"].items())
        raise ConfigError(
            str(folder), f"{changed[0]} was added, removed or changed since it was written; {_REMEDY}"
        )
    report: dict[str, Any] = manifest["report"]
    return report


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(str(folder), f"{MANIFEST} is not JSON; {_REMEDY}") from error
    version = manifest.get("format_version") if isinstance(manifest, dict) else None
    if version != FORMAT_VERSION:
        raise ConfigError(
            str(folder), f"{MANIFEST} has format_version {version}, not {FORMAT_VERSION}; {_REMEDY}"
        )
    return dict(manifest)


def _text(parameters: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in parameters.items())


def _clear(folder: Path) -> None:
    left_over = sorted(folder.iterdir())
    foreign = [path.name for path in left_over if not (_UNFINISHED.fullmatch(path.name) or _is_ours(path))]
    if foreign:
        raise ConfigError(str(folder), f"holds files that are not a simulation's ({foreign[0]}); {_REMEDY}")
    for path in left_over:
        path.unlink()


def _is_ours(path: Path) -> bool:
    if not (_FILE.fullmatch(path.name) and path.is_file()):
        return False
    try:
        metadata = pq.read_schema(path).metadata or {}
    except pa.ArrowInvalid:
        return False
    return all(metadata.get(key.encode()) == value.encode() for key, value in MARK.items())
