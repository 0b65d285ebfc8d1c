"""The command line: `fraud COMMAND`. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

from collections.abc import Sequence

import typer
from typer.exceptions import Abort, TyperException

from cluster import logs
from cluster.commands import data, key, mart, model, operation, policy, registry, schedule
from cluster.environment import set_defaults
from fraud.errors import FraudError

app = typer.Typer(
    name="fraud",
    help="Card-fraud detection on Ray: from files to decisions.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(data.app)
app.add_typer(model.app)
app.add_typer(policy.app)
app.add_typer(registry.app)
app.add_typer(operation.app)
app.add_typer(mart.app, name="mart")
app.add_typer(key.app)
app.add_typer(schedule.app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit code: 0 done, 1 refused or failed, 2 wrong usage, 130 interrupted."""
    set_defaults()
    logs.configure()
    try:
        code = app(arguments, standalone_mode=False, prog_name="fraud")
    except TyperException as error:
        error.show() if hasattr(error, "show") else typer.echo(error, err=True)
        return error.exit_code
    except FraudError as error:
        typer.echo(f"fraud: {error}", err=True)
        return 1
    except (KeyboardInterrupt, Abort):
        return 130
    return code if isinstance(code, int) else 0
