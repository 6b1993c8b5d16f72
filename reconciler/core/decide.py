"""The one pure function that decides: profile, mapping, view and policy in; an action, holds, or nothing out.

`plan`, `apply`, `run`, sweeps and nudges all call it, so what `plan` shows is what `run` does.
"""

from __future__ import annotations

from collections.abc import Mapping as MappingOf

from pydantic import BaseModel, ConfigDict, Field

from reconciler.core import normalise
from reconciler.core.customer import Customer
from reconciler.core.desired import Spec, digest, is_wanted, profile_digest, spec_of
from reconciler.core.diff import changes_between, comparable, observed_value, owned_tags
from reconciler.core.ids import ClerkUserId, CustomerId
from reconciler.core.mapping import Mapping, Status
from reconciler.core.plan import Action, Change, Hold, Kind, WhoActs, Why
from reconciler.core.profile import Profile
from reconciler.core.store import Store

MUTATION_POINTS = 10  # a mutation that selects scalars only (Shopify Admin API 2026-10, measured 2026)

WHO_ACTS: MappingOf[str, WhoActs] = {
    "NoEmail": "profile",
    "EmailInvalid": "profile",
    "EmailUnverified": "profile",
    "EmailTaken": "operator",
    "EmailConflict": "operator",
    "PhoneTaken": "operator",
    "PhoneInvalid": "profile",
    "CustomerMissing": "operator",
    "CannotDelete": "operator",
    "Erased": "operator",
    "GuardExceeded": "operator",
    "DriftHeld": "operator",
    "RollOutHeld": "operator",
    "StorePaused": "operator",
    "StoreSuspended": "operator",
    "Rejected": "profile",
    "ProfileInvalid": "profile",
}


class Rival(BaseModel):
    """Another user of ours who claims the same e-mail in this store, and whether she has a customer here."""

    model_config = ConfigDict(frozen=True)

    clerk_user_id: ClerkUserId
    mapped: bool


class View(BaseModel):
    """What the looking half saw of one user in one shop. None: looked for, and not there (or no reason to look)."""

    model_config = ConfigDict(frozen=True)

    by_backlink: Customer | None = None
    mapped: Customer | None = None
    by_email: Customer | None = None
    by_phone: Customer | None = None
    owners: MappingOf[CustomerId, ClerkUserId] = Field(default_factory=dict)
    rivals: tuple[Rival, ...] = ()


class Decision(BaseModel):
    """What is to be done for one user in one store, and what the state should say of it if nothing is done.

    `customer` is whom the user is on, None where nobody is known; `status` None means: no row is needed.
    """

    model_config = ConfigDict(frozen=True)

    clerk_user_id: ClerkUserId
    action: Action | None = None
    holds: tuple[Hold, ...] = ()
    customer: Customer | None = None
    spec: Spec | None = None
    status: Status | None = None


def decide(
    user: ClerkUserId,
    profile: Profile | None,
    mapping: Mapping | None,
    view: View,
    store: Store,
    *,
    explicit: bool = False,
) -> Decision:
    """Rules 1 to 6 for one user in one store. `explicit`: a person asked, so refused values are tried once more."""
    wanted = is_wanted(profile, store)
    if wanted is None:
        hold = _hold(
            user, mapping, "ProfileInvalid", "a column that decides whether this store wants her can't be read"
        )
        return Decision(clerk_user_id=user, holds=(hold,), status="held", customer=view.mapped)
    if not wanted or profile is None:
        return _paused(_leave(user, profile, mapping, view, store), store)
    if mapping is not None and mapping.status == "erased":
        hold = _hold(user, mapping, "Erased", "her data was erased on request; `mappings forget` lifts it")
        return Decision(clerk_user_id=user, holds=(hold,), status="erased")
    spec = spec_of(profile, store)
    customer, taken = _who(user, spec, view)
    if customer is None:
        decision = _newcomer(user, profile, mapping, spec, view, store, taken)
    else:
        decision = _somebody(user, profile, mapping, spec, customer, view, store)
    return _paused(_without_refused(decision, mapping, explicit=explicit), store)


def customer_digest(customer: Customer | None) -> str:
    """Of what a decision is taken on; the time of the last change and digests left out."""
    if customer is None:
        return digest(None)
    values = {name: value.value for name, value in customer.metafields.items()}
    return digest(customer.model_dump(mode="json", exclude={"updated_at", "metafields", "can_delete"}), values)


def refusal_digest(change: Change) -> str:
    """Names a refused value: what was to be written over what. The value, the policy's result or the field must move."""
    return digest(change.field, change.before, change.after)


def points_of(kind: Kind, changes: tuple[Change, ...], how: str = "") -> int:
    """What carrying it out costs at the shop: ten points a mutation."""
    fields = {c.field for c in changes}
    metafields = [c for c in changes if c.field.startswith("metafields.")]
    calls = bool([c for c in metafields if c.after is not None]) + bool([c for c in metafields if c.after is None])
    if kind == "create":
        return MUTATION_POINTS * (1 + calls)
    if kind == "release" and how in {"delete", "erase"}:
        return MUTATION_POINTS
    tags = next((c for c in changes if c.field == "tags"), None)
    if tags is not None:
        before, after = normalise.tag_keys(tags.before), normalise.tag_keys(tags.after)
        calls += bool(after - before) + bool(before - after)
    scalars = {f for f in fields if f not in {"tags", "backlink"} and not f.startswith("metafields.")}
    return MUTATION_POINTS * (calls + bool(scalars) + ("backlink" in fields))


def _hold(
    user: ClerkUserId, at: Mapping | Customer | None, reason: str, message: str, field: str | None = None
) -> Hold:
    customer = at.id if isinstance(at, Customer) else at.customer_id if at else None
    return Hold(
        clerk_user_id=user,
        customer_id=customer,
        reason=reason,
        message=message,
        who_acts=WHO_ACTS[reason],
        field=field,
    )


def _owner(customer: Customer, view: View) -> str | None:
    return customer.backlink or view.owners.get(customer.id)


def _who(user: ClerkUserId, spec: Spec, view: View) -> tuple[Customer | None, str | None]:
    """Rule 2: by back-link, else the mapped one, else by e-mail; and who has the e-mail if it can't be hers."""
    if view.by_backlink is not None:
        return view.by_backlink, None
    if view.mapped is not None and view.mapped.backlink in {None, user}:
        return view.mapped, None
    if view.by_email is None or spec.lookup_email is None:
        return None, None
    owner = _owner(view.by_email, view)
    return (view.by_email, None) if owner in {None, user} else (None, owner)


def _rival_holds(user: ClerkUserId, customer: Customer | None, spec: Spec, view: View) -> tuple[Hold, ...]:
    """Two users, one address: the one with the mapping keeps it; two without are both held."""
    if spec.value("email") is None and spec.lookup_email is None:
        return ()
    if customer is not None and comparable("email", customer.email) == comparable("email", spec.value("email")):
        return ()
    in_the_way = [r for r in view.rivals if r.mapped or customer is None or customer.backlink != user]
    if not in_the_way:
        return ()
    names = ", ".join(sorted(r.clerk_user_id for r in in_the_way))
    return (_hold(user, customer, "EmailTaken", f"her e-mail is also that of {names}", "email"),)


def _newcomer(
    user: ClerkUserId,
    profile: Profile,
    mapping: Mapping | None,
    spec: Spec,
    view: View,
    store: Store,
    taken_by: str | None,
) -> Decision:
    """Rule 3 and 6: nobody is there."""
    gone = mapping is not None and mapping.customer_id is not None and mapping.status != "released"
    if taken_by is not None:
        message = f"her e-mail belongs to the customer of {taken_by}"
        return _held(user, spec, _hold(user, view.by_email, "EmailTaken", message, "email"))
    if gone and store.on_missing == "hold":
        message = "her customer is gone from the shop, and on_missing says hold"
        return _held(user, spec, _hold(user, mapping, "CustomerMissing", message))
    rivals = _rival_holds(user, None, spec, view)
    if rivals:
        return _held(user, spec, *rivals)
    if view.by_email is not None and spec.value("email") is not None:
        message = "a customer with her e-mail exists, and trust_email forbids to take it"
        return _held(user, spec, _hold(user, view.by_email, "EmailUnverified", message, "email"))
    doubts = _doubts(user, mapping, spec)
    values = {f: w.value for f, w in spec.fields.items() if w.value is not None}
    phone_taken = _phone_taken(user, None, values.get("phone"), view)
    if phone_taken:
        values.pop("phone")
    nameless = not ({"email", "phone", "first_name", "last_name"} & values.keys())
    if ("email" not in values and store.require_email and store.fields.email != "ignore") or nameless:
        email_doubts = [h for h in doubts if h.field == "email"]
        missing = _hold(user, mapping, "NoEmail", "the profile has no e-mail, and this store needs one", "email")
        return _held(user, spec, *(email_doubts or [missing]))
    why: Why = "drift" if gone else "profile changed"
    changes = [Change(field=f, before=None, after=v, why=why) for f, v in values.items()]
    if spec.tags:
        changes.append(Change(field="tags", before=[], after=list(spec.tags), why=why))
    changes.append(Change(field="backlink", before=None, after=user, why=why))
    action = _action("create", user, None, profile, None, tuple(changes))
    return _rolled(Decision(clerk_user_id=user, action=action, holds=(*doubts, *phone_taken), spec=spec), store)


def _somebody(
    user: ClerkUserId,
    profile: Profile,
    mapping: Mapping | None,
    spec: Spec,
    customer: Customer,
    view: View,
    store: Store,
) -> Decision:
    """Rule 4: the minimal patch; what may not go now is held, and never blocks the rest."""
    known = customer.backlink == user or (mapping is not None and mapping.customer_id == customer.id)
    rivals = _rival_holds(user, customer, spec, view)
    if not known and rivals:
        return _held(user, spec, *rivals)
    holds = [*_doubts(user, customer, spec)]
    base = mapping if known else None
    changes = list(changes_between(spec, customer, base))
    holds += _blocked_email(user, customer, changes, rivals, view)
    phone = next((c.after for c in changes if c.field == "phone"), None)
    holds += _phone_taken(user, customer, phone, view)
    blocked = {h.field for h in holds}
    changes = [c for c in changes if c.field not in blocked]
    if known:
        changes, held = _switched(user, customer, changes, store)
        holds += held
    holds += _last_identity(user, customer, changes)
    blocked = {h.field for h in holds if h.reason == "Rejected"}
    changes = [c for c in changes if c.field not in blocked]
    if customer.backlink != user and "backlink" not in customer.unknown:
        why: Why = "drift" if known else "profile changed"
        changes.append(Change(field="backlink", before=customer.backlink, after=user, why=why))
        if known and store.heal_drift == "hold":
            changes.pop()
            holds.append(_hold(user, customer, "DriftHeld", "her back-link was taken off in Shopify", "backlink"))
    if not changes:
        status: Status = "held" if holds else "in_sync"
        return Decision(clerk_user_id=user, holds=tuple(holds), customer=customer, spec=spec, status=status)
    action = _action("update" if known else "adopt", user, customer, profile, customer, tuple(changes))
    decision = Decision(clerk_user_id=user, action=action, holds=tuple(holds), customer=customer, spec=spec)
    return decision if known else _rolled(decision, store)


def _leave(user: ClerkUserId, profile: Profile | None, mapping: Mapping | None, view: View, store: Store) -> Decision:
    """Rule 1: not wanted here. What never had a customer just goes; the rest is released by on_leave."""
    if mapping is None or mapping.status in {"released", "erased"}:
        return Decision(clerk_user_id=user, status=mapping.status if mapping else None)
    customer = view.by_backlink or view.mapped
    if mapping.customer_id is None or customer is None:
        return Decision(clerk_user_id=user, status="released")
    why: Why = "profile changed" if profile is None or profile.deleted else "config changed"
    how = store.on_leave
    changes: list[Change] = []
    holds: list[Hold] = []
    if how == "delete" and customer.can_delete is not True:
        holds.append(
            _hold(user, customer, "CannotDelete", "Shopify can't delete a customer with orders; she is tagged")
        )
        how = "tag"
    if how == "tag" and store.leave_tag.casefold() not in normalise.tag_keys(customer.tags):
        after = normalise.tags([*customer.tags, store.leave_tag])
        changes.append(Change(field="tags", before=list(normalise.tags(customer.tags)), after=list(after), why=why))
    if how in {"delete", "erase"}:
        changes.append(Change(field="customer", before=customer.id, after=None, why=why))
    action = _action("release", user, customer, profile, customer, tuple(changes), how=how)
    decision = Decision(clerk_user_id=user, action=action, holds=tuple(holds), customer=customer, status="released")
    return _rolled(decision, store)


def _action(
    kind: Kind,
    user: ClerkUserId,
    customer: Customer | None,
    profile: Profile | None,
    seen: Customer | None,
    changes: tuple[Change, ...],
    how: str = "",
) -> Action:
    return Action(
        kind=kind,
        clerk_user_id=user,
        customer_id=customer.id if customer else None,
        changes=changes,
        cost_points=points_of(kind, changes, how),
        how=how,
        profile_digest=profile_digest(profile),
        customer_digest=customer_digest(seen),
    )


def _held(user: ClerkUserId, spec: Spec, *holds: Hold) -> Decision:
    return Decision(clerk_user_id=user, holds=holds, spec=spec, status="held")


def _doubts(user: ClerkUserId, at: Mapping | Customer | None, spec: Spec) -> tuple[Hold, ...]:
    return tuple(_hold(user, at, d.reason, d.message, d.field) for d in spec.doubts)


def _blocked_email(
    user: ClerkUserId, customer: Customer, changes: list[Change], rivals: tuple[Hold, ...], view: View
) -> list[Hold]:
    """The new e-mail is somebody else's: the rest of the patch goes on without it."""
    if not any(c.field == "email" for c in changes):
        return []
    if rivals:
        return list(rivals)
    other = view.by_email
    if other is None or other.id == customer.id:
        return []
    owner = _owner(other, view)
    if owner is not None and owner != user:
        return [_hold(user, customer, "EmailTaken", f"her new e-mail belongs to the customer of {owner}", "email")]
    message = f"her new e-mail belongs to {other.id}, a customer that nobody owns"
    return [_hold(user, customer, "EmailConflict", message, "email")]


def _phone_taken(user: ClerkUserId, customer: Customer | None, phone: object, view: View) -> tuple[Hold, ...]:
    other = view.by_phone
    if phone is None or other is None or (customer is not None and other.id == customer.id):
        return ()
    return (_hold(user, customer, "PhoneTaken", f"her phone is that of {other.id}; the rest goes on", "phone"),)


def _switched(
    user: ClerkUserId, customer: Customer, changes: list[Change], store: Store
) -> tuple[list[Change], list[Hold]]:
    """The two switches: what was edited in Shopify, and what is not rolled out yet."""
    kept: list[Change] = []
    holds: list[Hold] = []
    for change in changes:
        reason = "DriftHeld" if change.why == "drift" else "RollOutHeld"
        switch = store.heal_drift if change.why == "drift" else store.roll_out
        if switch == "hold":
            holds.append(_hold(user, customer, reason, f"{change.field} differs ({change.why})", change.field))
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
    return [_hold(user, customer, "Rejected", message, c.field) for c in cleared]


def _rolled(decision: Decision, store: Store) -> Decision:
    """Creates, adoptions and releases are intent: roll_out: hold keeps them back whole."""
    if store.roll_out == "auto" or decision.action is None:
        return decision
    at = decision.customer
    hold = _hold(decision.clerk_user_id, at, "RollOutHeld", f"{decision.action.kind} waits: roll_out says hold")
    return decision.model_copy(update={"action": None, "holds": (*decision.holds, hold), "status": "held"})


def _paused(decision: Decision, store: Store) -> Decision:
    if not store.paused or decision.action is None:
        return decision
    action = decision.action
    hold = _hold(decision.clerk_user_id, decision.customer, "StorePaused", f"{action.kind} waits: the store is paused")
    return decision.model_copy(update={"action": None, "holds": (*decision.holds, hold), "status": "held"})


def _without_refused(decision: Decision, mapping: Mapping | None, *, explicit: bool) -> Decision:
    """What Shopify refused is not tried again until something moved; a person's command tries it once more."""
    action = decision.action
    if action is None or mapping is None or not mapping.refused:
        return decision
    holds = list(decision.holds)
    kept: list[Change] = []
    for change in action.changes:
        refused = mapping.refused.get(change.field)
        if refused is None or refused.digest != refusal_digest(change) or (explicit and refused.tries < 2):  # noqa: PLR2004
            kept.append(change)
            continue
        reason = "PhoneTaken" if change.field == "phone" and refused.code == "TAKEN" else "Rejected"
        message = f"Shopify refused {change.field}: {refused.message}"
        holds.append(_hold(action.clerk_user_id, decision.customer or mapping, reason, message, change.field))
    if len(kept) == len(action.changes):
        return decision
    lost_email = action.kind == "create" and not any(c.field == "email" for c in kept)
    if lost_email or not [c for c in kept if c.field != "backlink" or action.kind in {"adopt", "update"}]:
        return decision.model_copy(update={"action": None, "holds": tuple(holds), "status": "held"})
    patched = action.model_copy(update={"changes": tuple(kept), "cost_points": points_of(action.kind, tuple(kept))})
    return decision.model_copy(update={"action": patched, "holds": tuple(holds)})


__all__ = ["Decision", "Rival", "View", "customer_digest", "decide", "owned_tags", "points_of", "refusal_digest"]
