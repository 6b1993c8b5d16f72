"""`reconciler accept USER`: leaves drift of a user alone until a day; `reconciler heal USER` ends that."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime

from reconciler.cli.context import Context
from reconciler.cli.render.plain import clean, time_text
from reconciler.cli.users import resolve_users
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.store import check_fields, end_of_day
from reconciler.core.report.explain import ExplainedStore
from reconciler.errors import PermanentError, UsageError
from reconciler.settings import StoreSettings
from reconciler.wiring import Components
from reconciler.wiring.explanations import explain_user

FAILED = 1


def accept(
    context: Context, *, user: str, until: str, stores: tuple[str, ...], fields: tuple[str, ...], yes: bool
) -> int:
    with context.components() as components:
        end = _end_of(until, components.clock.now())
        name = resolve_users(components, [user])[0]
        chosen = _chosen(components, name, stores, _checked(fields))
        for store, theirs in chosen:
            context.say(f"{store.name}: {', '.join(map(clean, theirs))} of {name} until {time_text(end)}")
        waiting = f"the drift of {name} is to be accepted"
        if not yes and not context.confirm("Accept this drift?", waiting=waiting):
            return FAILED
        acts = components.acts(context.actor)
        for store, theirs in chosen:
            if not acts.accept(store, name, theirs, until=end.astimezone(UTC)):
                raise PermanentError(f"{name} has no mapping in {store.name}", hint="reconciler mappings list")
    context.say(f"accepted; to end it earlier: reconciler heal {name}")
    return 0


def heal(context: Context, *, user: str, stores: tuple[str, ...]) -> None:
    with context.components() as components:
        name = resolve_users(components, [user])[0]
        acts = components.acts(context.actor)
        ended = [store.name for store in components.stores(stores) if acts.heal(store, name)]
    if not ended:
        raise PermanentError(f"no drift of {name} is accepted there", hint=f"reconciler explain {name}")
    context.say(f"no longer accepted in {', '.join(ended)}: a running controller heals it, or `reconciler apply`")


def _end_of(text: str, now: datetime) -> datetime:
    """The end that `text` names: a day, which lasts until its end (UTC), or a moment. UsageError unless it is to come."""
    try:
        moment = end_of_day(date.fromisoformat(text.strip()))
    except ValueError:
        try:
            moment = datetime.fromisoformat(text.strip())
            moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        except (ValueError, OverflowError) as error:
            raise UsageError(f"'{text}' is not a day", hint="write 2027-03-31, or 2027-03-31T12:00Z") from error
    if moment <= now:
        raise UsageError(f"'{text}' is over", hint="write a later day")
    return moment


def _checked(fields: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return check_fields(fields)
    except ValueError as error:
        raise UsageError(str(error), hint="reconciler explain USER shows the fields") from error


def _chosen(
    components: Components, user: ClerkUserId, names: Sequence[str], fields: tuple[str, ...]
) -> list[tuple[StoreSettings, tuple[str, ...]]]:
    """The stores and fields to accept: those that were named, or what drifts now. PermanentError without any."""
    if fields:
        stores = components.stores(names)
        chosen = [(store, fields) for store in stores if components.state.mappings.get(store.shop, [user])]
        if not chosen:
            raise PermanentError(f"{user} has no mapping there", hint="reconciler mappings list")
        return chosen
    stores = components.identify_stores(names)
    found = {each.store: each for each in explain_user(components, user, stores).stores}
    unread = [each for each in found.values() if each.error is not None]
    if unread:
        raise PermanentError(f"{unread[0].store}: {unread[0].error}", hint=unread[0].error_hint)
    chosen = [(store, theirs) for store in stores if (theirs := _drifted(found[store.name]))]
    if not chosen:
        raise PermanentError(f"nothing of {user} drifts", hint="reconciler drift, or name a field with --field")
    return chosen


def _drifted(found: ExplainedStore) -> tuple[str, ...]:
    """The fields that were edited in Shopify, also those that are accepted already."""
    return (*(field.field for field in found.fields if field.why == "drift"), *found.accepted)
