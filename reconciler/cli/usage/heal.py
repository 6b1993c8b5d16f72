"""Usage of `reconciler heal`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.complete import complete_user
from reconciler.cli.usage.parameters import store_option, user_id

if TYPE_CHECKING:
    from reconciler.cli.context import Context


@click.command("heal")
@click.argument("user", type=user_id, shell_complete=complete_user)
@store_option
@click.pass_obj
def command(context: Context, /, **options: Any) -> None:
    """End what `accept` accepted of USER's drift: a running controller heals it now, otherwise the next `apply`."""
    from reconciler.cli.commands.users.accept import heal

    heal(context, **options)
