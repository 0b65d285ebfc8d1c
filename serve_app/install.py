"""Putting verified models in place for the replicas of this node: the pointer they follow, renamed whole."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from fraud.model.policy import canonical
from serve_app.served import Named, Pointer, Served


def install(pointer: Path, champion: Served, challenger: Served | None = None) -> None:
    """Make models the ones that replicas serve, if they are not yet.

    Args:
        pointer: The file that replicas follow.
        champion: Decides; its bundle is a local copy that was verified.
        challenger: Scores in the champion's shadow.
    """
    shadow = Named(**_entry(pointer.parent, challenger)) if challenger else None
    whole = msgspec.json.encode(Pointer(**_entry(pointer.parent, champion), challenger=shadow))
    if not pointer.is_file() or pointer.read_bytes() != whole:
        replace(pointer, whole)


def replace(file: Path, content: bytes) -> None:
    """Write a whole file and rename it into place: a reader sees the old one or the new one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    whole = file.with_suffix(f".{os.getpid()}.tmp")
    with whole.open("wb") as written:
        written.write(content)
        written.flush()
        os.fsync(written.fileno())
    whole.replace(file)


def _entry(folder: Path, served: Served) -> dict[str, str]:
    policy_file = folder / f"policy-{served.policy.digest}.json"
    if not policy_file.is_file():
        replace(policy_file, canonical(served.policy.to_json()))
    return {
        "model": served.model,
        "version": served.version,
        "digest": served.bundle.digest,
        "bundle": str(served.bundle.path),
        "policy": str(policy_file),
    }
