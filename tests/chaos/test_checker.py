"""The checker sees what it is there to see: each test breaks one thing in a world that is right, and only that is found."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from tests.chaos.checker import APP_TAG, KINDS, LEAVE_TAG, Customer, Life, Violation, check, row_violations
from tests.chaos.people import EU, US, Bystander, Population, User
from tests.chaos.watch import Starved

GRACE_S = 30.0
NOW = 1_000.0


def customer_of(user: User, shop: str, number: int = 1, **changes: Any) -> Customer:
    made = Customer(
        shop, f"gid://shopify/Customer/{number}", user.email, user.first, user.last, user.phone, None,
        (APP_TAG, "wave-0"), 0, user.id, user.avatar,
    )  # fmt: skip
    return replace(made, **changes)


@pytest.fixture
def user() -> User:
    return User("user_a", "app", "a@example.com", "Ada", "Byron", "+12122000001", "https://img.example.com/1.png")


@pytest.fixture
def population(user: User) -> Population:
    return Population(users={user.id: user})


def kinds(population: Population, us: list[Customer], eu: list[Customer], *lives: Life) -> set[str]:
    found = check(population, {US: us, EU: eu}, lives, grace_s=GRACE_S)
    assert {each.kind for each in found} <= set(KINDS)
    return {each.kind for each in found}


def test_a_world_that_is_right_has_no_violation(population: Population, user: User) -> None:
    life = Life(US, "gid://shopify/Customer/1", [(NOW, user.id, user.email)])
    assert kinds(population, [customer_of(user, US)], [customer_of(user, EU)], life) == set()


@pytest.mark.parametrize(
    "changes",
    [
        {"email": "other@example.com"}, {"first": "Adah"}, {"last": None}, {"phone": None}, {"avatar": None},
        {"tags": (APP_TAG,)}, {"tags": ("wave-0",)}, {"tags": (APP_TAG, "wave-0", "wave-3")},
    ],
)  # fmt: skip
def test_every_field_is_compared(population: Population, user: User, changes: dict[str, Any]) -> None:
    assert kinds(population, [customer_of(user, US, **changes)], [customer_of(user, EU)]) == {"wrong"}


def test_a_tag_of_the_staff_must_stay(population: Population, user: User) -> None:
    population.foreign_tags[US, "gid://shopify/Customer/1"] = {"vip"}
    assert kinds(population, [customer_of(user, US)], [customer_of(user, EU)]) == {"wrong"}


def test_who_has_no_customer_is_lost_and_who_has_two_is_doubled(population: Population, user: User) -> None:
    assert kinds(population, [], [customer_of(user, EU)]) == {"lost"}
    two = [customer_of(user, US), customer_of(user, US, 2, email="b@example.com")]
    assert kinds(population, two, [customer_of(user, EU)]) == {"doubled"}


def test_a_customer_beside_the_guest_with_the_same_address_is_a_double(population: Population, user: User) -> None:
    guest = Bystander(US, "gid://shopify/Customer/9", user.email, "G", "H", None, (), guest=True, taken_by=user.id)
    population.bystanders[US, guest.id] = guest
    beside = [customer_of(user, US), customer_of(user, US, 9, owner=None)]
    assert kinds(population, beside, [customer_of(user, EU)]) == {"doubled"}


def test_who_left_has_to_be_gone_where_the_policy_says_so(population: Population, user: User) -> None:
    user.here = False
    user.away = {US: [(NOW, None)], EU: [(NOW, None)]}
    assert kinds(population, [customer_of(user, US)], [customer_of(user, EU)]) == {"not released"}
    assert kinds(population, [customer_of(user, US, orders=1)], [customer_of(user, EU)]) == {"not released"}
    bought = customer_of(user, US, orders=1, tags=(LEAVE_TAG,))
    assert kinds(population, [bought], [customer_of(user, EU)]) == set()


def test_a_customer_in_a_shop_that_never_wanted_the_user_is_unwanted(population: Population, user: User) -> None:
    user.shops = {US}
    assert kinds(population, [customer_of(user, US)], [customer_of(user, EU)]) == {"unwanted"}


@pytest.mark.parametrize(
    "changes",
    [{"first": "X"}, {"note": "new"}, {"tags": ("app-user",)}, {"owner": "user_x"}, {"email": "x@example.com"}],
)
def test_bystanders_stay_as_staff_left_them(population: Population, user: User, changes: dict[str, Any]) -> None:
    each = Bystander(US, "gid://shopify/Customer/5", "s@example.org", "S", "T", None, ("vip",))
    population.bystanders[US, each.id] = each
    as_left = Customer(US, each.id, each.email, "S", "T", None, None, ("vip",), 0, None, None)
    right = [customer_of(user, US), as_left], [customer_of(user, EU)]
    assert kinds(population, *right) == set()
    touched = replace(as_left, **changes)
    assert kinds(population, [customer_of(user, US), touched], [customer_of(user, EU)]) == {"bystander touched"}
    assert kinds(population, [customer_of(user, US)], [customer_of(user, EU)]) == {"bystander touched"}


def test_a_customer_taken_from_a_user_who_was_there_is_taken_over(population: Population, user: User) -> None:
    other = User("user_b", "app", "b@example.com", "B", "C")
    other.shops = set()
    population.users["user_b"] = other
    right = [customer_of(user, US)], [customer_of(user, EU)]
    taken = Life(
        US, "gid://shopify/Customer/1", [(NOW, "user_b", "a@example.com"), (NOW + 9, user.id, "a@example.com")]
    )
    assert kinds(population, *right, taken) == {"taken over"}
    other.away[US].append((NOW, None))
    assert kinds(population, *right, taken) == set()
    stranger = Life(US, "gid://shopify/Customer/1", [(NOW, None, "s@example.org"), (NOW + 9, user.id, "a@example.com")])
    assert kinds(population, *right, stranger) == {"taken over"}


def test_a_customer_may_be_deleted_only_when_the_user_was_away_shortly_before(
    population: Population, user: User
) -> None:
    right = [customer_of(user, US, 2)], [customer_of(user, EU)]
    gone = Life(US, "gid://shopify/Customer/1", [(NOW, user.id, user.email)], gone_at=NOW + 500)
    assert kinds(population, *right, gone) == {"deleted although there"}
    user.away[US].append((NOW + 100, NOW + 400))
    assert kinds(population, *right, gone) == {"deleted although there"}
    user.away[US].append((NOW + 450, NOW + 480))
    assert kinds(population, *right, gone) == set()
    population.staff_deleted.add((US, "gid://shopify/Customer/1"))
    user.away[US].clear()
    assert kinds(population, *right, gone) == set()
    nobodys = Life(US, "gid://shopify/Customer/3", [(NOW, None, "s@example.org")], gone_at=NOW + 5)
    assert kinds(population, *right, nobodys) == {"deleted although there"}


def row_of(user: User, **changes: object) -> dict[str, object]:
    return {
        "email": user.email, "first_name": user.first, "last_name": user.last, "phone": user.phone, "deleted_at": None,
        "metadata": {"us": True, "eu": True}, **changes,
    }  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {"email": None},
        {"phone": "+1"},
        {"deleted_at": "now"},
        {"metadata": {}},
        {"metadata": '{"us": true, "eu": true}'},
    ],
)
def test_rows_are_compared_as_well(population: Population, user: User, changes: dict[str, Any]) -> None:
    assert row_violations(population, {user.id: row_of(user)}) == []
    assert {v.kind for v in row_violations(population, {user.id: row_of(user, **changes)})} == {"profile wrong"}


def test_what_the_app_keeps_in_metadata_must_stay_and_a_deleted_row_must_not_return(
    population: Population, user: User
) -> None:
    population.plans[user.id] = "plan 7"
    assert row_violations(population, {user.id: row_of(user)}) == [
        Violation("profile wrong", user.id, "plan in metadata: None instead of 'plan 7'")
    ]
    user.here = False
    assert [v.kind for v in row_violations(population, {user.id: row_of(user)})] == ["profile wrong"]
    assert row_violations(population, {}) == []


def test_a_user_that_clerk_deleted_needs_no_row_and_any_other_user_does(population: Population, user: User) -> None:
    assert [v.what for v in row_violations(population, {})] == ["no row"]
    user.marked = True
    assert [v.what for v in row_violations(population, {})] == ["no row"]
    user.source = "clerk"
    assert row_violations(population, {}) == []


def test_what_staff_have_merged_is_theirs_for_its_owner_and_its_tags_alone(population: Population, user: User) -> None:
    merged = customer_of(user, US, tags=(APP_TAG, "wave-0", "wave-3"))
    life = Life(US, merged.id, [(NOW, None, "s@example.org"), (NOW + 9, user.id, "a@example.com")])
    assert kinds(population, [merged], [customer_of(user, EU)], life) == {"wrong", "taken over"}
    population.staff_merged.add((US, merged.id))
    population.merged_tags[US, merged.id] = {"wave-3"}
    assert kinds(population, [merged], [customer_of(user, EU)], life) == set()
    renamed = replace(merged, first="X")
    assert kinds(population, [renamed], [customer_of(user, EU)], life) == {"wrong"}


def test_an_old_tag_may_stay_where_the_shop_respells_tags(population: Population, user: User) -> None:
    old = [customer_of(user, US, tags=(APP_TAG, "wave-0", "wave-3"))], [customer_of(user, EU)]
    assert kinds(population, *old) == {"wrong"}
    population.respelt = True
    assert kinds(population, *old) == set()


def test_time_without_a_processor_is_not_counted() -> None:
    starved = Starved()
    assert starved.within_s(5.0) == 0.0
    now = time.monotonic()
    starved.seen = [(now - 10, 100.0), (now - 6, 101.0), (now - 2, 103.5), (now, 104.0)]
    assert starved.within_s(5.0) == pytest.approx(3.0)
    assert starved.total_s() == pytest.approx(4.0)
