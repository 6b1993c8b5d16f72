"""`reconciler resume STORE…`: ends pauses in the state."""

from __future__ import annotations

import click

from reconciler.cli.context import Context
from reconciler.errors import PermanentError


@click.command("resume")
@click.argument("stores", nargs=-1, required=True)
@click.pass_obj
def command(context: Context, stores: tuple[str, ...]) -> None:
    """End the pause of each STORE that `reconciler pause` or the console set. A running controller then does what was held.

    A store with `paused: true` in stores.yaml stays paused: this is reported, with exit code 1.
    """
    with context.components() as components:
        acts = components.acts(context.actor)
        chosen = components.stores(stores)
        for store in chosen:
            context.say(
                f"{store.name}: its pause has ended" if acts.resume(store) else f"{store.name} has no pause to end"
            )
        in_file = [store.name for store in components.configured_stores(stores) if store.paused]
    if in_file:
        raise PermanentError(
            f"still paused in stores.yaml: {', '.join(in_file)}", hint="remove paused: true from stores.yaml"
        )
