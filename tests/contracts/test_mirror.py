"""What ports.Mirror promises, on SQLite, on Postgres and behind a transaction pooler."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from reconciler.core.model.ids import ClerkUserId, CustomerId, ShopDomain, StoreName
from reconciler.core.model.mapping import Mapping
from reconciler.ports import Pair, Seen
from tests.state_store import StateStore

AT = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
SHOP, OTHER = ShopDomain("acme.myshopify.com"), ShopDomain("other.myshopify.com")
CONFIG = "fb" * 8


@pytest.fixture
def state(engine: Engine) -> StateStore:
    return StateStore(engine)


def later(seconds: float) -> datetime:
    return AT + timedelta(seconds=seconds)


def seen(number: int, fp: int | None = 7, *, at: float | None = 0) -> Seen:
    touched = None if at is None else later(at)
    return Seen(CustomerId(f"c{number}"), f"{number}@x.example.com", f"u{number}", fp, "{}", touched)


def mapped(state: StateStore, number: int, **values: Any) -> None:
    given = {"status": "in_sync", "profile_fp": 100 + number, "config_digest": CONFIG, "observed_fp": 7, **values}
    mapping = Mapping(
        clerk_user_id=ClerkUserId(f"u{number}"), store=StoreName("acme"), shop=SHOP,
        customer_id=CustomerId(f"c{number}"), **given,
    )  # fmt: skip
    state.put(mapping)


def put(state: StateStore, *found: Seen, at: float, lines: int | None = None) -> int:
    return state.put_seen(SHOP, found, as_of=later(at), now=later(at), source="bulk", lines=lines)


def pairs(state: StateStore, after: str | None = None, upto: str | None = None, limit: int = 100) -> list[Pair]:
    bounds = {name: ClerkUserId(u) if u is not None else None for name, u in (("after", after), ("upto", upto))}
    return state.pairs(SHOP, CONFIG, **bounds, limit=limit)


def test_only_pairs_that_are_settled_and_unmoved_give_their_rows_fingerprint(state: StateStore) -> None:
    put(state, *(seen(n) for n in range(1, 7)), at=0)
    mapped(state, 1)
    mapped(state, 2, status="held")
    mapped(state, 3, config_digest="06" * 8)
    mapped(state, 4, observed_fp=8)
    mapped(state, 5, status="released")
    mapped(state, 6, profile_fp=None)
    mapped(state, 9)
    assert pairs(state) == [("u1", 101), ("u2", None), ("u3", None), ("u4", None), ("u6", None), ("u9", None)]
    assert pairs(state, after="u1", upto="u3") == [("u2", None), ("u3", None)]
    assert pairs(state, limit=2) == [("u1", 101), ("u2", None)]
    assert state.mapped_users(SHOP, after=ClerkUserId("u4"), limit=9) == ["u6", "u9"]
    assert state.mapped_users_before(SHOP, ClerkUserId("u6"), limit=2) == ["u3", "u4"]
    assert state.mapped_users_before(SHOP, ClerkUserId("u1"), limit=2) == []
    assert state.pairs(OTHER, CONFIG, after=None, upto=None, limit=9) == []


def test_a_customer_that_is_doubted_or_gone_makes_the_pair_moved(state: StateStore) -> None:
    put(state, seen(1), seen(2), seen(3), at=0)
    for number in (1, 2, 3):
        mapped(state, number)
    state.touch(SHOP, [CustomerId("c1")], now=later(5), gone=False)
    state.touch(SHOP, [CustomerId("c2")], now=later(5), gone=True)
    assert pairs(state) == [("u1", None), ("u2", None), ("u3", 103)]
    assert list(state.moves_since(SHOP, later(5))) == [["u1", "u2"]]
    assert list(state.moves_since(SHOP, later(6))) == []
    put(state, seen(1), seen(2), at=4)
    assert pairs(state) == [("u1", None), ("u2", None), ("u3", 103)]
    put(state, seen(1), seen(2), at=6)
    assert pairs(state) == [("u1", 101), ("u2", 102), ("u3", 103)]


def test_late_news_changes_nothing(state: StateStore) -> None:
    assert put(state, seen(1, 7, at=50), at=60) == 1
    assert put(state, seen(1, 8, at=40), at=70) == 0
    assert put(state, seen(1, 8, at=50), at=30) == 0
    assert put(state, seen(1, 7, at=55), at=61) == 0
    assert put(state, seen(1, 8, at=52), at=80) == 0
    assert put(state, seen(1, 9, at=90), at=95) == 1


def test_a_customer_missing_in_a_complete_bulk_scan_is_gone_and_by_no_other_scan(state: StateStore) -> None:
    state.begin_mirror(SHOP, "op1", now=later(0), expected=2)
    put(state, seen(1), seen(2), at=0, lines=2)
    assert state.end_mirror(SHOP, complete=True, now=later(9)) == 0
    state.begin_mirror(SHOP, "op2", now=later(10), expected=None)
    put(state, seen(1), at=10, lines=1)
    assert state.mirror_mark(SHOP).lines == 1
    assert state.end_mirror(SHOP, complete=False, now=later(19)) == 0
    assert state.mirror_mark(SHOP).complete_at == later(0)
    state.begin_mirror(SHOP, "op3", now=later(20), expected=None)
    put(state, seen(1), at=20, lines=1)
    assert state.end_mirror(SHOP, complete=True, now=later(29)) == 1
    mark = state.mirror_mark(SHOP)
    assert (state.mirror_size(SHOP), mark.operation, mark.complete_at, mark.listed_at) == (
        1,
        None,
        later(20),
        later(20),
    )
    assert state.mirror_mark(OTHER).complete_at is None


def test_each_bulk_scan_begins_later_than_the_last_whatever_the_clocks_say(state: StateStore) -> None:
    state.begin_mirror(SHOP, "op1", now=later(10), expected=None)
    put(state, seen(1), at=10)
    state.end_mirror(SHOP, complete=True, now=later(11))
    begun = state.begin_mirror(SHOP, "op2", now=later(9), expected=None)
    assert begun.began_at is not None
    assert begun.began_at > later(10)
    assert state.end_mirror(SHOP, complete=True, now=later(12)) == 1


def test_a_customer_observed_well_after_the_last_touch_need_not_be_read_again(state: StateStore) -> None:
    put(state, *(seen(n, at=-60) for n in range(1, 5)), seen(5, at=None), at=0)
    state.touch(SHOP, [CustomerId("c3")], now=later(1), gone=False)
    state.touch(SHOP, [CustomerId("c4")], now=later(1), gone=True)
    touched = dict.fromkeys(range(1, 7), -60.0) | {2: -59.0}
    asked = [(CustomerId(f"c{n}"), later(at)) for n, at in touched.items()]
    assert state.customers_to_read(SHOP, asked) == ["c2", "c3", "c4", "c5", "c6"]
    assert state.customers_to_read(OTHER, asked[:1]) == ["c1"]


def test_a_customer_observed_within_seconds_of_a_touch_is_read_again(state: StateStore) -> None:
    """Twice within one second is one time to the shop, and the scan may have been in between."""
    asked = [(CustomerId("c1"), later(0))]
    put(state, seen(1, at=0), at=0)
    assert state.customers_to_read(SHOP, asked) == ["c1"]
    put(state, seen(1, at=0), at=60)
    assert state.customers_to_read(SHOP, asked) == []
