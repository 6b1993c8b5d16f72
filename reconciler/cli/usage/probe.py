"""Usage of `reconciler probe`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.complete import complete_store

if TYPE_CHECKING:
    from reconciler.cli.context import Context


@click.command("probe")
@click.argument("stores", nargs=-1, required=True, shell_complete=complete_store)
@click.pass_obj
def command(context: Context, /, **options: Any) -> int:
    """Call the shop of each STORE once, and say whether it grants access.

    If it does, a suspended store is resumed: a running controller scans it in full. Exit code 1 if one does not.
    """
    from reconciler.cli.commands.stores.probe import probe

    return probe(context, **options)
