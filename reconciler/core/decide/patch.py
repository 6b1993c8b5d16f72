"""The patch of a user who has a customer (docs/rules.md, rules 4 and 5). A field that must wait is held and blocks no other.

The new e-mail may be another customer's: then it is re-linked, merged, held, or waits until it is free.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace

from reconciler.core.decide.actions import (
    action_of,
    rolled,
)
from reconciler.core.decide.case import Case
from reconciler.core.decide.contested import Contest, contested_by, message_of
from reconciler.core.decide.succession import inherited, is_free_for, is_left_behind, left_behind_hold
from reconciler.core.fields.backlink import is_renamed
from reconciler.core.fields.diff import (
    agreed_on,
    as_sent,
    changes_between,
    comparable,
    is_in_place,
    observed_value,
    unseen,
)
from reconciler.core.model.action import Change, Hold, Kind, Why
from reconciler.core.model.customer import Customer
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.mapping import Heal, Mapping, Status
from reconciler.core.model.reasons import hold
from reconciler.core.model.view import Decision, Taken


@dataclass(frozen=True, slots=True)
class _Conflict:
    """The new e-mail is on another customer: whose (None: nobody's), the hold that says so, and whether it may be taken."""

    other: Customer
    owner: str | None
    hold: Hold
    taken: Taken
    takable: bool = True


def patched(case: Case, customer: Customer) -> Decision:
    """The minimal patch of this customer, or what stands in its way."""
    mapping = case.mapping
    known = customer.backlink == case.user or (mapping is not None and mapping.customer_id == customer.id)
    rivals = rival_holds(case, customer)
    if not known and rivals:
        held = Decision(clerk_user_id=case.user, holds=rivals, spec=case.spec, status="held")
        return held.model_copy(update={"taken": (case.claimed_too,)})
    former = None if known else case.view.former(customer)
    changes = list(changes_between(case.spec, customer, mapping if known else former))
    if not known:
        changes = [c.model_copy(update={"why": "profile changed"}) for c in changes]
    accepted: tuple[str, ...] = ()
    if known:
        changes, accepted = _agreed_to(case, changes)
    changes, contested, contests = _uncontested(case, customer, changes)
    if known and (link := _contested_link(case, customer)) is not None:
        contested, contests = [*contested, link[0]], (*contests, link[1])
    email = next((c for c in changes if c.field == "email"), None)
    conflict = _conflict(case, customer) if email is not None and not rivals else None
    held_back = email is not None and email.why == "drift" and case.store.heal_drift == "hold"
    back = _given_back(case, customer)
    if conflict is not None and conflict.owner is None and known and not held_back and not back:
        resolved = _other_customer(case, customer, conflict)
        if resolved is not None:
            return resolved
    holds = [*contested, *doubts_of(case, customer), *_no_email(case, customer)]
    if email is not None and rivals:
        holds += rivals
    if conflict is not None:
        holds.append(conflict.hold)
    phone = next((c.after for c in changes if c.field == "phone"), None)
    in_the_way = phone_in_the_way(case, customer, phone)
    holds += phone_holds(case, customer, in_the_way)
    decision = _patch(case, customer, changes, holds, known=known, back=back)
    taken = [conflict.taken] if conflict is not None else [case.claimed_too] if email is not None and rivals else []
    taken += [in_the_way] if in_the_way is not None else []
    return decision.model_copy(update={"accepted": accepted, "contests": contests, "taken": tuple(taken)})


def _no_email(case: Case, customer: Customer) -> tuple[Hold, ...]:
    """The profile's address went: the customer's stays, since it is how she logs in and is written to."""
    wanted = case.spec.fields.get("email")
    if wanted is None or wanted.value is not None or wanted.policy != "enforce" or not case.store.require_email:
        return ()
    message = "the profile has no e-mail any more; her customer's is never cleared"
    return (hold(case.user, customer, "NoEmail", message, "email"),)


def _given_back(case: Case, customer: Customer) -> tuple[Change, ...]:
    """The values that were taken off for a moment and are still missing: they come back where no new ones are written."""
    parked = case.mapping.parked if case.mapping is not None and case.mapping.customer_id == customer.id else {}
    return tuple(
        Change(field=field, before=None, after=value, why="profile changed")
        for field, value in parked.items()
        if observed_value(customer, field) is None and not _is_cleared(case, field, value)
    )


def _is_cleared(case: Case, field: str, parked: str) -> bool:
    """Whether the profile has no such value any more, and the parked one was ours: then it stays away."""
    wanted = case.spec.fields.get(field)
    base = case.mapping.applied.get(field) if case.mapping is not None else None
    if field == "email" or wanted is None or wanted.policy != "enforce" or wanted.value is not None:
        return False
    return base is not None and base.ours and comparable(field, base.value) == comparable(field, parked)


def _patch(
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
        changes, held = _switched(case, customer, changes)
        holds = holds + held
    changes += [c for c in back if c.field not in {other.field for other in changes}]
    last = _last_identity(user, customer, changes)
    changes = [c for c in changes if c.field not in {h.field for h in last}]
    holds = holds + last
    if not {"backlink"} & {*customer.unknown, *blocked}:
        link, held = _backlink(case, customer, known=known)
        changes, holds = changes + link, holds + held
    if not changes:
        status: Status = "held" if holds else "in_sync"
        return Decision(clerk_user_id=user, holds=tuple(holds), customer=customer, spec=case.spec, status=status)
    action = action_of(case, "update" if known else "adopt", customer, tuple(changes))
    decision = Decision(clerk_user_id=user, action=action, holds=tuple(holds), customer=customer, spec=case.spec)
    if known:
        return decision
    return rolled(decision.model_copy(update={"inherited": inherited(case.view.former(customer), customer)}), store)


def _backlink(case: Case, customer: Customer, *, known: bool) -> tuple[list[Change], list[Hold]]:
    """Write the back-link where the customer does not carry it, and remove the one that the config named before.

    A customer of ours without it is drift, unless the config names another metafield since it was written: then it is
    config, and `roll_out` holds it.
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
        if change.why == "drift" and "backlink" in case.store.accepts(case.user, case.now):
            return [], []
    held = _link_hold(case, customer, changes) if changes and known else None
    return ([], [held]) if held is not None else (changes, [])


def _link_change(case: Case, customer: Customer, *, known: bool) -> Change:
    """The back-link to be written, and why: what we are in the middle of is no edit of staff."""
    ours = case.mapping is not None and case.mapping.intent is not None
    renamed = known and is_renamed(case.mapping, case.store)
    why: Why = "config changed" if renamed else "drift" if known and not ours else "profile changed"
    return Change(field="backlink", before=customer.backlink, after=case.user, why=why)


def _contested_link(case: Case, customer: Customer) -> tuple[Hold, Contest] | None:
    """The hold of a back-link that others remove again and again; None where it may be written, or is there."""
    if customer.backlink == case.user or "backlink" in customer.unknown or case.insists:
        return None
    change = _link_change(case, customer, known=True)
    if case.store.heal_drift == "hold" or "backlink" in case.store.accepts(case.user, case.now):
        return None
    heals = contested_by(case.mapping, change, case.now)
    if not heals:
        return None
    return _contested(case, customer, change, heals), ("backlink", heals)


def _link_hold(case: Case, customer: Customer, changes: list[Change]) -> Hold | None:
    """The switch that holds this back; None where it may go."""
    action = action_of(case, "update", customer, tuple(changes))
    if changes[0].why == "drift" and case.store.heal_drift == "hold":
        message = "the back-link was removed in Shopify, and heal_drift says hold"
        return hold(case.user, customer, "DriftHeld", message, "backlink", action)
    if changes[0].why == "config changed" and case.store.roll_out == "hold":
        message = f"the back-link is to be {case.store.backlink.name} (config changed), and roll_out says hold"
        return hold(case.user, customer, "RollOutHeld", message, "backlink", action)
    return None


def _uncontested(
    case: Case, customer: Customer, changes: list[Change]
) -> tuple[list[Change], list[Hold], tuple[Contest, ...]]:
    """Without the fields that another system changes back, unless a person applies to this user; and a hold for each."""
    if case.insists or case.store.heal_drift == "hold":
        return changes, [], ()
    kept: list[Change] = []
    holds: list[Hold] = []
    contests: list[Contest] = []
    for change in changes:
        heals = contested_by(case.mapping, change, case.now)
        if not heals:
            kept.append(change)
            continue
        holds.append(_contested(case, customer, change, heals))
        contests.append((change.field, heals))
    return kept, holds, tuple(contests)


def _contested(case: Case, customer: Customer, change: Change, heals: tuple[Heal, ...]) -> Hold:
    action = action_of(case, "update", customer, (change,))
    return hold(case.user, customer, "Contested", message_of(change, heals), change.field, action)


def _agreed_to(case: Case, changes: list[Change]) -> tuple[list[Change], tuple[str, ...]]:
    """Without the drift that the config agrees to for now."""
    fields = case.store.accepts(case.user, case.now)
    left = [c for c in changes if c.why != "drift" or c.field not in fields]
    return left, tuple(c.field for c in changes if c not in left)


# --- the new e-mail is another customer's --------------------------------------------------------------------------


def rival_holds(case: Case, customer: Customer | None) -> tuple[Hold, ...]:
    """Two users, one address: the one with the mapping keeps it; two without are both held.

    Her own mapping must be a row, as her rival's must: where the state was lost, two who are known by their back-links
    alone would else both pass, and end on one customer.
    """
    spec, user, mapping = case.spec, case.user, case.mapping
    adopts = spec.lookup_email is not None and case.view.by_email is not None
    if spec.value("email") is None and not adopts:
        return ()
    theirs = customer is not None and (
        customer.backlink == user or (mapping is not None and mapping.customer_id == customer.id)
    )
    if theirs and customer is not None and _has_its_email(case, customer):
        return ()
    mapped = mapping is not None and mapping.customer_id is not None and mapping.left_at is None
    in_the_way = [r for r in case.view.rivals if r.mapped or customer is None or not mapped]
    if not in_the_way:
        return ()
    names = ", ".join(sorted(r.clerk_user_id for r in in_the_way))
    return (hold(user, customer, "EmailTaken", f"her e-mail is also that of {names}", "email"),)


def _has_its_email(case: Case, customer: Customer) -> bool:
    """Whether the customer has the e-mail that it should have."""
    wanted = case.spec.fields.get("email")
    if wanted is None:
        return customer.email is None
    return is_in_place("email", wanted, customer.email, agreed_on(case.mapping, customer, "email"))


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
        message = f"the new e-mail belongs to {other.id}, the customer of {former.clerk_user_id}, who has left"
        held = hold(case.user, customer, "EmailConflict", message, "email")
        return _Conflict(
            other, None, held, case.taken("email", other, None), takable=case.store.on_email_conflict == "relink"
        )
    if owner is not None and owner != case.user:
        message = f"her new e-mail belongs to the customer of {owner}"
        held = hold(case.user, customer, "EmailTaken", message, "email")
        return _Conflict(other, owner, held, case.taken("email", other, owner))
    message = f"her new e-mail belongs to {other.id}, a customer that nobody owns"
    held = hold(case.user, customer, "EmailConflict", message, "email")
    return _Conflict(other, None, held, case.taken("email", other, None))


def _other_customer(case: Case, customer: Customer, conflict: _Conflict) -> Decision | None:
    """Nobody owns the customer that has her new e-mail: she moves to it, or both become one; None where it is held."""
    policy = case.store.on_email_conflict
    if policy == "hold" or case.spec.lookup_email is None or not conflict.takable:
        return None
    kind: Kind = "relink"
    if policy == "merge":
        kind = "merge"
        if case.view.merge_blockers is None or case.view.merge_blockers:
            blockers = "; ".join(case.view.merge_blockers or ("the merge could not be previewed",))
            message = f"{conflict.hold.message}, and Shopify does not merge them: {blockers}"
            held = conflict.hold.model_copy(update={"message": message})
            return _unmerged(case, customer, held, conflict)
    other = conflict.other
    changes = changes_between(case.spec, other, case.view.former(other)) if kind == "relink" else ()
    holds = [*doubts_of(case, other)]
    phone = next((c.after for c in changes if c.field == "phone"), None)
    had = as_sent(case.mapping, customer, "phone")
    left_behind = phone is not None and comparable("phone", had) == comparable("phone", phone)
    seen = case.view.model_copy(update={"by_phone": customer}) if left_behind else case.view
    in_the_way = phone_in_the_way(replace(case, view=seen), other, phone)
    holds += phone_holds(case, other, in_the_way)
    blocked = {h.field for h in holds}
    kept = [c.model_copy(update={"why": "profile changed"}) for c in changes if c.field not in blocked]
    kept.append(Change(field="backlink", before=other.backlink, after=case.user, why="profile changed"))
    action = action_of(case, kind, other, tuple(kept), moved_from=customer)
    decision = Decision(
        clerk_user_id=case.user, action=action, holds=tuple(holds), customer=customer, target=other, spec=case.spec,
        inherited=inherited(case.view.former(other), other), taken=(in_the_way,) if in_the_way is not None else (),
    )  # fmt: skip
    return rolled(decision, case.store)


def _unmerged(case: Case, customer: Customer, held: Hold, conflict: _Conflict) -> Decision:
    """Shopify does not merge the two: everything but the e-mail goes."""
    changes = _others(case, customer)
    in_the_way = phone_in_the_way(case, customer, next((c.after for c in changes if c.field == "phone"), None))
    holds = [*doubts_of(case, customer), held, *phone_holds(case, customer, in_the_way)]
    decision = _patch(case, customer, changes, holds, known=True)
    taken = (conflict.taken, *([in_the_way] if in_the_way is not None else []))
    return decision.model_copy(update={"taken": taken})


def _others(case: Case, customer: Customer) -> list[Change]:
    return [c for c in changes_between(case.spec, customer, case.mapping) if c.field != "email"]


# --- parts ---------------------------------------------------------------------------------------------------------


def doubts_of(case: Case, at: Mapping | Customer | None) -> tuple[Hold, ...]:
    """What the profile can't give us, and what the shop does not show, a hold each."""
    holds = tuple(hold(case.user, at, d.reason, d.message, d.field) for d in case.spec.doubts)
    return (*holds, *_unreadable(case, at)) if isinstance(at, Customer) and at.unknown else holds


def _unreadable(case: Case, customer: Customer) -> list[Hold]:
    """What Shopify does not show of her, by the access that it needs: it may be equal, and nobody can say so."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    on_it = case.mapping is not None and case.mapping.customer_id == customer.id
    hidden = list(unseen(case.spec, customer, case.mapping if on_it else None))
    if "backlink" in customer.unknown and case.view.by_backlink is None:
        hidden.append("backlink")
    for name in hidden:
        found[customer.unknown[name]].append(name)
    return [
        hold(
            case.user,
            customer,
            "Unreadable",
            f"Shopify shows no {', '.join(names)} that can be read: whether that is equal can't be said; needed: {access}",
            ", ".join(names),
        )
        for access, names in found.items()
    ]


def phone_in_the_way(case: Case, customer: Customer | None, phone: object) -> Taken | None:
    """That another customer has the phone that would be written; None where it is free."""
    other = case.view.by_phone
    if phone is None or other is None or (customer is not None and other.id == customer.id):
        return None
    return case.taken("phone", other, case.view.owner(other))


def phone_holds(case: Case, customer: Customer | None, taken: Taken | None) -> tuple[Hold, ...]:
    """What says so: it holds the phone alone."""
    if taken is None:
        return ()
    whose = f"the customer of {taken.owner}" if taken.owner is not None else "a customer of no other user"
    message = f"the phone belongs to {taken.customer_id}, {whose}; the other fields are written all the same"
    return (hold(case.user, customer, "PhoneTaken", message, "phone"),)


def _switched(case: Case, customer: Customer, changes: list[Change]) -> tuple[list[Change], list[Hold]]:
    """The two switches: what was edited in Shopify, and what is not rolled out yet."""
    kept: list[Change] = []
    holds: list[Hold] = []
    for change in changes:
        name = "heal_drift" if change.why == "drift" else "roll_out"
        reason = "DriftHeld" if change.why == "drift" else "RollOutHeld"
        if (case.store.heal_drift if change.why == "drift" else case.store.roll_out) == "hold":
            message = f"{change.field} differs ({change.why}), and {name} says hold"
            action = action_of(case, "update", customer, (change,))
            holds.append(hold(case.user, customer, reason, message, change.field, action))
        else:
            kept.append(change)
    return kept, holds


def _last_identity(user: ClerkUserId, customer: Customer, changes: list[Change]) -> list[Hold]:
    """Shopify keeps one of name, phone and e-mail on every customer: what would clear the last is held."""
    after = {f: observed_value(customer, f) for f in ("email", "phone", "first_name", "last_name")}
    after.update({c.field: c.after for c in changes if c.field in after})
    cleared = [c for c in changes if c.field in after and c.after is None]
    if not cleared or any(after.values()):
        return []
    message = "Shopify needs a name, a phone or an e-mail: the last one is not cleared"
    return [hold(user, customer, "Rejected", message, c.field) for c in cleared]
