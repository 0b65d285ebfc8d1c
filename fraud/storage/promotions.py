"""The history of promotions: a table of the lake, and the one place that says where an alias points.

An entry is the change itself. Entries are numbered without a gap and Delta lets one writer have a number,
so each entry's ``from`` is the ``to`` before it, whoever writes from whichever host. MLflow's alias is a
copy for other tools: it is set after the entry, and where a crash fell between, it is behind until somebody
promotes again; nobody here reads it where there is an entry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from deltalake.exceptions import DeltaError

from fraud import schema
from fraud.errors import ConfigError
from fraud.storage import numbered
from fraud.storage.lake import Lake

CHAMPION: Final = "champion"
"""The alias that decides; only the gate, a rollback or force moves it."""

PLAIN: Final = "plain"
"""How a change came about: an alias that needs no gate, or a policy."""
GATE: Final = "gate"
FORCED: Final = "forced"
ROLLBACK: Final = "rollback"

POLICY: Final = "policy"
"""In place of an alias, where the policy in force for a version is what changed."""

Change = dict[str, Any]
"""A row of ``schema.PROMOTIONS_SCHEMA``, ``at`` in ISO format."""


class Promotions:
    """The changes of one model's aliases and policies.

    Args:
        lake: Where the table is.
        model: The registered model's name.
    """

    def __init__(self, lake: Lake, model: str) -> None:
        self._lake = lake
        self._model = model

    def all(self) -> list[Change]:
        """Return every change, oldest first.

        Raises:
            ConfigError: The lake cannot be read now.
        """
        try:
            known = self._lake.exists(schema.PROMOTIONS)
            rows = self._lake.read(schema.PROMOTIONS).to_pylist() if known else []
        except (DeltaError, OSError) as error:
            raise self._unreadable(error) from error
        own = sorted((row for row in rows if row["model"] == self._model), key=lambda row: int(row["number"]))
        return [{**row, "at": row["at"].isoformat()} for row in own]

    def version(self) -> int | None:
        """Return what is another number after every change of any model; cheaper than reading them."""
        try:
            return self._lake.version(schema.PROMOTIONS)
        except (DeltaError, OSError) as error:
            raise self._unreadable(error) from error

    def add(self, make: Callable[[Sequence[Change]], Change]) -> Change:
        """Append the change that ``make`` gives for the changes so far, and return it.

        Where another writer comes first, ``make`` is asked again, with the other's change among them.

        Args:
            make: Returns a row without ``number``, ``at`` and ``model``; what it raises ends the attempt.

        Raises:
            ChangedMeanwhileError: Others came first time and again.
        """

        def entry() -> tuple[int, Change]:
            so_far = self.all()
            number = len(so_far) + 1
            return number, {**make(so_far), "number": number, "at": datetime.now(UTC), "model": self._model}

        app = f"{schema.PROMOTIONS}:{self._model}"
        change = numbered.add(self._lake, schema.PROMOTIONS, schema.PROMOTIONS_SCHEMA, app=app, make=entry)
        return {**change, "at": change["at"].isoformat()}

    def _unreadable(self, error: Exception) -> ConfigError:
        return ConfigError(f"lake.uri = {self._lake.uri}", f"promotions cannot be read: {error}")


def current(changes: Sequence[Change], alias: str, version: str | None = None) -> str | None:
    """Return what an alias points at, or with ``version`` the digest of its policy; None: no change yet."""
    found = [
        change["to"]
        for change in changes
        if change["alias"] == alias and version in (None, change["version"])
    ]
    return found[-1] if found else None


def earlier(changes: Sequence[Change], alias: str) -> str | None:
    """Return the version that a rollback leads to: the one before, not counting what was rolled back.

    Rolling back twice leads back twice.
    """
    stack: list[str | None] = []
    for change in changes:
        if change["alias"] != alias:
            continue
        if not stack:
            stack.append(change["from"])
        if change["how"] == ROLLBACK:
            stack.pop()
        elif change["to"] != stack[-1]:
            stack.append(change["to"])
    return stack[-2] if len(stack) > 1 else None


def require_reason(actor: str, reason: str) -> None:
    """Check that a change says who does it and why.

    Raises:
        ConfigError: It does not.
    """
    for name, value in (("actor", actor), ("reason", reason)):
        if not value.strip():
            raise ConfigError(f"--{name}", "a promotion needs who does it and why: give --actor and --reason")
