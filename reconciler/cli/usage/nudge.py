"""Usage of `reconciler nudge`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.complete import complete_store, complete_user
from reconciler.cli.usage.parameters import user_id

if TYPE_CHECKING:
    from reconciler.cli.context import Context


@click.command("nudge")
@click.argument("users", type=user_id, nargs=-1, shell_complete=complete_user)
@click.option(
    "--store",
    "stores",
    multiple=True,
    metavar="N",
    help="Only in this store; repeatable.",
    shell_complete=complete_store,
)
@click.option("--all", "everyone", is_flag=True, help="All users of each --store, by a full resync.")
@click.pass_obj
def command(context: Context, /, **options: Any) -> None:
    """Enqueue a request for each USER ahead of schedule; a running controller reconciles them.

    USER is a Clerk id, an email, a name or a part of it, a phone, or a customer (number, gid or admin URL). Nothing is
    enqueued if one is unknown. With --all, a running controller starts a full resync of each store named.
    """
    from reconciler.cli.commands.users.nudge import nudge

    nudge(context, **options)
