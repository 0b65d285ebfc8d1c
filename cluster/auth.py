"""The Ray token: found, made where a local Ray needs one, and switched on before Ray is imported.

Ray reads ``RAY_AUTH_TOKEN``, else the file at ``RAY_AUTH_TOKEN_PATH``, else ``~/.ray/auth_token``, and only
where ``RAY_AUTH_MODE`` is ``token``. Any other mode leaves the cluster open without a word, an unreadable
token file aborts the process, and a token Ray makes itself is readable by everyone: hence this module.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from fraud.errors import ClusterError

MODE = "RAY_AUTH_MODE"
TOKEN = "RAY_AUTH_TOKEN"  # noqa: S105 - the variable's name
TOKEN_FILE = "RAY_AUTH_TOKEN_PATH"  # noqa: S105 - the variable's name


def switch_on(*, create: bool) -> str | None:
    """Make Ray in this process and its children use the token, where there is one.

    Args:
        create: Make ``~/.ray/auth_token`` where no token is found: for a Ray started here. A client of
            someone else's Ray goes without, and a cluster that wants a token refuses it.

    Returns:
        The token.

    Raises:
        ClusterError: The mode is unknown to Ray, or the token's file is unreadable, empty or cannot be made.
    """
    mode = os.environ.get(MODE)
    if mode not in {None, "token", "disabled"}:
        raise ClusterError(f"{MODE}={mode} would leave Ray open: set it to token, or on purpose to disabled")
    if mode == "disabled":
        return None
    token = _found()
    if token is None and create:
        token = _created(default_file())
    if token is not None:
        os.environ[MODE] = "token"
    return token


def default_file() -> Path:
    """Where Ray looks for the token last."""
    return Path.home() / ".ray" / "auth_token"


def _found() -> str | None:
    if given := os.environ.get(TOKEN):
        return given
    named = os.environ.get(TOKEN_FILE)
    if not named and not default_file().exists():
        return None
    return _read(Path(named) if named else default_file())


def _read(file: Path) -> str:
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ClusterError(f"the Ray token at {file} cannot be read ({_reason(error)})") from error
    if not token:
        raise ClusterError(f"the Ray token at {file} is empty: remove the file, or write the token into it")
    return token


def _created(file: Path) -> str:
    token = secrets.token_hex(32)
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Its owner's alone from the first moment; never over a file that appeared meanwhile.
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _read(file)
    except OSError as error:
        raise ClusterError(f"the Ray token at {file} cannot be made ({_reason(error)})") from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(token)
    return token


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__
