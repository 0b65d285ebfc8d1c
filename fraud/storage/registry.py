"""The model registry: verified versions, and aliases with a history.

A run's artifacts are ``bundle/`` (the model), ``policy/<digest>/policy.json``, ``gate/`` (reports) and what
``mlflow models serve`` reads. A model version carries the digests of the bundle and of the policy it was
registered with. Where an alias points, and which policy is in force, is what the history says
(``fraud.storage.promotions``): MLflow's last writer wins, so its alias is a copy.
"""

from __future__ import annotations

import json
import logging
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from fraud.errors import BundleError, ChangedMeanwhileError, ConfigError, ModelNotFoundError
from fraud.model import card
from fraud.model.bundle import Bundle
from fraud.model.policy import Policy
from fraud.schema import PROMOTIONS
from fraud.storage import model_files
from fraud.storage.lake import Lake
from fraud.storage.promotions import (
    PLAIN,
    POLICY,
    ROLLBACK,
    Change,
    Promotions,
    current,
    earlier,
    require_reason,
)
from fraud.storage.tracking import connect, first_line, patiently, sqlite_file

logger = logging.getLogger(__name__)

_ALIAS: Final = re.compile(r"(?!v?\d+$)(?!latest$)(?!policy$)[A-Za-z][\w-]*")
"""What MLflow takes and no version or policy is mistaken for."""
_ANY: Final = ""
"""For an alias that may be moved from wherever it is."""
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

    def named(self, alias: str) -> dict[str, str]:
        """Return what a report says of an alias that points here."""
        return {
            "alias": alias,
            "model": self.name,
            "model_version": self.version,
            "digest": self.digest,
        }


class Registry:
    """The versions of one model.

    Args:
        tracking_uri: The MLflow store; a registry lies in the same one as its runs.
        model_name: The registered model.
        lake: Holds the history of promotions; None: a table beside an SQLite file.

    Raises:
        ConfigError: The store is on a server and no lake is given.
    """

    def __init__(self, tracking_uri: str, model_name: str, lake: Lake | None = None) -> None:
        file = sqlite_file(tracking_uri)
        place = lake or (Lake(str(file.parent)) if file else None)
        if place is None:
            raise ConfigError("mlflow.tracking_uri", "a registry on a server needs a lake for its history")
        self.tracking_uri = tracking_uri
        self.model_name = model_name
        self._promotions = Promotions(place, model_name)

    def register(self, run_id: str, bundle_folder: Path, policy: Policy) -> str:
        """Store a bundle and its policy with a run, and make them the model's next version.

        Both are downloaded again and verified before the version exists: a version that can be named can be
        served. The version's description says what a reviewer asks first, with the run's metrics in it.

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
        run = client.get_run(run_id)
        made = patiently(
            lambda: client.create_model_version(
                self.model_name,
                source=run.info.artifact_uri,
                run_id=run_id,
                tags=tags,
                description=card.text(bundle, policy, run.data.metrics),
            )
        )
        return str(made.version)

    def set_alias(
        self,
        alias: str,
        version: str,
        actor: str,
        reason: str,
        *,
        how: str = PLAIN,
        report: str | None = None,
        expected: str | None = _ANY,
    ) -> ModelRef:
        """Point an alias at a version and note who did it, how and why, in one step.

        Args:
            alias: The alias.
            version: A version, or another alias.
            actor: Who.
            reason: Why.
            how: ``PLAIN``, ``GATE`` or ``FORCED``.
            report: The gate's, an artifact of the version's run.
            expected: The version that the alias has to point at until then, None for none; left out, any.

        Raises:
            ConfigError: Actor or reason is empty, or the alias is a name that MLflow refuses.
            ModelNotFoundError: There is no such version.
            ChangedMeanwhileError: The alias points elsewhere than expected; nothing was changed.
        """
        require_reason(actor, reason)
        if not _ALIAS.fullmatch(alias):
            raise ConfigError(f"alias {alias}", "take a word that is no version number, `latest` or `policy`")
        ref = self.resolve(version)

        def move(so_far: Sequence[Change]) -> Change:
            before = current(so_far, alias) or self.aliases().get(alias)
            if expected not in (_ANY, before):
                raise ChangedMeanwhileError(PROMOTIONS)
            return _change(
                alias, ref, before, ref.version, actor=actor, reason=reason, how=how, report=report
            )

        self._promotions.add(move)
        self.settle(alias)
        return ref

    def roll_back(self, alias: str, actor: str, reason: str) -> ModelRef:
        """Point an alias at the version before the present one, as the history tells it.

        Raises:
            ConfigError: Actor or reason is empty, or the alias never pointed anywhere else.
            ChangedMeanwhileError: Somebody moved the alias at the same moment; nothing was changed.
        """
        require_reason(actor, reason)
        changes = self._promotions.all()
        present, before = current(changes, alias), earlier(changes, alias)
        if before is None:
            raise ConfigError(f"alias {alias}", "there is no version before: promote another one instead")
        return self.set_alias(alias, before, actor, reason, how=ROLLBACK, expected=present)

    def settle(self, alias: str) -> None:
        """Make MLflow's alias what the history says, as every promotion does in the end.

        It is read back, and the history with it, until both agree: whoever set an alias late, over one that
        was set for a newer change, sees that and sets it again.
        """
        try:
            client = connect(self.tracking_uri)
            while (wanted := current(self._promotions.all(), alias)) is not None:
                if wanted == self._copied_aliases().get(alias):
                    return
                self._set_copy(client, alias, wanted)
        except (MlflowException, ConfigError) as error:
            # What the history says is in force all the same.
            logger.warning("MLflow's copy of the alias is behind", extra={"reason": first_line(error)})

    def set_policy(self, version: str, policy: Policy, actor: str, reason: str) -> ModelRef:
        """Put another policy in force for a version: thresholds change without a new model.

        Raises:
            ConfigError: Actor or reason is empty.
            ModelNotFoundError: There is no such version.
        """
        require_reason(actor, reason)
        ref = self.resolve(version)
        self.keep_policy(ref, policy)
        return self._put_in_force(ref, policy.digest, actor, reason)

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
            ChangedMeanwhileError: Somebody changed the policy at the same moment; nothing was changed.
        """
        require_reason(actor, reason)
        ref = self.resolve(version)
        before = earlier(self.policy_history(ref), POLICY)
        if before is None:
            where = f"models:/{self.model_name}/{ref.version}"
            raise ConfigError(where, "no policy was in force before this one: activate another instead")
        self.policy(ref, before, cache)
        present = ref.policy_digest
        return self._put_in_force(ref, before, actor, reason, how=ROLLBACK, expected=present)

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

    def policy_history(self, ref: ModelRef) -> list[Change]:
        """Return every change of the policy in force for a version, oldest first."""
        changes = self.history()
        return [each for each in changes if (each["alias"], each["version"]) == (POLICY, ref.version)]

    def bundle(self, ref: ModelRef, cache: Path) -> Bundle:
        """Return the verified bundle of a version, whatever policy is in force.

        Raises:
            BundleError: What the registry holds is not what it says.
        """
        return model_files.fetch_bundle(connect(self.tracking_uri), ref.run_id, ref.digest, cache)

    def note_report(self, ref: ModelRef, report: Mapping[str, object], drawings: Path) -> str:
        """Keep a gate's report with a version: artifacts of its run, a tag, and a table in its description.

        Args:
            ref: The version.
            report: With ``passed`` and ``text`` (Markdown).
            drawings: A folder of files that belong to it.

        Returns:
            The folder of artifacts that holds it.
        """
        client = connect(self.tracking_uri)
        folder = f"gate/{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
        client.log_artifacts(ref.run_id, str(drawings), folder)
        client.log_dict(ref.run_id, dict(report), f"{folder}/report.json")
        client.log_text(ref.run_id, str(report["text"]), f"{folder}/report.md")
        described = client.get_model_version(self.model_name, ref.version).description or ""
        text = card.with_report(described, str(report["text"]))
        patiently(lambda: client.update_model_version(self.model_name, ref.version, description=text))
        for tag, value in {
            "gate": "passed" if report["passed"] else "refused",
            "gate_report": folder,
        }.items():
            self._tag(client, ref.version, tag, value)
        return folder

    def history(self) -> list[Change]:
        """Return every change of an alias or a policy of this model, oldest first."""
        return self._promotions.all()

    def history_version(self) -> int | None:
        """Return what is another number after every change; cheaper than the history."""
        return self._promotions.version()

    def aliases(self) -> dict[str, str]:
        """Return the version each alias points at: what the history says, else what MLflow does."""
        changes = self._promotions.all()
        told = {change["alias"]: change["to"] for change in changes if change["alias"] != POLICY}
        return {**self._copied_aliases(), **told}

    def _copied_aliases(self) -> dict[str, str]:
        """Return the version each alias points at in MLflow."""
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
        changes = self._promotions.all()
        found = client.search_model_versions(f"name = '{self.model_name}'", max_results=10_000)
        return sorted((self._ref(version, changes) for version in found), key=lambda ref: -int(ref.version))

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
        changes = self._promotions.all()
        version = short if short.isdecimal() else current(changes, short)
        try:
            if version is None:
                return self._ref(client.get_model_version_by_alias(self.model_name, short), changes)
            return self._ref(client.get_model_version(self.model_name, version), changes)
        except MlflowException as error:
            if error.error_code in _MISSING:
                raise ModelNotFoundError(self.model_name, reference) from error
            raise _unusable(self.tracking_uri, error) from error

    def of_run(self, run_id: str) -> ModelRef:
        """Return the newest version that was registered of a run.

        Raises:
            ModelNotFoundError: There is none.
        """
        for ref in self.versions():
            if ref.run_id == run_id:
                return ref
        raise ModelNotFoundError(self.model_name, f"run {run_id}")

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

    def _ref(self, version: ModelVersion, changes: Sequence[Change]) -> ModelRef:
        try:
            return ModelRef(
                self.model_name,
                str(version.version),
                version.run_id,
                version.tags["sha256"],
                current(changes, POLICY, str(version.version)) or version.tags["policy_digest"],
                version.tags["features_version"],
                version.tags["data_version"],
                datetime.fromtimestamp(version.creation_timestamp / 1000, UTC),
            )
        except KeyError as error:
            where = f"models:/{self.model_name}/{version.version}"
            raise BundleError(where, f"it has no tag {error}; register it with `fraud register`") from error

    def _ensure_model(self, client: MlflowClient) -> None:
        try:
            patiently(lambda: client.create_registered_model(self.model_name))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise ConfigError(f"mlflow.model_name = {self.model_name}", first_line(error)) from error

    def _put_in_force(
        self, ref: ModelRef, digest: str, actor: str, reason: str, *, how: str = PLAIN, expected: str = _ANY
    ) -> ModelRef:
        def put(so_far: Sequence[Change]) -> Change:
            before = current(so_far, POLICY, ref.version) or ref.policy_digest
            if expected not in (_ANY, before):
                raise ChangedMeanwhileError(PROMOTIONS)
            return _change(POLICY, ref, before, digest, actor=actor, reason=reason, how=how)

        self._promotions.add(put)
        return replace(ref, policy_digest=digest)

    def _set_copy(self, client: MlflowClient, alias: str, version: str) -> None:
        patiently(lambda: client.set_registered_model_alias(self.model_name, alias, version))

    def _tag(self, client: MlflowClient, version: str, name: str, value: str) -> None:
        patiently(lambda: client.set_model_version_tag(self.model_name, version, name, value))


def _change(
    alias: str,
    ref: ModelRef,
    before: str | None,
    after: str,
    *,
    actor: str,
    reason: str,
    how: str = PLAIN,
    report: str | None = None,
) -> Change:
    return {
        "alias": alias,
        "version": ref.version,
        "from": before,
        "to": after,
        "digest": ref.digest,
        "how": how,
        "actor": actor,
        "reason": reason,
        "report": report,
    }


def _unusable(tracking_uri: str, error: MlflowException) -> ConfigError:
    return ConfigError(f"mlflow.tracking_uri = {tracking_uri}", first_line(error))
