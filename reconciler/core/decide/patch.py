"""The patch of a user with a customer (docs/rules.md, rules 4 and 5). A held field does not block other fields.

If the new email belongs to another customer, the user is re-linked, merged or held, or waits until the email is free.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from reconciler.core.decide.accepted import is_accepted, without_accepted
from reconciler.core.decide.actions import (
    action_of,
    withhold_roll_out,
)
from reconciler.core.decide.case import Case
from reconciler.core.decide.consent import consent_changes, consent_holds, judge_consents
from reconciler.core.decide.contested import Contest, contested_message, contesting_heals
from reconciler.core.decide.leaving.succession import inherited_fields, is_free_for, is_left_behind, left_behind_hold
from reconciler.core.fields.backlink import is_renamed
from reconciler.core.fields.consent import with_answers_of
from reconciler.core.fields.diff import (
    agreement_on,
    as_sent,
    changes_between,
    comparable,
    is_in_place,
    observed_value,
    unobserved_fields,
)
from reconciler.core.model.action import AcceptedDrift, Change, Hold, Kind, Why
from reconciler.core.model.customer import Customer
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.mapping import Heal, Mapping
from reconciler.core.model.reasons import BY_SWITCH, hold, named
from reconciler.core.model.scalars import IDENTITIES
from reconciler.core.model.spec import Spec
from reconciler.core.model.values import text_of
from reconciler.core.model.view import Decision, Taken


@frozen
class _Conflict:
    """Another customer has the new email: its owner (None: no user), the hold, and whether it may be taken."""

    other: Customer
    owner: str | None
    hold: Hold
    taken: Taken
    takable: bool = True


def decide_patch(case: Case, customer: Customer) -> Decision:
    """Decide the minimal patch of this customer, or the holds that prevent it."""
    mapping = case.mapping
    known = customer.backlink == case.user or (mapping is not None and mapping.customer_id == customer.id)
    rivals = rival_holds(case, customer)
    if not known and rivals:
        held = Decision(clerk_user_id=case.user, holds=rivals, spec=case.spec, status="held")
        return replace(held, taken=(case.joint_claim,))
    former = None if known else case.view.former(customer)
    changes = list(changes_between(case.spec, customer, mapping if known else former))
    if not known:
        changes = [replace(c, why="profile changed") for c in changes]
    accepted: tuple[AcceptedDrift, ...] = ()
    if known:
        changes, accepted = without_accepted(case, customer, changes)
        accepted += _accepted_link(case, customer)
    changes, contested, contests = _without_contested(case, customer, changes)
    if known and (link := _contested_link(case, customer)) is not None:
        contested, contests = [*contested, link[0]], (*contests, link[1])
    email = next((c for c in changes if c.field == "email"), None)
    conflict = _conflict(case, customer) if email is not None and not rivals else None
    held_back = email is not None and email.why == "drift" and case.store.heal_drift == "hold"
    back = _unparking_changes(case, customer)
    if conflict is not None and conflict.owner is None and known and not held_back and not back:
        resolved = _relink_or_merge(case, customer, conflict)
        if resolved is not None:
            return resolved
    holds = [*contested, *doubt_holds(case, customer), *_no_email_holds(case, customer)]
    if email is not None and rivals:
        holds += rivals
    if conflict is not None:
        holds.append(conflict.hold)
    phone = next((text_of(c.after) for c in changes if c.field == "phone"), None)
    in_the_way = taken_phone(case, customer, phone)
    holds += phone_holds(case, customer, in_the_way)
    decision = _decide_changes(case, customer, changes, holds, known=known, back=back)
    taken = [conflict.taken] if conflict is not None else [case.joint_claim] if email is not None and rivals else []
    taken += [in_the_way] if in_the_way is not None else []
    return replace(decision, accepted=accepted, contests=contests, taken=tuple(taken))


def _no_email_holds(case: Case, customer: Customer) -> tuple[Hold, ...]:
    """The hold of a removed email: the customer keeps theirs, which they need to log in and to receive messages."""
    wanted = case.spec.fields.get("email")
    if wanted is None or wanted.value is not None or wanted.policy != "enforce" or not case.store.require_email:
        return ()
    message = "the profile no longer has an email; the customer's email is never cleared"
    return (hold(case.user, customer, "NoEmail", message, "email"),)


def _unparking_changes(case: Case, customer: Customer) -> tuple[Change, ...]:
    """The changes that restore parked values which are still missing, where no new values are written."""
    parked = case.mapping.parked_values if case.mapping is not None and case.mapping.customer_id == customer.id else {}
    return tuple(
        Change(field=field, before=None, after=value, why="profile changed")
        for field, value in parked.items()
        if observed_value(customer, field) is None and not _is_cleared(case, field, value)
    )


def _is_cleared(case: Case, field: str, parked: str) -> bool:
    """Whether the profile no longer has a value and the parked one was ours: then it is not restored."""
    wanted = case.spec.fields.get(field)
    base = case.mapping.applied.get(field) if case.mapping is not None else None
    if field == "email" or wanted is None or wanted.policy != "enforce" or wanted.value is not None:
        return False
    return base is not None and base.ours and comparable(field, base.text) == comparable(field, parked)


def _decide_changes(
    case: Case,
    customer: Customer,
    changes: list[Change],
    holds: list[Hold],
    *,
    known: bool,
    back: tuple[Change, ...] = (),
) -> Decision:
    user, store = case.user, case.store
    blocked = {h.field for h in holds}
    changes = [c for c in changes if c.field not in blocked]
    if known:
        changes, held = _withhold_by_switches(case, customer, changes)
        holds = holds + held
    changes += [c for c in back if c.field not in {other.field for other in changes}]
    last = _last_identity_holds(user, customer, changes)
    changes = [c for c in changes if c.field not in {h.field for h in last}]
    holds = holds + last
    if not {"backlink"} & {*customer.unknown, *blocked}:
        link, held = _backlink_changes(case, customer, known=known)
        changes, holds = changes + link, holds + held
    inherited = {} if known else inherited_fields(case.view.former(customer), customer)
    judged = judge_consents(case, customer, changes, inherited=inherited)
    consents, held = [*consent_changes(judged)], list[Hold]()
    if known:
        consents, held = _withhold_by_switches(case, customer, consents)
    changes, holds = changes + consents, [*holds, *held, *consent_holds(case, customer, judged)]
    decision = Decision(clerk_user_id=user, holds=tuple(holds), customer=customer, spec=case.spec, consents=judged)
    if not changes:
        return replace(decision, status="held" if holds else "in_sync")
    action = action_of(case, "update" if known else "adopt", customer, tuple(changes))
    decision = replace(decision, action=action)
    if known:
        return decision
    return withhold_roll_out(replace(decision, inherited=inherited), store)


def _backlink_changes(case: Case, customer: Customer, *, known: bool) -> tuple[list[Change], list[Hold]]:
    """The changes that write a missing back-link, and remove the one of an earlier config; or a hold.

    A missing back-link on a mapped customer is drift, unless the config has renamed the metafield: then `roll_out`
    applies.
    """
    missing = customer.backlink != case.user
    renamed = known and is_renamed(case.mapping, case.store)
    changes = []
    if renamed and case.view.former_link is not None:
        former = f"metafields.{case.view.former_link}"
        changes.append(Change(field=former, before=case.user, after=None, why="config changed"))
    if missing:
        change = _link_change(case, customer, known=known)
        changes.insert(0, change)
        if is_accepted(case, customer, change):
            return [], []
    held = _link_hold(case, customer, changes) if changes and known else None
    return ([], [held]) if held is not None else (changes, [])


def _link_change(case: Case, customer: Customer, *, known: bool) -> Change:
    """The change that writes the back-link. During an unfinished action of ours, a missing one is not drift."""
    ours = case.mapping is not None and case.mapping.intent is not None
    renamed = known and is_renamed(case.mapping, case.store)
    why: Why = "config changed" if renamed else "drift" if known and not ours else "profile changed"
    return Change(field="backlink", before=customer.backlink, after=case.user, why=why)


def _accepted_link(case: Case, customer: Customer) -> tuple[AcceptedDrift, ...]:
    """The accepted drift of a back-link that was removed in Shopify."""
    if customer.backlink == case.user or "backlink" in customer.unknown:
        return ()
    return without_accepted(case, customer, [_link_change(case, customer, known=True)])[1]


def _contested_link(case: Case, customer: Customer) -> tuple[Hold, Contest] | None:
    """The hold of a back-link that others repeatedly remove; None where it is present or may be written."""
    if customer.backlink == case.user or "backlink" in customer.unknown or case.insists:
        return None
    change = _link_change(case, customer, known=True)
    if case.store.heal_drift == "hold" or is_accepted(case, customer, change):
        return None
    heals = contesting_heals(case.mapping, change, case.now)
    if not heals:
        return None
    return _contested_hold(case, customer, change, heals), ("backlink", heals)


def _link_hold(case: Case, customer: Customer, changes: list[Change]) -> Hold | None:
    """The hold of `heal_drift` or `roll_out` on the back-link; None where it may be written."""
    action = action_of(case, "update", customer, tuple(changes))
    if changes[0].why == "drift" and case.store.heal_drift == "hold":
        message = "the back-link was removed in Shopify, and is held by `heal_drift: hold`"
        return hold(case.user, customer, "DriftHeld", message, "backlink", action)
    if changes[0].why == "config changed" and case.store.roll_out == "hold":
        message = f"the back-link moves to {case.store.backlink.name} (config changed), and {BY_SWITCH}"
        return hold(case.user, customer, "RollOutHeld", message, "backlink", action)
    return None


def _without_contested(
    case: Case, customer: Customer, changes: list[Change]
) -> tuple[list[Change], list[Hold], tuple[Contest, ...]]:
    """The changes without contested fields, the holds of these, and the contests. All changes if an operator insists."""
    if case.insists or case.store.heal_drift == "hold":
        return changes, [], ()
    kept: list[Change] = []
    holds: list[Hold] = []
    contests: list[Contest] = []
    for change in changes:
        heals = contesting_heals(case.mapping, change, case.now)
        if not heals:
            kept.append(change)
            continue
        holds.append(_contested_hold(case, customer, change, heals))
        contests.append((change.field, heals))
    return kept, holds, tuple(contests)


def _contested_hold(case: Case, customer: Customer, change: Change, heals: tuple[Heal, ...]) -> Hold:
    action = action_of(case, "update", customer, (change,))
    return hold(case.user, customer, "Contested", contested_message(change, heals), change.field, action)


# --- the new email belongs to another customer ---------------------------------------------------------------------


def rival_holds(case: Case, customer: Customer | None) -> tuple[Hold, ...]:
    """The hold of an email that several users claim: the mapped user keeps it; without a mapping, all are held.

    Back-links do not count: after a loss of the state, two users with back-links would both pass and end on one
    customer.
    """
    spec, user, mapping = case.spec, case.user, case.mapping
    adopts = spec.lookup_email is not None and case.view.by_email is not None
    if spec.value("email") is None and not adopts:
        return ()
    if customer is not None and keeps_its_email(user, mapping, spec, customer):
        return ()
    mapped = mapping is not None and mapping.customer_id is not None and mapping.left_at is None
    in_the_way = [r for r in case.view.rivals if r.mapped or customer is None or not mapped]
    if not in_the_way:
        return ()
    names = [rival.clerk_user_id for rival in sorted(in_the_way, key=lambda r: (not r.mapped, r.clerk_user_id))]
    return (hold(user, customer, "EmailTaken", f"the email is also claimed by {named(names)}", "email"),)


def keeps_its_email(user: ClerkUserId, mapping: Mapping | None, spec: Spec, customer: Customer) -> bool:
    """Whether this is the user's own customer, with the wanted email: then it does not matter who else claims it."""
    if customer.backlink != user and (mapping is None or mapping.customer_id != customer.id):
        return False
    wanted = spec.fields.get("email")
    if wanted is None:
        return customer.email is None
    return is_in_place("email", wanted, customer.email, agreement_on(mapping, customer, "email"))


def _conflict(case: Case, customer: Customer) -> _Conflict | None:
    other = case.view.by_email
    if other is None or other.id == customer.id:
        return None
    if is_left_behind(other, customer):
        return _Conflict(
            other, None, left_behind_hold(case.user, customer, other), case.taken("email", other, None), takable=False
        )
    owner = case.view.owner(other)
    former = case.view.former(other)
    if former is not None and is_free_for(case.mapping, former):
        message = f"the new email belongs to {other.id}, the customer of {former.clerk_user_id}, who has left"
        held = hold(case.user, customer, "EmailConflict", message, "email")
        return _Conflict(
            other, None, held, case.taken("email", other, None), takable=case.store.on_email_conflict == "relink"
        )
    if owner is not None and owner != case.user:
        message = f"the new email belongs to the customer of {owner}"
        held = hold(case.user, customer, "EmailTaken", message, "email")
        return _Conflict(other, owner, held, case.taken("email", other, owner))
    message = f"the new email belongs to {other.id}, a customer without a user"
    held = hold(case.user, customer, "EmailConflict", message, "email")
    return _Conflict(other, None, held, case.taken("email", other, None))


def _relink_or_merge(case: Case, customer: Customer, conflict: _Conflict) -> Decision | None:
    """Re-link to, or merge with, the customer without a user that has the new email; None where that is held."""
    policy = case.store.on_email_conflict
    if policy == "hold" or case.spec.lookup_email is None or not conflict.takable:
        return None
    kind: Kind = "relink"
    if policy == "merge":
        kind = "merge"
        if case.view.merge_blockers is None or case.view.merge_blockers:
            blockers = "; ".join(case.view.merge_blockers or ("the preview of the merge failed",))
            message = f"{conflict.hold.message}, and Shopify refuses to merge them: {blockers}"
            held = replace(conflict.hold, message=message)
            return _patch_without_merge(case, customer, held, conflict)
    other = conflict.other
    changes = changes_between(case.spec, other, case.view.former(other)) if kind == "relink" else ()
    holds = [*doubt_holds(case, other)]
    phone = next((text_of(c.after) for c in changes if c.field == "phone"), None)
    had = as_sent(case.mapping, customer, "phone")
    left_behind = phone is not None and comparable("phone", had) == comparable("phone", phone)
    seen = replace(case.view, by_phone=customer) if left_behind else case.view
    in_the_way = taken_phone(replace(case, view=seen), other, phone)
    holds += phone_holds(case, other, in_the_way)
    blocked = {h.field for h in holds}
    kept = [replace(c, why="profile changed") for c in changes if c.field not in blocked]
    kept.append(Change(field="backlink", before=other.backlink, after=case.user, why="profile changed"))
    answered = replace(case, mapping=with_answers_of(case.mapping, customer, case.spec.consents, case.now))
    inherited = inherited_fields(case.view.former(other), other)
    judged = judge_consents(answered, other, kept, inherited=inherited) if kind == "relink" else ()
    kept += consent_changes(judged)
    holds += consent_holds(case, other, judged)
    action = action_of(case, kind, other, tuple(kept), moved_from=customer)
    decision = Decision(
        clerk_user_id=case.user, action=action, holds=tuple(holds), customer=customer, target=other, spec=case.spec,
        inherited=inherited, taken=(in_the_way,) if in_the_way is not None else (),
        consents=judged,
    )  # fmt: skip
    return withhold_roll_out(decision, case.store)


def _patch_without_merge(case: Case, customer: Customer, held: Hold, conflict: _Conflict) -> Decision:
    """The patch without a merge that Shopify refuses: all changes but the email."""
    changes, accepted = without_accepted(case, customer, _changes_except_email(case, customer))
    in_the_way = taken_phone(case, customer, next((text_of(c.after) for c in changes if c.field == "phone"), None))
    holds = [*doubt_holds(case, customer), held, *phone_holds(case, customer, in_the_way)]
    decision = _decide_changes(case, customer, changes, holds, known=True)
    taken = (conflict.taken, *([in_the_way] if in_the_way is not None else []))
    return replace(decision, accepted=accepted, taken=taken)


def _changes_except_email(case: Case, customer: Customer) -> list[Change]:
    return [c for c in changes_between(case.spec, customer, case.mapping) if c.field != "email"]


# --- parts ---------------------------------------------------------------------------------------------------------


def doubt_holds(case: Case, at: Mapping | Customer | None) -> tuple[Hold, ...]:
    """The holds of fields that the profile can't provide, and of fields that the shop did not return."""
    holds = tuple(hold(case.user, at, d.reason, d.message, d.field) for d in case.spec.doubts)
    return (*holds, *_unreadable_holds(case, at)) if isinstance(at, Customer) and at.unknown else holds


def _unreadable_holds(case: Case, customer: Customer) -> list[Hold]:
    """The holds of fields that Shopify did not return, one for each access that they need."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    on_it = case.mapping is not None and case.mapping.customer_id == customer.id
    hidden = list(unobserved_fields(case.spec, customer, case.mapping if on_it else None))
    if "backlink" in customer.unknown and case.view.by_backlink is None:
        hidden.append("backlink")
    for name in hidden:
        found[customer.unknown[name]].append(name)
    return [
        hold(
            case.user,
            customer,
            "Unreadable",
            f"Shopify did not return {', '.join(names)}, so it is unknown whether this is in sync; needed: {access}",
            ", ".join(names),
        )
        for access, names in found.items()
    ]


def taken_phone(case: Case, customer: Customer | None, phone: object) -> Taken | None:
    """The phone to be written that another customer has; None where it is free."""
    other = case.view.by_phone
    if phone is None or other is None or (customer is not None and other.id == customer.id):
        return None
    return case.taken("phone", other, case.view.owner(other))


def phone_holds(case: Case, customer: Customer | None, taken: Taken | None) -> tuple[Hold, ...]:
    """The hold of a taken phone; other fields are not held."""
    if taken is None:
        return ()
    owner = (
        f"the customer of {taken.owner}" if taken.owner is not None else "a customer that belongs to no user of ours"
    )
    message = f"the phone belongs to {taken.customer_id}, {owner}; the other fields are written"
    return (hold(case.user, customer, "PhoneTaken", message, "phone"),)


def _withhold_by_switches(case: Case, customer: Customer, changes: list[Change]) -> tuple[list[Change], list[Hold]]:
    """The changes that `heal_drift` and `roll_out` allow, and the holds of the others."""
    kept: list[Change] = []
    holds: list[Hold] = []
    for change in changes:
        reason = "DriftHeld" if change.why == "drift" else "RollOutHeld"
        if (case.store.heal_drift if change.why == "drift" else case.store.roll_out) == "hold":
            words = "is held by `heal_drift: hold`" if change.why == "drift" else BY_SWITCH
            message = f"{change.field} differs ({change.why}), and {words}"
            action = action_of(case, "update", customer, (change,))
            holds.append(hold(case.user, customer, reason, message, change.field, action))
        else:
            kept.append(change)
    return kept, holds


def _last_identity_holds(user: ClerkUserId, customer: Customer, changes: list[Change]) -> list[Hold]:
    """The holds of changes that would clear the last of name, phone and email, one of which Shopify requires."""
    after = {field: customer.scalar(field) for field in IDENTITIES}
    after.update({c.field: text_of(c.after) for c in changes if c.field in after})
    cleared = [c for c in changes if c.field in after and c.after is None]
    if not cleared or any(after.values()):
        return []
    message = "Shopify requires a name, a phone or an email: the last one is not cleared"
    return [hold(user, customer, "Rejected", message, c.field) for c in cleared]
