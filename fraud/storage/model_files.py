"""The files of a registered model among a run's artifacts, and verified local copies of them by digest."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types.schema import ColSpec, Schema

from fraud.errors import BundleError, FraudError
from fraud.model import bundle as bundles
from fraud.model import policy as policies
from fraud.model.bundle import Bundle
from fraud.model.policy import Policy, canonical

BUNDLE: Final = "bundle"
POLICY: Final = "policy"
POLICY_FILE: Final = "policy.json"
_EXAMPLE: Final = "input_example.json"
_SERVING_EXAMPLE: Final = "serving_input_example.json"
_EXAMPLE_ROWS: Final = 5

T = TypeVar("T")


def upload_bundle(client: MlflowClient, run_id: str, folder: Path) -> Bundle:
    """Verify a bundle and store it with a run, together with what ``mlflow models serve`` reads."""
    bundle = bundles.load(folder)
    client.log_artifacts(run_id, str(folder), BUNDLE)
    example = _example(bundle)
    client.log_dict(run_id, example, _EXAMPLE)
    client.log_dict(run_id, {"dataframe_split": example}, _SERVING_EXAMPLE)
    client.log_text(run_id, _mlmodel(bundle, run_id), "MLmodel")
    return bundle


def upload_policy(client: MlflowClient, run_id: str, policy: Policy) -> None:
    """Store a policy with a run, under its digest."""
    client.log_text(run_id, canonical(policy.to_json()).decode(), policy_path(policy.digest))


def policy_path(digest: str) -> str:
    """Where a policy lies among a run's artifacts."""
    return f"{POLICY}/{digest}/{POLICY_FILE}"


def policy_digests(client: MlflowClient, run_id: str) -> list[str]:
    """Return the digests of all policies stored with a run."""
    return sorted(Path(file.path).name for file in client.list_artifacts(run_id, POLICY))


def fetch_bundle(client: MlflowClient, run_id: str, digest: str, cache: Path) -> Bundle:
    """Return a bundle from the cache, or from the run's artifacts into it.

    Raises:
        BundleError: The artifacts are not the bundle of that digest.
    """

    def read(folder: Path) -> Bundle:
        return bundles.load(folder, digest=digest)

    return _fetch(client, run_id, BUNDLE, cache / "bundles" / digest, read)


def fetch_policy(client: MlflowClient, run_id: str, digest: str, cache: Path) -> Policy:
    """Return a policy from the cache, or from the run's artifacts into it.

    Raises:
        BundleError: The artifacts are not the policy of that digest.
    """

    def read(folder: Path) -> Policy:
        return _read_policy(folder, digest)

    return _fetch(client, run_id, f"{POLICY}/{digest}", cache / "policies" / digest, read)


def _fetch(client: MlflowClient, run_id: str, artifact: str, place: Path, read: Callable[[Path], T]) -> T:
    """Read a folder from its place; download it there first where it is missing or damaged."""
    if place.is_dir():
        try:
            return read(place)
        except FraudError:
            shutil.rmtree(place, ignore_errors=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as folder:
        try:
            copy = Path(client.download_artifacts(run_id, artifact, folder))
        except (MlflowException, OSError) as error:
            problem = (
                f"the artifact {artifact} of run {run_id} cannot be downloaded; register the model again"
            )
            raise BundleError(str(place), problem) from error
        read(copy)  # A copy takes its place only when it is right.
        try:
            copy.rename(place)
        except OSError:
            # Another process was faster: its copy has the same digest.
            if not place.is_dir():
                raise
    return read(place)


def _read_policy(folder: Path, digest: str) -> Policy:
    file = folder / POLICY_FILE
    try:
        raw = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise BundleError(str(folder), "policy.json is missing or no JSON; fetch it again") from error
    policy = policies.from_json(raw if isinstance(raw, dict) else {}, path=str(folder))
    if policy.digest != digest:
        raise BundleError(
            str(folder), f"the policy is not {digest[:12]}, as the registry says; fetch it again"
        )
    return policy


def _example(bundle: Bundle) -> dict[str, Any]:
    """Made-up rows as MLflow writes a frame: ``columns`` and ``data``."""
    names = bundle.feature_set.names
    rows = bundles.golden_rows(bundle.reference, names, rows=_EXAMPLE_ROWS)
    values = [[None if np.isnan(value) else float(value) for value in row] for row in rows]
    return {"columns": list(names), "data": values}


def _mlmodel(bundle: Bundle, run_id: str) -> str:
    inputs = Schema([ColSpec("double", name) for name in bundle.feature_set.names])
    outputs = Schema([ColSpec("double", name) for name in ("score", "probability")])
    model = Model(
        run_id=run_id,
        signature=ModelSignature(inputs=inputs, outputs=outputs),
        saved_input_example_info={
            "artifact_path": _EXAMPLE,
            "serving_input_path": _SERVING_EXAMPLE,
            "type": "dataframe",
            "pandas_orient": "split",
        },
    )
    version = ".".join(map(str, sys.version_info[:3]))
    model.add_flavor(
        "python_function", loader_module="fraud.model.pyfunc", data=BUNDLE, python_version=version
    )
    return str(model.to_yaml())
