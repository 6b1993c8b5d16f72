"""What Clerk says of users, kept until it is written: on SQLite, on Postgres, and through a transaction pooler."""

from __future__ import annotations

import itertools
import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from reconciler.core.decide.profile_rows.merge import clerk_values
from reconciler.core.decide.profile_rows.write import ClerkChange, WriteClaim
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.profile import Profile
from reconciler.state.profile_writes import LEASE_S, ProfileWriteTable

USER = ClerkUserId("user_tove")
NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.fixture
def book(engine: Engine) -> ProfileWriteTable:
    return ProfileWriteTable(engine)


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def told(name: str, at_s: float | None = 0.0, *, created: bool = False) -> ClerkChange:
    at = None if at_s is None else after(at_s)
    profile = Profile(clerk_user_id=USER, first_name=name, email=f"{name}@x.example", updated_at=at)
    return ClerkChange(USER, at=at, profile=profile, created=created)


GONE = ClerkChange(USER, deleted_at=after(100))


def claimed(book: ProfileWriteTable, at_s: float = 0.0) -> WriteClaim:
    (claim,) = book.claim(now=after(at_s), limit=5)
    return claim


def name_of(claim: WriteClaim) -> str | None:
    return claim.profile.first_name if claim.profile is not None else None


def settle(book: ProfileWriteTable, claim: WriteClaim) -> None:
    book.settle([(claim, clerk_values(claim.profile) if claim.profile is not None else None)], now=NOON)


@pytest.mark.matrix
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_newest_is_written_whatever_order_they_come_in(book: ProfileWriteTable, order: tuple[int, ...]) -> None:
    for n in order:
        book.accept([told(f"n{n}", n)], now=NOON)
    claim = claimed(book)
    assert name_of(claim) == "n2"
    settle(book, claim)
    assert book.accept([told("late", 1)], now=NOON) == set()
    assert book.claim(now=NOON, limit=5) == []


def test_the_newest_that_comes_again_is_written_again(book: ProfileWriteTable) -> None:
    book.accept([told("a")], now=NOON)
    settle(book, claimed(book))
    assert book.accept([told("a")], now=NOON) == {USER}
    assert claimed(book).last == clerk_values(told("a").profile or Profile(clerk_user_id=USER))


def test_after_a_deletion_nothing_is_written(book: ProfileWriteTable) -> None:
    book.accept([told("a")], now=NOON)
    book.accept([GONE], now=NOON)
    claim = claimed(book)
    assert (claim.profile, claim.deleted_at) == (None, after(100))
    settle(book, claim)
    assert book.accept([told("late", 1000)], now=NOON) == set()
    assert book.accept([told("created", 1000, created=True)], now=NOON) == set()
    assert book.accept([GONE], now=NOON) == {USER}  # the deletion itself may come again


def test_a_claim_is_one_writers_until_its_lease_ends(book: ProfileWriteTable) -> None:
    book.accept([told("a")], now=NOON)
    first = claimed(book)
    assert book.claim(now=after(LEASE_S - 1), limit=5) == []
    second = claimed(book, LEASE_S + 1)
    assert second.fencing > first.fencing
    assert not book.postpone(first, due_at=after(999))
    settle(book, first)  # too late: it changes nothing
    assert not book.refuse(first, "no", missing=True, last=None, now=NOON, due_at=NOON)
    settle(book, second)
    assert book.claim(now=after(999), limit=5) == []


def test_many_simultaneous_writers_share_what_is_due(book: ProfileWriteTable) -> None:
    names = [ClerkUserId(f"user_{n:02}") for n in range(40)]
    book.accept([ClerkChange(n, at=NOON, profile=Profile(clerk_user_id=n)) for n in names], now=NOON)
    found: list[str] = []

    def work() -> None:
        while claims := book.claim(now=NOON, limit=3):
            found.extend(claim.user for claim in claims)
            book.settle([(claim, {}) for claim in claims], now=NOON)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    while claims := book.claim(now=NOON, limit=3):  # one that another had locked was passed over
        found += [claim.user for claim in claims]
    assert sorted(found) == names


def test_what_comes_while_a_row_is_written_is_written_next(book: ProfileWriteTable) -> None:
    book.accept([told("a")], now=NOON)
    first = claimed(book)
    book.accept([told("b", 1)], now=NOON)
    assert book.claim(now=NOON, limit=5) == []
    settle(book, first)
    second = claimed(book)
    assert (name_of(second), second.last) == ("b", clerk_values(first.profile or Profile(clerk_user_id=USER)))
    book.accept([told("c", 2)], now=NOON)
    book.refuse(second, "no", missing=True, last=None, now=NOON, due_at=after(999))
    assert name_of(claimed(book)) == "c"


def test_a_user_who_has_just_signed_up_fills_and_what_comes_next_is_measured_by_that(book: ProfileWriteTable) -> None:
    book.accept([told("a", created=True)], now=NOON)
    book.accept([told("a", created=True)], now=NOON)  # sent twice
    claim = claimed(book)
    assert claim.fill_only
    book.postpone(claim, due_at=NOON)
    book.accept([told("b", 1)], now=NOON)  # before the first was written
    claim = claimed(book)
    assert (claim.fill_only, (claim.last or {})["first_name"]) == (False, "a")
    settle(book, claim)
    book.accept([told("a", created=True)], now=NOON)
    assert book.claim(now=NOON, limit=5) == []


def test_an_event_without_a_time_fills_and_is_never_the_newest(book: ProfileWriteTable) -> None:
    book.accept([told("a", None)], now=NOON)
    claim = claimed(book)
    assert claim.fill_only
    settle(book, claim)
    assert book.accept([told("b", 1)], now=NOON) == {USER}
    assert book.accept([told("c", None)], now=NOON) == set()


def test_a_refusal_lasts_until_a_write_succeeds_and_a_hint_hurries_it(book: ProfileWriteTable) -> None:
    book.accept([told("a")], now=NOON)
    book.refuse(claimed(book), "no", missing=True, last=None, now=NOON, due_at=after(60))
    assert (book.refusals()[USER].message, set(book.refused_users())) == ("no", {USER})
    assert book.backlog(now=after(99)) == (0, 0.0)
    assert book.claim(now=after(1), limit=5) == []
    book.make_due(USER, now=after(1))
    again = claimed(book, 1)
    assert (again.refused, again.attempts) == (True, 1)
    settle(book, again)
    assert (book.refusals(), book.refused_users()) == ({}, frozenset())


def test_a_user_with_a_deletion_that_clerk_denies_is_written_again(book: ProfileWriteTable) -> None:
    book.accept([told("a")], now=NOON)
    book.accept([GONE], now=NOON)
    assert book.restore(claimed(book), told("b", 5), now=NOON)
    assert name_of(claimed(book)) == "b"
    assert book.accept([told("c", 6)], now=NOON) == {USER}


def test_the_backlog_says_for_how_long_the_oldest_has_been_due(book: ProfileWriteTable) -> None:
    assert book.backlog(now=NOON) == (0, 0.0)
    book.accept([told("a")], now=NOON)
    assert book.backlog(now=after(7)) == (1, 7.0)
