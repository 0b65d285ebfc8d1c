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


def switch_on(*, create: bool) -> None:
    """Make Ray in this process and its children use the token, where there is one.

    Args:
        create: Make ``~/.ray/auth_token`` where no token is found: for a Ray started here. A client of
            someone else's Ray goes without; a cluster that wants a token then refuses it.

    Raises:
        ClusterError: The mode is unknown to Ray, or the token's file cannot be read, is empty or cannot be made.
    """
    mode = os.environ.get(MODE)
    if mode not in {None, "token", "disabled"}:
        raise ClusterError(
            f"{MODE}={mode} would leave Ray open: set it to token (or to disabled, on purpose)"
        )
    if mode == "disabled":
        return
    if not _token_exists():
        if not create:
            return
        _create_token(_default_file())
    os.environ[MODE] = "token"


def _default_file() -> Path:
    return Path.home() / ".ray" / "auth_token"


def _token_exists() -> bool:
    if os.environ.get(TOKEN):
        return True
    named = os.environ.get(TOKEN_FILE)
    file = Path(named) if named else _default_file()
    if not named and not file.exists():
        return False
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ClusterError(f"the Ray token at {file} cannot be read ({_reason(error)})") from error
    if not token:
        raise ClusterError(
            f"the Ray token at {file} is empty: remove the file, or write the cluster's token into it"
        )
    return True


def _create_token(file: Path) -> None:
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Readable by its owner alone from the first moment; a file that appeared meanwhile is kept.
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    except OSError as error:
        raise ClusterError(f"the Ray token at {file} cannot be made ({_reason(error)})") from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(secrets.token_hex(32))


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__
