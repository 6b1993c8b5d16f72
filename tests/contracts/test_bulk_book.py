"""What ports.BulkRepository promises, on SQLite, on Postgres and behind a transaction pooler."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import Engine

from reconciler.core.model.event import Event
from reconciler.core.model.ids import ShopDomain
from reconciler.errors import StateError
from reconciler.ports import BulkCounts, BulkFile, BulkLine, BulkRepository
from tests.contracts.test_state import AT, OTHER, SHOP, customer, event, mapping, user
from tests.state_store import StateStore


@pytest.fixture
def state(engine: Engine) -> StateStore:
    return StateStore(engine)


@pytest.fixture
def book(state: StateStore) -> BulkRepository:
    return state


def line(name: str, *, rides_in: str = "customers", position: int = 0) -> BulkLine:
    return BulkLine(user(name), rides_in, f'{{"of":"{name}"}}', "sha256:plan", position=position)


def file(key: str, shop: ShopDomain = SHOP, *, rides_in: str = "customers") -> BulkFile:
    return BulkFile(key, shop, rides_in, f"tmp/{key}", f"digest of {key}", 3, AT)


def names(lines: list[BulkLine]) -> list[str]:
    return [each.user.removeprefix("user_") for each in lines]


def test_lines_wait_by_their_operation_and_come_by_user(book: BulkRepository) -> None:
    assert (book.bulk_waiting(SHOP), book.bulk_files(SHOP)) == ({}, [])
    book.enqueue_lines(SHOP, [line("c"), line("a"), line("B"), line("t", rides_in="add_tags")])
    book.enqueue_lines(OTHER, [line("a")])
    assert book.bulk_waiting(SHOP) == {"customers": 3, "add_tags": 1}
    assert names(book.next_lines(SHOP, "customers", limit=2)) == ["B", "a"]  # by code point
    assert book.next_lines(SHOP, "add_tags", limit=9) == [line("t", rides_in="add_tags")]


def test_lines_that_wait_are_paged_by_user(book: BulkRepository) -> None:
    book.enqueue_lines(SHOP, [line("c"), line("a"), line("B"), line("b", rides_in="add_tags"), line("d")])
    book.enqueue_lines(OTHER, [line("e")])
    assert names(book.next_lines(SHOP, "customers", limit=2, after=user("B"))) == ["a", "c"]
    assert names(book.next_lines(SHOP, "customers", limit=2, after=user("b"))) == ["c", "d"]
    assert book.next_lines(SHOP, "customers", limit=2, after=user("d")) == []
    book.begin_file(file("one"), {user("c"): 0})
    assert names(book.next_lines(SHOP, "customers", limit=2, after=user("a"))) == ["d"]


def test_a_line_is_given_back_as_it_was_written(book: BulkRepository) -> None:
    written = replace(line("a", position=2), customer=customer(1), tries=1, decision='{"ä":"\\u0000 ✓"}')
    book.enqueue_lines(SHOP, [written])
    assert book.next_lines(SHOP, "customers", limit=1) == [written]


def test_a_users_newer_line_replaces_the_older_even_in_a_file(book: BulkRepository) -> None:
    book.enqueue_lines(SHOP, [line("a"), line("b")])
    book.begin_file(file("one"), {user("a"): 0, user("b"): 1})
    book.enqueue_lines(SHOP, [line("a", rides_in="add_tags")])
    assert names(book.file_lines(file("one"))) == ["b"]
    assert book.bulk_waiting(SHOP) == {"add_tags": 1}


def test_a_file_holds_its_lines_until_they_are_settled(book: BulkRepository) -> None:
    book.enqueue_lines(SHOP, [line(n) for n in "abcd"])
    book.begin_file(file("one"), {user("b"): 0, user("a"): 1, user("c"): 1})
    assert names(book.next_lines(SHOP, "customers", limit=9)) == ["d"]
    assert [(each.number, each.tries) for each in book.file_lines(file("one"))] == [(0, 1), (1, 1), (1, 1)]
    assert names(book.file_lines(file("one"), numbers=[1, 7])) == ["a", "c"]
    assert names(book.file_lines(file("one"), limit=2)) == ["b", "a"]
    assert book.file_lines(file("one"), numbers=[]) == []


def test_it_counts_the_lines_of_files_that_are_left(book: BulkRepository) -> None:
    book.enqueue_lines(SHOP, [line(n) for n in "abcd"])
    assert book.bulk_counts([SHOP, OTHER]) == {SHOP: BulkCounts(waiting=4)}
    book.begin_file(file("one"), {user("b"): 0, user("a"): 1, user("c"): 1})
    book.begin_file(file("two"), {user("d"): 0})
    book.enqueue_lines(SHOP, [line("e")])
    book.begin_file(
        replace(file("three"), begun_at=AT.replace(year=2027), operation="gid://shopify/BulkOperation/1"), {}
    )
    counts = BulkCounts(AT, files=3, operations=1, lines=9, waiting=1, left=3)
    assert book.bulk_counts([SHOP, OTHER]) == {SHOP: counts}
    book.settle_lines(SHOP, [], [], done=[user("a"), user("d")])
    assert book.bulk_counts([SHOP])[SHOP].left == 2


def test_a_file_is_known_by_its_operation_once_that_runs(book: BulkRepository) -> None:
    book.enqueue_lines(SHOP, [line("a")])
    second = replace(file("second"), begun_at=AT.replace(year=2027))
    book.begin_file(second, {user("a"): 0})
    book.begin_file(file("first"), {})
    book.begin_file(file("others", OTHER), {})
    book.note_operation(second, "gid://shopify/BulkOperation/1")
    assert book.bulk_files(SHOP) == [file("first"), replace(second, operation="gid://shopify/BulkOperation/1")]


def test_rows_events_and_lines_are_written_together(state: StateStore) -> None:
    state.enqueue_lines(SHOP, [line("a"), line("b"), line("c")])
    state.begin_file(file("one"), {user("a"): 0, user("b"): 1, user("c"): 2})
    following = replace(line("b", rides_in="set_metafields", position=1), customer=customer(2))
    told: list[Event] = [event("a"), event("b")]
    state.settle_lines(SHOP, [mapping("a", 1), mapping("b", 2)], told, done=[user("a")], more=[following])
    assert names(state.file_lines(file("one"))) == ["c"]
    assert state.next_lines(SHOP, "set_metafields", limit=9) == [following]
    assert {u: m.customer_id for u, m in state.get(SHOP, [user("a"), user("b")]).items()} == {
        user("a"): customer(1), user("b"): customer(2)
    }  # fmt: skip
    assert len(state.events()) == 2


def test_nothing_of_it_is_written_where_a_part_can_not_be(state: StateStore) -> None:
    state.enqueue_lines(SHOP, [line("a"), line("b")])
    with pytest.raises(StateError):
        state.settle_lines(SHOP, [mapping("a", 1), mapping("b", 1)], [event("a")], done=[user("a"), user("b")])
    assert state.bulk_waiting(SHOP) == {"customers": 2}
    assert (state.count(SHOP), state.events()) == (0, [])


def test_what_is_left_of_a_file_that_ends_waits_again(book: BulkRepository) -> None:
    book.enqueue_lines(SHOP, [line("a"), line("b")])
    book.begin_file(file("one"), {user("a"): 0, user("b"): 1})
    book.settle_lines(SHOP, [], [], done=[user("a")])
    book.end_file(file("one"))
    assert book.bulk_files(SHOP) == []
    assert book.next_lines(SHOP, "customers", limit=9) == [replace(line("b"), tries=1)]


def test_a_row_that_somebody_has_written_since_it_was_read_is_left_with_its_line(state: StateStore) -> None:
    state.put(mapping("a", 1))
    state.put(mapping("b", 2))
    state.enqueue_lines(SHOP, [line("a"), line("b"), line("c"), line("d")])
    before = {user("a"): mapping("a", 1), user("b"): mapping("b", 2), user("c"): None, user("d"): None}
    state.put(mapping("a", 1, status="held"))
    state.put(mapping("c", 3))
    rows = [mapping("a", 1), mapping("b", 2, status="held"), mapping("c", 4), mapping("d", 5)]
    told = [event("a"), event("b"), event("c"), event("d")]
    done, more = [user("a"), user("b"), user("d")], [line("c", rides_in="add_tags")]
    settled = state.settle_lines(SHOP, rows, told, done=done, more=more, before=before)
    assert settled.overtaken == {user("a"), user("c")}
    found = state.get(SHOP, [user(name) for name in "abcd"])
    assert found[user("a")].status == found[user("b")].status == "held"
    assert (found[user("c")].customer_id, found[user("d")].customer_id) == (customer(3), customer(5))
    assert sorted(e.clerk_user_id for e in state.events()) == [user("b"), user("d")]
    assert names(state.next_lines(SHOP, "customers", limit=9)) == ["a", "c"]


def test_only_what_was_never_sent_is_unsent(book: BulkRepository) -> None:
    book.enqueue_lines(SHOP, [line("unsent"), line("begun", position=1), line("filed")])
    book.enqueue_lines(OTHER, [line("unsent")])
    book.begin_file(file("one"), {user("filed"): 0})
    unsent = book.unsent_lines(SHOP, limit=9)
    assert unsent == [line("unsent")]
    book.settle_lines(SHOP, [], [], done=[each.user for each in unsent])
    assert names(book.next_lines(SHOP, "customers", limit=9)) == ["begun"]
    assert names(book.file_lines(file("one"))) == ["filed"]
    assert book.bulk_waiting(OTHER) == {"customers": 1}


def test_many_lines_are_no_trouble(book: BulkRepository) -> None:
    users = [f"{n:05}" for n in range(3000)]
    book.enqueue_lines(SHOP, [line(n) for n in users])
    book.begin_file(file("one"), {user(n): i for i, n in enumerate(users)})
    found = book.file_lines(file("one"), numbers=range(500, 2500))
    assert names(found) == users[500:2500]
    book.settle_lines(SHOP, [], [], done=[each.user for each in found])
    assert len(book.file_lines(file("one"))) == 1000
