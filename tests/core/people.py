"""Short ways to make the core's values, with what a test does not speak of filled in."""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from datetime import UTC, datetime
from typing import Any

from reconciler.core.decide.decide import decide
from reconciler.core.decide.leaving.absence import PLANNED, Absence
from reconciler.core.decide.record import last_applied
from reconciler.core.fields.desired import spec_of
from reconciler.core.model.action import Action, Change, Kind, Why
from reconciler.core.model.customer import Customer, MetafieldValue
from reconciler.core.model.ids import ClerkUserId, CustomerId, ShopDomain, StoreName
from reconciler.core.model.json import adapter_of
from reconciler.core.model.mapping import Mapping
from reconciler.core.model.profile import Profile
from reconciler.core.model.store import Store
from reconciler.core.model.view import Decision, View

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
ADA = ClerkUserId("user_ada")
BOB = ClerkUserId("user_bob")
CYD = ClerkUserId("user_cyd")


def gid(number: int) -> CustomerId:
    return CustomerId(f"gid://shopify/Customer/{number}")


def profile(user: str = ADA, **values: Any) -> Profile:
    """A row that is as good as it gets: an address that is verified, and a name."""
    given = {"email": f"{user}@x.example.com", "email_verified": True, "first_name": user.title(), **values}
    return Profile.model_validate({"clerk_user_id": user, **given})


def store(**policy: Any) -> Store:
    """A store that owns what all do, and has no tags."""
    return Store.model_validate({"name": StoreName("acme"), "shop": ShopDomain("acme.myshopify.com"), **policy})


def customer(number: int = 7, **values: Any) -> Customer:
    metafields = {name: MetafieldValue(value=v) for name, v in values.pop("metafields", {}).items()}
    return Customer.model_validate({"id": gid(number), "metafields": metafields, **values})


def same(who: Profile, number: int = 7, where: Store | None = None, **values: Any) -> Customer:
    """The customer that is as this profile says, back-link included."""
    spec = spec_of(who, where or store())
    fields = {f: w.value for f, w in spec.fields.items() if not f.startswith("metafields.")}
    metafields = {f.removeprefix("metafields."): w.value for f, w in spec.fields.items() if "." in f and w.value}
    given = {"backlink": who.clerk_user_id, "tags": spec.tags, **fields, "metafields": metafields, **values}
    return customer(number, **given)


def mapping(user: str = ADA, number: int | None = 7, **values: Any) -> Mapping:
    at = None if number is None else gid(number)
    given = {"store": "acme", "shop": "acme.myshopify.com", "status": "in_sync", "customer_id": at, **values}
    return adapter_of(Mapping).validate_python({"clerk_user_id": user, **given})


def settled(who: Profile, at: Customer, where: Store | None = None, **values: Any) -> Mapping:
    """The row after we wrote all of this profile on that customer: every value there is ours."""
    policy = where or store()
    spec = spec_of(who, policy)
    written = [changed(f, None, w.value) for f, w in spec.fields.items()]
    if spec.tags:
        written.append(changed("tags", [], list(spec.tags)))
    blank = Customer(id=at.id)
    applied = last_applied(None, spec, blank, written=tuple(written))
    return mapping(who.clerk_user_id, int(at.id.rsplit("/")[-1]), applied=applied, email=at.email, **values)


def changed(field: str, before: Any, after: Any, why: Why = "profile changed") -> Change:
    return Change(field=field, before=before, after=after, why=why)


def action(kind: Kind, user: str = ADA, number: int | None = 7, *changes: Change, **values: Any) -> Action:
    at = None if number is None else gid(number)
    return Action(kind=kind, clerk_user_id=ClerkUserId(user), customer_id=at, changes=changes, cost_points=10, **values)


def decided(
    who: Profile | None,
    row: Mapping | None = None,
    policy: Store | None = None,
    *,
    user: str = ADA,
    explicit: bool = False,
    now: datetime = NOW,
    absence: Absence = PLANNED,
    **view: Any,
) -> Decision:
    """The decision; keywords are what the looking half has seen."""
    name = who.clerk_user_id if who is not None else ClerkUserId(user)
    return decide(name, who, row, View(**view), policy or store(), now=now, explicit=explicit, absence=absence)


def after(decision: Decision) -> dict[str, Any]:
    """What the action would write, by field."""
    return {} if decision.action is None else {c.field: c.after for c in decision.action.changes}


def why(decision: Decision) -> dict[str, str]:
    return {} if decision.action is None else {c.field: c.why for c in decision.action.changes}


def held(decision: Decision) -> set[tuple[str, str | None]]:
    """Reason and field of each hold."""
    return {(h.reason, h.field) for h in decision.holds}


def kind(decision: Decision) -> str | None:
    return decision.action.kind if decision.action else None


Fields = MappingOf[str, Any]
