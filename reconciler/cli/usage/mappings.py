"""Usage of `reconciler mappings`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.complete import complete_user
from reconciler.cli.usage.parameters import output_option, store_option, user_id

if TYPE_CHECKING:
    from reconciler.cli.context import Context


@click.group("mappings")
def command() -> None:
    """List, import or forget the mappings of users to customers."""


@command.command("import")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option("--approve", metavar="DIGEST", help="Apply also what the guards withhold in the plan with this digest.")
@output_option
@click.pass_obj
def import_(context: Context, /, **options: Any) -> int:
    """Adopt customers by a table of pairs: clerk_user_id, store or shop, and shopify_customer_id, as CSV or JSON.

    Plans the adoptions, shows them, asks and applies, with the same guards as `apply`. Holds a pair if the customer belongs
    to another or an erased user, or the user has another customer.
    """
    from reconciler.cli.commands.users.mappings_import import import_mappings

    return import_mappings(context, **options)


@command.command("list")
@store_option
@output_option
@click.pass_obj
def list_(context: Context, /, **options: Any) -> None:
    """List all mappings by store and user."""
    from reconciler.cli.commands.users.mappings import list_mappings

    list_mappings(context, **options)


@command.command("forget")
@click.argument("user", type=user_id, shell_complete=complete_user)
@store_option
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.pass_obj
def forget(context: Context, /, **options: Any) -> int:
    """Delete USER's mapping from the state: the next reconcile starts from the back-link. Lifts `Erased`.

    USER is a Clerk id, an email, a name, a phone or a customer.
    """
    from reconciler.cli.commands.users.mappings import forget_mapping

    return forget_mapping(context, **options)
