"""`reconciler resume STORE…`: ends pauses in the state."""

from __future__ import annotations

from reconciler.cli.context import Context
from reconciler.errors import PermanentError


def resume(context: Context, *, stores: tuple[str, ...]) -> None:
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
