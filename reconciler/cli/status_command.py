"""`reconciler status`: what the state knows of each store."""

from __future__ import annotations

import click

from reconciler.cli import render
from reconciler.cli.context import Context
from reconciler.core.status import StatusRow, status_row
from reconciler.settings import StoreSettings
from reconciler.wiring import House


@click.command("status")
@click.option("--store", "stores", multiple=True, metavar="N", help="Only this store; may be repeated.")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_obj
def command(context: Context, stores: tuple[str, ...], output: str) -> None:
    """Parity per store, who is held and why, when it was last looked at. Asks no shop."""
    with context.house() as house:
        rows = rows_of(house, house.stores(stores))
        now = house.clock.now()
    if output == "json":
        click.echo(render.status_json(rows, now))
    else:
        render.status_text(rows, context.out)


def rows_of(house: House, stores: tuple[StoreSettings, ...]) -> tuple[StatusRow, ...]:
    """One row a store, from the state alone."""
    found = []
    for store in stores:
        facts = house.state.facts(store.shop)
        row = status_row(
            store.name,
            store.shop,
            house.state.tally(store.shop),
            profiles=facts.profiles if facts else None,
            mapped=house.state.count(store.shop),
            last_sweep_at=facts.last_sweep_at if facts else None,
            suspended=facts.suspended_reason if facts else None,
        )
        found.append(row)
    return tuple(found)
