"""What ports.rollouts promises, on SQLite, on Postgres and behind a transaction pooler."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from reconciler.core.model.act import Act, Actor
from reconciler.core.model.request import Priority, Request
from reconciler.core.model.rollout import KeptPolicy, Rollout, WaveCounts
from reconciler.ports.rollouts import WaveFacts
from reconciler.state.requests.queue import RequestTable
from tests.contracts.test_state import AT, OTHER, SHOP, STORE, concurrently, event, mapping, user
from tests.state_store import StateStore

ADA = Actor("ada", "command")
BEFORE, SINCE = AT - timedelta(hours=1), AT


@pytest.fixture
def state(engine: Engine) -> StateStore:
    return StateStore(engine)


def rollout(**more: Any) -> Rollout:
    values: dict[str, Any] = {"id": 1, "target": {SHOP: "new"}, "work": (SHOP,), "opened": (SHOP,), "current": (SHOP,)}
    return Rollout(**{"began_at": AT, "opened_at": AT, "actor": ADA, "wave": 1, **values, **more})


def test_a_transition_needs_the_one_before_it_and_brings_the_policies_and_the_act(state: StateStore) -> None:
    kept = KeptPolicy(shop=SHOP, policy={"tags": ["vip"], "columns": {"email": "mail"}}, since=AT)
    first = rollout(waves={1: WaveCounts(touched=4, changed=3, failed=1)}, soak_until=AT)
    act = Act(AT, ADA, "continue", detail={"wave": 1})
    assert concurrently(3, lambda _: state.put_rollout(first, None, [kept], act)).count(True) == 1
    found = state.rollout_state()
    assert (found.rollout, dict(found.policies)) == (first, {SHOP: kept})
    assert state.acts(limit=9) == [act]
    second = replace(first, version=1, phase="stopped", message="why")
    assert concurrently(3, lambda _: state.put_rollout(second, first, [])).count(True) == 1
    third = rollout(id=2)
    assert not state.put_rollout(third, first, [kept]), "the newest one has another version by now"
    assert state.put_rollout(third, second, [])
    assert state.rollout_state().rollout == third


def test_policies_are_kept_marked_and_forgotten_by_shop(state: StateStore) -> None:
    new, unknown = KeptPolicy(shop=SHOP, policy=None, since=AT), KeptPolicy(shop=OTHER, policy={}, since=AT)
    state.keep_policies([new, unknown])
    assert dict(state.rollout_state().policies) == {SHOP: new, OTHER: unknown}
    state.note_synced([SHOP], AT)
    state.forget_policies([OTHER])
    assert dict(state.rollout_state().policies) == {SHOP: replace(new, synced_at=AT)}


def test_a_store_was_seen_by_this_policy_by_another_or_by_none(state: StateStore) -> None:
    assert state.seen_by(SHOP, ["new"]) == "none"
    state.put(mapping("1", config_digest="old"))
    assert state.seen_by(SHOP, ["new", "newer"]) == "another policy"
    state.put(mapping("2", config_digest="new"))
    assert state.seen_by(SHOP, ["new", "newer"]) == "this policy"
    assert state.seen_by(OTHER, ["new"]) == "none"


def test_a_wave_is_judged_by_what_came_since_it_began(engine: Engine, state: StateStore) -> None:
    queue = RequestTable(engine)
    assert state.wave_facts(STORE, SHOP, since=SINCE, passed_at=None, now=AT) == WaveFacts()
    for row in (
        mapping("1", 1),
        mapping("2", 2, status="held", reason="Rejected", reason_since=AT),  # changed, and a field was refused
        mapping("3", 3, status="held", reason="EmailTaken", reason_since=AT),
        mapping("4", 4, status="held", reason="EmailTaken", reason_since=BEFORE),  # held all along
        mapping("5", 5, status="pending", reason="Failed", reason_since=AT),
        mapping("6", 6, status="held", reason="GuardExceeded", message="too many", reason_since=AT),
        mapping("7", 7, status="pending", reason="RowMissing", reason_since=AT),
        mapping("9", 9, status="held", reason="DriftHeld", reason_since=AT),  # edited in Shopify: no policy did that
        mapping("10", 10, status="held", reason="Undone", reason_since=AT),  # an operator did that
        mapping("1", 1, shop=OTHER, status="held", reason="EmailTaken", reason_since=AT),
    ):
        state.put(row)
    for each in (event("1"), event("1"), event("2"), event("4", BEFORE), event("8", shop=OTHER)):
        state.put(mapping(each.clerk_user_id.removeprefix("user_"), shop=each.shop), each) if each.shop == OTHER else (
            state.put(state.get(SHOP, [each.clerk_user_id])[each.clerk_user_id], each)
        )
    queue.add([Request(STORE, user("8"))], AT, priority=Priority.RESYNC, reason="update")
    queue.add([Request(STORE, user("9"))], AT, priority=Priority.RESYNC, reason="address", due_at=AT + timedelta(1))
    counts = WaveCounts(touched=4, changed=2, failed=2, held=1)
    assert state.wave_facts(STORE, SHOP, since=SINCE, passed_at=None, now=AT) == WaveFacts(
        counts, {"GuardExceeded": 1}, guard="too many", untried=1
    )
    for attempt in range(3):
        (claim,) = queue.claim("me", AT, limit=1, lease_s=9, stores={STORE: 1})
        queue.retry(claim, AT, delay_s=60 if attempt == 2 else 0, reason="update")
        found = state.wave_facts(STORE, SHOP, since=SINCE, passed_at=None, now=AT)
        assert (found.counts.failed, found.counts.touched, found.untried) == ((2, 4, 1) if attempt < 2 else (3, 5, 0))


def test_a_wave_waits_for_a_nudge_that_its_scan_found_in_the_queue(engine: Engine, state: StateStore) -> None:
    queue = RequestTable(engine)
    nudged, later, now = user("1"), user("2"), AT + timedelta(minutes=1)
    queue.add([Request(STORE, nudged)], BEFORE, priority=Priority.NUDGE, reason="webhook")
    queue.add([Request(STORE, nudged)], AT, priority=Priority.RESYNC, reason="update")
    queue.add([Request(STORE, later)], now, priority=Priority.NUDGE, reason="webhook")
    assert state.wave_facts(STORE, SHOP, since=BEFORE, passed_at=AT, now=now).untried == 1
    (claim,) = queue.claim("me", now, limit=1, lease_s=9, stores={STORE: 1})
    assert claim.clerk_user_id == nudged
    queue.done([claim], now)
    assert state.wave_facts(STORE, SHOP, since=BEFORE, passed_at=AT, now=now).untried == 0
