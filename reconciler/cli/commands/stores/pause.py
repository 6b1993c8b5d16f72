"""`reconciler pause STORE…`: pauses stores in the state, for every process that shares it."""

from __future__ import annotations

import click

from reconciler.cli.context import Context


@click.command("pause")
@click.argument("stores", nargs=-1, required=True)
@click.pass_obj
def command(context: Context, stores: tuple[str, ...]) -> None:
    """Pause each STORE: `run`, `plan` and `apply` observe it and decide, and hold every action as StorePaused.

    The pause is kept in the state, beside `paused` in stores.yaml, with who set it. A running controller follows within
    seconds; an action that it executes at that moment is finished.
    """
    with context.components() as components:
        acts = components.acts(context.actor)
        for store in components.stores(stores):
            if acts.pause(store):
                context.say(f"{store.name} is paused; to end it: reconciler resume {store.name}")
            elif store.pause is not None:
                context.say(f"{store.name} is already {store.pause_words}")
