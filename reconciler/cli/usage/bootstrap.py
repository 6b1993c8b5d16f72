"""Usage of `reconciler bootstrap`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.usage.parameters import output_option, store_option

if TYPE_CHECKING:
    from reconciler.cli.context import Context


@click.command("bootstrap")
@store_option
@click.option("--yes", is_flag=True, help="Don't ask.")
@output_option
@click.pass_obj
def command(context: Context, /, **options: Any) -> int:
    """Show what each shop lacks, then create it: the back-link's metafield definition and webhook subscriptions."""
    from reconciler.cli.commands.setup.bootstrap import bootstrap

    return bootstrap(context, **options)
