"""The drift report: changes made in Shopify since the last sync, separate from changes of ours that are not written yet.

It ignores the switches and the pause, which hold a change but do not alter its origin.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from operator import not_
from typing import Annotated, Literal

from pydantic import Field

from reconciler.core.model.action import AcceptedDrift, Change, Hold, Kind
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId, CustomerId, ShopDomain, StoreName
from reconciler.core.model.store import Store
from reconciler.core.model.view import Decision, Subject

How = Literal["edited", "deleted", "merged", "moved"]


@frozen(kw_only=True)
class Finding:
    """One user that differs in one store.

    `how` is set for drift only: the customer was edited, deleted or merged in Shopify, or the back-link was moved to
    another customer.
    """

    clerk_user_id: ClerkUserId
    customer_id: CustomerId | None
    kind: Kind | None = None
    how: How | None = None
    changes: tuple[Change, ...] = ()


@frozen(kw_only=True)
class NotRead:
    """A field of one user that could not be read, in Shopify or in the profile, so that its drift is unknown."""

    clerk_user_id: ClerkUserId
    customer_id: CustomerId | None
    field: str | None
    reason: str
    message: str


@frozen(kw_only=True)
class StoreDrift:
    """One store's part; with `error` set the rest is empty. `accepted` is drift that is accepted for now, a field each.

    `not_read`: fields that could not be compared, for which "no drift" would be wrong. `wave_error`: why `intent` lacks what
    the store's wave of a rollout will write.
    """

    store: StoreName
    shop: ShopDomain
    error: str | None = None
    error_hint: str = ""
    drift: tuple[Finding, ...] = ()
    intent: tuple[Finding, ...] = ()
    accepted: tuple[AcceptedDrift, ...] = ()
    not_read: tuple[NotRead, ...] = ()
    wave_error: Annotated[str, Field(exclude_if=not_)] = ""
    wave_hint: Annotated[str, Field(exclude_if=not_)] = ""


@frozen(kw_only=True)
class Drift:
    """The drift of all stores."""

    version: Literal[1] = 1
    at: datetime
    stores: tuple[StoreDrift, ...]


def without_switches(store: Store) -> Store:
    """The policy with both switches on auto and without a pause. It waits for no wave where no earlier one is in force."""
    free = store.changed(heal_drift="auto", roll_out="auto", paused=False)
    waits_whole = store.held_back is not None and store.held_back.target is None
    return free.held_back_by(None) if waits_whole else free


def drift_of(store: Store, looked_at: Iterable[tuple[Subject, Decision]]) -> StoreDrift:
    """The drift and the intent (our unwritten changes) of one store; one user may have both. Holds are neither."""
    drift: list[Finding] = []
    intent: list[Finding] = []
    accepted: list[AcceptedDrift] = []
    not_read: list[NotRead] = []
    for subject, decision in sorted(looked_at, key=lambda pair: pair[0].user):
        user = subject.user
        not_read += _not_read(subject, decision)
        linked = _linked_elsewhere(subject, decision)
        if linked is not None:
            drift.append(linked)
        accepted += decision.accepted
        edited = tuple(c for h in decision.holds if h.reason == "Contested" and h.action for c in h.action.changes)
        action = decision.action
        if action is None:
            if edited:
                customer = decision.customer.id if decision.customer else None
                drift.append(Finding(clerk_user_id=user, customer_id=customer, how="edited", changes=edited))
            continue
        edited += tuple(c for c in action.changes if c.why == "drift")
        other = tuple(c for c in action.changes if c.why != "drift")
        if edited:
            how: How = "deleted" if action.kind == "create" else "edited"
            drift.append(
                Finding(clerk_user_id=user, customer_id=action.customer_id, kind=action.kind, how=how, changes=edited)
            )
        if other or not edited:
            intent.append(Finding(clerk_user_id=user, customer_id=action.customer_id, kind=action.kind, changes=other))
    return StoreDrift(
        store=store.name,
        shop=store.domain,
        drift=tuple(drift),
        intent=tuple(intent),
        accepted=tuple(accepted),
        not_read=tuple(not_read),
    )


def with_held_back(found: StoreDrift, holds: Iterable[Hold]) -> StoreDrift:
    """The report on a store that keeps an earlier policy, with the intent of the one that waits for its wave."""
    intent = {finding.clerk_user_id: finding for finding in found.intent}
    for held in holds:
        action = held.action
        if action is None:
            continue
        known = intent.get(action.clerk_user_id)
        if known is not None and known.kind == action.kind:
            intent[action.clerk_user_id] = replace(known, changes=(*known.changes, *action.changes))
        else:
            intent[action.clerk_user_id] = Finding(
                clerk_user_id=action.clerk_user_id,
                customer_id=action.customer_id,
                kind=action.kind,
                changes=action.changes,
            )
    return replace(found, intent=tuple(intent[user] for user in sorted(intent)))


def _not_read(subject: Subject, decision: Decision) -> list[NotRead]:
    """The fields that the shop did not return, and the columns that could not be read."""
    problems = {p.field for p in subject.profile.problems} if subject.profile is not None else set()
    return [
        NotRead(
            clerk_user_id=held.clerk_user_id,
            customer_id=held.customer_id,
            field=held.field,
            reason=held.reason,
            message=held.message,
        )
        for held in decision.holds
        if held.reason == "Unreadable" or (held.reason == "ProfileInvalid" and held.field in {None, *problems})
    ]


def _linked_elsewhere(subject: Subject, decision: Decision) -> Finding | None:
    """The finding of a back-link on another customer: "moved" if the mapped one still exists, else "merged"."""
    before = subject.mapping.customer_id if subject.mapping else None
    now = decision.customer.id if decision.customer else None
    live = subject.mapping is not None and subject.mapping.status not in {"released", "erased"}
    if before is None or now is None or before == now or not live or decision.customer is None:
        return None
    if decision.customer.backlink != subject.user:
        return None
    return Finding(clerk_user_id=subject.user, customer_id=now, how="moved" if decision.mapped_stays else "merged")
