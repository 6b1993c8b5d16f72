"""Usage of `reconciler drift`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.usage.parameters import output_option, store_option

if TYPE_CHECKING:
    from reconciler.cli.context import Context


@click.command("drift")
@store_option
@output_option
@click.option("--all", "everything", is_flag=True, help="Text: show every user.")
@click.pass_obj
def command(context: Context, /, **options: Any) -> int:
    """Report drift (edited, deleted or merged in Shopify) and intent (changes of ours that are not applied yet).

    Exits 0 if there is neither, 2 with intent, 3 with drift, 4 with both, 1 if a store or a field can't be read, or if
    what a store's wave will write can't be planned.
    """
    from reconciler.cli.commands.sync.drift import report_drift

    return report_drift(context, **options)
