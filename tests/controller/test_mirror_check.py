"""Whether a plan may rest on a mirror: caught up, counted, and never believed where either can't be had."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from reconciler.controller.mirror.refresh import (
    CLOCKS,
    MirrorCheck,
    check_mirror,
    fill,
    seen_of,
)
from reconciler.controller.scan.standing import COMPLETE_MAX, OVERLAP, is_fresh
from reconciler.core.model.ids import CustomerId
from reconciler.core.plan.gather import ScanResult
from reconciler.ports import CustomerLists, MirrorMark, Touched
from reconciler.shopify.listing import LISTED_MAX, NEWEST_FIRST, NEWEST_THEN
from reconciler.simulator.faults import FaultKind
from reconciler.simulator.ledger import gid
from tests.controller.bulk_rig import NAME, user_of
from tests.controller.mirror_rig import MirrorRig, customer, digest, learned

PEOPLE = 5
LAG_S = 1800.0  # the longest that was ever seen


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[MirrorRig]:
    """Everybody made and found equal, the mirror filled, and a quiet day since."""
    with MirrorRig(tmp_path) as made:
        made.settle(PEOPLE)
        made.state.put_many(list(learned(made.scan(fast=False)).values()))
        made.clock.sleep(2 * OVERLAP.total_seconds())
        fill(made.mirror())
        made.clock.sleep(86_400)
        yield made


class _Meanwhile:
    """A shop's lists; something happens right before its customers are first counted, and again right after it."""

    def __init__(self, lists: CustomerLists, happens: Callable[[str], object]) -> None:
        self._lists = lists
        self._happens = happens
        self._compare_counts = False

    def count(self) -> int | None:
        if self._compare_counts:
            return self._lists.count()
        self._compare_counts = True
        self._happens("before")
        found = self._lists.count()
        self._happens("after")
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lists, name)


def planned(rig: MirrorRig, *, listed_max: int = LISTED_MAX) -> tuple[MirrorCheck, ScanResult]:
    """As the command line plans: by the mirror where it is valid, else live."""
    mirror_check = check_mirror(rig.mirror(listed_max=listed_max))
    return mirror_check, rig.scan(fast=mirror_check.as_of is not None)


def roots(rig: MirrorRig, since: int) -> list[str]:
    """What the shop was asked from this call on."""
    return [root for call in list(rig.acme.calls)[since:] for root in call.roots]


def come(rig: MirrorRig, people: int, name: str = "guest") -> list[CustomerId]:
    made = [rig.acme.shop.staff_create(email=f"{name}{n}@x.example.com") for n in range(people)]
    return [CustomerId(gid("Customer", each.record.number)) for each in made]


def acts_on(scan_result: ScanResult) -> list[str]:
    return [action.clerk_user_id for action in scan_result.plan.actions]


def test_where_nothing_has_moved_no_one_is_read_and_the_plan_is_the_same(rig: MirrorRig) -> None:
    live = rig.scan(fast=False)
    before = rig.calls()
    mirror_check, scan_result = planned(rig)
    assert mirror_check.as_of is not None
    assert roots(rig, before) == ["customers", "customersCount", "customers"]
    assert scan_result.plan.summary.in_sync == PEOPLE
    assert digest(rig, scan_result) == digest(rig, live)


def test_a_customer_touched_recently_is_read_once_though_the_lists_overlap(rig: MirrorRig) -> None:
    rig.acme.shop.staff_edit(customer(rig, 1), note="nothing of ours")
    rig.clock.sleep(60)
    asked = []
    for _ in range(3):
        before = rig.calls()
        assert check_mirror(rig.mirror()).as_of is not None
        asked.append(roots(rig, before))
        rig.clock.sleep(60)
    counted = ["customersCount", "customers"]
    assert asked == [["customers", "nodes", *counted], *[["customers", *counted]] * 2]


def test_two_edits_within_a_second_are_seen_though_the_mirror_was_read_between_them(rig: MirrorRig) -> None:
    rig.acme.shop.search_lag_s = 0.0
    rig.clock.at = float(int(rig.clock.at))
    rig.acme.shop.staff_edit(customer(rig, 1), note="nothing of ours")
    assert acts_on(planned(rig)[1]) == []
    rig.clock.sleep(0.5)
    rig.acme.shop.staff_edit(customer(rig, 1), last_name="Edited")
    rig.clock.sleep(0.4)
    assert acts_on(planned(rig)[1]) == [user_of(1)]


def test_who_was_edited_by_staff_is_seen(rig: MirrorRig) -> None:
    rig.acme.shop.staff_edit(customer(rig, 1), last_name="Edited")
    rig.clock.sleep(5)
    mirror_check, scan_result = planned(rig)
    assert (mirror_check.as_of is not None, acts_on(scan_result)) == (True, [user_of(1)])


def test_who_was_deleted_is_seen_by_counting_though_no_list_names_them(rig: MirrorRig) -> None:
    rig.acme.shop.staff_delete(customer(rig, 2))
    rig.clock.sleep(5)
    mirror_check, scan_result = planned(rig)
    assert mirror_check == MirrorCheck(doubt=f"the shop has {PEOPLE - 1} customers, its mirror {PEOPLE}")
    assert acts_on(scan_result) == [user_of(2)]


def test_who_was_deleted_is_seen_though_a_guest_came_at_the_same_time(rig: MirrorRig) -> None:
    rig.acme.shop.staff_delete(customer(rig, 2))
    rig.acme.shop.staff_create(email="guest@x.example.com")
    rig.clock.sleep(5)
    mirror_check, scan_result = planned(rig)
    assert (mirror_check.as_of, acts_on(scan_result)) == (None, [user_of(2)])


def test_the_list_begins_an_hour_before_the_last_one_and_never_before_what_the_bulk_query_saw(rig: MirrorRig) -> None:
    context = rig.mirror()
    lists = _Since(context.lists)
    mark = rig.state.mirror_mark(context.store.shop)
    assert mark.complete_at is not None
    for wanted in (mark.complete_at - CLOCKS, None):
        before = rig.state.mirror_mark(context.store.shop).listed_at
        assert before is not None
        assert check_mirror(replace(context, lists=lists)).as_of is not None
        assert lists.asked.pop() == (wanted or before - OVERLAP)
        rig.clock.sleep(7200)
        assert check_mirror(rig.mirror()).as_of is not None


class _Since:
    """A shop's lists; from when those who were touched were asked for."""

    def __init__(self, lists: CustomerLists) -> None:
        self._lists = lists
        self.asked: list[datetime] = []

    def updates_since(self, at: datetime) -> Iterator[list[Touched]]:
        self.asked.append(at)
        return self._lists.updates_since(at)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lists, name)


@pytest.mark.parametrize(
    "policy",
    [
        {"backlink": {"namespace": "crm", "key": "user_id"}},
        {"metafields": {"crm.tier": {"from": "metadata.tier", "type": "single_line_text_field"}}},
    ],
)
def test_a_mirror_that_was_filled_for_other_metafields_does_not_stand(rig: MirrorRig, policy: dict[str, Any]) -> None:
    rig.rotate(NAME, **policy)
    assert check_mirror(rig.mirror()) == MirrorCheck(
        doubt="its mirror was filled for another back-link or other metafields"
    )
    fill(rig.mirror())
    assert check_mirror(rig.mirror()).as_of is not None
    assert digest(rig, rig.scan(fast=True)) == digest(rig, rig.scan(fast=False))


def test_guests_who_came_are_taken_in_and_the_mirror_stays_valid(rig: MirrorRig) -> None:
    rig.acme.shop.staff_create(email="guest@x.example.com")
    rig.clock.sleep(5)
    mirror_check, scan_result = planned(rig)
    assert (mirror_check.as_of is not None, acts_on(scan_result)) == (True, [])


def test_one_who_came_and_is_not_in_the_index_yet_is_taken_in(rig: MirrorRig) -> None:
    rig.acme.shop.search_lag_s = LAG_S
    come(rig, 1)
    mirror_check, scan_result = planned(rig)
    assert (mirror_check.as_of is not None, acts_on(scan_result)) == (True, [])
    rig.clock.sleep(60)  # a shop's times are whole seconds: one it made in this second is read twice
    for read in (["nodes"], []):
        before = rig.calls()
        assert check_mirror(rig.mirror()).as_of is not None
        assert roots(rig, before) == ["customers", "customersCount", "customers", *read]


def test_who_was_deleted_is_seen_though_one_came_that_the_index_does_not_list(rig: MirrorRig) -> None:
    rig.acme.shop.search_lag_s = LAG_S
    rig.acme.shop.staff_delete(customer(rig, 2))
    come(rig, 1)
    rig.clock.sleep(5)
    mirror_check, scan_result = planned(rig)
    assert mirror_check == MirrorCheck(doubt=f"the shop has {PEOPLE} customers, its mirror {PEOPLE + 1}")
    assert acts_on(scan_result) == [user_of(2)]


def test_newcomers_are_read_page_by_page_until_they_are_all_known(rig: MirrorRig) -> None:
    rig.acme.shop.search_lag_s = LAG_S
    rig.acme.shop.staff_delete(customer(rig, 2))
    many = NEWEST_FIRST + NEWEST_THEN
    come(rig, many)
    rig.clock.sleep(30)
    before = rig.calls()
    mirror_check, scan_result = planned(rig)
    assert mirror_check.doubt == f"the shop has {PEOPLE + many - 1:,} customers, its mirror {PEOPLE + many:,}"
    first = ["customers", "customersCount", "customers", "nodes", "customers", "nodes", "customers"]
    again = ["customers", "customersCount", "customers", "customers", "customers"]
    assert roots(rig, before)[: len(first + again)] == first + again
    assert acts_on(scan_result) == [user_of(2)]


def test_a_newcomer_is_found_behind_newer_ones_that_the_mirror_knows(rig: MirrorRig) -> None:
    rig.acme.shop.search_lag_s = LAG_S
    rig.acme.shop.staff_delete(customer(rig, 2))
    come(rig, 1)
    context, newer = rig.mirror(), come(rig, 2 * NEWEST_FIRST, "newer")
    rig.clock.sleep(60)
    found = [seen_of(each) for each in context.customers.by_ids(newer).values()]
    now = rig.clock.now()
    assert context.mirror.put_seen(context.store.shop, found, as_of=now, now=now, source="list") == len(newer)
    rig.clock.sleep(5)
    mirror_check, scan_result = planned(rig)
    assert (mirror_check.as_of, acts_on(scan_result)) == (None, [user_of(2)])


def test_newcomers_from_before_the_last_bulk_query_are_not_paged_through(rig: MirrorRig) -> None:
    come(rig, 2 * NEWEST_FIRST)
    rig.clock.sleep(2 * CLOCKS.total_seconds())
    fill(rig.mirror())
    rig.clock.sleep(5)
    before = rig.calls()
    assert check_mirror(rig.mirror()).as_of is not None
    assert roots(rig, before) == ["customers", "customersCount", "customers"]


def test_those_who_come_while_it_counts_are_no_doubt(rig: MirrorRig) -> None:
    rig.acme.shop.search_lag_s = LAG_S
    context = rig.mirror()
    lists = _Meanwhile(context.lists, lambda when: come(rig, 1, when))
    assert check_mirror(replace(context, lists=lists)).as_of is not None


def test_those_who_come_while_it_counts_hide_no_one_who_was_deleted(rig: MirrorRig) -> None:
    rig.acme.shop.search_lag_s = LAG_S
    rig.acme.shop.staff_delete(customer(rig, 2))
    context = rig.mirror()
    lists = _Meanwhile(context.lists, lambda when: come(rig, 1, when))
    doubt = f"the shop has {PEOPLE + 1} customers, its mirror {PEOPLE + 2}"
    assert check_mirror(replace(context, lists=lists)) == MirrorCheck(doubt=doubt)


def test_more_newcomers_than_are_worth_reading_are_a_doubt(rig: MirrorRig) -> None:
    rig.acme.shop.search_lag_s = LAG_S
    come(rig, NEWEST_FIRST)
    before = rig.calls()
    mirror_check, scan_result = planned(rig, listed_max=20)
    assert mirror_check.as_of is None
    assert "more than 20 customers are new" in mirror_check.doubt
    assert scan_result.plan.summary.in_sync == PEOPLE
    assert roots(rig, before).count("customers") == 2


def test_what_the_index_tells_half_an_hour_late_is_seen_as_soon_as_it_tells(rig: MirrorRig) -> None:
    """Reads in between, before the index tells, must not make it be forgotten."""
    rig.acme.shop.search_lag_s = LAG_S
    rig.acme.shop.staff_edit(customer(rig, 3), first_name="Edited")
    for _ in range(6):
        assert acts_on(planned(rig)[1]) == []
        rig.clock.sleep(LAG_S / 6)
    assert acts_on(planned(rig)[1]) == [user_of(3)]


def test_a_row_that_changed_came_or_went_is_seen(rig: MirrorRig) -> None:
    rig.user(user_of(0), first_name="Adah")
    rig.user("user_new", email="new@x.example.com")
    rig.leave(user_of(4))
    rig.pour()
    mirror_check, scan_result = planned(rig)
    assert mirror_check.as_of is not None
    assert {action.clerk_user_id: action.kind for action in scan_result.plan.actions} == {
        user_of(0): "update", user_of(4): "release", "user_new": "create",
    }  # fmt: skip
    assert digest(rig, scan_result) == digest(rig, rig.scan(fast=False))


def test_a_policy_that_changed_is_seen_by_all(rig: MirrorRig) -> None:
    rig.stores[NAME] = rig.stores[NAME].model_copy(update={"tags": ("app-user", "vip")})
    mirror_check, scan_result = planned(rig)
    assert mirror_check.as_of is not None
    assert scan_result.plan.summary.update == PEOPLE


def test_two_customers_that_were_merged_are_seen(rig: MirrorRig) -> None:
    rig.acme.shop.staff_merge(customer(rig, 1), customer(rig, 2))
    rig.clock.sleep(60)
    mirror_check, scan_result = planned(rig)
    assert mirror_check.as_of is None
    assert digest(rig, scan_result) == digest(rig, rig.scan(fast=False))
    assert acts_on(scan_result) != []


def test_a_mirror_of_the_day_before_yesterday_is_not_used(rig: MirrorRig) -> None:
    rig.clock.sleep(COMPLETE_MAX.total_seconds() - 86_400 + 60)
    calls = rig.calls()
    mirror_check, scan_result = planned(rig)
    assert (mirror_check.as_of, "too long ago" in mirror_check.doubt) == (None, True)
    assert scan_result.plan.summary.in_sync == PEOPLE
    assert [call.roots for call in list(rig.acme.calls)[calls:]] == [("nodes",)]


def test_a_shop_without_a_mirror_is_asked_nothing_for_it(tmp_path: Path) -> None:
    with MirrorRig(tmp_path) as empty:
        calls = empty.calls()
        assert check_mirror(empty.mirror()) == MirrorCheck()
        assert empty.calls() == calls


@pytest.mark.matrix
@pytest.mark.parametrize("kind", ["internal_error", "lost_before", "null_payload", "html"])
@pytest.mark.parametrize("root", ["customers", "customersCount"])
def test_a_list_or_a_count_that_fails_is_a_doubt_and_no_error(rig: MirrorRig, kind: FaultKind, root: str) -> None:
    rig.acme.faults.add(kind, on=root, times=50)
    mirror_check, scan_result = planned(rig)
    assert mirror_check.as_of is None
    assert mirror_check.doubt
    assert scan_result.plan.summary.in_sync == PEOPLE


def test_a_list_of_newcomers_that_fails_is_a_doubt(rig: MirrorRig) -> None:
    fault = rig.acme.faults.add("null_payload", on="customers", when=lambda sent: "first" in sent, times=None)
    mirror_check, scan_result = planned(rig)
    assert fault.hits
    assert (mirror_check.as_of, "the response has no list" in mirror_check.doubt) == (None, True)
    assert scan_result.plan.summary.in_sync == PEOPLE


def test_a_count_that_is_not_exact_is_a_doubt(rig: MirrorRig) -> None:
    body = json.dumps({"data": {"customersCount": {"count": PEOPLE, "precision": "AT_LEAST"}}})
    rig.acme.faults.add("html", on="customersCount", body=body, times=2)
    assert check_mirror(rig.mirror()) == MirrorCheck(doubt="the shop does not say exactly how many customers it has")


def test_too_many_touched_ones_are_a_doubt(rig: MirrorRig) -> None:
    for number in range(251):
        rig.acme.shop.staff_create(email=f"guest{number}@x.example.com")
    rig.clock.sleep(5)
    assert "were updated since" in check_mirror(rig.mirror(listed_max=250)).doubt


def test_a_shop_that_admits_no_one_says_so_once_in_the_resync(rig: MirrorRig) -> None:
    rig.acme.tokens.revoke_all()
    mirror_check, scan_result = planned(rig)
    assert mirror_check == MirrorCheck()
    assert scan_result.plan.error is not None
    assert scan_result.plan.error.startswith("StoreSuspended")


def test_a_mirror_is_fresh_for_a_day_and_a_half_and_not_by_a_clock_that_was_wrong(rig: MirrorRig) -> None:
    mark, now = rig.state.mirror_mark(rig.stores[NAME].shop), rig.clock.now()
    assert mark.complete_at is not None
    assert is_fresh(mark, now)
    assert is_fresh(mark, mark.complete_at + COMPLETE_MAX)
    assert not is_fresh(mark, mark.complete_at + COMPLETE_MAX + timedelta(seconds=1))
    assert not is_fresh(mark, mark.complete_at - OVERLAP)
    assert not is_fresh(MirrorMark(), now)
