"""One request walked from its name to its status, and who is nudged by it. In process, as a worker of `run` does it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from reconciler.controller.reconcile import reconcile
from reconciler.core.ids import ClerkUserId
from reconciler.core.store import Store
from tests.core.people import store
from tests.inprocess import Rig

ADA, BOB, CYD = "user_ada", "user_bob", "user_cyd"
THREE = (ADA, BOB, CYD)


def acme(**policy: Any) -> Store:
    guards = {k: {"max": 99} for k in ("update", "relink", "merge", "release")}
    return store(**{"guards": guards, **policy})


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Rig]:
    with Rig(tmp_path, acme()) as made:
        for user in THREE:
            made.user(user, email=f"{user}@x.example.com", first_name=user)
        made.requested("acme", *THREE)
        yield made


def told(house: Rig, *users: str) -> list[tuple[str, str]]:
    return [(user, found.result) for user, found in house.requested("acme", *users)]


def emails(house: Rig) -> dict[str | None, str | None]:
    return {c.backlink: c.email for c in house.people("acme").values()}


def test_a_request_does_what_the_plan_showed_and_then_nothing(house: Rig) -> None:
    house.user(ADA, last_name="New")
    shown = house.plan(users=[ADA]).plan.stores[0].actions
    before = house.mutations()
    assert told(house, ADA) == [(ADA, "applied")]
    assert house.mutations() - before == len(shown) == 1
    assert told(house, ADA) == [(ADA, "in_sync")]


def test_a_request_for_somebody_unknown_is_nothing(house: Rig) -> None:
    assert told(house, "user_nobody") == [("user_nobody", "nothing")]


def test_a_held_user_is_told_with_her_reasons(house: Rig) -> None:
    house.user("user_dee", email=None)
    [(_, found)] = house.requested("acme", "user_dee")
    assert (found.result, found.reasons) == ("held", ("NoEmail",))
    row = house.mapping("acme", "user_dee")
    assert row is not None
    assert (row.status, row.reason) == ("held", "NoEmail")


def test_who_waits_for_an_address_is_nudged_when_it_becomes_free(house: Rig) -> None:
    house.user(ADA, email=f"{BOB}@x.example.com", last_name="New")
    told(house, ADA)
    assert emails(house)[ADA] == f"{ADA}@x.example.com"
    row = house.mapping("acme", ADA)
    assert row is not None
    assert row.waits_for_email == f"{BOB}@x.example.com"
    house.user(BOB, email="bob2@x.example.com")
    assert told(house, BOB)[-1] == (ADA, "applied")
    assert emails(house)[ADA] == f"{BOB}@x.example.com"
    assert house.plan().plan.summary.actions == 0


def test_of_two_newcomers_with_one_address_the_one_who_keeps_it_is_looked_at_when_the_other_changes_hers(
    house: Rig,
) -> None:
    for user in ("user_dee", "user_eve"):
        house.user(user, email="both@x.example.com")
    assert {result for _, result in told(house, "user_dee", "user_eve")} == {"held"}
    house.user("user_dee", email="dee@x.example.com")
    assert told(house, "user_dee") == [("user_dee", "applied"), ("user_eve", "applied")]
    assert emails(house)["user_eve"] == "both@x.example.com"
    assert house.plan().plan.summary.actions == 0


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("first", [0, 1])
def test_a_circle_turns_by_nudges_alone(house: Rig, size: int, first: int, *, lost: bool) -> None:
    users = THREE[:size]
    before = {c.backlink: c.id for c in house.people("acme").values()}
    for i, user in enumerate(users):
        house.user(user, email=f"{users[(i + 1) % size]}@x.example.com")
    if lost:
        house.lose_state()
    house.requested("acme", users[first])
    assert {c.backlink: c.id for c in house.people("acme").values()} == before
    assert [emails(house)[u] for u in users] == [f"{users[(i + 1) % size]}@x.example.com" for i in range(size)]
    assert house.plan().plan.summary.actions == 0


def test_a_circle_that_nobody_can_break_is_told_to_each(tmp_path: Path) -> None:
    with Rig(tmp_path, acme()) as bare:
        for user in (ADA, BOB):
            bare.user(user, email=f"{user}@x.example.com")
        bare.requested("acme", ADA, BOB)
        bare.user(ADA, email=f"{BOB}@x.example.com")
        bare.user(BOB, email=f"{ADA}@x.example.com")
        bare.requested("acme", ADA, BOB, turns=6)
        row = bare.mapping("acme", ADA)
        assert row is not None
        assert row.reason == "EmailConflict"
        assert emails(bare) == {ADA: f"{ADA}@x.example.com", BOB: f"{BOB}@x.example.com"}


def test_the_hours_budget_ends_and_comes_back(house: Rig) -> None:
    house.rotate("acme", guards={"update": {"max": 1}})
    house.clock.sleep(3600)
    for user in (ADA, BOB):
        house.user(user, last_name="New")
    assert told(house, ADA, BOB) == [(ADA, "applied"), (BOB, "held")]
    row = house.mapping("acme", BOB)
    assert row is not None
    assert row.reason == "GuardExceeded"
    house.clock.sleep(3600)
    assert told(house, BOB) == [(BOB, "applied")]


def test_a_percentage_of_few_mappings_is_named_where_it_lets_nobody_go(house: Rig) -> None:
    house.rotate("acme", guards={"update": {"max": 500, "percent": 1}})
    house.clock.sleep(3600)
    house.user(ADA, last_name="New")
    assert told(house, ADA) == [(ADA, "held")]
    row = house.mapping("acme", ADA)
    assert row is not None
    assert row.message == "this hour's budget for update is spent: none at most (1 % of its mappings; max is 500)"


def test_a_user_whose_row_is_not_there_yet_is_looked_at_later_and_released_by_nobody(house: Rig) -> None:
    hands = house.hands(next(iter(house.stores.values())))
    wanted = house.clock.now() + timedelta(seconds=5)
    house.leave(ADA)
    for user in (ClerkUserId(ADA), ClerkUserId("user_new")):
        assert reconcile(user, hands, house.state, wants_updated_at=wanted).result == "early"
    assert emails(house)[ADA] is not None
    house.requested("acme", ADA)
    assert reconcile(ClerkUserId(ADA), hands, house.state, wants_updated_at=wanted).result != "early"


def test_a_look_that_can_t_be_done_is_an_error_of_the_edge(house: Rig) -> None:
    house.user(ADA, last_name="New")
    house.sim("acme").faults.add("lost_before", on="customerSet", times=None)
    [(_, found)] = house.requested("acme", ADA)
    assert found.result == "failed"
