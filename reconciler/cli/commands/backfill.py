"""`reconciler backfill`: what no event told of is fetched from where it is."""

from __future__ import annotations

import click

from reconciler.cli.commands.backfill_clerk import clerk
from reconciler.cli.commands.backfill_shopify import shopify


@click.group("backfill")
def command() -> None:
    """What no event told of: users from Clerk's API, customers into a shop's mirror."""


command.add_command(clerk)
command.add_command(shopify)
