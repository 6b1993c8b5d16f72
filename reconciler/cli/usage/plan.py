"""Usage of `reconciler plan`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.usage.parameters import detail_option, store_option, user_option

if TYPE_CHECKING:
    from reconciler.cli.context import Context


@click.command("plan")
@store_option
@user_option
@click.option("--output", type=click.Choice(["text", "json", "markdown", "html"]), default="text", show_default=True)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Save a sealed plan.")
@click.option("--live", is_flag=True, help="Read every customer; ignore the shop's mirror.")
@detail_option
@click.option(
    "--redact", is_flag=True, help="Replace emails, names and other personal values by stand-ins; not in JSON."
)
@click.option("--detailed-exitcode", is_flag=True, help="Exit 2 if there is an action.")
@click.pass_obj
def command(context: Context, /, **options: Any) -> int:
    """Show what `apply` would do. Changes nothing in a shop, and no user's mapping in the state.

    If `backfill shopify` has filled a shop's mirror, it is brought up to date, and customers that it proves in sync are
    not read again (`reconciler docs large-shops`). With --live every customer is read, and nothing is written.
    """
    from reconciler.cli.commands.sync.plan import plan

    return plan(context, **options)
