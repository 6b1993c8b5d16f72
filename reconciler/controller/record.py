"""Results without a write: what the mapping of a user says after an observation, a failed action or a guard.

After a write, `execute` records the row itself, with the events.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from reconciler.controller.context import StoreContext
from reconciler.controller.readers import Readers
from reconciler.controller.step import Outcome, Step
from reconciler.core.decide.leaving.absence import is_absent, uncounted_absence
from reconciler.core.decide.record import new_row, row_after_observation, with_failure
from reconciler.core.decide.written import found_consents
from reconciler.core.fields.desired import config_digest, profile_digest
from reconciler.core.model.event import Event
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.mapping import NO_FINGERPRINTS, Mapping
from reconciler.core.model.profile import Profile
from reconciler.core.model.store import Store
from reconciler.core.model.view import Subject
from reconciler.errors import AccessError
from reconciler.ports import MappingWriter


def record_decision(step: Step, context: StoreContext) -> None:
    """Record what was observed of this user and led to no write, by the claim that the context works under."""
    row = row_after_observation(step.subject, step.decision, context.store, now=context.clock.now())
    if row is not None and step.decision.successor is not None:  # who may have adopted the customer meanwhile
        context.state.put_unchanged([(step.subject.read, row)])
    elif row is not None:
        context.state.put(row, *events_found(step.subject, context.store, context.clock.now()))


def events_found(subject: Subject, store: Store, now: datetime) -> tuple[Event, ...]:
    """The event of consents that were written and are found now: the process died, or lost its claim, before the record.

    They are proofs. Other writes without a record have no event, and the row knows them as ours.
    """
    changes, mapping = found_consents(subject), subject.mapping
    if not changes or mapping is None:
        return ()
    return (
        Event(
            at=now,
            store=store.name,
            shop=store.shop,
            clerk_user_id=subject.user,
            customer_id=mapping.customer_id,
            kind="update",
            changes=changes,
            message="written before; its record was lost",
        ),
    )


def record_decisions(
    steps: Iterable[Step], store: Store, state: MappingWriter, now: datetime
) -> tuple[ClerkUserId, ...]:
    """The same without a claim: a row that was written meanwhile stays. Returns who lost a customer."""
    decided: list[tuple[Mapping | None, Mapping]] = []
    events: list[Event] = []
    for step in steps:
        row = row_after_observation(step.subject, step.decision, store, now=now)
        if row is not None:
            decided.append((step.subject.read, row))
            events += events_found(step.subject, store, now)
    return state.put_unchanged(decided, *events)


def record_failures(failed: Sequence[Outcome], context: StoreContext) -> None:
    """Mark these users as pending, with what stopped each: their rows may say in sync, as they were before the plan."""
    failed = [outcome for outcome in failed if not outcome.is_recorded]
    users = [outcome.action.clerk_user_id for outcome in failed]
    known = context.readers.mappings.get(context.store.shop, users)
    rows: list[tuple[Mapping | None, Mapping]] = []
    for outcome in failed:
        user = outcome.action.clerk_user_id
        reason = "Outdated" if outcome.result == "refused" else "Failed"
        reason = "StoreSuspended" if isinstance(outcome.error, AccessError) else reason
        now = context.clock.now()
        row = with_failure(known.get(user), user, context.store, reason=reason, message=outcome.message, now=now)
        if row is not None:
            rows.append((known.get(user), row))
    context.state.put_unchanged(rows)


def record_withheld(
    users: Sequence[ClerkUserId], message: str, store: Store, readers: Readers, state: MappingWriter, now: datetime
) -> None:
    """Record in each row that a guard holds its user; the plan shows the same, and `apply --approve` approves it.

    The row counts as observed: the next incremental resync does not queue these users one by one.
    """
    known = readers.mappings.get(store.shop, users)
    profiles = readers.profiles.get(users)
    rows = []
    for user in users:
        row = known.get(user) or new_row(user, store, now=now)
        held = replace(
            _as_seen(row, profiles.get(user), store, now),
            status="held",
            reason="GuardExceeded",
            message=message,
            last_seen_at=now,
            config_digest=config_digest(store),
            **NO_FINGERPRINTS,
        )
        rows.append((known.get(user), held))
    state.put_unchanged(rows)


def _as_seen(row: Mapping, profile: Profile | None, store: Store, now: datetime) -> Mapping:
    """The row with a profile that was observed, or was absent with too many others to count as a sighting."""
    if profile is not None:
        row = replace(row, profile_digest=profile_digest(profile))
    is_seen = profile is not None and not is_absent(profile, row, store)
    return row if is_seen else replace(row, absent_since=uncounted_absence(now))
