"""Usage of `reconciler init`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from reconciler.cli.context import Context


@click.command("init")
@click.option(
    "--profiles-url", metavar="URL", help="The database of the profiles [RECONCILER_PROFILES_URL, DATABASE_URL]."
)
@click.option("--table", metavar="T", help="The table or view of the profiles; by default the likeliest one.")
@click.option("--shop", metavar="DOMAIN", help="The first shop: acme.myshopify.com.")
@click.pass_obj
def command(context: Context, /, **options: Any) -> int:
    """Write both settings files from what the database has: guesses the columns, and says why. Overwrites nothing."""
    from reconciler.cli.commands.setup.init import write_settings

    return write_settings(context, **options)
