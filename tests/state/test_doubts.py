"""Who waits for a look counts as not known to be right, by the state's own tables."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Engine

from reconciler.core.model.ids import StoreName
from reconciler.core.model.request import Request
from reconciler.core.report.status import Doubts
from reconciler.ports import StoreFacts
from reconciler.state.requests.queue import RequestTable
from tests.contracts.test_state import AT, OTHER, SHOP, STORE, mapping, user
from tests.state_store import StateStore


def doubts(state: StateStore) -> Doubts:
    return state.doubts({SHOP: STORE})[SHOP]


def test_requests_and_what_a_scan_has_found_so_far_are_doubts(engine: Engine) -> None:
    state, queue = StateStore(engine), RequestTable(engine)
    assert doubts(state) == Doubts()
    state.put_many([mapping(n, i) for i, n in enumerate(("a", "b", "c"), start=1)])
    state.put_many([mapping("held", status="held"), mapping("back", status="released"), mapping("e", status="erased")])
    names = ("a", "new", "held", "back", "e")
    queue.add([Request(STORE, user(name)) for name in names], AT, reason="clerk")
    queue.add([Request(StoreName("elsewhere"), user("c"))], AT, reason="clerk")
    assert doubts(state) == Doubts(in_sync=1, unknown=2)
    state.begin(SHOP, "full", now=AT)
    found = {user("a"): "update", user("b"): "update", user("newer"): "create"}
    state.note(SHOP, "full", cursor=user("z"), looked_at=3, wanted=3, findings=found)
    assert doubts(state) == Doubts(in_sync=2, unknown=3)
    queue.done(queue.claim("me", AT, limit=9, lease_s=30, stores={STORE: 9}), AT)
    state.finish(SHOP, "full", now=AT, watermark=AT)
    assert doubts(state) == Doubts()
    assert state.doubts({SHOP: STORE, OTHER: StoreName("other")})[OTHER] == Doubts()


def test_who_was_counted_and_has_left_since_is_reported(engine: Engine) -> None:
    state = StateStore(engine)
    before, after = AT - timedelta(days=1), AT + timedelta(minutes=1)
    state.put_many(
        [
            mapping("left", status="released", first_seen_at=before, left_at=after),
            mapping("long gone", status="released", first_seen_at=before, left_at=before),
            mapping("short", status="released", first_seen_at=after, left_at=after),
            mapping("here", 1, first_seen_at=before),
        ]
    )
    assert doubts(state) == Doubts()
    state.put_facts(StoreFacts(STORE, SHOP, last_sweep_at=AT))
    assert doubts(state) == Doubts(left=1)


def test_a_request_that_was_waiting_when_its_user_was_released_tells_of_no_wanted_user(engine: Engine) -> None:
    state, queue = StateStore(engine), RequestTable(engine)
    left = AT + timedelta(minutes=1)
    state.put_many(
        [mapping(n, status="released", first_seen_at=AT, left_at=left) for n in ("before", "after", "twice")]
    )
    queue.add([Request(STORE, user("before")), Request(STORE, user("twice"))], AT, reason="clerk")
    assert doubts(state) == Doubts()
    queue.add([Request(STORE, user("after"))], left + timedelta(seconds=1), reason="clerk")
    assert doubts(state) == Doubts(unknown=1)
    queue.add([Request(STORE, user("twice"))], left + timedelta(seconds=1), reason="nudge", explicit=True)
    assert doubts(state) == Doubts(unknown=2)
    state.begin(SHOP, "full", now=AT)
    state.note(SHOP, "full", cursor=user("z"), looked_at=1, wanted=1, findings={user("before"): "create"})
    assert doubts(state) == Doubts(unknown=3)
