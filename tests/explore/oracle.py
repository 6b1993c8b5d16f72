"""What must hold of any world, said without the product's own diff: judged from whole customers before and after.

A `Witness` remembers what we wrote, so that it can tell a value of ours that is cleared from somebody else's.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from typing import Any

from reconciler.core.model.ids import CustomerId
from reconciler.core.model.profile import Profile
from reconciler.core.model.store import Store
from reconciler.core.plan.plan import StorePlan
from tests.inprocess import Cycle, Rig, Shown

SCALARS = ("email", "first_name", "last_name", "phone", "locale", "note")
Whole = dict[CustomerId, Shown]
BLANK: dict[str, Any] = {**dict.fromkeys(SCALARS), "tags": ()}


def key(field: str, value: str | None) -> str | None:
    """A value as it counts: Shopify compares emails without blanks and case, and trims the rest."""
    text = (value or "").strip()
    return ("".join(text.split()).lower() if field == "email" else text) or None


class Witness:
    """Sees what each cycle did to each shop, and objects to what no policy allows."""

    def __init__(self) -> None:
        self.wrote: defaultdict[tuple[CustomerId, str], set[str | None]] = defaultdict(set)
        self.tagged: defaultdict[CustomerId, set[str]] = defaultdict(set)

    def judge(self, rig: Rig, store: Store, before: Whole, after: Whole, *, may_vanish: bool, merged: bool) -> None:
        """One apply of one store, from the outside."""
        twice = [u for u, n in Counter(c.backlink for c in after.values() if c.backlink).items() if n > 1]
        assert not twice, f"two customers of {store.shop} carry the back-link of {twice}"
        if not may_vanish:
            assert before.keys() <= after.keys(), f"customers are gone: {sorted(before.keys() - after.keys())}"
        for at, now in after.items():
            was = before.get(at)
            if was is None:
                assert now.backlink, f"{at} was made without a back-link"
                self._remember(replace(now, **BLANK), now)
                continue
            if not merged:  # a merge unites orders, tags, notes and metafields
                self._unowned(store, was, now)
                self._fields(rig, store, was, now)
                self._tags(store, was, now)
            self._takeover(rig, store, was, now)
            self._remember(was, now)

    def _unowned(self, store: Store, was: Shown, now: Shown) -> None:
        """Consent, addresses, tax, state, orders and metafields of others stay as they are."""
        assert now.rest == was.rest, f"{was.id}: {was.rest} became {now.rest}"
        assert now.orders == was.orders
        trace = f"{store.backlink.namespace}.moved_to"
        for name in was.metafields.keys() | now.metafields.keys():
            if name not in store.metafields and name != trace:
                assert was.metafields.get(name) == now.metafields.get(name), f"{was.id}: foreign metafield {name}"

    def _fields(self, rig: Rig, store: Store, was: Shown, now: Shown) -> None:
        for field in SCALARS:
            old, new = getattr(was, field), getattr(now, field)
            if old == new:
                continue
            policy = getattr(store.fields, field)
            if field == "email" and self._is_parked(rig, store, was, now):
                continue
            assert policy not in {"ignore", "create_only"}, f"{was.id}: {field} is {policy}, and {old!r} became {new!r}"
            if policy == "fill":
                ours = key(field, old) in self.wrote[was.id, field]
                assert key(field, old) is None or (new is None and ours), f"{was.id}: {field} was filled over {old!r}"
            if key(field, new) is None:
                assert field != "email", f"{was.id}: the email was cleared"
                assert key(field, old) in self.wrote[was.id, field], f"{was.id}: {field} {old!r} was cleared, not ours"

    def _is_parked(self, rig: Rig, store: Store, was: Shown, now: Shown) -> bool:
        """Their address is removed for a moment, and the state says so; or they have it back."""
        if was.email is None:
            return True
        rows = [m for m in rig.mappings(store.name) if m.customer_id == was.id]
        return now.email is None and any(m.parked_values.get("email") == was.email for m in rows)

    def _tags(self, store: Store, was: Shown, now: Shown) -> None:
        lost = {t.casefold() for t in was.tags} - {t.casefold() for t in now.tags}
        new = {t.casefold() for t in now.tags} - {t.casefold() for t in was.tags}
        assert lost <= self.tagged[was.id], f"{was.id}: tags {lost} were taken off, and are not ours"
        ours = {t.casefold() for t in (*store.tags, store.leave_tag)}
        assert new <= ours, f"{was.id}: tags {new} were added, and no one asked for them"

    def _takeover(self, rig: Rig, store: Store, was: Shown, now: Shown) -> None:
        if now.backlink == was.backlink:
            return
        free = was.backlink is None or now.backlink is None or self._has_left(rig, store, was.backlink)
        assert free, f"{was.id} was taken from {was.backlink}"
        if now.backlink is None:
            return
        profile = next((p for p in rig.profiles.rows.values() if p.clerk_user_id == now.backlink), None)
        assert profile is not None, f"{was.id} was given to {now.backlink}, who has no profile"
        theirs = any(key("email", e) == key("email", profile.email) for e in (was.email, now.email))
        trusted = store.trust_email == "always" or profile.email_verified is True
        known = (now.backlink, was.id) in self.mapped
        assert known or (theirs and trusted), f"{was.id} was taken over by {now.backlink}"

    def _has_left(self, rig: Rig, store: Store, user: str) -> bool:
        """Their profile is gone, or the store released them: the customer is free for who has its verified email."""
        there = any(p.clerk_user_id == user and not p.deleted for p in rig.profiles.rows.values())
        released = any(m.clerk_user_id == user and m.status == "released" for m in rig.mappings(store.name))
        return released or not there

    mapped: frozenset[tuple[str, CustomerId]] = frozenset()
    """Which customer was which user's by the state before the cycle."""

    def _remember(self, was: Shown, now: Shown) -> None:
        for field in SCALARS:
            if getattr(was, field) != getattr(now, field):
                self.wrote[was.id, field].add(key(field, getattr(now, field)))
        had = {t.casefold() for t in was.tags}
        self.tagged[was.id] |= {t.casefold() for t in now.tags} - had


def mappings_are_sound(rig: Rig, name: str) -> None:
    """A customer is one user's at most, and no mapping points at the customer of another."""
    people = rig.people(name)
    rows = [m for m in rig.mappings(name) if m.customer_id is not None]
    assert len({m.customer_id for m in rows}) == len(rows), f"{name}: two users are mapped to one customer"
    for row in rows:
        there = people.get(row.customer_id) if row.customer_id else None
        if there is not None and row.status != "erased":
            assert there.backlink in {None, row.clerk_user_id}, f"{row.clerk_user_id} points at {there}"


def guards_were_kept(store: Store, plan: StorePlan, mapped: int) -> None:
    """No kind of action is above its ceiling."""
    for kind, n in Counter(a.kind for a in plan.actions).items():
        ceiling = getattr(store.guards, kind)
        assert n <= ceiling.max, f"{n} {kind} actions pass a ceiling of {ceiling.max}"
        if ceiling.percent is not None and mapped:
            assert 100 * n <= ceiling.percent * mapped


def is_equal_but_for_holds(rig: Rig, cycle: Cycle) -> None:
    """Every user who is wanted and not held has exactly one customer, and it says what their profile says."""
    for part in cycle.planned.plan.stores:
        store = rig.stores[part.store]
        people = rig.people(store.name)
        whole = {h.clerk_user_id for h in part.holds if h.field is None}
        fields = {(h.clerk_user_id, h.field) for h in part.holds}
        for user, profile in rig.profiles.rows.items():
            if profile.deleted or user in whole or store.paused or not _is_wanted(profile, store):
                continue
            theirs = [c for c in people.values() if c.backlink == user]
            if not theirs and any(u == user for u, _ in fields):
                continue
            assert len(theirs) == 1, f"{user} has {len(theirs)} customers in {store.shop}"
            _says_what_the_user_is(store, profile, theirs[0], {f for u, f in fields if u == user and f})


def _is_wanted(profile: Profile, store: Store) -> bool:
    """The machine's selectors name columns of text with lists of values."""
    return all(isinstance(values, list) and getattr(profile, field) in values for field, values in store.where.items())


def _says_what_the_user_is(store: Store, profile: Profile, customer: Shown, held: set[str]) -> None:
    for field in SCALARS:
        wanted, there = key(field, getattr(profile, field)), key(field, getattr(customer, field))
        policy = getattr(store.fields, field)
        if policy == "enforce" and field not in held and wanted is not None:
            assert there == wanted, f"{customer.id}: {field} is {there!r}, not {wanted!r}"
        if policy == "fill" and field not in held and wanted is not None:
            assert there is not None, f"{customer.id}: {field} is blank, not {wanted!r}"
    if "tags" not in held:
        assert {t.casefold() for t in store.tags} <= {t.casefold() for t in customer.tags}
    for name, rule in store.metafields.items():
        value = profile.value_at(rule.source)
        if rule.policy == "enforce" and value and f"metafields.{name}" not in held:
            assert customer.metafields.get(name) == value
