"""An exhaustive walk over a tiny world: every profile of two users, every pair of customers, every mapping.

Two shops with different policies see each world. From each of them, what is not held becomes equal and stays so.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest

from reconciler.core.model.customer import Customer
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.mapping import Applied, Mapping
from reconciler.core.model.profile import Profile
from reconciler.core.model.store import Store
from reconciler.core.plan.plan import StorePlan
from tests.core.model import ModelWorld
from tests.core.people import ADA, BOB, customer, gid, mapping, profile, store

USERS = (ADA, BOB)
EMAILS = ("one@x.example.com", "two@x.example.com", None)
RELAXED = store(name="relaxed", require_email=False, on_leave="tag", trust_email="always")
STRICT = store(
    name="strict",
    on_email_conflict="hold",
    heal_drift="hold",
    on_missing="hold",
    fields={"email": "enforce", "first_name": "fill"},
)
Seen = tuple[str | None, str | None, str | None] | None  # email, first name, back-link


def rows() -> Iterator[tuple[Profile | None, Profile | None]]:
    """No one, or one of two addresses or none; the second user's name is the other one."""
    for one, two in product((*EMAILS, "gone"), repeat=2):
        yield (
            None if one == "gone" else profile(ADA, email=one, first_name="Ada"),
            None if two == "gone" else profile(BOB, email=two, first_name="Bob"),
        )


def shops() -> Iterator[tuple[Customer, ...]]:
    """Up to two customers: any address, named as the user or otherwise, carrying either user or no one."""
    each: list[Seen] = [None, *product(EMAILS, ("Ada", "Staff"), (ADA, BOB, None))]
    for one, two in product(each, repeat=2):
        if one is None and two is not None:
            continue
        there = [seen for seen in (one, two) if seen is not None]
        for unique in ([s[0] for s in there if s[0]], [s[2] for s in there if s[2]]):
            if len(unique) != len(set(unique)):
                break
        else:
            yield tuple(
                customer(n, email=e, first_name=f, backlink=b, can_delete=True) for n, (e, f, b) in enumerate(there, 1)
            )


def states(people: tuple[Customer, ...]) -> Iterator[tuple[Mapping, ...]]:
    """No mapping, or each user on what the shop says is theirs, or on a customer that is gone."""
    yield ()
    owned = {c.backlink: c for c in people}
    on = {u: owned[u].id if u in owned else gid(90 + i) for i, u in enumerate(USERS)}
    known = {"first_name": Applied(value="Ada", ours=True), "email": Applied(value=EMAILS[0], ours=True)}
    yield tuple(mapping(u, int(on[u].rsplit("/")[-1]), applied=known) for u in USERS)


def world(
    policy: Store, who: tuple[Profile | None, ...], people: tuple[Customer, ...], state: tuple[Mapping, ...]
) -> ModelWorld:
    made = ModelWorld(policy)
    made.profiles.rows = {p.clerk_user_id: p for p in who if p is not None}
    keeper = profile("user_zoe", email="zoe@x.example.com")  # an empty table would release no one
    made.profiles.rows[keeper.clerk_user_id] = keeper
    for each in people:
        made.shop.put(each)
    made.state.rows = {m.clerk_user_id: m for m in state}
    return made


def check(made: ModelWorld, last: StorePlan) -> None:
    whole = {h.clerk_user_id for h in last.holds if h.field is None}
    parts = {(h.clerk_user_id, h.field) for h in last.holds}
    for user, who in made.profiles.rows.items():
        theirs = [c for c in made.shop.people.values() if c.backlink == user]
        assert len(theirs) <= 1
        if user in whole or (not theirs and any(u == user for u, _ in parts)):
            continue
        assert theirs, f"{user} is not held and has no customer"
        if who.email and (user, "email") not in parts:
            assert theirs[0].email == who.email
        if (user, "first_name") not in parts:
            assert theirs[0].first_name == who.first_name or made.store.fields.first_name == "fill"
    for row in made.state.rows.values():
        there = made.shop.people.get(row.customer_id) if row.customer_id else None
        assert there is None or there.backlink in {None, row.clerk_user_id}


def takeovers(before: tuple[Customer, ...], made: ModelWorld, state: tuple[Mapping, ...]) -> None:
    """A customer is given to a user only by address or mapping, and taken only from one who has another or who left."""
    mapped = {(m.clerk_user_id, m.customer_id) for m in state}
    for was in before:
        now = made.shop.people[was.id]
        if now.backlink not in {was.backlink, None}:
            left = any(c.backlink == was.backlink and c.id != was.id for c in made.shop.people.values())
            gone = was.backlink not in made.profiles.rows and was.backlink in {u for u, _ in mapped}
            assert was.backlink is None or left or gone, f"{was.id} was taken from {was.backlink}"
            user = ClerkUserId(str(now.backlink))
            assert (user, was.id) in mapped or made.profiles.rows[user].email == was.email


def walk(part: int, parts: int) -> int:
    seen = 0
    for number, (who, people) in enumerate(product(list(rows()), list(shops()))):
        if number % parts != part:
            continue
        for state, policy in product(states(people), (RELAXED, STRICT)):
            made = world(policy, who, people, state)
            for _ in range(3):
                made.cycle()
            takeovers(people, made, state)
            writes = made.shop.writes
            last = made.cycle().plan
            assert not last.actions, last.actions
            assert made.shop.writes == writes
            check(made, last)
            seen += 1
    return seen


def test_a_slice_of_all_tiny_worlds_converges_but_for_holds() -> None:
    assert walk(0, 74) > 150


@pytest.mark.explore
@pytest.mark.timeout(3600)
def test_all_tiny_worlds_converge_but_for_holds() -> None:
    assert walk(0, 1) > 10_000
