"""`reconciler nudge USER…`: enqueues requests for a running controller."""

from __future__ import annotations

from reconciler.cli.context import Context
from reconciler.cli.render.plain import count_text
from reconciler.cli.users import resolve_users
from reconciler.core.model.ids import ClerkUserId
from reconciler.errors import SourceError, UsageError


def nudge(
    context: Context,
    *,
    users: tuple[str, ...],
    stores: tuple[str, ...],
    everyone: bool,
) -> None:
    if everyone == bool(users):
        raise UsageError("name users, or give --all", hint="reconciler nudge USER, or reconciler nudge --all --store N")
    if everyone:
        nudge_all(context, stores=stores)
        return
    with context.components() as components:
        chosen = components.stores(stores)
        try:
            named = resolve_users(components, users)
        except SourceError as error:  # the ids can't be verified now; a request for an unknown id does nothing
            context.warn(f"the profiles can't be read, so these ids are used without a check: {error.message}")
            named = [ClerkUserId(user) for user in dict.fromkeys(users)]
        count = components.acts(context.actor).nudge(chosen, named)
        context.say(f"enqueued {count_text(count, 'request')} for a running controller")


def nudge_all(context: Context, *, stores: tuple[str, ...]) -> None:
    if not stores:
        raise UsageError("--all needs the stores", hint="reconciler nudge --all --store N")
    with context.components() as components:
        acts = components.acts(context.actor)
        for store in components.stores(stores):
            acts.nudge_all(store)
            context.say(f"{store.name}: a running controller starts a full resync within seconds")
