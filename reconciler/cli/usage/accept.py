"""Usage of `reconciler accept`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.complete import complete_user
from reconciler.cli.usage.parameters import store_option, user_id

if TYPE_CHECKING:
    from reconciler.cli.context import Context


@click.command("accept")
@click.argument("user", type=user_id, shell_complete=complete_user)
@click.option("--until", required=True, metavar="DAY", help="The last day, 2027-03-31, or a moment, 2027-03-31T12:00Z.")
@store_option
@click.option(
    "--field", "fields", multiple=True, metavar="NAME", help="This field, whether it drifts or not; repeatable."
)
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.pass_obj
def command(context: Context, /, **options: Any) -> int:
    """Accept USER's drift until DAY: what was edited in Shopify stays, and is healed afterwards.

    Without --field, the shops are read, and the fields that drift now are accepted. The state keeps who accepted what. An
    earlier acceptance of the user in the same store is replaced. `heal` ends it early.
    """
    from reconciler.cli.commands.users.accept import accept

    return accept(context, **options)
