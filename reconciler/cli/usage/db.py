"""Usage of `reconciler db`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from reconciler.cli.context import Context


@click.group("db")
def command() -> None:
    """Upgrade or check the state's schema; print the SQL of the profiles' outbox."""


@command.command("upgrade")
@click.pass_obj
def upgrade(context: Context, /) -> None:
    """Create the state's schema, or upgrade it to the version that this program needs. Safe to repeat."""
    from reconciler.cli.commands.setup.db import upgrade_state

    upgrade_state(context)


@command.command("check")
@click.pass_obj
def check(context: Context, /) -> None:
    """Compare the state's schema with the one that this program needs. Changes nothing."""
    from reconciler.cli.commands.setup.db import check_state

    check_state(context)


@command.command("outbox")
@click.option("--table", metavar="SCHEMA.TABLE", help="The table that gets the triggers [profiles.table].")
@click.option("--role", metavar="NAME", help="The role that reads the profiles [the one in profiles.url].")
@click.option("--remove", is_flag=True, help="Print the SQL that removes it.")
@click.pass_obj
def outbox(context: Context, /, **options: Any) -> None:
    """Print the SQL that creates an outbox: triggers that report changed rows immediately. Run it as the table's owner.

    Optional: without it, a webhook or the next resync finds the change. If profiles.table is a view, name the underlying
    table.
    """
    from reconciler.cli.commands.setup.db import print_outbox

    print_outbox(context, **options)
