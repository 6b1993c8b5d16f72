"""Usage of `reconciler explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.usage.parameters import user_id

if TYPE_CHECKING:
    from reconciler.cli.context import Context


@click.command("explain")
@click.argument("user", type=user_id)
@click.option("--store", "stores", multiple=True, metavar="N", help="Only this store; repeatable.")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_obj
def command(context: Context, /, **options: Any) -> int:
    """Explain a user's sync state in each shop. Reads only.

    USER is a Clerk id, an email or a customer (number, gid or admin URL).
    """
    from reconciler.cli.commands.users.explain import explain

    return explain(context, **options)
