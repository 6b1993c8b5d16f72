"""decide: from profile, mapping, view and policy to an action, holds, or nothing. Pure.

`plan`, `apply`, `run`, scans and nudges all call it, so `run` does what `plan` shows. docs/rules.md states the rules:
identity, creates and releases (1 to 3, 6) are here, the patch of a known customer (4, 5) is in `patch.py`.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from reconciler.core.decide.actions import (
    action_of,
    customer_digest,
    customer_name,
    withhold,
    withhold_drift,
    withhold_roll_out,
)
from reconciler.core.decide.assignment import assignment_hold
from reconciler.core.decide.case import Case
from reconciler.core.decide.consent import consent_changes, consent_holds, judge_consents
from reconciler.core.decide.cost import points_of
from reconciler.core.decide.leaving.absence import PLANNED, Absence, absence_hold, is_absent
from reconciler.core.decide.leaving.redacted import redacted_hold
from reconciler.core.decide.leaving.succession import is_free_for, is_left_behind, kept_hold, left_behind_hold
from reconciler.core.decide.leaving.tombstone import is_from_before
from reconciler.core.decide.patch import decide_patch, doubt_holds, phone_holds, rival_holds, taken_phone
from reconciler.core.decide.refused import Tries, tries_of, whole_refusal, without_refused
from reconciler.core.decide.stale_row import stale_row_hold
from reconciler.core.fields import normalise
from reconciler.core.fields.desired import deciding_problems, is_wanted, spec_of, used_digest
from reconciler.core.fields.diff import respelt_of
from reconciler.core.model.action import Action, Change, Hold, Why
from reconciler.core.model.customer import Customer
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.mapping import Mapping, Status
from reconciler.core.model.profile import Profile
from reconciler.core.model.reasons import hold
from reconciler.core.model.scalars import IDENTITIES
from reconciler.core.model.spec import Spec
from reconciler.core.model.store import DESTRUCTIVE, OnLeave, Store
from reconciler.core.model.view import Decision, Taken, View


def decide(
    user: ClerkUserId,
    profile: Profile | None,
    mapping: Mapping | None,
    view: View,
    store: Store,
    *,
    now: datetime,
    explicit: bool = False,
    insists: bool = False,
    spec: Spec | None = None,
    absence: Absence = PLANNED,
) -> Decision:
    """Apply the rules of docs/rules.md to one user in one store.

    `explicit`: an operator asked, so refused values are tried once more. `insists`: an operator applies to this very
    user, so contested fields are written again, and refused values tried each time. `spec`: the spec of this profile, if
    already computed. `absence`: when an absent row proves that the user has left.
    """
    wanted, tries = is_wanted(profile, store), tries_of(explicit=explicit, insists=insists)
    if (unassigned := assignment_hold(user, profile, mapping, view, store)) is not None:
        return Decision(clerk_user_id=user, holds=(unassigned,))
    if view.taken_for is not None:
        return unreadable_decision(
            user, mapping, f"it returns the customer of {view.taken_for}, as if both were one user"
        )
    if wanted is None:
        assert profile is not None
        message = f"whether this store wants the user is unknown: {'; '.join(deciding_problems(profile, store))}"
        held = hold(user, mapping, "ProfileInvalid", message)
        return Decision(clerk_user_id=user, holds=(held,), status="held", customer=view.mapped)
    if not insists and (stale := stale_row_hold(user, profile, mapping)) is not None:
        return Decision(clerk_user_id=user, holds=(stale,), status="held", customer=view.mapped)
    if is_absent(profile, mapping, store) and not absence.is_proven(user, mapping, now):
        held = absence_hold(user, profile, mapping, absence, now)
        return Decision(
            clerk_user_id=user,
            holds=(held,),
            status="pending",
            customer=view.mapped,
            absent_since=absence.first_seen(mapping, now) or now,
            successor=view.successor,
        )
    if not wanted or profile is None:
        leaving = _decide_leaving(user, profile, mapping, view, store, tries=tries)
        return _what_may_be_written(leaving, profile, mapping, view, store, tries=tries)
    if (gone := _decide_gone(user, profile, mapping, store)) is not None:
        return gone
    case = Case(user, profile, mapping, view, store, spec or spec_of(profile, store), now, insists)
    customer, taken_by = _find_customer(case)
    if (redacted := redacted_hold(user, mapping, customer)) is not None:
        return Decision(clerk_user_id=user, holds=(redacted,), status="held", customer=customer)
    decision = (
        _decide_without_customer(case, taken_by) if customer is None else _decide_patch(case, customer, tries=tries)
    )
    return _what_may_be_written(decision, profile, mapping, view, store, tries=tries)


def _decide_gone(user: ClerkUserId, profile: Profile, mapping: Mapping | None, store: Store) -> Decision | None:
    """The decision about an erased user, and about a row that is older than the user's release; None for others."""
    if mapping is not None and mapping.status == "erased":
        held = hold(user, mapping, "Erased", "personal data was erased on request; `mappings forget` ends this hold")
        return Decision(clerk_user_id=user, holds=(held,), status="erased")
    if is_from_before(mapping, profile, store):
        left = f"{mapping.left_at:%Y-%m-%d %H:%M:%S} UTC" if mapping is not None and mapping.left_at else "then"
        message = f"stale row: the user was released at {left}, and this older row differs from the row of that time"
        return Decision(clerk_user_id=user, holds=(hold(user, mapping, "Departed", message),), status="released")
    return None


def _what_may_be_written(
    decision: Decision, profile: Profile | None, mapping: Mapping | None, view: View, store: Store, *, tries: Tries
) -> Decision:
    """The decision without what Shopify has refused, and without an action where the store writes nothing now."""
    sent = _with_sent_values(decision, mapping, view)
    return _withhold_all(without_refused(sent, profile, mapping, store, tries=tries), store)


def _with_sent_values(decision: Decision, mapping: Mapping | None, view: View) -> Decision:
    """The decision with the values as we sent them, and whether the mapped customer is another existing one."""
    customer = decision.customer
    if customer is None:
        return decision
    sent = respelt_of(mapping, customer) or respelt_of(view.former(customer), customer)
    stays = view.mapped is not None and view.mapped.id != customer.id
    return replace(decision, sent=sent, mapped_stays=stays) if sent or stays else decision


def _decide_patch(case: Case, customer: Customer, *, tries: Tries) -> Decision:
    """The patch; without a merge that Shopify has refused, so that the other changes are written."""
    decision = decide_patch(case, customer)
    if decision.action is None or decision.action.kind != "merge":
        return decision
    refused = whole_refusal(decision, case.mapping, case.store, tries=tries)
    if refused is None:
        return decision
    view = replace(case.view, merge_blockers=(refused.message,))
    return decide_patch(replace(case, view=view), customer)


def unreadable_decision(user: ClerkUserId, mapping: Mapping | None, why: str) -> Decision:
    """The decision to hold a user if the shop failed to return their customer, while it returned those of others."""
    message = f"the shop did not return whether the user has a customer: {why}"
    return Decision(clerk_user_id=user, holds=(hold(user, mapping, "Unreadable", message),), status="held")


def _find_customer(case: Case) -> tuple[Customer | None, str | None]:
    """The user's customer (by back-link, mapping, assignment or email), and the owner of the email if it is taken."""
    view, user = case.view, case.user
    if view.by_backlink is not None:
        return view.by_backlink, None
    if view.mapped is not None and view.mapped.backlink in {None, user}:
        return view.mapped, None
    if view.assigned is not None:
        return view.assigned, None
    if view.by_email is None:
        return None, None
    if is_left_behind(view.by_email, case.mapping):
        return None, None
    owner = view.owner(view.by_email)
    if owner in {None, user} or is_free_for(case.mapping, view.former(view.by_email)):
        return (view.by_email, None) if case.spec.lookup_email is not None else (None, None)
    return None, owner


def _decide_without_customer(case: Case, taken_by: str | None) -> Decision:
    """The decision for a user without a customer, or with a deleted one: create one, or hold."""
    user, mapping, spec, view, store = case.user, case.mapping, case.spec, case.view, case.store
    gone = mapping is not None and mapping.customer_id is not None and mapping.status != "released"
    rivals = rival_holds(case, None)
    if rivals:
        return _held_decision(case, rivals, case.joint_claim)
    if taken_by is not None and view.by_email is not None:
        message = f"the email belongs to the customer of {taken_by}"
        taken = case.taken("email", view.by_email, taken_by)
        return _held_decision(case, (hold(user, view.by_email, "EmailTaken", message, "email"),), taken)
    if gone and store.on_missing == "hold":
        message = "the customer was deleted in Shopify, and the user is held by `on_missing: hold`"
        return _held_decision(case, (hold(user, mapping, "CustomerMissing", message),))
    if view.by_email is not None and is_left_behind(view.by_email, mapping) and spec.value("email") is not None:
        return _held_decision(
            case, (left_behind_hold(user, None, view.by_email),), case.taken("email", view.by_email, None)
        )
    if view.by_email is not None and spec.value("email") is not None:
        message = "a customer without a user has the email, and trust_email forbids adopting it"
        taken = case.taken("email", view.by_email, None)
        return _held_decision(case, (hold(user, view.by_email, "EmailConflict", message, "email"),), taken)
    doubts = doubt_holds(case, mapping)
    values = {f: w.value for f, w in spec.fields.items() if w.value is not None}
    phone_taken = taken_phone(case, None, values.get("phone"))
    if phone_taken is not None:
        values.pop("phone")
        doubts += phone_holds(case, None, phone_taken)
    nameless = values.keys().isdisjoint(IDENTITIES)
    if ("email" not in values and store.require_email and store.fields.email != "ignore") or nameless:
        email_doubts = tuple(h for h in doubts if h.field == "email")
        missing = hold(user, mapping, "NoEmail", "the profile has no email, and this store requires one", "email")
        return _held_decision(case, email_doubts or (missing,), phone_taken)
    why: Why = "drift" if gone else "profile changed"
    changes = [Change(field=f, before=None, after=v, why=why) for f, v in values.items()]
    if spec.tags:
        changes.append(Change(field="tags", before=[], after=list(spec.tags), why=why))
    changes.append(Change(field="backlink", before=None, after=user, why=why))
    judged = judge_consents(case, None, changes)
    doubts += consent_holds(case, None, judged)
    action = action_of(case, "create", None, (*changes, *consent_changes(judged)))
    in_the_way = (phone_taken,) if phone_taken is not None else ()
    decision = Decision(clerk_user_id=user, action=action, holds=doubts, spec=spec, taken=in_the_way, consents=judged)
    return withhold_drift(decision, store) if gone else withhold_roll_out(decision, store)


def _held_decision(case: Case, holds: tuple[Hold, ...], taken: Taken | None = None) -> Decision:
    in_the_way = (taken,) if taken is not None else ()
    return Decision(clerk_user_id=case.user, holds=holds, spec=case.spec, status="held", taken=in_the_way)


def _decide_leaving(
    user: ClerkUserId, profile: Profile | None, mapping: Mapping | None, view: View, store: Store, *, tries: Tries
) -> Decision:
    """The decision for a user that the store does not want: nothing without a mapping, else a release by `on_leave`."""
    if mapping is None or mapping.status == "erased":
        return Decision(clerk_user_id=user, status=mapping.status if mapping else None)
    customer = view.by_backlink or view.mapped
    if customer is not None and customer.backlink not in {None, user}:
        return Decision(clerk_user_id=user, status="released", lost=mapping.status != "released")
    if mapping.status == "released":
        return Decision(clerk_user_id=user, customer=customer, status="released")
    if mapping.customer_id is None or customer is None:
        return Decision(clerk_user_id=user, status="released")
    how = store.on_leave
    if view.successor is not None:  # the successor adopts the customer: do not change it here
        status: Status = "pending" if how in DESTRUCTIVE else "released"
        return Decision(clerk_user_id=user, customer=customer, status=status, successor=view.successor)
    if how in DESTRUCTIVE and (kept := kept_hold(user, customer, mapping, view.claimants)) is not None:
        return Decision(clerk_user_id=user, holds=(kept,), customer=customer, status="held")
    released = _release_by(how, user, profile, customer, store)
    if how == "delete" and (cause := _undeletable(released, customer, mapping, store, tries=tries)):
        held = hold(user, customer, "CannotDelete", f"{cause}: the customer is tagged instead")
        released = replace(_release_by("tag", user, profile, customer, store), holds=(held,))
    return withhold_roll_out(released, store)


def _undeletable(deleted: Decision, customer: Customer, mapping: Mapping, store: Store, *, tries: Tries) -> str:
    """Why Shopify does not delete the customer; empty where it may."""
    if customer.can_delete is not True:
        return "Shopify can't delete a customer with orders"
    refused = whole_refusal(deleted, mapping, store, tries=tries)
    return f"Shopify refused to delete the customer ({refused.message})" if refused is not None else ""


def _release_by(how: OnLeave, user: ClerkUserId, profile: Profile | None, customer: Customer, store: Store) -> Decision:
    """The release of a user with a customer."""
    why: Why = "profile changed" if profile is None or profile.deleted else "config changed"
    changes: list[Change] = []
    if how == "tag" and store.leave_tag.casefold() not in normalise.tag_keys(customer.tags):
        after = normalise.tags([*customer.tags, store.leave_tag])
        changes.append(Change(field="tags", before=list(normalise.tags(customer.tags)), after=list(after), why=why))
    if how in DESTRUCTIVE:
        changes.append(Change(field="customer", before=customer.id, after=None, why=why))
    action = Action(
        kind="release",
        clerk_user_id=user,
        customer_id=customer.id,
        changes=tuple(changes),
        cost_points=points_of("release", tuple(changes), how),
        how=how,
        profile_digest=used_digest(profile, store),
        customer_digest=customer_digest(customer),
        email=customer.email,
        name=customer_name(customer),
    )
    return Decision(clerk_user_id=user, action=action, customer=customer, status="released")


def _withhold_all(decision: Decision, store: Store) -> Decision:
    """Withhold any action of a paused store, and of a store of which no policy is in force yet."""
    if decision.action is None:
        return decision
    if store.held_back is not None and store.held_back.target is None:
        return withhold(decision, "RollOutHeld", f"{decision.action.kind} is held: {store.held_back.words}")
    if not store.paused:
        return decision
    return withhold(decision, "StorePaused", f"{decision.action.kind} is held: the store is {store.pause_words}")
