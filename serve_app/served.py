"""The models that serve: named by a pointer file, verified before they serve, swapped without a restart.

The pointer is JSON: ``{"model", "version", "digest", "bundle", "policy"}``, and the same five under
``challenger`` where a second model scores in the champion's shadow. ``bundle`` and ``policy`` are paths,
relative to the pointer's folder unless absolute. Whoever writes it renames a complete file into place, and
keeps the one before beside it: a process that starts serves that one where the files of the present one are
damaged.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import msgspec
import numpy as np

from fraud.errors import BundleError, ConfigError, FraudError
from fraud.features.spec import FeatureSet
from fraud.model import bundle as bundles
from fraud.model import policy as policies
from fraud.model.bundle import Bundle
from fraud.model.policy import Policy

CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"

_LONGEST_PAUSE_S: Final = 30.0
"""Between two attempts to load what was refused: it may be the state that had to catch up."""

logger = logging.getLogger(__name__)


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """One model, and where its files are."""

    model: str
    version: str
    digest: str
    bundle: str
    policy: str


class Pointer(Named, frozen=True, kw_only=True, omit_defaults=True):
    """Which model to serve, and which one to score in its shadow."""

    challenger: Named | None = None


@dataclass(frozen=True)
class Served:
    """A verified bundle and its policy under the registry's names.

    Attributes:
        model: The registered model.
        version: Of it.
        bundle: Verified.
        policy: In force for it.
        role: ``champion``, which decides, or ``challenger``.
    """

    model: str
    version: str
    bundle: Bundle
    policy: Policy
    role: str = CHAMPION


class Swaps(Protocol):
    """What the watcher tells of itself."""

    def swapped(self, version: str) -> None:
        """A model serves from now on."""

    def count(self, name: str) -> None:
        """One more of a counter."""


def read_pointer(file: Path) -> Pointer:
    """Read a pointer file.

    Raises:
        ConfigError: It is missing or not a pointer.
    """
    try:
        return msgspec.json.decode(file.read_bytes(), type=Pointer)
    except FileNotFoundError as error:
        raise ConfigError(str(file), "no model is installed for serving: promote one first") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(file), "this is no pointer to a model: promote the model again") from error


def last(pointer: Path) -> Path:
    """Where the pointer before is, the last one that names another bundle."""
    return pointer.with_suffix(f".last{pointer.suffix}")


def load(folder: Path, named: Named, role: str = CHAMPION) -> Served:
    """Load and verify a model, and make it ready to answer at once.

    Args:
        folder: The pointer's.
        named: The model.
        role: What it serves as.

    Raises:
        BundleError: The bundle or the policy does not match its digest or cannot be read.
        FormatVersionError: Another release wrote them.
    """
    bundle = bundles.load(folder / named.bundle, digest=named.digest)
    policy_file = folder / named.policy
    try:
        raw = json.loads(policy_file.read_bytes())
    except (OSError, ValueError) as error:
        raise BundleError(str(policy_file), "the policy cannot be read: promote the model again") from error
    # The first reasons compile what finds them: not while somebody waits for an answer.
    bundle.explainer.causes(np.full((1, len(bundle.feature_set.names)), np.nan, np.float32), most=1)
    return Served(named.model, named.version, bundle, policies.from_json(raw, path=str(policy_file)), role)


def feature_sets(pointer: Path) -> list[FeatureSet]:
    """Return the features of the models that a pointer names.

    Raises:
        ConfigError: The pointer is missing or not a pointer.
        BundleError: A bundle does not match its digest or cannot be read.
    """
    names = read_pointer(pointer)
    models = [names, *([names.challenger] if names.challenger else [])]
    return [bundles.load(pointer.parent / each.bundle, digest=each.digest).feature_set for each in models]


class Watcher:
    """Holds the references to what serves, and follows the pointer.

    Attributes:
        served: The model that decides.
        challenger: The model that scores in its shadow, where there is one.
    """

    def __init__(
        self, pointer: Path, poll_s: float, accept: Callable[[FeatureSet], None], swaps: Swaps | None = None
    ) -> None:
        """Load what the pointer names now, or what the one before named where that cannot be loaded.

        Raises what ``load`` and ``read_pointer`` raise, of the present one, where neither can.

        Args:
            pointer: The file that names the models.
            poll_s: Seconds between two looks at it.
            accept: Raises what keeps features from being computed here; their model never serves.
            swaps: Is told what changes.
        """
        self._pointer = pointer
        self._poll_s = poll_s
        self._accept = accept
        self._swaps = swaps
        self._loaded: dict[Named, Served] = {}
        self._refusals: dict[str, str] = {}
        self._pause_s, self._again = poll_s, 0.0
        self._seen = _fingerprint(pointer)
        names, self.served = self._first()
        self.challenger = self._challenger(names)
        if swaps is not None:
            swaps.swapped(self.served.version)

    async def follow(self) -> None:
        """Look at the pointer for ever; what cannot be loaded never serves, the old model stays."""
        while True:
            # Replicas that were started together look at different moments.
            await asyncio.sleep(self._poll_s * random.uniform(0.5, 1.0))  # noqa: S311
            await self.look()

    async def look(self) -> None:
        """Load what the pointer names if it changed since the last look, or was refused a while ago."""
        seen = _fingerprint(self._pointer)
        if seen == self._seen and not (self._refusals and time.monotonic() >= self._again):
            return
        if seen != self._seen:
            self._seen, self._pause_s, self._refusals = seen, self._poll_s, {}
        before = self.served
        await asyncio.to_thread(self._follow)
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        self._again = time.monotonic() + self._pause_s
        if self.served is not before:
            logger.warning("another model serves", extra={"model_version": self.served.version})
            if self._swaps is not None:
                self._swaps.swapped(self.served.version)

    def _first(self) -> tuple[Pointer, Served]:
        try:
            names = read_pointer(self._pointer)
            return names, self._champion(names)
        except (FraudError, OSError) as error:
            try:
                before = read_pointer(last(self._pointer))
                served = self._champion(before)
            except (FraudError, OSError):
                raise error from None
            self._refuse(CHAMPION, error)
            return before, served

    def _follow(self) -> None:
        try:
            names = read_pointer(self._pointer)
            self.served = self._champion(names)
        except (FraudError, OSError) as error:
            self._refuse(CHAMPION, error)
            return
        self._refusals.pop(CHAMPION, None)
        self.challenger = self._challenger(names)

    def _champion(self, names: Pointer) -> Served:
        return self._load(_plain(names), CHAMPION)

    def _challenger(self, names: Pointer) -> Served | None:
        """The challenger, or none: that it cannot be loaded is no harm to those who wait for an answer."""
        served = None
        try:
            served = self._load(names.challenger, CHALLENGER) if names.challenger else None
        except (FraudError, OSError) as error:
            self._refuse(CHALLENGER, error)
        else:
            self._refusals.pop(CHALLENGER, None)
        # Only what serves is kept: the next champion is often the challenger, and is loaded already.
        kept = {_plain(names), names.challenger} if served else {_plain(names)}
        self._loaded = {named: known for named, known in self._loaded.items() if named in kept}
        return served

    def _load(self, named: Named, role: str) -> Served:
        known = self._loaded.get(named)
        if known is None or known.role != role:
            known = (
                Served(known.model, known.version, known.bundle, known.policy, role)
                if known
                else load(self._pointer.parent, named, role)
            )
        self._accept(known.bundle.feature_set)
        self._loaded[named] = known
        return known

    def _refuse(self, role: str, error: Exception) -> None:
        """Say what is wrong, once."""
        told, self._refusals[role] = self._refusals.get(role), str(error)
        if told == str(error):
            return
        logger.error(
            "the new model is refused, the old one stays", extra={"role": role, "reason": str(error)}
        )
        if self._swaps is not None:
            self._swaps.count("models_refused")


def _plain(names: Named) -> Named:
    """The champion of a pointer, comparable with any other model."""
    return Named(
        model=names.model,
        version=names.version,
        digest=names.digest,
        bundle=names.bundle,
        policy=names.policy,
    )


def _fingerprint(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
