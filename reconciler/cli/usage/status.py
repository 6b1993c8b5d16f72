"""Usage of `reconciler status`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.usage.parameters import output_option, store_option

if TYPE_CHECKING:
    from reconciler.cli.context import Context


@click.command("status")
@store_option
@click.option("--certificate", is_flag=True, help="Scan every shop now, and certify how many users are equal.")
@output_option
@click.pass_obj
def command(context: Context, /, **options: Any) -> int:
    """Show parity, held users and the last scan of each store, from the state. Only --certificate reads the shops."""
    from reconciler.cli.commands.status import show_status

    return show_status(context, **options)
