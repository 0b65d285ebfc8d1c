"""Where files lie: in a folder of this machine, or in an S3-compatible store; one way to reach both."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from pyarrow import fs

S3: Final = "s3://"


def is_remote(uri: str) -> bool:
    """Whether a URI names a store, not a folder of this machine."""
    return uri.startswith(S3)


def located(uri: str) -> tuple[fs.FileSystem, str]:
    """Return the file system of a URI, and the path in it.

    A store's credentials, region and address are those of the environment (``AWS_ACCESS_KEY_ID``,
    ``AWS_SECRET_ACCESS_KEY``, ``AWS_REGION``, ``AWS_ENDPOINT_URL``) or of the machine's role: tables and
    their files read the same.
    """
    if is_remote(uri):
        path = uri.removeprefix(S3).rstrip("/")
        return _store(path.split("/")[0]), path
    return fs.LocalFileSystem(), uri.rstrip("/")


@lru_cache(maxsize=8)
def _store(bucket: str) -> fs.FileSystem:
    found, _ = fs.FileSystem.from_uri(S3 + bucket)  # unlike S3FileSystem(), it heeds AWS_ENDPOINT_URL
    return found
