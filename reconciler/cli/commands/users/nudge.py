"""`reconciler nudge USER…`: enqueues requests for a running controller."""

from __future__ import annotations

from reconciler.cli.context import Context
from reconciler.cli.render.plain import count_text
from reconciler.cli.users import resolve_users
from reconciler.core.model.ids import ClerkUserId
from reconciler.errors import SourceError


def nudge(
    context: Context,
    *,
    users: tuple[str, ...],
    stores: tuple[str, ...],
) -> None:
    with context.components() as components:
        chosen = components.stores(stores)
        try:
            named = resolve_users(components, users)
        except SourceError as error:  # the ids can't be verified now; a request for an unknown id does nothing
            context.warn(f"the profiles can't be read, so these ids are used without a check: {error.message}")
            named = [ClerkUserId(user) for user in dict.fromkeys(users)]
        count = components.acts(context.actor).nudge(chosen, named)
        context.say(f"enqueued {count_text(count, 'request')}: a running controller reconciles them")
