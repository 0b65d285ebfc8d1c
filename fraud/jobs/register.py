"""Register: make a version of a bundle that lies in a folder, or once more of one that a run holds."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fraud.errors import ConfigError
from fraud.model import policy as policies
from fraud.model.policy import Policy

if TYPE_CHECKING:  # MLflow costs seconds
    from fraud.storage.registry import Registry
    from fraud.storage.tracking import Tracking


def run(registry: Registry, tracking: Tracking, source: str, *, policy_file: Path | None) -> dict[str, Any]:
    """Make the next version of the model.

    Args:
        registry: Where.
        tracking: Where the run of a folder's bundle is kept.
        source: The folder of a bundle, or the id of a run that holds one.
        policy_file: The policy in force for it; None takes the one in force for the version that the run has.

    Returns:
        ``model``, ``model_version``, ``run_id``, ``digest`` and ``policy_version``.

    Raises:
        BundleError: The bundle or the policy cannot be trusted.
        ConfigError: A folder without a policy.
        ModelNotFoundError: No version was registered of that run.
    """
    given = _read(policy_file) if policy_file else None
    folder = Path(source)
    if folder.is_dir():
        if given is None:
            raise ConfigError("--policy", f"the bundle at {source} has no policy: give its policy.json")
        with tracking.run("register", tags={"job": "register", "source": source}) as tracked:
            run_id, policy = tracked.id, given
            version = registry.register(run_id, folder, policy)
    else:
        run_id, known = source, registry.of_run(source)
        with tempfile.TemporaryDirectory() as cache:
            bundle, kept = registry.fetch(known, Path(cache))
            policy = given or kept
            version = registry.register(run_id, bundle.path, policy)
    ref = registry.resolve(version)
    return {
        "model": ref.name,
        "model_version": version,
        "run_id": run_id,
        "digest": ref.digest,
        "policy_version": policy.version,
    }


def _read(file: Path) -> Policy:
    try:
        raw = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError("--policy", f"{file} is missing or no JSON") from error
    return policies.from_json(raw if isinstance(raw, dict) else {}, path=str(file))
