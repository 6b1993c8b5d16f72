"""The queue's promises, on SQLite, on Postgres and through a transaction pooler."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy import event as listening

from reconciler.core.model.event import Event
from reconciler.core.model.ids import ClerkUserId, CustomerId, StoreName
from reconciler.core.model.mapping import Mapping
from reconciler.core.model.request import Claim, Priority, Request, Waiting
from reconciler.errors import LeaseLost
from reconciler.ports import RequestQueue
from reconciler.state.database.engine import is_sqlite, writing
from reconciler.state.requests.fenced import FencedMappings
from reconciler.state.requests.queue import CHUNK, RequestTable, fence, new_owner
from reconciler.state.writable import check_writable
from tests.conftest import BACKENDS
from tests.contracts.queues import SHOP, holds, queue_database

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
ACME, GLOBEX = StoreName("acme"), StoreName("globex")
BOTH = {ACME: 100, GLOBEX: 100}
LEASE_S = 30.0


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def user(name: str | int, store: StoreName = ACME) -> Request:
    return Request(store, ClerkUserId(f"user_{name}"))


@pytest.fixture(scope="module", params=BACKENDS)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One database for all these tests: each leaves an empty queue."""
    with queue_database(request, request.param, tmp_path_factory.mktemp("queue")) as made:
        yield made


@pytest.fixture
def queue(engine: Engine) -> Iterator[RequestQueue]:
    table = RequestTable(engine)
    yield table
    for store in table.tally(NOW):
        table.forget(store)


def claim(
    queue: RequestQueue, seconds: float = 0, *, owner: str = "one", limit: int = 10, stores: dict[StoreName, int] = BOTH
) -> list[Claim]:
    return queue.claim(owner, at(seconds), limit=limit, lease_s=LEASE_S, stores=stores)


def names(claims: list[Claim]) -> list[str]:
    return [c.clerk_user_id.removeprefix("user_") for c in claims]


def test_a_key_is_in_the_queue_once_however_often_it_is_asked_for(queue: RequestQueue) -> None:
    assert queue.add([user(1), user(1), user(2)], at(0), reason="webhook") == 2
    assert queue.add([user(1)], at(1), reason="webhook") == 0
    assert queue.add([user(1, GLOBEX)], at(1), reason="webhook") == 1
    assert (queue.depth(), queue.depth(ACME), queue.depth(GLOBEX)) == (3, 2, 1)
    assert len(claim(queue, 2)) == 3
    assert claim(queue, 2) == []


def test_what_is_done_is_gone(queue: RequestQueue) -> None:
    queue.add([user(1), user(2)], at(0), reason="webhook")
    assert queue.done(claim(queue), at(1)) == ("done", "done")
    assert queue.depth() == 0


def test_no_one_else_gets_a_key_that_is_being_worked_on_until_the_lease_has_run_out(queue: RequestQueue) -> None:
    queue.add([user(1)], at(0), reason="webhook")
    assert len(claim(queue, 0, owner="one")) == 1
    assert claim(queue, LEASE_S - 0.001, owner="two") == []
    assert claim(queue, LEASE_S - 0.001, owner="one") == []
    assert len(claim(queue, LEASE_S, owner="two")) == 1


def test_three_nudges_while_it_is_worked_on_mean_exactly_one_more_reconcile(queue: RequestQueue) -> None:
    queue.add([user(1)], at(0), reason="webhook")
    first = claim(queue)
    for second in (1, 2, 3):
        queue.add([user(1)], at(second), reason="webhook")
    assert claim(queue, 4) == []
    assert queue.done(first, at(5)) == ("again",)
    second_look = claim(queue, 5)
    assert names(second_look) == ["1"]
    assert second_look[0].due_at == at(1)
    assert queue.done(second_look, at(6)) == ("done",)
    assert queue.depth() == 0


def test_a_failed_request_that_was_nudged_meanwhile_is_reconciled_again_immediately(queue: RequestQueue) -> None:
    queue.add([user(1)], at(0), reason="webhook")
    [first] = claim(queue)
    queue.add([user(1)], at(1), reason="webhook")
    assert queue.retry(first, at(2), delay_s=600, reason="Throttled")
    [again] = claim(queue, 2)
    assert again.attempts == 1
    assert queue.done([again], at(3)) == ("done",)


def test_a_failed_reconcile_waits_for_its_backoff_and_counts(queue: RequestQueue) -> None:
    queue.add([user(1)], at(0), reason="webhook")
    for attempt in range(3):
        [taken] = claim(queue, attempt * 10)
        assert (taken.attempts, taken.reason) == (attempt, "webhook" if attempt == 0 else "Throttled")
        assert queue.retry(taken, at(attempt * 10), delay_s=10, reason="Throttled")
        assert claim(queue, attempt * 10 + 9.999) == []
    assert queue.tally(at(25)) == {ACME: Waiting(delayed=1, failing=1)}


def test_a_nudge_cuts_a_backoff_short_and_a_resync_does_not(queue: RequestQueue) -> None:
    queue.add([user(1)], at(0), reason="webhook")
    queue.retry(claim(queue)[0], at(0), delay_s=600, reason="Throttled")
    queue.add_all(ACME, [user(1).clerk_user_id], at(1), interval_s=900)
    assert claim(queue, 2) == []
    queue.add([user(1)], at(3), reason="webhook")
    [cut] = claim(queue, 3)
    assert (cut.attempts, cut.reason, cut.priority) == (1, "webhook", Priority.NUDGE)


def test_success_forgets_the_failures(queue: RequestQueue) -> None:
    queue.add([user(1)], at(0), reason="webhook")
    queue.retry(claim(queue)[0], at(0), delay_s=1, reason="Throttled")
    [second] = claim(queue, 1)
    queue.add([user(1)], at(2), reason="webhook")
    assert queue.done([second], at(3)) == ("again",)
    assert claim(queue, 3)[0].attempts == 0


def test_a_reconcile_to_be_repeated_later_is_no_failure(queue: RequestQueue) -> None:
    queue.add([user(1)], at(0), reason="webhook", wants_updated_at=at(-1))
    [first] = claim(queue)
    assert queue.postpone(first, at(2), reason="the profile is older than the event")
    assert claim(queue, 1.9) == []
    [again] = claim(queue, 2)
    assert (again.attempts, again.wants_updated_at) == (0, at(-1))


def test_after_a_reconcile_that_did_not_fail_a_resync_brings_the_request_forward(queue: RequestQueue) -> None:
    queue.add([user(1)], at(0), reason="webhook")
    queue.retry(claim(queue)[0], at(0), delay_s=1, reason="Throttled")
    assert queue.postpone(claim(queue, 1)[0], at(300), reason="waits for a value")
    queue.add([user(1)], at(2), reason="resync", priority=Priority.RESYNC)
    assert [one.attempts for one in claim(queue, 2)] == [0]


def test_a_delayed_add_waits_and_the_earlier_of_two_holds(queue: RequestQueue) -> None:
    queue.add([user(1)], at(0), reason="later", due_at=at(20))
    queue.add([user(1)], at(0), reason="sooner", due_at=at(10))
    assert claim(queue, 9.9) == []
    assert claim(queue, 10)[0].reason == "sooner"


@pytest.mark.parametrize("taken", [True, False], ids=["worked on", "waiting"])
def test_a_delayed_add_of_a_key_that_is_due_before_gets_a_reconcile_of_its_own(
    queue: RequestQueue, *, taken: bool
) -> None:
    queue.add([user(1)], at(0), reason="webhook")
    first = claim(queue) if taken else []
    queue.add([user(1)], at(1), reason="look once more", due_at=at(10))
    first = first or claim(queue, 2)
    assert queue.done(first, at(3)) == ("again",)
    assert claim(queue, 9.9) == []
    assert queue.done(claim(queue, 10), at(11)) == ("done",)


def test_a_delayed_add_is_covered_by_a_reconcile_that_begins_after_it_is_due(queue: RequestQueue) -> None:
    queue.add([user(1)], at(0), reason="webhook")
    queue.add([user(1)], at(1), reason="look once more", due_at=at(10))
    assert queue.done(claim(queue, 10), at(11)) == ("done",)


def test_the_newest_wish_for_the_profile_is_kept_and_a_person_is_heard_once(queue: RequestQueue) -> None:
    queue.add([user(1)], at(0), reason="webhook", wants_updated_at=at(-5))
    queue.add([user(1)], at(0), reason="webhook", wants_updated_at=at(-9))
    queue.add([user(1)], at(0), reason="asked for", explicit=True)
    [first] = claim(queue)
    assert (first.wants_updated_at, first.explicit, first.generation) == (at(-5), True, 2)
    queue.add([user(1)], at(1), reason="webhook", wants_updated_at=at(1))
    queue.done([first], at(2))
    [second] = claim(queue, 2)
    assert (second.wants_updated_at, second.explicit, second.generation) == (at(1), False, 3)


def test_a_nudge_by_a_person_is_kept_when_the_reconcile_failed_or_its_worker_died(queue: RequestQueue) -> None:
    queue.add([user(1)], at(0), reason="asked for", explicit=True)
    queue.retry(claim(queue)[0], at(0), delay_s=1, reason="Throttled")
    assert claim(queue, 1)[0].explicit
    assert claim(queue, 1 + LEASE_S)[0].explicit


def test_nudges_go_before_retries_and_retries_before_resyncs(queue: RequestQueue) -> None:
    queue.add_all(ACME, [user("resync").clerk_user_id], at(0), interval_s=900)
    queue.add([user("retry")], at(0.5), reason="Throttled", priority=Priority.RETRY)
    queue.add([user("nudge")], at(1), reason="webhook")
    assert names(claim(queue, 1)) == ["nudge", "retry", "resync"]


def test_what_has_waited_long_enough_goes_before_a_fresh_nudge(queue: RequestQueue) -> None:
    queue.add_all(ACME, [user("resync").clerk_user_id], at(0), interval_s=900)
    queue.add([user("retry")], at(990), reason="Throttled", priority=Priority.RETRY)
    queue.add([user("nudge")], at(1000), reason="webhook")
    assert names(claim(queue, 1000)) == ["resync", "retry", "nudge"]


def test_a_nudge_lifts_a_key_that_waits_for_its_resync(queue: RequestQueue) -> None:
    users = [user(n).clerk_user_id for n in range(50)]
    queue.add_all(ACME, users, at(0), interval_s=900)
    queue.add([user(17)], at(1), reason="webhook")
    assert names(claim(queue, 1, limit=1)) == ["17"]


def test_one_store_never_takes_more_than_its_share_of_an_owners_workers(queue: RequestQueue) -> None:
    queue.add([user(n) for n in range(20)], at(0), reason="webhook")
    queue.add([user(n, GLOBEX) for n in range(3)], at(1), reason="webhook")
    shares = {ACME: 4, GLOBEX: 4}
    taken = claim(queue, 2, stores=shares)
    assert sorted(c.store for c in taken) == [ACME] * 4 + [GLOBEX] * 3
    assert claim(queue, 2, stores=shares) == []
    queue.done(taken[:2], at(3))
    assert [c.store for c in claim(queue, 3, stores=shares)] == [ACME] * 2
    assert len(claim(queue, 3, owner="two", stores=shares)) == 4


def test_a_store_that_is_left_out_gives_nothing_and_delays_no_one(queue: RequestQueue) -> None:
    queue.add([user(n) for n in range(200)], at(0), reason="webhook")
    queue.add([user(1, GLOBEX)], at(1), reason="webhook")
    assert [c.store for c in claim(queue, 2, stores={GLOBEX: 10})] == [GLOBEX]
    assert claim(queue, 2, stores={}) == []
    assert queue.depth(ACME) == 200


def test_claims_with_a_lost_answer_take_no_slot_once_their_lease_has_run_out(queue: RequestQueue) -> None:
    queue.add([user(n) for n in range(8)], at(0), reason="webhook")
    assert len(claim(queue, 0, stores={ACME: 4})) == 4  # committed; the connection went before the answer
    assert claim(queue, LEASE_S - 0.001, stores={ACME: 4}) == []
    assert len(claim(queue, LEASE_S, stores={ACME: 4})) == 4
    assert claim(queue, LEASE_S, stores={ACME: 4}) == []


def test_a_lease_from_a_clock_that_ran_a_day_ahead_ends_with_the_clock(queue: RequestQueue) -> None:
    queue.add([user(1), user(2)], at(0), reason="webhook")
    assert len(claim(queue, 86_400, owner="dead", limit=1)) == 1
    assert len(claim(queue, 10, owner="one", stores={ACME: 2})) == 2
    assert claim(queue, 11, owner="two") == []


@pytest.mark.parametrize("again", ["a nudge", "a resync"])
def test_a_request_that_a_clock_a_day_ahead_added_and_claimed_is_due_with_the_next_add(
    queue: RequestQueue, again: str
) -> None:
    queue.add([user(1)], at(86_400), reason="webhook")
    assert len(claim(queue, 86_400, owner="lost")) == 1
    assert claim(queue, 10, owner="one") == []
    if again == "a nudge":
        queue.add([user(1)], at(20), reason="webhook")
    else:
        queue.add_all(ACME, [user(1).clerk_user_id], at(20), interval_s=60)
    assert len(claim(queue, 90, owner="one")) == 1


def test_tokens_grow_although_a_check_of_the_state_takes_one_and_deletes_it(
    queue: RequestQueue, engine: Engine
) -> None:
    queue.add([user(1), user(2)], at(0), reason="webhook")
    [one], [two] = claim(queue, 0, limit=1), claim(queue, 0, limit=1)
    check_writable(engine, now=at(1))
    [again, _] = sorted(claim(queue, LEASE_S, owner="awake"), key=lambda held: held.fencing)
    assert one.fencing < two.fencing < again.fencing


def test_a_takeover_voids_all_that_the_old_holder_still_says(queue: RequestQueue, engine: Engine) -> None:
    queue.add([user(1)], at(0), reason="webhook")
    [old] = claim(queue, 0, owner="frozen")
    [new] = claim(queue, LEASE_S, owner="awake")
    assert new.fencing > old.fencing
    assert (holds(engine, old), holds(engine, new)) == (False, True)
    assert queue.done([old], at(31)) == ("lost",)
    assert not queue.retry(old, at(31), delay_s=1, reason="late")
    assert not queue.postpone(old, at(31), reason="late")
    assert queue.renew([old, new], at(31), lease_s=LEASE_S) == (old,)
    queue.release([old])
    assert claim(queue, 32, owner="third") == []
    with pytest.raises(LeaseLost, match="user_1 in acme"), writing(engine) as connection:
        fence(connection, old)
    assert queue.done([new], at(33)) == ("done",)


def test_a_claim_of_an_owner_who_died_counts_as_an_attempt(queue: RequestQueue) -> None:
    queue.add([user(1)], at(0), reason="webhook")
    assert [claim(queue, n * LEASE_S, owner=f"victim {n}")[0].attempts for n in range(4)] == [0, 1, 2, 3]


def test_a_process_that_is_alone_takes_back_immediately_what_a_dead_process_had_claimed(
    engine: Engine, queue: RequestQueue
) -> None:
    queue.add([user(1), user(2)], at(0), reason="webhook")
    assert names(claim(queue, 1)) == ["1", "2"]
    queue.add([user(3)], at(1), reason="webhook")
    assert RequestTable(engine).take_back(at(2), alone=True) == 2
    assert {(c.clerk_user_id[5:], c.attempts, c.reason) for c in claim(queue, 2, owner="two")} == {
        ("1", 1, "webhook"), ("2", 1, "webhook"), ("3", 0, "webhook"),
    }  # fmt: skip


def test_what_kills_its_process_again_and_again_is_taken_back_later_and_later(
    engine: Engine, queue: RequestQueue
) -> None:
    queue.add([user(1)], at(0), reason="webhook")
    waits = []
    for death in range(5):
        seconds = 100.0 * death
        while not claim(queue, seconds):
            seconds += 0.25
        waits.append(seconds - 100.0 * death)
        RequestTable(engine).take_back(at(100.0 * (death + 1)), alone=True)
    assert waits[:2] == [0.0, 0.0]
    assert waits == sorted(waits)
    assert waits[-1] > 2


def test_a_key_that_was_done_and_comes_back_never_gets_an_old_number(queue: RequestQueue) -> None:
    numbers = []
    for n in range(5):
        queue.add([user(1)], at(n), reason="webhook")
        [taken] = claim(queue, n)
        numbers.append(taken.fencing)
        queue.done([taken], at(n))
    assert numbers == sorted(set(numbers))


def test_a_lease_that_is_renewed_is_kept(queue: RequestQueue) -> None:
    queue.add([user(1), user(2)], at(0), reason="webhook")
    taken = claim(queue)
    assert queue.renew(taken, at(20), lease_s=LEASE_S) == ()
    assert claim(queue, 40, owner="two") == []
    assert len(claim(queue, 50, owner="two")) == 2


def test_what_is_handed_back_can_be_taken_immediately_and_is_no_attempt(queue: RequestQueue, engine: Engine) -> None:
    queue.add_all(ACME, [user(1).clerk_user_id], at(0), interval_s=900)
    taken = claim(queue, 0, owner="one")
    queue.add([user(1)], at(1), reason="webhook")
    queue.release(taken)
    assert not holds(engine, taken[0])
    queue.add([user(2)], at(2), reason="webhook")
    handed, _ = claim(queue, 2, owner="two")
    assert (names([handed]), handed.attempts) == (["1"], 0)
    assert queue.done([handed], at(3)) == ("done",)


def test_a_write_inside_the_fence_is_made_and_one_outside_leaves_nothing(queue: RequestQueue, engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(text("DROP TABLE IF EXISTS looks"))
        connection.execute(text("CREATE TABLE looks (name text)"))

    def write(connection: Connection, of: Claim, name: str) -> None:
        connection.execute(text("INSERT INTO looks VALUES (:name)"), {"name": name})
        fence(connection, of)

    queue.add([user(1)], at(0), reason="webhook")
    [old] = claim(queue, 0, owner="frozen")
    [new] = claim(queue, LEASE_S, owner="awake")
    with writing(engine) as connection:
        write(connection, new, "awake")
    with pytest.raises(LeaseLost), writing(engine) as connection:
        write(connection, old, "frozen")
    with writing(engine) as connection:
        assert connection.execute(text("SELECT name FROM looks")).scalars().all() == ["awake"]


def test_a_mapping_and_its_event_are_written_by_one_statement_only_while_the_claim_holds(
    queue: RequestQueue, engine: Engine
) -> None:
    queue.add([user(1)], at(0), reason="webhook")
    [old] = claim(queue, 0, owner="frozen")
    row = Mapping(clerk_user_id=old.clerk_user_id, store=ACME, shop=SHOP, customer_id=CustomerId("gid://7"))
    update = Event(
        at=at(0), store=ACME, shop=SHOP, clerk_user_id=old.clerk_user_id, customer_id=None, kind="update", changes=()
    )
    state, asked = FencedMappings(engine, old), list[str]()
    state.put(row)  # takes the customer

    def note(_conn: Connection, _cursor: object, statement: str, *_rest: object) -> None:
        asked.append(statement)

    listening.listen(engine, "before_cursor_execute", note)
    state.put(replace(row, status="in_sync"), update)
    state.check_claim(SHOP)  # which the write has shown
    listening.remove(engine, "before_cursor_execute", note)
    assert len(asked) == (2 if is_sqlite(engine) else 1), asked
    state.put(row)
    state.put_many([row])  # long reads may follow, as those before a customer is deleted
    [new] = claim(queue, LEASE_S, owner="awake")
    with pytest.raises(LeaseLost):
        state.check_claim(SHOP)
    with pytest.raises(LeaseLost):
        state.put(row, update)
    with pytest.raises(LeaseLost):
        state.check_claim(SHOP)
    FencedMappings(engine, new).put(replace(row, status="erased"))
    fenced = FencedMappings(engine, new)
    fenced.put(row, update)
    with pytest.raises(LeaseLost, match="erased"):
        fenced.check_claim(SHOP)
    assert [row.status for row in fenced.get(SHOP, [new.clerk_user_id]).values()] == ["erased"]


def test_a_resync_of_many_users_is_taken_whole_and_changes_nothing_when_repeated(queue: RequestQueue) -> None:
    count = 2 * CHUNK + 7
    users = [ClerkUserId(f"user_{n}") for n in range(count)]
    assert queue.add_all(ACME, iter(users), at(0), interval_s=900) == count
    assert queue.add_all(ACME, iter(users), at(900), interval_s=900) == 0
    assert queue.depth(ACME) == count
    taken = queue.claim("one", at(900), limit=count, lease_s=LEASE_S, stores={ACME: count})
    assert sorted(c.clerk_user_id for c in taken) == sorted(users)


def test_the_oldest_age_is_that_of_the_longest_due_in_progress_or_not(queue: RequestQueue) -> None:
    assert queue.oldest_ages_s(at(0), [ACME]) == {ACME: 0}
    queue.add([user(1)], at(0), reason="webhook")
    queue.add([user(2, GLOBEX)], at(5), reason="webhook", due_at=at(50))
    assert queue.oldest_ages_s(at(7), [ACME, GLOBEX]) == {ACME: 7, GLOBEX: 0}
    taken = claim(queue, 7)
    assert queue.oldest_ages_s(at(9), [ACME, GLOBEX]) == {ACME: 9, GLOBEX: 0}
    queue.done(taken, at(9))
    assert queue.oldest_ages_s(at(9), [ACME, GLOBEX]) == {ACME: 0, GLOBEX: 0}
    assert queue.oldest_ages_s(at(60), [GLOBEX]) == {GLOBEX: 10}


def test_each_store_can_be_counted_and_one_that_is_no_more_forgotten(queue: RequestQueue) -> None:
    queue.add([user(1), user(2), user(3)], at(0), reason="webhook")
    queue.add([user(4)], at(0), reason="webhook", due_at=at(60))
    queue.add([user(1, GLOBEX)], at(0), reason="webhook")
    [failed, _] = claim(queue, limit=2, stores={ACME: 9})
    queue.retry(failed, at(0), delay_s=60, reason="Throttled")
    assert queue.tally(at(1)) == {
        ACME: Waiting(ready=1, delayed=2, in_flight=1, failing=1),
        GLOBEX: Waiting(ready=1),
    }
    assert queue.forget(ACME) == 4
    assert queue.depth() == 1


def test_asking_for_nothing_is_no_error(queue: RequestQueue) -> None:
    assert queue.add([], at(0), reason="webhook") == 0
    assert queue.add_all(ACME, [], at(0), interval_s=900) == 0
    assert queue.done([], at(0)) == ()
    assert queue.renew([], at(0), lease_s=LEASE_S) == ()
    queue.release([])
    assert claim(queue, limit=0) == []


def test_names_are_data_and_never_part_of_a_statement(queue: RequestQueue) -> None:
    odd = [user("'); DROP TABLE x; --"), user('"\\ ->> {request} :now'), user("名前 ’ \U0001f600")]
    queue.add(odd, at(0), reason="it's {odd} :now")
    taken = claim(queue)
    assert sorted(c.request for c in taken) == sorted(odd)
    assert {c.reason for c in taken} == {"it's {odd} :now"}
    assert set(queue.done(taken, at(1))) == {"done"}


def test_no_two_processes_have_one_identity() -> None:
    assert len({new_owner() for _ in range(100)}) == 100
