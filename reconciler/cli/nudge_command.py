"""`reconciler nudge USER…`: puts requests in the queue; a running controller takes them."""

from __future__ import annotations

import click

from reconciler.cli.context import Context
from reconciler.cli.plain import counted
from reconciler.core.ids import ClerkUserId
from reconciler.core.request import Priority, Request


@click.command("nudge")
@click.argument("users", nargs=-1, required=True)
@click.option("--store", "stores", multiple=True, metavar="N", help="Only in this store; may be repeated.")
@click.pass_obj
def command(context: Context, users: tuple[str, ...], stores: tuple[str, ...]) -> None:
    """Ask for a look at each USER now. Returns at once; a running controller does it."""
    with context.house() as house:
        chosen = house.stores(stores)
        requests = [Request(store.name, ClerkUserId(user)) for store in chosen for user in dict.fromkeys(users)]
        house.queue.add(requests, house.clock.now(), priority=Priority.NUDGE, reason="nudge", explicit=True)
    context.say(f"asked for {counted(len(requests), 'look')}: a running controller takes them")
