"""A user who has moved is searched in the mirror first: what that may settle, and what it must leave to the shop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from reconciler.controller.apply.plan import apply_plan
from reconciler.controller.bulk.context import BulkContext
from reconciler.controller.mirror.reader import MirrorReader, customer_as_observed
from reconciler.controller.mirror.refresh import fill, seen_of
from reconciler.core.model.customer import Customer, MetafieldValue
from reconciler.core.model.ids import ClerkUserId, CustomerId
from reconciler.ports import Known
from tests.controller.bulk_rig import NAME, populate, user_of
from tests.controller.mirror_rig import MirrorRig, customer, digest

PEOPLE = 12


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[MirrorRig]:
    with MirrorRig(tmp_path) as made:
        yield made


def made(rig: MirrorRig) -> None:
    """Everybody in the shop by one plan, and the shop in the mirror."""
    populate(rig, PEOPLE)
    rig.pour()
    list(apply_plan(rig.scan(fast=False), rig.store_context(rig.stores[NAME]), fresh=True))
    rig.clock.sleep(5)
    fill(rig.mirror())


def asked(rig: MirrorRig, since: int) -> list[str]:
    return [root for call in list(rig.acme.calls)[since:] for root in call.roots]


def acts(rig: MirrorRig) -> dict[str, str]:
    return {action.clerk_user_id: action.kind for action in rig.scan(fast=True).plan.actions}


def test_a_first_plan_of_people_unknown_to_the_shop_asks_it_nothing(rig: MirrorRig) -> None:
    populate(rig, PEOPLE)
    rig.pour()
    fill(rig.mirror())
    before = rig.calls()
    fast = rig.scan(fast=True, guards=False)
    assert asked(rig, before) == []
    assert fast.plan.summary.create == PEOPLE
    assert digest(rig, fast) == digest(rig, rig.scan(fast=False, guards=False))
    outcomes = list(apply_plan(fast, rig.store_context(rig.stores[NAME]), fresh=True))
    assert [outcome.result for outcome in outcomes] == ["applied"] * PEOPLE
    assert rig.scan(fast=False).plan.summary.actions == 0


def test_the_first_plan_after_the_mirror_was_filled_asks_the_shop_nothing_and_is_remembered(rig: MirrorRig) -> None:
    made(rig)
    before = rig.calls()
    fast = rig.scan(fast=True)
    assert asked(rig, before) == []
    assert (fast.plan.summary.in_sync, fast.plan.summary.actions) == (PEOPLE, 0)
    assert digest(rig, fast) == digest(rig, rig.scan(fast=False))
    assert {row.clerk_user_id for row in fast.rows if row.observed_fp is not None} == {*map(user_of, range(PEOPLE))}


def test_a_guest_with_the_users_address_is_observed_in_the_shop(rig: MirrorRig) -> None:
    populate(rig, PEOPLE)
    rig.user("user_new", email="New@x.example.com")
    rig.pour()
    rig.acme.shop.staff_create(email="new@x.example.com")
    fill(rig.mirror())
    before = rig.calls()
    assert acts(rig)["user_new"] == "adopt"
    assert asked(rig, before) == ["customerByIdentifier"] * 3  # the address in the mirror, then everything in the shop
    assert digest(rig, rig.scan(fast=True)) == digest(rig, rig.scan(fast=False))


def test_a_user_with_something_to_do_by_the_mirror_is_observed_in_the_shop(rig: MirrorRig) -> None:
    made(rig)
    rig.user(user_of(3), first_name="Adah")
    rig.leave(user_of(4))
    rig.pour()
    rig.acme.shop.staff_edit(customer(rig, 3), first_name="Adah")  # the mirror does not know of it yet
    before = rig.calls()
    assert acts(rig) == {user_of(4): "release"}
    assert len(asked(rig, before)) == 1
    assert digest(rig, rig.scan(fast=True)) == digest(rig, rig.scan(fast=False))


def test_what_was_written_since_the_mirror_was_read_is_not_forgotten(rig: MirrorRig) -> None:
    made(rig)
    before = rig.profiles.rows[ClerkUserId(user_of(3))].first_name
    for name in ("Adah", before):  # there and back, and the mirror has seen neither
        rig.user(user_of(3), first_name=name)
        rig.pour()
        fast = rig.scan(fast=True)
        assert [a.clerk_user_id for a in fast.plan.actions] == [user_of(3)]
        assert digest(rig, fast) == digest(rig, rig.scan(fast=False))
        list(apply_plan(fast, rig.store_context(rig.stores[NAME]), fresh=True))


def test_a_customer_that_is_gone_from_the_mirror_is_observed_in_the_shop(rig: MirrorRig) -> None:
    made(rig)
    rig.acme.shop.staff_delete(customer(rig, 5))
    rig.clock.sleep(5)
    fill(rig.mirror())
    before = rig.calls()
    fast = rig.scan(fast=True)
    assert len(asked(rig, before)) >= 1
    assert [a.clerk_user_id for a in fast.plan.actions] == [user_of(5)]
    assert digest(rig, fast) == digest(rig, rig.scan(fast=False))


def test_no_one_is_absent_from_a_mirror_that_does_not_know_of_everybody(rig: MirrorRig) -> None:
    made(rig)
    rig.user("user_new", email="new@x.example.com")
    rig.pour()
    rig.state.touch(rig.stores[NAME].shop, [customer(rig, 2)], now=rig.clock.now(), gone=False)
    rig.acme.shop.staff_edit(customer(rig, 2), email="new@x.example.com")
    before = rig.calls()
    assert acts(rig) == {user_of(2): "update", "user_new": "create"}  # as soon as the other has given the address back
    assert len(asked(rig, before)) >= 2
    assert digest(rig, rig.scan(fast=True)) == digest(rig, rig.scan(fast=False))


def test_what_was_not_seen_now_is_not_kept_as_seen_now(rig: MirrorRig) -> None:
    """Else a customer who was deleted meanwhile would never be missed by a bulk query."""
    made(rig)
    rig.rotate(NAME, tags=["app-user"], on_leave="keep")
    gone = customer(rig, 7)
    one = rig.stores[NAME]
    known = rig.state.known(one.shop, [gone])[gone]
    rig.acme.shop.staff_delete(gone)
    rig.clock.sleep(3600)
    assert acts(rig) == {}
    assert fill(rig.mirror()).gone == 1
    assert known.updated_at is not None


def test_values_that_do_not_give_the_fingerprint_of_all_that_was_shown_are_not_believed(rig: MirrorRig) -> None:
    one = rig.stores[NAME].model_copy(update={"metafields": {}})
    customer = Customer(
        id=CustomerId("gid://shopify/Customer/1"), email="ada@x.example.com", first_name="Ada", tags=("b", "A"),
        backlink="user_1", metafields={"clerk.avatar": MetafieldValue(value="https://x.example.com/1", type="url")},
        updated_at=rig.clock.now(),
    )  # fmt: skip
    seen = seen_of(customer)
    assert seen.fp is not None
    known = Known(seen.values, seen.fp, seen.updated_at)
    assert customer_as_observed(customer.id, known, one) is None  # its type is not known
    with_rule = rig.stores[NAME].model_validate(
        {**one.model_dump(), "metafields": {"clerk.avatar": {"from": "image_url", "type": "url"}}}
    )
    assert customer_as_observed(customer.id, known, with_rule) == customer
    assert customer_as_observed(customer.id, replace(known, fp=seen.fp + 1), with_rule) is None


def test_the_mirror_answers_for_those_that_it_knows_and_the_shop_for_the_rest(rig: MirrorRig) -> None:
    made(rig)
    one = rig.stores[NAME]
    customers = MirrorReader(one, rig.state, rig.customers(one))
    ids = [customer(rig, number) for number in range(PEOPLE)]
    rig.clock.sleep(timedelta(minutes=1).total_seconds())
    rig.state.touch(one.shop, ids[:1], now=rig.clock.now(), gone=False)
    before = rig.calls()
    found = customers.by_ids([*ids, CustomerId("gid://shopify/Customer/404")])
    live = rig.customers(one).by_ids(ids)
    assert found.keys() == set(ids)
    hidden: dict[str, Any] = {"can_delete": None, "metafields": {}}
    assert [found[i].model_copy(update=hidden) for i in ids] == [live[i].model_copy(update=hidden) for i in ids]
    assert len(asked(rig, before)) == 2
    assert customers.by_backlinks([ClerkUserId(user_of(1))]).keys() == {user_of(1)}


@pytest.mark.parametrize("check_mirror", [True, False])
def test_creates_of_an_older_plan_are_searched_in_the_mirror_before_they_go_by_bulk(
    rig: MirrorRig, *, check_mirror: bool
) -> None:
    populate(rig, PEOPLE)
    rig.pour()
    rig.acme.shop.staff_create(email=str(rig.profiles.rows[ClerkUserId(user_of(5))].email))
    fill(rig.mirror())
    scan_result = rig.scan(fast=False, guards=False)
    adopted = [a.clerk_user_id for a in scan_result.plan.actions if a.kind == "adopt"]
    if check_mirror:  # one that neither plan nor mirror know of: Shopify refuses, and it is observed
        rig.acme.shop.staff_create(email=str(rig.profiles.rows[ClerkUserId(user_of(6))].email))
    rig.by_bulk = True
    one = rig.stores[NAME]
    context = rig.store_context(one)
    assert isinstance(context.bulk, BulkContext)
    customers = MirrorReader(one, rig.state, rig.customers(one)) if check_mirror else None
    bulk = replace(context.bulk, by_mirror=lambda: customers)
    before = rig.calls()
    outcomes = list(apply_plan(scan_result, replace(context, bulk=bulk), fresh=False))
    assert [outcome.result for outcome in outcomes] == ["applied"] * PEOPLE
    assert adopted == [user_of(5)]
    # three of the guest, and three of one, or of all at once
    assert asked(rig, before).count("customerByIdentifier") == 6
    assert rig.scan(fast=False).plan.summary.actions == 0
