"""The same world by another way: order of stores, users and pages, and applies cut into parts, change nothing of the end."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tests.explore.machine import STORES, store
from tests.inprocess import Rig, Shown

pytestmark = pytest.mark.slow

SEEDS = range(2)  # the seed is in the name of each test
USERS = tuple(f"user_{letter}" for letter in "ABCDEF")


def make(folder: Path, seed: int) -> Rig:
    """Six users in two shops with guests in the way; then half of them change, two swap and one leaves."""
    dice = random.Random(seed)
    folder.mkdir()
    rig = Rig(folder, store("left"), store("right", on_email_conflict="hold", on_leave="tag"))
    for name in STORES:
        for user in dice.sample(USERS, 3):
            rig.sim(name).staff("guest_checkout", email=f"{user}@x.example.com".upper(), note="guest")
    order = list(USERS)
    dice.shuffle(order)
    for user in order:
        rig.user(user, email=f"{user}@x.example.com", first_name=dice.choice(["Ada", "Bob", None]))
    rig.cycle()
    for user in dice.sample(USERS, 3):
        rig.user(user, last_name="Changed", image_url="https://img.example.com/1.png")
    one, two, three, four = dice.sample(USERS, 4)
    rig.user(one, email=f"{two}@x.example.com")
    rig.user(two, email=f"{one}@x.example.com")
    rig.sim("left").staff("guest_checkout", email="new@x.example.com")
    rig.user(three, email="new@x.example.com")
    rig.leave(four)
    return rig


def end(rig: Rig, name: str) -> list[tuple[Any, ...]]:
    """The customers of a shop without what only tells the order in which they were made."""

    def plain(c: Shown) -> tuple[Any, ...]:
        said = (c.email, c.first_name, c.last_name, c.phone, c.note, c.tags, c.backlink, c.orders)
        return (*(str(v) for v in said), str("clerk.moved_to" in c.metafields))

    return sorted(plain(c) for c in rig.people(name).values())


def whole(rig: Rig) -> None:
    rig.cycle()


def stores_backwards(rig: Rig) -> None:
    rig.backwards = True
    rig.cycle()


def rows_backwards_one_a_page(rig: Rig) -> None:
    rig.profiles.backwards, rig.profiles.page = True, 1
    rig.cycle()


def store_by_store(rig: Rig) -> None:
    for name in reversed(STORES):
        rig.cycle([name])


def saved(rig: Rig) -> None:
    rig.apply(rig.plan(), fresh=False)


def in_a_file(rig: Rig) -> None:
    rig.in_memory_bytes = 1
    rig.cycle()


@pytest.mark.matrix
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("way", [stores_backwards, rows_backwards_one_a_page, store_by_store, saved, in_a_file])
def test_another_way_leads_to_the_same_end_with_as_many_writes(tmp_path: Path, way: Any, seed: int) -> None:
    with make(tmp_path / "one", seed) as one, make(tmp_path / "other", seed) as other:
        before = one.mutations()
        assert other.mutations() == before
        whole(one)
        way(other)
        assert [end(one, name) for name in STORES] == [end(other, name) for name in STORES]
        assert one.mutations() == other.mutations()
        assert one.cycle().mutations == other.cycle().mutations == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_users_one_by_one_lead_to_the_same_end(tmp_path: Path, seed: int) -> None:
    """A circle can't be turned by looks at one user alone: the swap is left to a whole look, and goes then."""
    with make(tmp_path / "one", seed) as one, make(tmp_path / "other", seed) as other:
        whole(one)
        for user in USERS:
            other.cycle(users=[user])
        whole(other)
        assert [end(one, name) for name in STORES] == [end(other, name) for name in STORES]
        assert other.cycle().mutations == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_requests_one_by_one_lead_to_the_same_end_as_a_plan(tmp_path: Path, seed: int) -> None:
    """What `run` does is what `plan` showed; of two who swap, the rest of the patch may go ahead."""
    with make(tmp_path / "one", seed) as one, make(tmp_path / "other", seed) as other:
        whole(one)
        for name in STORES:
            other.requested(name, *USERS)
        assert [end(one, name) for name in STORES] == [end(other, name) for name in STORES]
        assert one.mutations() <= other.mutations() <= one.mutations() + 2 * len(STORES)
        assert other.cycle().mutations == 0
