"""`reconciler backfill`: reads what no webhook reported, from Clerk or from a shop."""

from __future__ import annotations

import click

from reconciler.cli.commands.backfill.clerk import clerk
from reconciler.cli.commands.backfill.shopify import shopify


@click.group("backfill")
def command() -> None:
    """Read users from Clerk's API into the profiles table, or a shop's customers into its mirror."""


command.add_command(clerk)
command.add_command(shopify)
