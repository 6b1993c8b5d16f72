"""`reconciler pause STORE…`: pauses stores in the state, for every process that shares it."""

from __future__ import annotations

from reconciler.cli.context import Context


def pause(context: Context, *, stores: tuple[str, ...]) -> None:
    with context.components() as components:
        acts = components.acts(context.actor)
        for store in components.stores(stores):
            if acts.pause(store):
                context.say(f"{store.name} is paused; to end it: reconciler resume {store.name}")
            elif store.pause is not None:
                context.say(f"{store.name} is already {store.pause_words}")
