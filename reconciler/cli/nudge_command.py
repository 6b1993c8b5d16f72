"""`reconciler nudge USER…`: puts requests in the queue; a running controller takes them."""

from __future__ import annotations

import click

from reconciler.cli.context import Context
from reconciler.cli.plain import counted
from reconciler.cli.users import user_id
from reconciler.core.ids import ClerkUserId
from reconciler.core.request import Priority, Request
from reconciler.errors import SourceError


@click.command("nudge")
@click.argument("users", type=user_id, nargs=-1, required=True)
@click.option("--store", "stores", multiple=True, metavar="N", help="Only in this store; may be repeated.")
@click.pass_obj
def command(context: Context, users: tuple[str, ...], stores: tuple[str, ...]) -> None:
    """Ask for a look at each USER now. Returns at once; a running controller does it."""
    with context.house() as house:
        chosen = house.stores(stores)
        requests = [Request(store.name, ClerkUserId(user)) for store in chosen for user in dict.fromkeys(users)]
        house.queue.add(requests, house.clock.now(), priority=Priority.NUDGE, reason="nudge", explicit=True)
        context.say(f"asked for {counted(len(requests), 'look')}: a running controller takes them")
        try:
            context.warn_of_strangers(house, users)
        except SourceError:
            return  # who is known can't be said now, and the looks are asked for
