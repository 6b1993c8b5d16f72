"""`reconciler mappings`: lists, imports and forgets mappings."""

from __future__ import annotations

from collections.abc import Iterator

import click

from reconciler.cli.commands.users.mappings_import import command as import_command
from reconciler.cli.context import Context
from reconciler.cli.render import outputs as render
from reconciler.cli.users import user_id
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.mapping import Mapping
from reconciler.errors import UsageError
from reconciler.manager.http.held_rows import with_refused_users
from reconciler.manager.http.status_rows import known_rows, with_present_names
from reconciler.settings import StoreSettings
from reconciler.wiring import Components

FAILED = 1


@click.group("mappings")
def command() -> None:
    """List, import or forget the mappings of users to customers."""


command.add_command(import_command)


@command.command("list")
@click.option("--store", "stores", multiple=True, metavar="N", help="Only this store; repeatable.")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_obj
def list_(context: Context, stores: tuple[str, ...], output: str) -> None:
    """List all mappings by store and user."""
    with context.components() as components:
        chosen = sorted(components.stores(stores), key=lambda s: s.name)
        refused = tuple(components.profile_writes.refused().values())
        kept = (
            row for store in chosen for row in with_refused_users(_known_mappings(components, store), store, refused)
        )
        rows = with_present_names(kept, chosen)
        if output == "json":
            for part in render.mappings_json(rows):
                click.echo(part, nl=False)
        else:
            render.print_mappings(rows, context.out)


def _known_mappings(components: Components, store: StoreSettings) -> Iterator[Mapping]:
    scanned = (row for chunk in components.state.scan(store.shop) for row in chunk)
    return known_rows(components, scanned, [store])


@command.command("forget")
@click.argument("user", type=user_id)
@click.option("--store", "stores", multiple=True, metavar="N", help="Only this store; repeatable.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.pass_obj
def forget(context: Context, user: str, stores: tuple[str, ...], yes: bool) -> int:  # noqa: FBT001  click's call
    """Delete USER's mapping from the state: the next reconcile starts from the back-link. Lifts `Erased`."""
    name = ClerkUserId(user)
    with context.components() as components:
        chosen = [s for s in components.stores(stores) if components.state.get(s.shop, [name])]
        if not chosen:
            raise UsageError(f"{user} has no mapping", hint="reconciler mappings list")
        names = ", ".join(s.name for s in chosen)
        if not yes and not context.confirm(f"Forget {user} in {names}?", waiting=f"{user} is mapped in {names}"):
            return FAILED
        for store in chosen:
            components.state.forget(store.shop, name)
    context.say(f"forgotten: {user} in {names}")
    return 0
