"""`reconciler mappings`: lists, imports and forgets mappings."""

from __future__ import annotations

from collections.abc import Iterator

import click

from reconciler.cli.context import Context
from reconciler.cli.render import outputs as render
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.mapping import Mapping
from reconciler.errors import UsageError
from reconciler.manager.http.held_rows import with_refused_users
from reconciler.manager.http.status_rows import known_rows, with_present_names
from reconciler.settings import StoreSettings
from reconciler.wiring import Components
from reconciler.wiring.people import find_users

FAILED = 1


def list_mappings(
    context: Context,
    *,
    stores: tuple[str, ...],
    output: str,
) -> None:
    with context.components() as components:
        chosen = sorted(components.stores(stores), key=lambda s: s.name)
        refused = tuple(components.profile_writes.refusals().values())
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
    scanned = (row for chunk in components.state.mappings.scan(store.shop) for row in chunk)
    return known_rows(components, scanned, [store])


def forget_mapping(
    context: Context,
    *,
    user: str,
    stores: tuple[str, ...],
    yes: bool,
) -> int:
    with context.components() as components:
        found = find_users(components, user)
        if len(found) > 1:
            raise UsageError(f"{user} is not one user: {', '.join(found)}", hint="use one of these Clerk ids")
        name = found[0] if found else ClerkUserId(user)
        chosen = [s for s in components.stores(stores) if components.state.mappings.get(s.shop, [name])]
        if not chosen:
            raise UsageError(f"{name} has no mapping", hint="reconciler mappings list")
        names = ", ".join(s.name for s in chosen)
        if not yes and not context.confirm(f"Forget {name} in {names}?", waiting=f"{name} is mapped in {names}"):
            return FAILED
        components.acts(context.actor).forget(chosen, name)
    context.say(f"forgotten: {name} in {names}")
    return 0
