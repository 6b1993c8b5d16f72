"""A scan that passes over who has not moved finds what a scan of everybody finds."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.controller.apply.plan import apply_plan
from reconciler.controller.mirror.refresh import fill
from reconciler.controller.scan.stream import Moved, Part, Watch, find_moved, parts_of
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.json import json_of
from reconciler.core.model.mapping import Mapping
from tests.controller.bulk_rig import NAME, populate, user_of
from tests.controller.mirror_rig import MirrorRig, customer, digest, learned
from tests.matrices import seeds

PEOPLE = 30


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[MirrorRig]:
    with MirrorRig(tmp_path) as made:
        yield made


def settle(rig: MirrorRig, *, people: int = PEOPLE) -> None:
    """Everybody made, reconciled once more, and the shop in the mirror."""
    populate(rig, people)
    rig.pour()
    for _ in range(2):
        list(apply_plan(rig.scan(fast=False), rig.store_context(rig.stores[NAME]), fresh=True))
    fill(rig.mirror())


def test_a_shop_where_nothing_has_moved_is_not_asked(rig: MirrorRig) -> None:
    settle(rig)
    before = rig.calls()
    scan_result = rig.scan(fast=True)
    assert rig.calls() == before
    assert (scan_result.plan.summary.in_sync, scan_result.profiles, scan_result.plan.summary.actions) == (
        PEOPLE,
        PEOPLE,
        0,
    )
    assert digest(rig, scan_result) == digest(rig, rig.scan(fast=False))


def test_a_row_that_was_only_touched_has_not_moved(rig: MirrorRig) -> None:
    settle(rig)
    rig.user(user_of(3))
    rig.pour()
    assert moved(rig) == []


def test_a_user_who_moved_on_either_side_is_found(rig: MirrorRig) -> None:
    settle(rig)
    rig.user(user_of(1), first_name="Adah")
    rig.leave(user_of(2))
    rig.user("user_new", email="new@x.example.com")
    rig.pour()
    rig.acme.shop.staff_edit(customer(rig, 4), last_name="Edited")
    rig.acme.shop.staff_delete(customer(rig, 5))
    fill(rig.mirror())
    assert moved(rig) == [user_of(1), user_of(2), user_of(4), user_of(5), "user_new"]


def test_another_policy_passes_over_no_one(rig: MirrorRig) -> None:
    settle(rig)
    rig.rotate(NAME, tags=["app-user", "vip"])
    assert len(moved(rig)) == PEOPLE


def test_a_user_agreed_to_for_a_time_is_always_found(rig: MirrorRig) -> None:
    settle(rig)
    accept = [{"user": user_of(7), "fields": ["note"], "until": "2099-01-01", "why": "asked for"}]
    rig.rotate(NAME, accept=accept)
    list(apply_plan(rig.scan(fast=False), rig.store_context(rig.stores[NAME]), fresh=True))
    assert moved(rig) == [user_of(7)]


def test_a_user_with_two_rows_is_observed(rig: MirrorRig) -> None:
    settle(rig)
    rig.pour((user_of(9), "other@x.example.com", 1, "Nina", None, None, None, None, None, None))
    assert moved(rig) == [user_of(9)]
    assert digest(rig, rig.scan(fast=True)) == digest(rig, rig.scan(fast=False))


def test_a_key_that_is_no_text_is_held_as_in_a_live_scan(rig: MirrorRig) -> None:
    settle(rig)
    rig.pour((b"user_\xff", "odd@x.example.com", 1, "Odd", None, None, None, None, None, None))
    fast, live = rig.scan(fast=True), rig.scan(fast=False)
    assert digest(rig, fast) == digest(rig, live)
    assert [hold.reason for hold in fast.plan.holds] == ["ProfileInvalid"]


def test_half_a_table_gone_is_seen_whole_a_part_at_a_time(rig: MirrorRig) -> None:
    settle(rig)
    for number in (*range(3, 17), 28, 29):
        rig.leave(user_of(number))
    rig.pour()
    found = find_moved([(rig.stores[NAME], rig.state)], rig.table, rows_max=5, pairs_max=4)[0]
    assert users_of(found) == [user_of(n) for n in (*range(3, 17), 28, 29)]
    assert digest(rig, rig.scan(fast=True, moved=found)) == digest(rig, rig.scan(fast=False))


def test_one_pass_serves_any_number_of_stores(rig: MirrorRig) -> None:
    settle(rig)
    one = rig.stores[NAME]
    no_one = one.model_copy(update={"shop": "other.myshopify.com", "where": {"metadata.tier": "iron"}})
    everybody = one.model_copy(update={"shop": "third.myshopify.com"})
    found = find_moved([(one, rig.state), (no_one, rig.state), (everybody, rig.state)], rig.table)
    assert [(each.equal, len(users_of(each))) for each in found] == [(PEOPLE, 0), (0, 0), (0, PEOPLE)]


def test_names_beyond_memory_come_back_from_a_file() -> None:
    names = [ClerkUserId(f'user "{n}"\n') for n in range(300)]
    found = Moved(in_memory_bytes=100)
    found.add(Part(None, 300, 0, names))
    assert [name for part in found.chunks(7) for name in part] == names


@pytest.mark.parametrize("seed", seeds(6, quick=2))
def test_random_edits_on_all_sides_give_the_same_plan_fast_and_live(rig: MirrorRig, seed: int) -> None:
    print(f"seed {seed}")  # noqa: T201  shown where it fails
    chance = random.Random(seed)
    settle(rig, people=12)
    for _ in range(4):
        for _ in range(chance.randrange(1, 7)):
            edit(rig, chance)
        rig.pour()
        fill(rig.mirror())
        fast, live, full = rig.scan(fast=True), rig.scan(fast=False), rig.scan(fast=False, decide_all=True)
        assert digest(rig, fast) == digest(rig, live) == digest(rig, full)
        assert fast.profiles == live.profiles == full.profiles
        known = {m.clerk_user_id: m for m in rig.mappings(NAME)}
        taught = {u for u, row in learned(full).items() if _said(row) != _said(known.get(ClerkUserId(u)))}
        assert taught <= learned(fast).keys()
        assert taught <= learned(live).keys()
        list(apply_plan(fast, rig.store_context(rig.stores[NAME]), fresh=True))
    rig.clock.sleep(4000)
    fill(rig.mirror())
    assert digest(rig, rig.scan(fast=True)) == digest(rig, rig.scan(fast=False))


def edit(rig: MirrorRig, chance: random.Random) -> None:
    """One thing that somebody does somewhere."""
    user = user_of(chance.randrange(14))
    people = sorted(rig.people(NAME))
    who = chance.choice(people) if people else None
    match chance.randrange(9):
        case 0:
            rig.user(user, email=f"person{chance.randrange(16)}@x.example.com")
        case 1:
            rig.user(user, first_name=chance.choice(["Ada", "Bo", None]), last_name="Turner")
        case 2:
            rig.leave(user)
        case 3 if who is not None:
            rig.acme.shop.staff_edit(who, first_name=chance.choice(["Zoe", "Yan"]))
        case 4 if who is not None:
            rig.acme.shop.staff_edit(who, note="called twice")
        case 5 if who is not None:
            rig.acme.shop.staff_delete(who)
        case 6 if who is not None:
            rig.acme.shop.staff_untag(who, ["app-user"])
        case 7 if who is not None and rig.people(NAME)[who].backlink is not None:
            rig.acme.shop.staff_delete_metafield(who, "clerk", "user_id")
        case _:
            rig.user(user, metadata={"tier": chance.choice(["gold", "tin"])})


def moved(rig: MirrorRig) -> list[Any]:
    return users_of(find_moved([(rig.stores[NAME], rig.state)], rig.table)[0])


def users_of(found: Moved) -> list[Any]:
    return [user for users in found.chunks(100) for user in users]


def _said(row: Mapping | None) -> Any:
    aside = {"last_seen_at", "profile_fp", "observed_fp"}
    return None if row is None else json_of(row, exclude=aside)


@pytest.mark.matrix
@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_a_scan_that_continues_behind_a_user_finds_what_a_whole_one_finds_there(
    rig: MirrorRig, seed: int, *, live: bool
) -> None:
    print(f"seed {seed}")  # noqa: T201  shown where it fails
    chance = random.Random(seed)
    settle(rig)
    for number in chance.sample(range(PEOPLE), 8):
        rig.leave(user_of(number))
    rig.user("user_new", email="new@x.example.com")
    rig.pour()
    whole = parts(rig, None, live=live)
    users = [user for part in whole for user in part.users]
    assert sum(part.equal for part in whole) == (0 if live else PEOPLE - 8)
    keys = [*map(user_of, range(PEOPLE)), "user_0005x", "v"]
    for after in map(ClerkUserId, chance.sample(keys, 5)):
        found = parts(rig, after, live=live)
        assert [user for part in found for user in part.users] == [user for user in users if user > after]
        assert sum(part.rows for part in found) == sum(user > after for user in rig.profiles.rows)


def test_a_scan_that_continues_meets_each_odd_row_once(rig: MirrorRig) -> None:
    settle(rig)
    rig.pour((b"user_\xff", "odd@x.example.com", 1, "Odd", None, None, None, None, None, None))
    for after in (None, ClerkUserId(user_of(7))):
        assert sum(len(part.odd) for part in parts(rig, after, live=False)) == 1


def test_a_live_scan_names_everybody_who_is_mapped_or_wanted(rig: MirrorRig) -> None:
    settle(rig)
    rig.user("user_new", email="new@x.example.com")
    rig.leave(user_of(2))
    rig.pour()
    found = parts(rig, None, live=True)
    assert [user for part in found for user in part.users] == [*map(user_of, range(PEOPLE)), "user_new"]


def parts(rig: MirrorRig, after: ClerkUserId | None, *, live: bool) -> list[Part]:
    watch = Watch(rig.stores[NAME], rig.state, live=live)
    return [part for _, part in parts_of([watch], rig.table, after=after, rows_max=5)]
