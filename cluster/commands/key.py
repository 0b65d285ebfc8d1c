"""Commands that give and take API keys of the service."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cluster.command import Report, command
from cluster.options import Config, LakeUri, WorkDir

if TYPE_CHECKING:
    from serve_app.keys import Key

app = typer.Typer()
key_app = typer.Typer(help="Who may call the scoring service.", no_args_is_help=True)
app.add_typer(key_app, name="key")


@command(key_app, name="new")
def key_new(
    *,
    config: Config,
    lake: LakeUri,
    work: WorkDir,
    client: Annotated[str, typer.Option(help="Whose key it is; a client may have several.")],
    scopes: Annotated[
        list[str], typer.Option("--scope", metavar="SCOPE", help="score, labels or admin; may be repeated.")
    ],
    days: Annotated[int | None, typer.Option(min=1, help="Until it expires; never unless given.")] = None,
) -> Report:
    """Make a key and print it; only its hash is kept, in `serve.keys_file`."""
    from serve_app.keys import create

    now = datetime.now(UTC).replace(microsecond=0)
    expires = now + timedelta(days=days) if days is not None else None
    token, key = create(_path(config, lake, work), client, scopes, now=now, expires=expires)
    return {"key": token, **_shown(key)}


@command(key_app, name="list")
def key_list(*, config: Config, lake: LakeUri, work: WorkDir) -> Report:
    """List the keys, without what they are."""
    from serve_app.keys import read

    return {"keys": [_shown(key) for key in read(_path(config, lake, work))]}


@command(key_app, name="revoke")
def key_revoke(
    *,
    config: Config,
    lake: LakeUri,
    work: WorkDir,
    key: Annotated[str, typer.Argument(metavar="ID", help="Of a key.")],
) -> Report:
    """Take a key out; running services follow within two seconds."""
    from serve_app.keys import revoke

    return {"revoked": _shown(revoke(_path(config, lake, work), key))}


def _path(config: list[Path], lake: str, work: str) -> Path:
    from cluster.settings import load
    from fraud.errors import ConfigError

    file = load(*config, options={"lake.uri": lake, "work.dir": work}).serve.keys_file
    if not file:
        raise ConfigError("serve.keys_file", "it is empty: set it to the file for the hashes of the keys")
    return Path(file)


def _shown(key: Key) -> dict[str, Any]:
    shown = key.model_dump(mode="json", exclude={"sha256"})
    return {**shown, "scopes": sorted(key.scopes)}
