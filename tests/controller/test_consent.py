"""Marketing consent beside the path of one user: the mirror, scans by fingerprints, budgets of an hour, bulk operations."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.controller.mirror.reader import customer_as_observed
from reconciler.controller.mirror.refresh import fill, seen_of, shape_of
from reconciler.controller.scan.resync import full_resync
from reconciler.core.model.ids import ClerkUserId
from tests.controller.bulk_rig import NAME, user_of
from tests.controller.mirror_rig import MirrorRig, customer
from tests.controller.test_large_resyncs import context as resync_context

PEOPLE = 6
MID, NEW = "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"
RULE = {"from": "metadata.news", "at": "metadata.news_at", "withdraw": True}


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[MirrorRig]:
    """People in sync; the last of them has agreed. All are in a mirror that knows consents."""
    with MirrorRig(tmp_path, consent={"email": RULE}) as made:
        made.settle(PEOPLE - 1)
        agrees(made, PEOPLE - 1, MID)
        made.cycle()
        made.clock.sleep(5)
        fill(made.mirror())
        made.scan(fast=True)
        yield made


def agrees(rig: MirrorRig, number: int, at: str, **values: Any) -> None:
    rig.user(user_of(number), metadata={"news": True, "news_at": at}, **{"email": f"p{number}@x.example.com", **values})
    rig.pour()


def state_of(rig: MirrorRig, number: int) -> str | None:
    view = rig.acme.shop.customer(customer(rig, number))
    return view.fields["emailMarketingConsent"](view)["marketingState"] if view is not None else None


def acts(rig: MirrorRig, *, fast: bool = True) -> dict[str, list[str]]:
    plan = rig.scan(fast=fast).plan
    return {action.clerk_user_id: [change.field for change in action.changes] for action in plan.actions}


def test_a_bulk_line_and_a_point_read_show_the_same_consent(rig: MirrorRig) -> None:
    context = rig.mirror()
    operation = context.bulk.start()
    while (state := context.bulk.state(operation)) is not None and state.status == "running":
        pass
    lines = {s.customer_id: s for part in context.bulk.lines(operation) for s in context.lists.seen_in(part)}
    live = context.customers.by_ids(list(lines))
    assert {i: seen_of(c) for i, c in live.items()} == lines
    agreed = customer(rig, PEOPLE - 1)
    assert str(live[agreed].consents["email"]) == f"SUBSCRIBED, at {MID}, SINGLE_OPT_IN"
    (known,) = rig.state.known(rig.stores[NAME].shop, [agreed]).values()
    mirrored = customer_as_observed(agreed, known, rig.stores[NAME])
    assert mirrored is not None
    assert mirrored.consents == live[agreed].consents
    assert shape_of(rig.stores[NAME]) != shape_of(rig.rotate(NAME, consent={}))


def test_an_answer_on_either_side_is_seen_by_a_scan_that_reads_only_what_moved(rig: MirrorRig) -> None:
    assert acts(rig) == {}
    before = rig.calls()
    agrees(rig, PEOPLE - 1, NEW)
    assert acts(rig) == {}, "subscribed already"
    assert rig.calls() == before
    rig.acme.shop.staff_consent(customer(rig, PEOPLE - 1), "email", "UNSUBSCRIBED", at="2026-04-01T00:00:00Z")
    fill(rig.mirror())
    assert acts(rig) == acts(rig, fast=False) == {}
    rig.cycle()
    agrees(rig, PEOPLE - 1, "2026-05-01T00:00:00Z")
    assert acts(rig) == acts(rig, fast=False) == {user_of(PEOPLE - 1): ["consent.email"]}
    rig.cycle()
    assert state_of(rig, PEOPLE - 1) == "SUBSCRIBED"
    assert acts(rig) == acts(rig, fast=False) == {}


def test_an_hours_budget_for_consents_lets_the_rest_of_an_action_go(rig: MirrorRig) -> None:
    guards = rig.stores[NAME].guards.model_dump()
    rig.rotate(NAME, guards={**guards, "consent": {"max": 1}})
    for number in (10, 11):
        agrees(rig, number, MID)
    found = dict(rig.requested(NAME, user_of(10), user_of(11)))
    assert (found[user_of(10)].result, found[user_of(10)].over_budget) == ("applied", False)
    assert (found[user_of(11)].result, found[user_of(11)].over_budget) == ("applied", True)
    assert found[user_of(11)].reasons == ("GuardExceeded",)
    assert (state_of(rig, 10), state_of(rig, 11)) == ("SUBSCRIBED", "NOT_SUBSCRIBED")
    again = dict(rig.requested(NAME, user_of(11)))[user_of(11)]
    assert (again.result, again.over_budget) == ("held", True)
    rig.user(user_of(PEOPLE - 1), metadata={"news": False, "news_at": NEW})
    rig.pour()
    gone = dict(rig.requested(NAME, user_of(PEOPLE - 1)))[user_of(PEOPLE - 1)]
    assert (gone.result, state_of(rig, PEOPLE - 1)) == ("applied", "UNSUBSCRIBED"), (
        "withdrawals have a budget of their own"
    )
    rig.clock.sleep(3600)
    assert dict(rig.requested(NAME, user_of(11)))[user_of(11)].result == "applied"
    assert state_of(rig, 11) == "SUBSCRIBED"


def test_a_full_resync_queues_a_withdrawal_although_more_grants_than_its_guard_allows_are_due(rig: MirrorRig) -> None:
    guards = rig.stores[NAME].guards.model_dump()
    rig.rotate(NAME, guards={**guards, "consent": {"max": 1}})
    for number, yes in ((1, True), (2, True), (PEOPLE - 1, False)):
        known = rig.profiles.rows[ClerkUserId(user_of(number))].metadata
        rig.user(user_of(number), metadata={**(known or {}), "news": yes, "news_at": NEW})
    rig.pour()
    found = full_resync(resync_context(rig))
    assert (found.held, found.actions, found.queued) == ({"consent": 2}, {"update": 1}, 1)


def test_actions_with_a_consent_do_not_go_by_bulk_and_the_others_do(tmp_path: Path) -> None:
    with MirrorRig(tmp_path, consent={"email": RULE}) as rig:
        rig.by_bulk = True
        agrees(rig, 1, MID)
        rig.user(user_of(2), email="p2@x.example.com")
        rig.pour()
        rig.cycle()
        assert (state_of(rig, 1), state_of(rig, 2)) == ("SUBSCRIBED", "NOT_SUBSCRIBED")
        sets = [call for call in rig.acme.calls if "customerSet" in call.roots]
        assert len(sets) == 1, "one customer was made by a call, the other one by a file"
        assert acts(rig, fast=False) == {}
