"""Resyncs that are taken to go by bulk: who is taken, and what they are afterwards. On SQLite, Postgres and a pooler."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from reconciler.core.model.request import Claim, Priority
from reconciler.ports import RequestQueue
from reconciler.state.requests.queue import RequestTable
from tests.conftest import BACKENDS
from tests.contracts.queues import queue_database
from tests.contracts.test_requests import ACME, GLOBEX, LEASE_S, at, claim, names, user

REASONS = ("create", "update")


@pytest.fixture(scope="module", params=BACKENDS)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One database for all these tests: each leaves an empty queue."""
    with queue_database(request, request.param, tmp_path_factory.mktemp("queue")) as made:
        yield made


@pytest.fixture
def queue(engine: Engine) -> Iterator[RequestQueue]:
    table = RequestTable(engine)
    yield table
    for store in table.tally(at(0)):
        table.forget(store)


def resync(queue: RequestQueue, *numbers: int, reason: str = "create") -> None:
    queue.add_all(ACME, [user(n).clerk_user_id for n in numbers], at(0), interval_s=3600, reason=reason)


def taken(queue: RequestQueue, seconds: float = 0, *, limit: int = 100, owner: str = "bulk") -> list[Claim]:
    return queue.claim_resyncs(owner, at(seconds), store=ACME, reasons=REASONS, limit=limit, lease_s=LEASE_S)


def waiting(queue: RequestQueue, seconds: float = 0, *, at_most: int = 100) -> int:
    return queue.resyncs(ACME, at(seconds), reasons=REASONS, at_most=at_most)


def test_only_resyncs_for_these_reasons_that_nobody_has_in_hand_are_taken(queue: RequestQueue) -> None:
    resync(queue, 1, 2, 3, 4, 5)
    resync(queue, 6, reason="adopt")
    queue.add_all(GLOBEX, [user(7).clerk_user_id], at(0), interval_s=3600, reason="create")
    queue.add([user(8)], at(0), reason="create")
    queue.add([user(9)], at(0), reason="create", priority=Priority.RETRY)
    queue.add([user(1)], at(0), reason="webhook")  # a nudge from now on
    in_hand = claim(queue, limit=1, stores={ACME: 1})  # the nudges first
    assert in_hand[0].priority == Priority.NUDGE
    queue.add([user(2)], at(0), reason="nudge", explicit=True, priority=Priority.RESYNC)
    assert waiting(queue) == 3
    assert waiting(queue, at_most=2) == 2
    claims = taken(queue)
    assert sorted(names(claims)) == ["3", "4", "5"]
    assert {(c.owner, c.reason, c.priority, c.attempts) for c in claims} == {("bulk", "create", Priority.RESYNC, 0)}
    assert (waiting(queue), taken(queue, owner="other")) == (0, [])


def test_they_come_in_the_order_of_their_turns_and_each_once(queue: RequestQueue) -> None:
    resync(queue, *range(50))
    found = [taken(queue, limit=7) for _ in range(8)]
    whole = [name for claims in found for name in names(claims)]
    assert [len(claims) for claims in found] == [7] * 7 + [1]
    assert sorted(whole, key=int) == [str(n) for n in range(50)]
    for claims in found:
        queue.give_back(claims)
    assert names(taken(queue)) == whole


def test_who_is_given_back_for_another_reason_waits_for_the_workers_at_the_same_turn(queue: RequestQueue) -> None:
    resync(queue, *range(20))
    before = names(claim(queue, 1, limit=20))
    queue.forget(ACME)
    resync(queue, *range(20))
    claims = taken(queue)
    queue.give_back(claims, reason="one by one")
    assert (waiting(queue), taken(queue)) == (0, [])
    queue.add([user("nudged")], at(0.5), reason="webhook")
    now = claim(queue, 1, limit=100)
    assert names(now) == ["nudged", *before]
    assert {c.reason for c in now[1:]} == {"one by one"}


def test_who_is_nudged_while_taken_is_a_nudge_afterwards(queue: RequestQueue) -> None:
    resync(queue, 1, 2, 3)
    claims = taken(queue)
    queue.add([user(1), user(2)], at(1), reason="webhook")
    by_name = dict(zip(names(claims), claims, strict=True))
    assert queue.done([by_name["1"], by_name["3"]], at(2)) == ("again", "done")
    queue.give_back([by_name["2"]], reason="one by one")
    found = claim(queue, 2)
    assert sorted(names(found)) == ["1", "2"]
    assert {(c.priority, c.reason) for c in found} == {(Priority.NUDGE, "webhook")}


def test_whoever_dies_with_them_leaves_them_to_others_once_the_lease_has_run_out(queue: RequestQueue) -> None:
    resync(queue, 1)
    claims = taken(queue)
    assert claim(queue, LEASE_S - 1) == []
    later = claim(queue, LEASE_S)
    assert [c.attempts for c in later] == [1]
    assert queue.done(claims, at(LEASE_S)) == ("lost",)
    queue.give_back(claims)
    assert queue.still_mine(later[0])
