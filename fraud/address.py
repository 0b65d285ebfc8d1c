"""Where a PostgreSQL database is, without the secret part of its connection URI."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from fraud.errors import ConfigError

SCHEMES: Final = ("postgresql://", "postgres://")

_WANTED: Final = (
    "needs postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with % escapes for the password's signs"
)


@dataclass(frozen=True, slots=True)
class Address:
    """A database on a server.

    Attributes:
        server: Host and port.
        database: Its name.
    """

    server: str
    database: str

    def __str__(self) -> str:
        return f"{self.server}/{self.database}"


def parse(uri: str, said_by: str = "FRAUD_MART__URI") -> Address:
    """Return the address in a connection URI; the URI itself is never shown.

    Args:
        uri: With or without a password.
        said_by: Where the user wrote it, for the error.

    Raises:
        ConfigError: The URI is missing, or not one of PostgreSQL.
    """
    if not uri:
        raise ConfigError(said_by, "is empty: set it in the environment")
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port or 5432
    except ValueError:
        raise ConfigError(said_by, _WANTED) from None
    database = unquote(parts.path.removeprefix("/"))
    if not uri.startswith(SCHEMES) or not host or not database or "/" in database:
        raise ConfigError(said_by, _WANTED)
    return Address(f"{host}:{port}", database)


def with_password(uri: str, password: str) -> str:
    """Return a connection URI with a password in it; as it was where there is none."""
    if not password:
        return uri
    parts = urlsplit(uri)
    user, _, place = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user.split(':')[0]}:{quote(password, safe='')}@{place}").geturl()


def without_password(text: str, uri: str) -> str:
    """Return a text with the URI's password masked, however it was spelled there."""
    password = urlsplit(uri).password or ""
    for spelled in {password, unquote(password)} - {""}:
        text = text.replace(spelled, "**********")
    return text
