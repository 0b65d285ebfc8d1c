"""Where the mart's database is, without the secret part."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from fraud.errors import ConfigError

_WANTED = "needs postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with % escapes for the password's signs"


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


def parse(uri: str) -> Address:
    """Return the address in a connection URI; the URI itself is never shown.

    Raises:
        ConfigError: The URI is missing, or not one of PostgreSQL.
    """
    if not uri:
        raise ConfigError("mart.uri", "is empty: set FRAUD_MART__URI in the environment")
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port or 5432
    except ValueError:
        raise ConfigError("FRAUD_MART__URI", _WANTED) from None
    database = unquote(parts.path.removeprefix("/"))
    if parts.scheme not in {"postgresql", "postgres"} or not host or not database or "/" in database:
        raise ConfigError("FRAUD_MART__URI", _WANTED)
    return Address(f"{host}:{port}", database)


def without_password(text: str, uri: str) -> str:
    """Return a text with the URI's password masked, however it was spelled there."""
    password = urlsplit(uri).password or ""
    for spelled in {password, unquote(password)} - {""}:
        text = text.replace(spelled, "**********")
    return text
