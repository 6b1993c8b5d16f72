"""Usage of `reconciler explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.complete import complete_user
from reconciler.cli.usage.parameters import output_option, store_option, user_id

if TYPE_CHECKING:
    from reconciler.cli.context import Context


@click.command("explain")
@click.argument("user", type=user_id, shell_complete=complete_user)
@store_option
@output_option
@click.option("--all", "show_all", is_flag=True, help="Show every field of stores that need nothing, too.")
@click.pass_obj
def command(context: Context, /, **options: Any) -> int:
    """Explain a user's sync state in each shop. Reads only.

    USER is a Clerk id, an email, a name or a part of it, a phone, or a customer (number, gid or admin URL). It may be an
    email or a customer that the user had before, by what we wrote in the last 180 days.
    """
    from reconciler.cli.commands.users.explain import explain

    return explain(context, **options)
