"""API keys: kept as hashes in a file, found by id, read again when the file changes.

A key is ``fk_ID_SECRET``. The secret has 256 random bits, so a plain SHA-256 keeps it. A client may have
several keys at once: make the new one, move the client over, revoke the old one.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import ipaddress
import logging
import os
import secrets
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal

import yaml
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from fraud.errors import ConfigError
from serve_app.settings import ServeSettings

Scope = Literal["score", "labels", "admin"]

FORMAT_VERSION: Final = 1
_LOOK_EVERY_S: Final = 1.0
_NO_DIGEST: Final = bytes(32)

logger = logging.getLogger(__name__)


class Key(BaseModel):
    """One line of the file: everything of a key but the key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, Field(pattern="^[0-9a-z]{4,32}$")]
    client: Annotated[str, Field(pattern="^[A-Za-z0-9._-]{1,64}$")]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$", repr=False)]
    scopes: Annotated[frozenset[Scope], Field(min_length=1)]
    created: AwareDatetime
    expires: AwareDatetime | None = None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    format_version: Literal[1]
    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who an accepted key belongs to, as the door needs it."""

    id: str
    scopes: frozenset[str]
    digest: bytes
    expires_s: float


class Keys:
    """The keys of a file, in memory.

    Raises:
        ConfigError: The file is missing or cannot be used; later on that only is logged, and the keys stay.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = _signature(path)
        self._callers = _callers(path)
        self._look_at = time.monotonic() + _LOOK_EVERY_S

    def find(self, token: bytes) -> Caller | None:
        """Return who the token belongs to; None where it is none, unknown or expired.

        The time it takes does not depend on how much of a secret was right.
        """
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_EVERY_S
            self._reload()
        caller = self._callers.get(token.removeprefix(b"fk_").partition(b"_")[0])
        given = hashlib.sha256(token).digest()
        is_right = hmac.compare_digest(given, caller.digest if caller else _NO_DIGEST)
        if caller is None or not is_right or caller.expires_s <= time.time():
            return None
        return caller

    def _reload(self) -> None:
        seen = _signature(self._path)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._callers = _callers(self._path)
        except ConfigError as error:
            reason = {"reason": str(error)}
            logger.warning("the API keys cannot be read, those read before stay", extra=reason)


def read(path: Path) -> tuple[Key, ...]:
    """Return the keys of a file.

    Raises:
        ConfigError: It is missing, or not such a file.
    """
    try:
        keys = _File.model_validate(yaml.safe_load(path.read_bytes())).keys
    except OSError as error:
        raise ConfigError(str(path), f"the API keys cannot be read: {error.strerror or error}") from error
    except (yaml.YAMLError, ValidationError) as error:
        # What pydantic says of it would show hashes.
        raise ConfigError(
            str(path), f"this is no file of API keys of format {FORMAT_VERSION}: `fraud key new` writes one"
        ) from error
    if len({key.id for key in keys}) != len(keys):
        raise ConfigError(str(path), "two API keys have the same id: take one out")
    return keys


def create(
    path: Path, client: str, scopes: Iterable[str], *, now: datetime, expires: datetime | None = None
) -> tuple[str, Key]:
    """Add a key to a file, made if missing; return the key itself, which is kept nowhere, and its line.

    Raises:
        ConfigError: The file cannot be read or written, or the client's name or the scopes cannot be used.
    """
    key_id = secrets.token_hex(4)
    token = f"fk_{key_id}_{secrets.token_urlsafe(32)}"
    try:
        key = Key(
            id=key_id,
            client=client,
            sha256=hashlib.sha256(token.encode()).hexdigest(),
            scopes=frozenset(scopes),
            created=now,
            expires=expires,
        )
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        raise ConfigError(str(problem["loc"][0]), problem["msg"]) from error
    with _alone(path):
        _write(path, (*(read(path) if path.exists() else ()), key))
    return token, key


def revoke(path: Path, key_id: str) -> Key:
    """Take a key out of a file; replicas follow within a second or so.

    Raises:
        ConfigError: The file cannot be read or written, or has no such key.
    """
    with _alone(path):
        keys = read(path)
        for key in keys:
            if key.id == key_id:
                _write(path, tuple(other for other in keys if other is not key))
                return key
    raise ConfigError(str(path), "there is no API key of that id: `fraud key list` shows those there are")


def check_exposure(settings: ServeSettings) -> None:
    """Check that a service without keys is reached from this machine only.

    Raises:
        ConfigError: It would be open to others, or the file of its keys cannot be used.
    """
    if settings.keys_file:
        read(Path(settings.keys_file))
    elif not _is_loopback(settings.host):
        raise ConfigError(
            "serve.host",
            f"{settings.host} is reached from other machines and serve.keys_file is empty: set it and make a "
            "key with `fraud key new`, or listen on 127.0.0.1",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _callers(path: Path) -> dict[bytes, Caller]:
    return {
        key.id.encode(): Caller(
            key.id,
            frozenset(key.scopes),
            bytes.fromhex(key.sha256),
            key.expires.timestamp() if key.expires else float("inf"),
        )
        for key in read(path)
    }


def _signature(path: Path) -> tuple[int, int, int] | None:
    """Differs whenever the file was replaced, written or removed."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep other commands from changing the file meanwhile."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
    except OSError as error:
        raise ConfigError(str(path), f"the API keys cannot be written: {error.strerror or error}") from error
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _write(path: Path, keys: tuple[Key, ...]) -> None:
    """Put a whole file in place, readable by its owner only."""
    whole = {
        "format_version": FORMAT_VERSION,
        "keys": [
            {**key.model_dump(mode="json", exclude_none=True), "scopes": sorted(key.scopes)} for key in keys
        ],
    }
    try:
        descriptor, fresh = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            yaml.safe_dump(whole, file, sort_keys=False)
            file.flush()
            os.fsync(file.fileno())
        Path(fresh).replace(path)
    except OSError as error:
        raise ConfigError(str(path), f"the API keys cannot be written: {error.strerror or error}") from error
