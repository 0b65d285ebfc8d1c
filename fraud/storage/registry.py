"""The model registry: verified versions, and aliases with a history.

A run's artifacts are ``bundle/`` (the model), ``policy/<digest>/policy.json`` and ``MLmodel``. A model
version carries the digests of the bundle and of the policy in force.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from fraud.errors import BundleError, ConfigError, ModelNotFoundError
from fraud.model.bundle import Bundle
from fraud.model.policy import Policy
from fraud.storage import model_files
from fraud.storage.model_files import POLICY
from fraud.storage.tracking import connect, first_line, sqlite_file

_HISTORY: Final = "promotions.jsonl"
_LOCK: Final = "promotions.lock"
_PLAIN: Final = "plain"
_ROLLBACK: Final = "rollback"
_MISSING: Final = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""What MLflow answers for an unknown version, and for an unknown alias."""


@dataclass(frozen=True, slots=True)
class ModelRef:
    """One version of the model, as the registry knows it.

    Attributes:
        name: The registered model.
        version: Its number, as text.
        run_id: The run that made it and holds its artifacts.
        digest: SHA-256 of the bundle.
        policy_digest: SHA-256 of the policy in force.
        features_version: Of the bundle's features.
        data_version: What it was trained on, as JSON.
        created_at: When it was registered.
    """

    name: str
    version: str
    run_id: str
    digest: str
    policy_digest: str
    features_version: str
    data_version: str
    created_at: datetime


class Registry:
    """The versions of one model.

    Args:
        tracking_uri: The MLflow store; a registry lies in the same one as its runs.
        model_name: The registered model.
        folder: Where the lock and the history of promotions lie; beside an SQLite file unless given.

    Raises:
        ConfigError: The store is on a server and no folder is given.
    """

    def __init__(self, tracking_uri: str, model_name: str, folder: Path | None = None) -> None:
        file = sqlite_file(tracking_uri)
        beside = folder or (file.parent if file else None)
        if beside is None:
            raise ConfigError("mlflow.tracking_uri", "a registry on a server needs a folder for its history")
        self.tracking_uri = tracking_uri
        self.model_name = model_name
        self.folder = beside

    def register(self, run_id: str, bundle_folder: Path, policy: Policy) -> str:
        """Store a bundle and its policy with a run, and make them the model's next version.

        Both are downloaded again and verified before the version exists: a version that can be named can be
        served.

        Args:
            run_id: The run that trained it.
            bundle_folder: From ``bundle.save``.
            policy: In force for this version until ``set_policy``.

        Returns:
            The version.

        Raises:
            BundleError: The bundle cannot be trusted, here or after its round trip.
        """
        client = connect(self.tracking_uri)
        bundle = model_files.upload_bundle(client, run_id, bundle_folder)
        model_files.upload_policy(client, run_id, policy)
        with tempfile.TemporaryDirectory() as folder:
            model_files.fetch_bundle(client, run_id, bundle.digest, Path(folder))
            model_files.fetch_policy(client, run_id, policy.digest, Path(folder))
        self._ensure_model(client)
        tags = {
            "sha256": bundle.digest,
            "policy_digest": policy.digest,
            "features_version": bundle.feature_set.version,
            "data_version": json.dumps(bundle.metadata.get("data_version", {}), sort_keys=True),
        }
        source = client.get_run(run_id).info.artifact_uri
        made = client.create_model_version(self.model_name, source=source, run_id=run_id, tags=tags)
        return str(made.version)

    def set_alias(self, alias: str, version: str, actor: str, reason: str) -> ModelRef:
        """Point an alias at a version, under a lock, and note who did it and why.

        Raises:
            ConfigError: Actor or reason is empty, or the alias is a name that MLflow refuses.
            ModelNotFoundError: There is no such version.
        """
        _require(actor, reason)
        with self._locked():
            ref = self.resolve(version)
            before = self.aliases().get(alias)
            try:
                connect(self.tracking_uri).set_registered_model_alias(self.model_name, alias, ref.version)
            except MlflowException as error:
                raise ConfigError(f"alias {alias}", first_line(error)) from error
            self._note(what=alias, before=before, after=ref.version, ref=ref, actor=actor, reason=reason)
        return ref

    def set_policy(self, version: str, policy: Policy, actor: str, reason: str) -> ModelRef:
        """Put another policy in force for a version: thresholds change without a new model.

        Raises:
            ConfigError: Actor or reason is empty.
            ModelNotFoundError: There is no such version.
        """
        _require(actor, reason)
        with self._locked():
            ref = self.resolve(version)
            self.keep_policy(ref, policy)
            self._put_in_force(ref, policy.digest, actor, reason)
        return self.resolve(ref.version)

    def roll_back_policy(self, version: str, cache: Path, actor: str, reason: str) -> ModelRef:
        """Put the policy in force that was so before the present one; doing so twice leads back twice.

        Args:
            version: The version, or an alias.
            cache: As for ``fetch``: what is put in force is verified first.
            actor: Who does it.
            reason: Why.

        Raises:
            ConfigError: Actor or reason is empty, or there was no policy before.
            ModelNotFoundError: There is no such version.
            BundleError: The policy before is not what the history says.
            FormatVersionError: Another release wrote it.
        """
        _require(actor, reason)
        with self._locked():
            ref = self.resolve(version)
            before = _before(self.policy_history(ref))
            if before is None:
                where = f"models:/{self.model_name}/{ref.version}"
                raise ConfigError(where, "no policy was in force before this one: activate another instead")
            self.policy(ref, before, cache)
            self._put_in_force(ref, before, actor, reason, how=_ROLLBACK)
        return self.resolve(ref.version)

    def keep_policy(self, ref: ModelRef, policy: Policy) -> None:
        """Keep a policy with a version, under its digest; what is in force stays so."""
        model_files.upload_policy(connect(self.tracking_uri), ref.run_id, policy)

    def policies(self, ref: ModelRef) -> list[str]:
        """Return the digests of all policies kept with a version."""
        return model_files.policy_digests(connect(self.tracking_uri), ref.run_id)

    def policy(self, ref: ModelRef, digest: str, cache: Path) -> Policy:
        """Return a policy kept with a version, in force or not.

        Raises:
            BundleError: There is none of that digest.
            FormatVersionError: Another release wrote it.
        """
        return model_files.fetch_policy(connect(self.tracking_uri), ref.run_id, digest, cache)

    def policy_history(self, ref: ModelRef) -> list[dict[str, Any]]:
        """Return every change of the policy in force for a version, oldest first."""
        changes = self.history()
        return [each for each in changes if (each["alias"], each["version"]) == (POLICY, ref.version)]

    def bundle(self, ref: ModelRef, cache: Path) -> Bundle:
        """Return the verified bundle of a version, whatever policy is in force.

        Raises:
            BundleError: What the registry holds is not what it says.
        """
        return model_files.fetch_bundle(connect(self.tracking_uri), ref.run_id, ref.digest, cache)

    def history(self) -> list[dict[str, Any]]:
        """Return every change of an alias or a policy of this model, oldest first."""
        file = self.folder / _HISTORY
        lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
        changes = [json.loads(line) for line in lines]
        return [change for change in changes if change["model"] == self.model_name]

    def aliases(self) -> dict[str, str]:
        """Return the version each alias points at."""
        try:
            model = connect(self.tracking_uri).get_registered_model(self.model_name)
        except MlflowException as error:
            if error.error_code in _MISSING:
                return {}
            raise _unusable(self.tracking_uri, error) from error
        return {alias: str(version) for alias, version in model.aliases.items()}

    def versions(self) -> list[ModelRef]:
        """Return all versions, newest first."""
        client = connect(self.tracking_uri)
        found = client.search_model_versions(f"name = '{self.model_name}'", max_results=10_000)
        return sorted((self._ref(version) for version in found), key=lambda ref: -int(ref.version))

    def resolve(self, reference: str) -> ModelRef:
        """Return the version that a reference names.

        Args:
            reference: ``champion``, ``3``, ``models:/fraud/3`` or ``models:/fraud@champion``.

        Raises:
            ModelNotFoundError: Nothing answers to it.
            BundleError: The version was not registered by this project.
        """
        short = self._short(reference)
        client = connect(self.tracking_uri)
        try:
            if short.isdecimal():
                return self._ref(client.get_model_version(self.model_name, short))
            return self._ref(client.get_model_version_by_alias(self.model_name, short))
        except MlflowException as error:
            if error.error_code in _MISSING:
                raise ModelNotFoundError(self.model_name, reference) from error
            raise _unusable(self.tracking_uri, error) from error

    def fetch(self, reference: str | ModelRef, cache: Path) -> tuple[Bundle, Policy]:
        """Return a verified local copy of a version.

        Args:
            reference: As for ``resolve``.
            cache: Folder of copies by digest: verified and used again, a damaged one is replaced.

        Raises:
            ModelNotFoundError: Nothing answers to the reference.
            BundleError: What the registry holds is not what it says.
        """
        ref = self.resolve(reference) if isinstance(reference, str) else reference
        client = connect(self.tracking_uri)
        bundle = model_files.fetch_bundle(client, ref.run_id, ref.digest, cache)
        return bundle, model_files.fetch_policy(client, ref.run_id, ref.policy_digest, cache)

    def _short(self, reference: str) -> str:
        """Return the version or alias of a reference; the name in a URI must be this model's."""
        for prefix in (f"models:/{self.model_name}/", f"models:/{self.model_name}@"):
            if reference.startswith(prefix):
                return reference.removeprefix(prefix)
        if "/" in reference or not reference:
            raise ModelNotFoundError(self.model_name, reference)
        return reference

    def _ref(self, version: ModelVersion) -> ModelRef:
        try:
            return ModelRef(
                self.model_name,
                str(version.version),
                version.run_id,
                version.tags["sha256"],
                version.tags["policy_digest"],
                version.tags["features_version"],
                version.tags["data_version"],
                datetime.fromtimestamp(version.creation_timestamp / 1000, UTC),
            )
        except KeyError as error:
            where = f"models:/{self.model_name}/{version.version}"
            raise BundleError(where, f"it has no tag {error}; register it with `fraud register`") from error

    def _ensure_model(self, client: MlflowClient) -> None:
        try:
            client.create_registered_model(self.model_name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise ConfigError(f"mlflow.model_name = {self.model_name}", first_line(error)) from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one promotion run at a time; the kernel releases the lock of a process that dies."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / _LOCK).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _put_in_force(
        self, ref: ModelRef, digest: str, actor: str, reason: str, *, how: str = _PLAIN
    ) -> None:
        client = connect(self.tracking_uri)
        client.set_model_version_tag(self.model_name, ref.version, "policy_digest", digest)
        before = ref.policy_digest
        self._note(what=POLICY, before=before, after=digest, ref=ref, actor=actor, reason=reason, how=how)

    def _note(
        self,
        *,
        what: str,
        before: str | None,
        after: str,
        ref: ModelRef,
        actor: str,
        reason: str,
        how: str = _PLAIN,
    ) -> None:
        change = {
            "at": datetime.now(UTC).isoformat(),
            "model": self.model_name,
            "version": ref.version,
            "alias": what,
            "from": before,
            "to": after,
            "digest": ref.digest,
            "how": how,
            "actor": actor,
            "reason": reason,
        }
        with (self.folder / _HISTORY).open("a", encoding="utf-8") as history:
            history.write(json.dumps(change) + "\n")
            history.flush()
            os.fsync(history.fileno())


def _before(changes: Sequence[Mapping[str, Any]]) -> str | None:
    """The digest before the newest change that no rollback has undone; None where there is none."""
    before: list[str] = []
    for change in changes:
        if change["how"] == _ROLLBACK:
            before.pop()
        elif change["from"] != change["to"]:
            before.append(change["from"])
    return before[-1] if before else None


def _require(actor: str, reason: str) -> None:
    for name, value in (("actor", actor), ("reason", reason)):
        if not value.strip():
            raise ConfigError(f"--{name}", "a promotion needs who does it and why: give --actor and --reason")


def _unusable(tracking_uri: str, error: MlflowException) -> ConfigError:
    return ConfigError(f"mlflow.tracking_uri = {tracking_uri}", first_line(error))
