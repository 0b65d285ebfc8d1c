"""The aliases of the registry, followed: what they name is verified and put in place for the replicas."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from fraud.errors import BundleError, FormatVersionError, ModelNotFoundError
from fraud.features.spec import FeatureSet
from fraud.model.bundle import Bundle
from fraud.model.policy import Policy
from fraud.storage import alerts
from fraud.storage.alerts import Alert
from serve_app.install import install, is_intact
from serve_app.served import CHALLENGER, CHAMPION, Served

if TYPE_CHECKING:  # MLflow costs seconds, and only the steward's own process needs it
    from fraud.storage.promotions import Change
    from fraud.storage.registry import ModelRef

REFUSED: Final = "model_refused"
"""The kind of alert where a model of the registry is not what it says."""

_SURE: Final = 2
"""Refusals in a row before it is said: a download that broke off looks like damage, once."""
_PASSES: Final = 20
"""Passes after which everything is looked at again, though nothing seems to have changed, or is refused."""

logger = logging.getLogger(__name__)


class Models(Protocol):
    """What this needs of ``fraud.storage.registry.Registry``."""

    def history_version(self) -> int | None:
        """Return what is another number after every change of an alias or a policy."""

    def resolve(self, reference: str) -> ModelRef:
        """Return the version that a reference names."""

    def fetch(self, reference: str | ModelRef, cache: Path) -> tuple[Bundle, Policy]:
        """Return a verified local copy of a version."""

    def history(self) -> list[Change]:
        """Return every change of an alias or a policy."""


class Alias:
    """Follows the champion, and the challenger where there is one."""

    def __init__(
        self,
        models: Models,
        reference: str,
        pointer: Path,
        *,
        covers: Callable[[Sequence[FeatureSet]], bool],
        alarm: Callable[[Alert], None],
    ) -> None:
        """Follow nothing yet.

        Args:
            models: The registry.
            reference: What names the champion: an alias, or a version.
            pointer: The file that replicas follow; copies of models are kept beside it.
            covers: Whether the online state answers features; where it does not, sees to it.
            alarm: Notes an alert.
        """
        self._models = models
        self._reference = reference
        self._pointer = pointer
        self._covers = covers
        self._alarm = alarm
        self._verified: dict[ModelRef, Served] = {}
        self._refused: dict[ModelRef, int] = {}
        self._settled: int | None = None
        self._idle = 0

    def follow(self) -> None:
        """Put in place what the aliases name now; what cannot be trusted or computed is not.

        Raises:
            ModelNotFoundError: Nothing answers to the reference.
            ConfigError: The registry or the lake cannot be read now.
        """
        version = self._models.history_version()
        if version is not None and version == self._settled and self._idle < _PASSES:
            self._idle += 1
            return
        self._idle, self._settled = 0, version if self._put_in_place() else None

    def _put_in_place(self) -> bool:
        """Do all that the aliases ask for; return whether there is nothing left to do."""
        champion, challenger = self._models.resolve(self._reference), self._shadow()
        if challenger is not None and challenger.version == champion.version:
            challenger = None
        wanted = {champion, challenger}
        self._verified = {ref: known for ref, known in self._verified.items() if ref in wanted}
        self._refused = {ref: times for ref, times in self._refused.items() if ref in wanted}
        shadow = self._fetch(challenger, CHALLENGER) if challenger else None
        served = self._fetch(champion, CHAMPION)
        if served is None:
            return False
        both = [served.bundle.feature_set, *([shadow.bundle.feature_set] if shadow else [])]
        if not self._covers(both):
            if len(both) == 1 or not self._covers(both[:1]):
                return False
            shadow = None  # A challenger that has to wait for its state does not make the champion wait.
        install(self._pointer, served, shadow)
        return challenger is None or shadow is not None

    def _shadow(self) -> ModelRef | None:
        try:
            return self._models.resolve(CHALLENGER)
        except ModelNotFoundError:
            return None

    def _fetch(self, ref: ModelRef, role: str) -> Served | None:
        """The verified model, or None where it is not what the registry says."""
        known = self._verified.get(ref)
        if known is not None and is_intact(self._pointer.parent, known):
            return known
        if known is not None:
            del self._verified[ref]
            logger.error(
                "an installed model is damaged on disk, and fetched again",
                extra={"model_version": ref.version},
            )
        refusals = self._refused.get(ref, 0)
        if refusals >= _SURE and refusals % _PASSES:
            self._refused[ref] = refusals + 1
            return None
        try:
            bundle, policy = self._models.fetch(ref, self._pointer.parent)
        except (BundleError, FormatVersionError) as error:
            if refusals + 1 == _SURE:
                self._refuse(ref, role, error)
            self._refused[ref] = refusals + 1
            return None
        self._verified[ref] = Served(ref.name, ref.version, bundle, policy, role)
        return self._verified[ref]

    def _refuse(self, ref: ModelRef, role: str, error: BundleError | FormatVersionError) -> None:
        alias = self._reference if role == CHAMPION else CHALLENGER
        numbers = [change["number"] for change in self._models.history() if change["alias"] == alias]
        self._alarm(
            Alert(
                kind=REFUSED,
                severity=alerts.ERROR,
                subject=f"models:/{ref.name}/{ref.version}",
                message=f"{alias} is not put in place, what served before goes on: {error}",
                # Pointing the alias there again is another occasion; looking at it again is none.
                occasion=f"{max(numbers, default=0)} {ref.digest} {ref.policy_digest}",
                actor="steward",
            )
        )
