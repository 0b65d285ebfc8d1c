"""The model that serves: named by a pointer file, verified before it serves, swapped without a restart.

The pointer is JSON: ``{"model", "version", "digest", "bundle", "policy"}``; the last two are paths, relative
to the pointer's folder unless absolute. Whoever writes it renames a complete file into place.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from fraud.errors import BundleError, ConfigError, FraudError
from fraud.features.spec import FeatureSet
from fraud.model import bundle as bundles
from fraud.model import policy as policies
from fraud.model.bundle import Bundle
from fraud.model.policy import Policy

logger = logging.getLogger(__name__)


class Pointer(msgspec.Struct, frozen=True):
    """Which model to serve."""

    model: str
    version: str
    digest: str
    bundle: str
    policy: str


@dataclass(frozen=True)
class Served:
    """A verified bundle and its policy under the registry's names."""

    model: str
    version: str
    bundle: Bundle
    policy: Policy


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


def load(file: Path) -> Served:
    """Load and verify what a pointer names.

    Raises:
        ConfigError: The pointer is missing or not a pointer.
        BundleError: The bundle or the policy does not match its digest or cannot be read.
        FormatVersionError: Another release wrote them.
    """
    pointer = read_pointer(file)
    folder, policy_file = file.parent / pointer.bundle, file.parent / pointer.policy
    bundle = bundles.load(folder, digest=pointer.digest)
    try:
        raw = json.loads(policy_file.read_bytes())
    except (OSError, ValueError) as error:
        raise BundleError(str(policy_file), "the policy cannot be read: promote the model again") from error
    # The first reasons compile what finds them: not while somebody waits for an answer.
    bundle.explainer.causes(np.full((1, len(bundle.feature_set.names)), np.nan, np.float32), most=1)
    return Served(pointer.model, pointer.version, bundle, policies.from_json(raw, path=str(policy_file)))


class Watcher:
    """Holds the one reference to what serves, and follows the pointer."""

    def __init__(self, pointer: Path, poll_s: float, accept: Callable[[FeatureSet], None]) -> None:
        """Load what the pointer names now; raises what ``load`` raises.

        Args:
            pointer: The file that names the model.
            poll_s: Seconds between two looks at it.
            accept: Raises what keeps features from being computed here; their model never serves.
        """
        self._pointer = pointer
        self._poll_s = poll_s
        self._accept = accept
        self._seen = _fingerprint(pointer)
        self.served = self._load()

    async def follow(self) -> None:
        """Look at the pointer for ever; what cannot be loaded never serves, the old model stays."""
        while True:
            await asyncio.sleep(self._poll_s)
            await self.look()

    async def look(self) -> None:
        """Load what the pointer names if it changed since the last look."""
        seen = _fingerprint(self._pointer)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self.served = await asyncio.to_thread(self._load)
        except (FraudError, OSError) as error:
            logger.error("the new model is refused, the old one stays", extra={"reason": str(error)})  # noqa: TRY400 - no traceback
            return
        logger.warning("another model serves", extra={"model_version": self.served.version})

    def _load(self) -> Served:
        served = load(self._pointer)
        self._accept(served.bundle.feature_set)
        return served


def _fingerprint(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
