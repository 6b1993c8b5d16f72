"""Usage of `reconciler backfill`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.usage.parameters import output_option, store_option

if TYPE_CHECKING:
    from reconciler.cli.context import Context


@click.group("backfill")
def command() -> None:
    """Read users from Clerk's API into the profiles table, or a shop's customers into its mirror."""


@command.command("clerk")
@click.option("--yes", is_flag=True, help="Don't ask.")
@output_option
@click.pass_obj
def clerk(context: Context, /, **options: Any) -> int:
    """Read all users from Clerk's API, show those with a missing or older profile row, ask, and write these rows.

    Never replaces a newer row and never deletes one. Needs clerk.secret_key, and a role that may write the table.
    """
    from reconciler.cli.commands.backfill.clerk import backfill_clerk

    return backfill_clerk(context, **options)


@command.command("shopify")
@store_option
@output_option
@click.pass_obj
def shopify(context: Context, /, **options: Any) -> int:
    """Copy each shop's customers into its mirror, by a bulk query that costs no points. Changes nothing in the shop.

    Safe to stop and to repeat: it continues where it stopped. A failure in one shop does not affect the others.
    """
    from reconciler.cli.commands.backfill.shopify import backfill_shopify

    return backfill_shopify(context, **options)
