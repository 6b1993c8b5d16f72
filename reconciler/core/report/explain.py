"""Explain a user's sync state in a store: wanted and observed values, owners of fields, and the next action."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from operator import not_
from typing import Annotated, Literal

from pydantic import Field

from reconciler.core.decide.actions import withhold
from reconciler.core.fields.desired import is_wanted, unmatched_paths
from reconciler.core.fields.diff import agreement_on, is_in_place, observed_value, owned_tags
from reconciler.core.model.action import AcceptedDrift, Action, Hold, WhoActs
from reconciler.core.model.customer import Customer
from reconciler.core.model.event import Event
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId, ShopDomain, StoreName
from reconciler.core.model.mapping import text_in
from reconciler.core.model.profile import Profile
from reconciler.core.model.scalars import SCALARS
from reconciler.core.model.spec import Spec
from reconciler.core.model.store import Store
from reconciler.core.model.values import Value
from reconciler.core.model.view import Decision, Subject
from reconciler.core.report.answer import Former, Found, Unmatched, answer_of, name_of, summary_sentence
from reconciler.core.report.consent import ExplainedConsent, explain_consents

Owner = Literal["reconciler", "shopify", "first value"]
OWNERS: Mapping[str, Owner] = {
    "enforce": "reconciler",
    "fill": "first value",
    "create_only": "shopify",
    "ignore": "shopify",
}


@frozen(kw_only=True)
class ExplainedField:
    """One field: its wanted, observed (if `shown` by Shopify) and last-applied values, and its owner."""

    field: str
    policy: str
    owner: Owner
    wanted: Value = None
    observed: Value = None
    shown: bool = True
    last_applied: Value = None
    equal: bool = True
    why: str | None = None
    last_written_at: datetime | None = None


@frozen(kw_only=True)
class Next:
    """What the next reconcile would do, as text and as action; `who_acts` on holds."""

    does: str
    action: Action | None = None
    holds: tuple[Hold, ...] = ()
    who_acts: WhoActs | None = None


@frozen(kw_only=True)
class ExplainedStore:
    """One store's part; with `error` set the shop could not be observed.

    `answer` says in a sentence or two why the user is as they are there. `where`: the lines of the store's `where` that
    do not match. `accepted`: the fields of `acceptances`. `next_try_at`: when the queued request of the user is due, None
    without one. `wave_error`: why `next` lacks what the store's wave of a rollout will write.
    """

    store: StoreName
    shop: ShopDomain
    answer: str = ""
    error: str | None = None
    error_hint: str = ""
    status: str
    reason: str | None = None
    customer_id: str | None = None
    wanted: Mapping[str, Value] | None = None
    observed: Mapping[str, Value] | None = None
    fields: tuple[ExplainedField, ...] = ()
    next: Next | None = None
    events: tuple[Event, ...] = ()
    last_write_at: datetime | None = None
    acceptances: tuple[AcceptedDrift, ...] = ()
    accepted: tuple[str, ...] = ()
    where: tuple[Unmatched, ...] = ()
    next_try_at: datetime | None = None
    consent: Annotated[tuple[ExplainedConsent, ...], Field(exclude_if=not_)] = ()
    wave_error: Annotated[str, Field(exclude_if=not_)] = ""
    wave_hint: Annotated[str, Field(exclude_if=not_)] = ""

    @property
    def agrees(self) -> bool:
        """Whether nothing is to be done, held or unknown: the user is in sync, or the store does not want them."""
        waits = self.next is not None and (self.next.action is not None or bool(self.next.holds))
        return self.error is None and not self.wave_error and not waits and self.status in {"in_sync", "unwanted"}


@frozen(kw_only=True)
class Explained:
    """The explanation of one user in all stores. `name`: what to call them, where that is known.

    `former`: what they were found by, where they no longer have it.
    """

    clerk_user_id: ClerkUserId
    name: str | None = None
    stores: tuple[ExplainedStore, ...]
    former: tuple[Former, ...] = ()

    @property
    def answer(self) -> str:
        """The answer for all stores."""
        return summary_sentence(
            self.name or self.clerk_user_id, [(store.status, store.answer) for store in self.stores]
        )


@frozen(kw_only=True)
class Recorded:
    """What the state knows of one user in one store, beside the mapping.

    `events`: the writes there, oldest first. `refused`: the hold of the profile row that Clerk's values can't be written
    to. `suspended`: why the shop refuses access. `next_try_at`: when the queued request is due. `proofs`: the events that
    wrote consents, however old. `runs`: whether a controller runs.
    """

    events: tuple[Event, ...] = ()
    proofs: tuple[Event, ...] = ()
    refused: Hold | None = None
    suspended: str | None = None
    next_try_at: datetime | None = None
    runs: bool = True


def explain_store(
    store: Store, subject: Subject, decision: Decision, known: Recorded, *, now: datetime
) -> ExplainedStore:
    """The explanation of one user in one store."""
    decision = _withhold_refused(subject, decision, suspended=known.suspended)
    written, refused = known.events, known.refused
    customer = decision.customer
    status, reason = _status(subject, decision)
    if refused is not None and status not in {"released", "erased"}:
        status, reason = "held", refused.reason
    following = _next(decision, refused)
    where = _unmatched(subject.profile, store)
    mapping = subject.mapping
    found = Found(
        name=name_of(subject.user, subject.profile, mapping),
        user=subject.user,
        store=store.name,
        status=status,
        customer=customer.id if customer else None,
        action=decision.action,
        holds=following.holds,
        left=_why_left(subject, store, where),
        left_at=mapping.left_at if mapping is not None else None,
        since=mapping.reason_since if mapping is not None else None,
        since_reason=mapping.reason if mapping is not None else None,
        failure=mapping.message if mapping is not None and mapping.reason in {"Failed", "Outdated"} else None,
        stopped=_why_stopped(store, known.suspended),
        last_write_at=written[-1].at if written else None,
        next_try_at=known.next_try_at,
        accepted=decision.accepted,
        runs=known.runs,
    )
    return ExplainedStore(
        store=store.name,
        shop=store.domain,
        answer=answer_of(found, now=now),
        status=status,
        reason=reason,
        customer_id=found.customer,
        wanted=_wanted(decision.spec),
        observed=_observed(customer),
        fields=_fields(store, subject, decision, written),
        next=following,
        events=written,
        last_write_at=found.last_write_at,
        acceptances=decision.accepted,
        accepted=tuple(each.field for each in decision.accepted),
        where=where,
        next_try_at=known.next_try_at,
        consent=explain_consents(store, decision, known.proofs),
    )


def _unmatched(profile: Profile | None, store: Store) -> tuple[Unmatched, ...]:
    if profile is None:
        return ()
    return tuple(
        Unmatched(path=path, wanted=_texts(store.where[path]), found=", ".join(_texts(profile.value_at(path))) or None)
        for path in unmatched_paths(profile, store)
    )


def _texts(value: object) -> tuple[str, ...]:
    """A value of `where` or of a profile as texts: booleans as YAML spells them, nothing for None."""
    if isinstance(value, list | tuple):
        return tuple(text for each in value for text in _texts(each) or ("null",))
    if isinstance(value, bool):
        return ("true" if value else "false",)
    return () if value is None else (str(value),)


def _why_left(subject: Subject, store: Store, where: tuple[Unmatched, ...]) -> str | None:
    """Why the store does not want the user, as a clause; None where it does, or where that is unknown."""
    profile = subject.profile
    if profile is None:
        return "there is no profile with this id" if subject.mapping is None else "the profile row is gone"
    if profile.deleted:
        at = f" since {profile.deleted_at:%Y-%m-%d %H:%M} UTC" if profile.deleted_at is not None else ""
        return f"the profile is marked as deleted{at}"
    if where:
        return "; ".join(line.words for line in where)
    return None if is_wanted(profile, store) is not False else "the store does not want the user"


def _why_stopped(store: Store, suspended: str | None) -> str | None:
    if suspended is not None:
        return f"the shop refuses access: {suspended.rstrip('.')}"
    return f"the store is {store.pause_words}" if store.paused else None


def _withhold_refused(subject: Subject, decision: Decision, *, suspended: str | None) -> Decision:
    """The decision, held where the shop refuses access, or a guard of the last scan withheld the user's action.

    A guard counts the actions of the whole store, so its result is read from the mapping.
    """
    row = subject.mapping
    if decision.action is None:
        return decision
    if suspended is not None:
        return withhold(decision, "StoreSuspended", suspended)
    if row is not None and row.status == "held" and row.reason == "GuardExceeded":
        return withhold(decision, "GuardExceeded", row.message or "a guard holds this")
    return decision


def _status(subject: Subject, decision: Decision) -> tuple[str, str | None]:
    reason = decision.holds[0].reason if decision.holds else None
    if decision.action is not None:
        return "pending", reason
    if decision.status is not None:
        return decision.status, reason
    return (subject.mapping.status, subject.mapping.reason) if subject.mapping else ("unwanted", None)


def _wanted(spec: Spec | None) -> dict[str, Value] | None:
    if spec is None:
        return None
    values: dict[str, Value] = {name: field.value for name, field in spec.fields.items()}
    return {**values, "tags": list(spec.tags)}


def _observed(customer: Customer | None) -> dict[str, Value] | None:
    if customer is None:
        return None
    values: dict[str, Value] = dict(zip(SCALARS, customer.scalars(), strict=True))
    values |= {f"metafields.{name}": value.value for name, value in customer.metafields.items()}
    return {**values, "tags": list(customer.tags), "backlink": customer.backlink}


def _fields(
    store: Store, subject: Subject, decision: Decision, events: tuple[Event, ...]
) -> tuple[ExplainedField, ...]:
    policies = {name: store.fields.of(name) for name in SCALARS}
    policies |= {f"metafields.{name}": rule.policy for name, rule in store.metafields.items()}
    written = {change.field: event.at for event in events for change in event.changes}
    # What a later wave would change is equal by the policy that the store has.
    waits = {"RollOutHeld"} if store.held_back is not None else ()
    actions = [*(h.action for h in decision.holds if h.reason not in waits), decision.action]
    why = {c.field: c.why for action in actions if action is not None for c in action.changes}
    found = [_field(name, policy, subject, decision, written, why) for name, policy in policies.items()]
    if store.tags or owned_tags(subject.mapping):
        ours = owned_tags(subject.mapping)
        found.append(
            ExplainedField(
                field="tags",
                policy="enforce",
                owner="reconciler",
                wanted=list(decision.spec.tags) if decision.spec is not None else None,
                observed=list(decision.customer.tags) if decision.customer else None,
                last_applied=list(ours),
                equal="tags" not in why and (decision.customer is not None or not store.tags),
                why=why.get("tags"),
                last_written_at=written.get("tags"),
            )
        )
    return tuple(found)


def _field(
    name: str,
    policy: str,
    subject: Subject,
    decision: Decision,
    written: Mapping[str, datetime],
    why: Mapping[str, str],
) -> ExplainedField:
    wanted = decision.spec.fields.get(name) if decision.spec else None
    observed = observed_value(decision.customer, name) if decision.customer else None
    base = subject.mapping.applied.get(name) if subject.mapping else None
    value = wanted.value if wanted else None
    shown = decision.customer is None or name not in decision.customer.unknown
    there = agreement_on(subject.mapping, decision.customer, name) if decision.customer else None
    differs = wanted is not None and not is_in_place(name, wanted, observed, there)
    return ExplainedField(
        field=name,
        policy=policy,
        owner=OWNERS[policy],
        wanted=value,
        observed=observed,
        last_applied=text_in(base),
        shown=shown,
        equal=shown and not differs,
        why=why.get(name),
        last_written_at=written.get(name),
    )


def _next(decision: Decision, refused: Hold | None) -> Next:
    holds = decision.holds if refused is None else (refused, *decision.holds)
    who = holds[0].who_acts if holds else None
    action = decision.action
    if action is not None:
        fields = ", ".join(c.field for c in action.changes) or "nothing but the mapping"
        return Next(does=f"{action.kind}: {fields}", action=action, holds=holds, who_acts=who)
    if holds:
        return Next(does="held: " + "; ".join(h.message for h in holds), holds=holds, who_acts=who)
    return Next(does="nothing: the user is in sync" if decision.status == "in_sync" else "nothing")
