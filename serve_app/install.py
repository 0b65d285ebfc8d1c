"""Putting verified models in place for the replicas of this node: the pointer they follow, renamed whole."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from fraud.errors import FraudError
from fraud.model import bundle as bundles
from fraud.model.policy import canonical
from serve_app.served import Named, Pointer, Served, last, read_pointer


def install(pointer: Path, champion: Served, challenger: Served | None = None) -> None:
    """Make models the ones that replicas serve, if they are not yet.

    The pointer before stays beside it where it names another bundle, see ``served.last``.

    Args:
        pointer: The file that replicas follow.
        champion: Decides; its bundle is a local copy that was verified.
        challenger: Scores in the champion's shadow.
    """
    shadow = Named(**_entry(pointer.parent, challenger)) if challenger else None
    whole = msgspec.json.encode(Pointer(**_entry(pointer.parent, champion), challenger=shadow))
    if not pointer.is_file() or pointer.read_bytes() != whole:
        _keep(pointer, champion)
        replace(pointer, whole)


def is_intact(folder: Path, served: Served) -> bool:
    """Whether the files of an installed model are those that were verified; nothing is computed with them.

    Args:
        folder: The pointer's.
        served: The model.
    """
    try:
        bundles.verify(served.bundle.path, served.bundle.digest)
        return _policy_file(folder, served).read_bytes() == canonical(served.policy.to_json())
    except (FraudError, OSError):
        return False


def replace(file: Path, content: bytes) -> None:
    """Write a whole file and rename it into place: a reader sees the old one or the new one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    whole = file.with_suffix(f".{os.getpid()}.tmp")
    with whole.open("wb") as written:
        written.write(content)
        written.flush()
        os.fsync(written.fileno())
    whole.replace(file)


def _keep(pointer: Path, champion: Served) -> None:
    try:
        other = read_pointer(pointer).digest != champion.bundle.digest
    except FraudError:
        return
    if other:
        replace(last(pointer), pointer.read_bytes())


def _policy_file(folder: Path, served: Served) -> Path:
    return folder / f"policy-{served.policy.digest}.json"


def _entry(folder: Path, served: Served) -> dict[str, str]:
    policy_file, policy = _policy_file(folder, served), canonical(served.policy.to_json())
    if not policy_file.is_file() or policy_file.read_bytes() != policy:
        replace(policy_file, policy)
    return {
        "model": served.model,
        "version": served.version,
        "digest": served.bundle.digest,
        "bundle": str(served.bundle.path),
        "policy": str(policy_file),
    }
