"""What ports.State, ports.Budgets and ports.Leases promise, on SQLite, on Postgres and behind a transaction pooler."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine

from reconciler.core.decide.shop_identity import KnownShop
from reconciler.core.fields.people import sought
from reconciler.core.model.act import Acceptance, Act, ActKind, Actor, Pause
from reconciler.core.model.action import Change
from reconciler.core.model.event import Event
from reconciler.core.model.ids import ClerkUserId, CustomerId, ShopDomain, StoreName
from reconciler.core.model.mapping import AgreedTags, Applied, Intent, Mapping, Person, RefusedValue
from reconciler.core.model.run import NewRun, Run, RunCounts, RunKind
from reconciler.core.report.parity import ParitySample
from reconciler.core.report.status import Replica
from reconciler.errors import ConfigError, StateError
from reconciler.ports import StoreFacts
from reconciler.state.console.reader import ConsoleTable
from reconciler.state.mappings import MappingCounts
from reconciler.state.tidy import Tidy
from tests.state_store import StateStore

AT = datetime(2026, 11, 23, 9, 0, 0, 123456, tzinfo=UTC)
SHOP, OTHER = ShopDomain("acme.myshopify.com"), ShopDomain("other.myshopify.com")
STORE = StoreName("acme")
T = TypeVar("T")


@pytest.fixture
def state(engine: Engine) -> StateStore:
    return StateStore(engine, secret_key="correct horse")


def user(name: str) -> ClerkUserId:
    return ClerkUserId(f"user_{name}")


def customer(number: int) -> CustomerId:
    return CustomerId(f"gid://shopify/Customer/{number}")


def mapping(name: str, number: int | None = None, *, shop: ShopDomain = SHOP, **more: Any) -> Mapping:
    values: dict[str, Any] = {"status": "in_sync", "store": STORE, **more}
    return Mapping(clerk_user_id=user(name), shop=shop, customer_id=customer(number) if number else None, **values)


def event(name: str, at: datetime = AT, **more: Any) -> Event:
    values: dict[str, Any] = {"kind": "update", "shop": SHOP, "customer_id": None, **more}
    return Event(at=at, store=STORE, clerk_user_id=user(name), **values)


def one(state: StateStore, name: str, shop: ShopDomain = SHOP) -> Mapping:
    return state.get(shop, [user(name)])[user(name)]


def concurrently(number: int, work: Callable[[int], T]) -> list[T]:
    """The work in so many threads that begin together."""
    gate = Barrier(number)

    def begin(index: int) -> T:
        gate.wait(30)
        return work(index)

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(begin, range(number)))


def test_a_mapping_comes_back_as_it_was_put(state: StateStore) -> None:
    whole = Mapping(
        clerk_user_id=user("1"),
        store=STORE,
        shop=SHOP,
        customer_id=customer(7),
        email=" Ada@Example.com",
        status="held",
        reason="EmailTaken",
        message="sie heißt Ada \U0001f600",
        first_seen_at=AT,
        last_seen_at=AT + timedelta(hours=1),
        left_at=AT + timedelta(hours=2),
        generation=3,
        applied={
            "email": Applied(value="ada@example.com", ours=True, config="c"),
            "tags": Applied(value=AgreedTags(owned=("a",))),
        },
        refused={"phone": RefusedValue(digest="d", code="TAKEN", message="m", asked=True)},
        intent=Intent(
            kind="relink",
            from_customer_id=customer(6),
            to=customer(7),
            changes=(
                Change(field="email", before="ada@example.com", after=None, why="profile changed"),
                Change(field="tags", before=[], after=["a"], why="profile changed"),
            ),
            parked={"phone": "+4712345678"},
        ),
        waits_for_email="grace@example.com",
        profile_digest="p",
        config_digest="q",
    )
    assert state.put(whole) == ()
    assert one(state, "1") == whole
    bare = Mapping(clerk_user_id=user("2"), store=STORE, shop=SHOP)
    state.put(bare)
    assert one(state, "2") == bare
    later = replace(whole, intent=None, waits_for_email=None, email=None, left_at=None)
    state.put(later)
    assert one(state, "1") == later


def test_times_are_utc_whatever_zone_they_were_written_in(state: StateStore) -> None:
    state.put(mapping("1", first_seen_at=AT.astimezone(ZoneInfo("America/St_Johns"))), event("1"))
    found = one(state, "1").first_seen_at
    assert found == AT
    assert found is not None
    assert found.utcoffset() == timedelta(0)
    assert [e.at.utcoffset() for e in state.events()] == [timedelta(0)]


def test_a_time_without_a_zone_is_refused(state: StateStore) -> None:
    with pytest.raises(StateError, match="zone"):
        state.put(mapping("1", first_seen_at=AT.replace(tzinfo=None)))
    assert state.get(SHOP, [user("1")]) == {}


def test_shops_are_kept_apart(state: StateStore) -> None:
    assert state.put(mapping("1", 7, email="a@example.com", waits_for_email="b@example.com")) == ()
    assert state.put(mapping("2", 7, shop=OTHER, email="a@example.com")) == ()
    assert state.owners(SHOP, [customer(7)]) == {customer(7): user("1")}
    assert state.owners(OTHER, [customer(7)]) == {customer(7): user("2")}
    assert state.by_emails(OTHER, ["a@example.com"]) == {"a@example.com": (user("2"),)}
    assert state.waiting_for(OTHER, ["b@example.com"]) == ()
    assert (state.count(SHOP), state.count(OTHER)) == (1, 1)
    state.forget(SHOP, user("1"))
    assert (state.count(SHOP), state.count(OTHER)) == (0, 1)
    assert [m.shop for chunk in state.scan(OTHER) for m in chunk] == [OTHER]


def test_a_customer_that_changes_owner_is_taken_from_the_old_owner(state: StateStore) -> None:
    tags = {"tags": Applied(value=AgreedTags(owned=("a",)), ours=True)}
    state.put(mapping("1", 7, email="a@example.com", applied=tags, generation=4, message="kept"))
    assert state.put(mapping("2", 7, email="a@example.com"), event("2")) == (user("1"),)
    assert state.owners(SHOP, [customer(7)]) == {customer(7): user("2")}
    loser = one(state, "1")
    assert (loser.customer_id, loser.email, dict(loser.applied), loser.status) == (None, None, {}, "pending")
    assert (loser.generation, loser.message) == (5, "kept")
    assert state.by_emails(SHOP, ["a@example.com"]) == {"a@example.com": (user("2"),)}
    assert len(state.events()) == 1


def test_a_tombstone_stays_one_when_its_customer_changes_owner(state: StateStore) -> None:
    state.put_many([mapping("1", 7, status="released", left_at=AT), mapping("2", 8, status="erased", left_at=AT)])
    assert state.put_many([mapping("3", 7), mapping("4", 8)]) == (user("1"), user("2"))
    assert (one(state, "1").status, one(state, "2").status) == ("released", "erased")
    assert one(state, "1").left_at == AT
    assert state.owners(SHOP, [customer(7), customer(8)]) == {customer(7): user("3"), customer(8): user("4")}


def test_customers_may_change_owners_in_a_circle(state: StateStore) -> None:
    names = ["1", "2", "3"]
    state.put_many([mapping(name, number) for number, name in enumerate(names, start=1)])
    assert state.put_many([mapping("1", 2), mapping("2", 3), mapping("3", 1)]) == ()
    assert [one(state, name).customer_id for name in names] == [customer(2), customer(3), customer(1)]
    assert state.put_many([mapping("1", None), mapping("4", 2), mapping("2", 1)]) == (user("3"),)
    assert state.owners(SHOP, [customer(n) for n in (1, 2, 3)]) == {customer(1): user("2"), customer(2): user("4")}


def test_two_rows_written_together_may_not_name_one_customer(state: StateStore) -> None:
    with pytest.raises(StateError, match="appears in 2 rows"):
        state.put_many([mapping("1", 7), mapping("2", 7)])
    with pytest.raises(StateError, match="appears in 2 rows"):
        state.put_many([mapping("1", 7), mapping("1", 8)])
    assert state.count(SHOP) == 0
    assert state.put_many([mapping("1", 7), mapping("2", 7, shop=OTHER)]) == ()


def test_a_put_is_whole_or_not_at_all(state: StateStore) -> None:
    state.put(mapping("1", 7))
    with pytest.raises(StateError):
        state.put(mapping("2", 7), event("2", kind=None))
    assert one(state, "1").customer_id == customer(7)
    assert state.get(SHOP, [user("2")]) == {}
    assert state.events() == []


def test_mappings_come_in_code_point_order_in_chunks(state: StateStore) -> None:
    names = ["Z", "a", "A", "_", "-", "é", "\uffee", "\U00010000", "aa", "~"]
    state.put_many([mapping(name) for name in names])
    found = [m.clerk_user_id for chunk in state.scan(SHOP, chunk=3) for m in chunk]
    assert found == sorted(user(name) for name in names)
    assert [len(chunk) for chunk in state.scan(SHOP, chunk=5)] == [5, 5]
    assert [m.clerk_user_id for chunk in state.scan(SHOP, after=found[4]) for m in chunk] == found[5:]


def test_thousands_may_be_put_and_asked_for_in_one_call(state: StateStore) -> None:
    rows = [
        mapping(f"{n:05}", n, email=f"p{n}@example.com", waits_for_email=f"w{n}@example.com") for n in range(1, 1205)
    ]
    assert state.put_many(rows) == ()
    assert state.put_many(rows) == ()
    assert state.put_many([]) == ()
    assert len(state.get(SHOP, [m.clerk_user_id for m in rows])) == len(rows)
    assert len(state.owners(SHOP, [c for m in rows if (c := m.customer_id)])) == len(rows)
    assert len(state.by_emails(SHOP, [m.email or "" for m in rows])) == len(rows)
    assert (state.get(SHOP, []), state.owners(SHOP, []), state.waiting_for(SHOP, [])) == ({}, {}, ())


def test_the_first_users_with_a_customer_are_found_among_thousands(state: StateStore) -> None:
    users = [user(f"{n:04}") for n in range(3000)]
    state.put_many([mapping(f"{n:04}", n) for n in (2999, 1500, 700)])
    state.put_many([mapping("0001", 1, status="released", left_at=AT), mapping("0002"), mapping("0003", 3)])
    assert state.first_mapped(SHOP, users, limit=9) == {user("0003"), user("0700"), user("1500"), user("2999")}
    assert state.first_mapped(SHOP, users, limit=2) == {user("0003"), user("0700")}
    assert state.first_mapped(OTHER, users, limit=2) == state.first_mapped(SHOP, [], limit=2) == frozenset()


def test_addresses_are_found_as_shopify_compares_them(state: StateStore) -> None:
    state.put_many(
        [
            mapping("1", 1, email="Ada @Example.com"),
            mapping("2", 2, email="ada@example.com"),
            mapping("3", None, email="ada@example.com"),
        ]
    )
    found = state.by_emails(SHOP, ["ada@example.com"])
    assert found == {"ada@example.com": (user("1"), user("2"), user("3"))}, "also without a customer"


def test_a_user_who_waits_for_an_address_is_found(state: StateStore) -> None:
    state.put_many([mapping(name, waits_for_email="ada@example.com") for name in ("3", "1")])
    state.put(mapping("2", 2, email="ada@example.com"))
    found = state.waiting_for(SHOP, ["ada@example.com", "absent@example.com"])
    assert found == (user("1"), user("3"))


def test_of_many_who_wait_for_one_value_only_those_are_named_who_may_get_it(state: StateStore) -> None:
    """Rows with one email, such as that of the first row of a faulty import, all wait for each other."""
    names = [f"{n:02}" for n in range(21)]
    state.put_many([mapping(name, waits_for_email="no@example.com", waits_for_phone="+16135550101") for name in names])
    assert state.waiting_for(SHOP, ["no@example.com"]) == ()
    assert state.waiting_for(SHOP, ["+16135550101"]) == tuple(user(name) for name in names[:20])
    state.put(mapping("09", 9, waits_for_email="no@example.com", waits_at_email=customer(1)))
    assert state.waiting_for(SHOP, ["no@example.com"]) == (user("09"),), (
        "the others make way for the one with a customer"
    )
    assert state.waiting_for(SHOP, customers=[customer(1)]) == (user("09"),)
    state.put(mapping("10"))
    assert state.waiting_for(SHOP, ["no@example.com"]) == tuple(user(name) for name in names if name != "10")


def test_who_waits_for_a_phone_or_for_what_a_customer_has_is_found(state: StateStore) -> None:
    state.put(mapping("1", 1, waits_for_email="ada@example.com", waits_at_email=customer(2)))
    state.put(mapping("2", 2, waits_for_phone="+16135550101", waits_at_phone=customer(3)))
    state.put(mapping("3", 3, waits_for_phone="+16135550102", waits_at_phone=customer(2)))
    assert state.waiting_for(SHOP, ["+16135550101", "ada@example.com"]) == (user("1"), user("2"))
    assert state.waiting_for(SHOP, customers=[customer(2)]) == (user("1"), user("3"))
    assert state.waiting_for(SHOP, customers=[customer(1)]) == state.waiting_for(OTHER, customers=[customer(2)]) == ()


def test_counts_leave_out_tombstones_and_people_without_a_customer(state: StateStore) -> None:
    state.put_many(
        [
            mapping("1", 1),
            mapping("2", 2, status="held", reason="NoEmail"),
            mapping("3", 3, status="released"),
            mapping("4", 4, status="erased"),
            mapping("5", None, status="held", reason="NoEmail"),
            mapping("6", 6, status="pending"),
        ]
    )
    assert state.count(SHOP) == 3
    assert state.tallies([SHOP, OTHER])[OTHER] == MappingCounts()
    assert state.tallies([SHOP])[SHOP].mapped == 3
    assert state.tallies([SHOP])[SHOP].rows == {
        ("in_sync", None): 1,
        ("held", "NoEmail"): 2,
        ("released", None): 1,
        ("erased", None): 1,
        ("pending", None): 1,
    }


def test_events_come_in_order_and_the_newest_are_kept(state: StateStore) -> None:
    for index, at in enumerate([AT, AT + timedelta(seconds=1), AT, AT + timedelta(seconds=1)]):
        state.put(mapping("1"), event("1", at, message=str(index)), event("1", at, message=f"{index}b"))
    assert [e.message for e in state.events()] == ["0", "0b", "2", "2b", "1", "1b", "3", "3b"]
    assert [e.message for e in state.events(limit=3)] == ["1b", "3", "3b"]
    assert [e.message for e in state.events(since=AT + timedelta(seconds=1))] == ["1", "1b", "3", "3b"]


def test_events_of_consents_are_kept_longer_than_others(state: StateStore) -> None:
    proof = Change(field="consent.email", before="NOT_SUBSCRIBED", after="SUBSCRIBED", why="profile changed")
    name = Change(field="first_name", before=None, after="Ada", why="profile changed")
    state.put(mapping("1"), event("1", changes=(name,)), event("1", changes=(name, proof)), event("1"))
    state.note_parity([sample(AT + timedelta(days=180))])
    assert state.tidy(now=AT + timedelta(days=181))["events"] == 2
    assert [e.changes for e in state.events()] == [(name, proof)]
    state.put(mapping("1"), event("1"))
    assert [e.changes for e in state.events(consents=True, limit=1)] == [(name, proof)], "and found behind others"


def test_very_many_old_events_are_deleted_in_short_transactions(state: StateStore, engine: Engine) -> None:
    """A shop's import is old within a minute: in one transaction, Postgres ended it each hour, and SQLite was locked."""
    proof = (Change(field="consent.email", before="NOT_SUBSCRIBED", after="SUBSCRIBED", why="profile changed"),)
    state.put(mapping("1"), *(event("1", changes=proof if n % 5 == 0 else ()) for n in range(90)))
    state.note_parity([sample(AT + timedelta(days=179))])
    housekeeping, later = Tidy(engine, at_once=1), AT + timedelta(days=181)
    assert housekeeping.tidy(now=later)["events"] == 40, "50 of them were passed"
    assert [housekeeping.tidy(now=later)["events"] for _ in range(3)] == [32, 0, 0]
    assert [e.changes for e in state.events()] == [proof] * 18


def test_a_user_who_loses_the_customer_keeps_the_consents(state: StateStore) -> None:
    consent = {"consent.email": Applied(value="UNSUBSCRIBED, at 2026-03-01T00:00:00Z")}
    state.put(mapping("1", 7, applied={"first_name": Applied(value="Ada"), **consent}))
    state.put(mapping("2", 8, applied={"first_name": Applied(value="Bob")}))
    state.put_many([mapping("3", 7), mapping("4", 8)])
    assert (one(state, "1").customer_id, one(state, "1").applied) == (None, consent)
    assert (one(state, "2").customer_id, one(state, "2").applied) == (None, {})


def test_events_are_found_by_user_shop_and_plan(state: StateStore) -> None:
    change = Change(field="first_name", before=None, after="Ada", why="profile changed")
    whole = event("1", customer_id=customer(7), changes=(change,), plan_digest="sha256:a", message="m")
    state.put(mapping("1"), whole)
    state.put(mapping("2", shop=OTHER), event("2", shop=OTHER, plan_digest="sha256:b"))
    assert state.events(user=user("1")) == [whole]
    assert [e.clerk_user_id for e in state.events(shop=OTHER)] == [user("2")]
    assert state.events(plan_digest="sha256:a") == [whole]
    assert state.events(plan_digest="sha256:a", shop=OTHER) == []


def test_what_is_remembered_of_a_store_comes_back(state: StateStore) -> None:
    assert state.facts(SHOP) is None
    facts = StoreFacts(STORE, SHOP, profiles=7, last_sweep_at=AT, suspended_at=AT, suspended_reason="token revoked")
    state.put_facts(facts)
    assert state.facts(SHOP) == facts
    state.put_facts(StoreFacts(STORE, SHOP))
    assert state.facts(SHOP) == StoreFacts(STORE, SHOP)


def test_a_sealed_plan_is_applied_once_however_many_try(state: StateStore) -> None:
    assert sorted(concurrently(8, lambda _: state.mark_applied("sha256:a", AT))) == [False] * 7 + [True]
    assert state.mark_applied("sha256:b", AT)


def test_token_pairs_are_kept_encrypted(state: StateStore, engine: Engine) -> None:
    assert state.load_tokens(SHOP) is None
    state.store_tokens(SHOP, "first", AT)
    state.store_tokens(SHOP, '{"access": "shpat_geheim"}', AT)
    assert state.load_tokens(SHOP) == '{"access": "shpat_geheim"}'
    with engine.connect() as connection:
        prefix = "" if engine.dialect.name == "sqlite" else "reconciler."
        kept = connection.exec_driver_sql(f"SELECT * FROM {prefix}reconciler_token").all()
    assert "geheim" not in str(kept)
    with pytest.raises(ConfigError, match="sealed with another key") as wrong:
        StateStore(engine, secret_key="wrong").load_tokens(SHOP)
    assert "RECONCILER_SECRET_KEY" in wrong.value.hint
    keyless = StateStore(engine)
    refusals: list[Callable[[], object]] = [
        lambda: keyless.load_tokens(SHOP),
        lambda: keyless.store_tokens(SHOP, "x", AT),
    ]
    for refused in refusals:
        with pytest.raises(ConfigError, match="no key") as missing:
            refused()
        assert missing.value.hint == "set RECONCILER_SECRET_KEY"
    assert keyless.load_tokens(OTHER) is None


def test_a_lease_is_held_by_one_until_it_runs_out(state: StateStore) -> None:
    assert state.acquire("sweep", "one", ttl_s=10, now=AT) == 1
    assert state.acquire("sweep", "two", ttl_s=10, now=AT + timedelta(seconds=9.9)) is None
    assert state.acquire("other", "two", ttl_s=10, now=AT) == 1
    assert state.renew("sweep", "one", 1, ttl_s=10, now=AT + timedelta(seconds=9))
    assert state.acquire("sweep", "two", ttl_s=10, now=AT + timedelta(seconds=18.9)) is None
    assert state.acquire("sweep", "two", ttl_s=10, now=AT + timedelta(seconds=19)) == 2
    assert not state.renew("sweep", "one", 1, ttl_s=10, now=AT + timedelta(seconds=19))
    assert state.renew("sweep", "two", 2, ttl_s=10, now=AT + timedelta(seconds=19))


def test_taking_a_lease_twice_is_taking_it_once(state: StateStore) -> None:
    assert state.acquire("sweep", "one", ttl_s=10, now=AT) == 1
    assert state.acquire("sweep", "one", ttl_s=10, now=AT + timedelta(seconds=5)) == 1
    assert state.acquire("sweep", "two", ttl_s=10, now=AT + timedelta(seconds=14)) is None
    assert state.acquire("sweep", "one", ttl_s=10, now=AT + timedelta(seconds=15)) == 2


def test_a_lease_that_is_given_back_is_free_and_its_number_grows(state: StateStore) -> None:
    assert state.acquire("sweep", "one", ttl_s=100, now=AT) == 1
    state.release_lease("sweep", "one", 1, now=AT)
    assert state.acquire("sweep", "two", ttl_s=100, now=AT) == 2
    state.release_lease("sweep", "one", 1, now=AT)
    state.release_lease("nothing", "one", 1, now=AT)
    assert state.acquire("sweep", "one", ttl_s=100, now=AT) is None


def test_only_one_of_many_gets_a_lease(state: StateStore) -> None:
    for turn in range(1, 4):
        now = AT + timedelta(hours=turn)
        taken = concurrently(8, lambda index, now=now: state.acquire("sweep", f"o{index}", ttl_s=60, now=now))  # type: ignore[misc]
        assert [fence for fence in taken if fence is not None] == [turn]


def test_a_budget_is_spent_to_its_ceiling_and_no_further(state: StateStore) -> None:
    assert not state.spend(SHOP, "create", AT, 8, 7)
    assert state.spend(SHOP, "create", AT, 5, 7)
    assert not state.spend(SHOP, "create", AT + timedelta(minutes=59), 3, 7)
    assert state.spend(SHOP, "create", AT + timedelta(minutes=59), 2, 7)
    assert not state.spend(SHOP, "create", AT, 1, 7)
    assert state.spend(SHOP, "create", AT, 1, 8)
    assert not state.spend(SHOP, "create", AT, 1, 3)
    assert state.spend(SHOP, "update", AT, 3, 7)
    assert state.spend(OTHER, "create", AT, 3, 7)
    assert state.spend(SHOP, "create", AT + timedelta(hours=1), 7, 7)
    nepal = AT.astimezone(ZoneInfo("Asia/Kathmandu"))
    assert not state.spend(SHOP, "create", nepal, 1, 8)


def test_what_is_given_back_can_be_spent_again(state: StateStore) -> None:
    assert state.spend(SHOP, "create", AT, 5, 7)
    state.give_back(SHOP, "create", AT, 4)
    assert state.spend(SHOP, "create", AT, 6, 7)
    state.give_back(SHOP, "create", AT, 100)
    state.give_back(SHOP, "create", AT + timedelta(hours=1), 1)
    assert state.spend(SHOP, "create", AT, 7, 7)
    assert not state.spend(SHOP, "create", AT, 1, 7)
    assert state.spend(SHOP, "create", AT + timedelta(hours=1), 7, 7)


def test_a_budget_is_never_overspent_by_many_together(state: StateStore) -> None:
    granted = concurrently(8, lambda _: sum(state.spend(SHOP, "create", AT, 3, 50) for _ in range(5)))
    assert sum(granted) == 16


def test_old_hours_are_removed(state: StateStore, engine: Engine) -> None:
    for hours in range(100):
        state.spend(SHOP, "create", AT + timedelta(hours=hours), 1, 7)
    prefix = "" if engine.dialect.name == "sqlite" else "reconciler."
    with engine.connect() as connection:
        count = connection.exec_driver_sql(f"SELECT count(*) FROM {prefix}reconciler_budget").scalar_one()
    assert count == 49


def test_concurrent_writers_neither_lose_a_row_nor_lock_each_other_out(state: StateStore) -> None:
    def work(index: int) -> None:
        for turn in range(6):
            state.put(mapping(f"{index}-{turn}", 1000 * index + turn + 1), event(f"{index}-{turn}"))
            state.put_many([mapping(f"{index}-{turn}-{k}") for k in range(5)])
            state.get(SHOP, [user(f"{index}-{turn}")])

    concurrently(6, work)
    assert state.count(SHOP) == 36
    assert len(state.events()) == 36
    assert sum(len(chunk) for chunk in state.scan(SHOP)) == 36 * 6


def test_property_customers_that_many_fight_over_are_always_one_users_each(state: StateStore) -> None:
    seed = 20261125
    print(f"seed {seed}")  # noqa: T201  shown where the test fails
    people, customers = 6, 4

    def work(index: int) -> None:
        rng = random.Random(seed + index)
        for _ in range(10):
            names = rng.sample(range(people), 3)
            numbers = rng.sample(range(1, customers + 1), 3)
            rows = [mapping(str(n), c) for n, c in zip(names, numbers, strict=True)]
            assert set(state.put_many(rows)).isdisjoint(m.clerk_user_id for m in rows)

    concurrently(6, work)
    rows = [m for chunk in state.scan(SHOP) for m in chunk]
    held = [m.customer_id for m in rows if m.customer_id is not None]
    assert len(held) == len(set(held))
    assert set(state.owners(SHOP, [customer(n) for n in range(1, customers + 1)])) == set(held)
    assert all(m.status == "pending" for m in rows if m.customer_id is None)


def test_leases_of_the_dead_are_taken_back_by_the_beginning_of_their_name(state: StateStore) -> None:
    for name in ("look:acme", "look:other", "look_alike", "bulk acme"):
        assert state.acquire(name, "dead", ttl_s=60, now=AT) == 1
    assert state.take_back_leases("look:", now=AT) == 2
    assert state.take_back_leases("look:", now=AT) == 0
    assert state.acquire("look:acme", "new", ttl_s=60, now=AT) == 2  # what the dead one would write late is refused
    assert not state.renew("look:acme", "dead", 1, ttl_s=60, now=AT)
    assert [state.acquire(name, "new", ttl_s=60, now=AT) for name in ("look_alike", "bulk acme")] == [None, None]


def test_of_two_who_give_a_shop_its_key_at_the_same_moment_one_succeeds(state: StateStore) -> None:
    names = [ShopDomain(f"name-{n}.myshopify.com") for n in range(4)]
    gate = Barrier(len(names))

    def put(name: ShopDomain) -> bool:
        gate.wait()
        return state.put_shop(KnownShop(name, "gid://shopify/Shop/1", name, STORE, AT))

    with ThreadPoolExecutor(len(names)) as pool:
        done = list(pool.map(put, names))
    (known,) = state.known_shops()
    assert [name for name, is_done in zip(names, done, strict=True) if is_done] == [known.key]
    renamed = KnownShop(ShopDomain("new.myshopify.com"), known.gid, known.key, STORE, AT + timedelta(days=1))
    assert state.put_shop(renamed)
    assert {shop.key for shop in state.known_shops()} == {known.key}


# --- acts and pauses -----------------------------------------------------------------------------------------------


def act(kind: Any, at: datetime = AT, **more: Any) -> Act:
    return Act(at, Actor("ada", "console"), kind, **more)


def test_a_pause_keeps_who_set_it_until_it_ends(state: StateStore) -> None:
    assert state.pauses() == {}
    assert state.pause(SHOP, act("pause", store=STORE))
    assert not state.pause(SHOP, Act(AT + timedelta(hours=1), Actor("bob", "command"), "pause", STORE))
    assert state.pauses() == {SHOP: Pause(SHOP, Actor("ada", "console"), AT)}
    assert state.pauses()[SHOP].words == "paused by ada since 2026-11-23 09:00 UTC (console)"
    assert not state.resume(OTHER, act("resume"))
    assert state.resume(SHOP, act("resume", AT + timedelta(hours=2), store=STORE))
    assert not state.resume(SHOP, act("resume", AT + timedelta(hours=3), store=STORE))
    assert state.pauses() == {}
    assert [found.kind for found in state.acts(limit=10)] == ["resume", "pause"]


def test_one_of_many_who_pause_at_the_same_time_is_recorded(state: StateStore) -> None:
    def pause(number: int) -> bool:
        return state.pause(SHOP, Act(AT, Actor(f"user_{number}", "console"), "pause", STORE))

    found = concurrently(6, pause)
    assert found.count(True) == 1
    (recorded,) = state.acts(limit=10)
    assert recorded.actor == state.pauses()[SHOP].actor == Actor(f"user_{found.index(True)}", "console")


def test_acts_are_found_by_store_and_by_user_newest_first(state: StateStore) -> None:
    acts = [
        act("nudge", AT, user=user("1")),
        act("accept", AT + timedelta(seconds=1), store=STORE, user=user("1"), detail={"fields": ["email"]}),
        act("probe", AT + timedelta(seconds=2), store=StoreName("other")),
    ]
    state.note_acts(acts[:2])
    state.note_acts(acts[2:])
    assert state.acts(limit=10) == acts[::-1]
    assert state.acts(limit=1) == acts[2:]
    assert state.acts(store=STORE, limit=10) == [acts[1], acts[0]]
    assert state.acts(user=user("1"), limit=10) == [acts[1], acts[0]]
    state.note_parity([sample(AT + timedelta(days=179))])
    assert state.tidy(now=AT + timedelta(days=180, seconds=1.5))["acts"] == 2
    assert state.acts(limit=10) == acts[2:]


# --- runs ------------------------------------------------------------------------------------------------------------


def begin(
    state: StateStore,
    kind: RunKind = "apply",
    *stores: StoreName,
    at: datetime = AT,
    owner: str = "",
    via: Any = "command",
) -> int:
    new = NewRun(kind, stores or (STORE,), Actor("ada", via), owner or state.new_holder(), "sha256:d")
    return state.begin_run(new, at=at)


def test_a_run_is_recorded_from_its_beginning_to_its_end(state: StateStore) -> None:
    number = begin(state)
    (found,) = state.runs(now=AT, limit=10)
    assert found == Run(
        number, "apply", (STORE,), Actor("ada", "command"), AT, None, "running", RunCounts(), "sha256:d", ""
    )
    counts = RunCounts(users=7, actions={"create": 2, "update": 1}, queued=4, holds=3, failures=1)
    state.end_run(number, at=AT + timedelta(minutes=1), outcome="failed", counts=counts, message="no")
    ended = state.find_run(number, now=AT)
    assert ended is not None
    assert (ended.outcome, ended.ended_at, ended.counts, ended.message) == (
        "failed", AT + timedelta(minutes=1), counts, "no",
    )  # fmt: skip
    assert state.find_run(number + 1, now=AT) is None


def test_a_run_without_an_end_is_interrupted_once_its_process_is_gone(state: StateStore) -> None:
    alive = state.new_holder()
    parts = alive.split(".")
    ours = begin(state, owner=alive)
    ended = begin(state, owner=".".join([parts[0], parts[1], str(int(parts[2]) + 1), parts[3]]))
    elsewhere = begin(state, owner="another-machine.1.1.x")
    state.put_replica(Replica(owner="replica-1", config_digest="", since=AT, seen_at=AT))
    replica = begin(state, "resync", owner="replica-1", via="schedule")
    silent = begin(state, "resync", owner="replica-2", via="schedule")

    def outcomes(now: datetime) -> dict[int, str]:
        return {run.id: run.outcome for run in state.runs(now=now, limit=10)}

    running, lost = "running", "interrupted"
    assert outcomes(AT) == {ours: running, ended: lost, elsewhere: running, replica: running, silent: lost}
    assert outcomes(AT + timedelta(minutes=6))[replica] == lost
    assert outcomes(AT + timedelta(hours=25))[elsewhere] == lost


def test_runs_are_found_by_store_and_kind_page_by_page(state: StateStore) -> None:
    us, dot = StoreName("acme_us"), StoreName("acme-us.2")
    numbers = [begin(state, "apply", us, dot), begin(state, "resync", us), begin(state, "resync", dot)]
    assert [run.id for run in state.runs(now=AT, limit=2)] == numbers[:0:-1]
    assert [run.id for run in state.runs(now=AT, before=numbers[1], limit=2)] == numbers[:1]
    assert [run.id for run in state.runs(now=AT, store=us, limit=9)] == [numbers[1], numbers[0]]
    assert [run.id for run in state.runs(now=AT, store=StoreName("acme-us"), limit=9)] == []  # `_` is no wildcard
    assert [run.id for run in state.runs(now=AT, store=dot, kinds=["resync"], limit=9)] == [numbers[2]]


def test_old_runs_are_deleted_and_incremental_resyncs_first(state: StateStore) -> None:
    old = begin(state)
    begin(state, "resync")
    state.note_parity([sample(AT), sample(AT + timedelta(days=179))])
    assert state.tidy(now=AT + timedelta(days=8))["runs"] == 1
    assert [run.id for run in state.runs(now=AT, limit=9)] == [old]
    assert state.tidy(now=AT + timedelta(days=181))["runs"] == 1


def test_a_clock_that_is_a_year_ahead_for_some_hours_deletes_no_history(state: StateStore) -> None:
    state.put(mapping("1"), event("1"))
    begin(state)
    state.note_parity([sample(AT - timedelta(minutes=5 * n)) for n in range(600)])
    ahead = AT + timedelta(days=400)
    state.note_parity([sample(ahead), sample(ahead + timedelta(hours=9))])
    assert state.tidy(now=ahead + timedelta(hours=9)) == {}
    assert (len(state.events()), len(state.runs(now=AT, limit=9)), len(state.parity_lines([SHOP], since=AT))) == (
        1,
        1,
        3,
    )
    assert state.tidy(now=ahead + timedelta(hours=25))["events"] == 1, "the clock is right: run was away for a year"


def test_events_point_to_their_run(state: StateStore, engine: Engine) -> None:
    number = begin(state)
    state.put(mapping("1", 7), event("1", run_id=number))
    state.put(mapping("2", 8), event("2"))
    assert [(found.clerk_user_id, found.run_id) for found in state.events()] == [(user("1"), number), (user("2"), None)]
    reader = ConsoleTable(engine)
    assert [found.clerk_user_id for found in reader.run_events(number, limit=10)] == [user("1")]
    assert list(reader.run_events(number + 1, limit=10)) == []


# --- people ----------------------------------------------------------------------------------------------------------

PEOPLE = {
    "1": Person(profile_name="Grace Hopper", profile_email="Grace@Navy.example.com", profile_phone="+14155550100"),
    "2": Person(profile_name="Øystein Ödegård", profile_email=None, profile_phone="+4790000001"),
    "3": Person(profile_name="Grace 100% _Hall", profile_email="hall@example.com", profile_phone=None),
}


@pytest.mark.parametrize(
    ("text", "users"),
    [
        ("Grace Hopper", ["1"]),
        ("hopper grace", ["1"]),
        ("GRACE", ["1", "3"]),
        ("øystein", ["2"]),
        ("ÖDEGÅRD", ["2"]),
        ("Oystein odegard", ["2"]),
        ("100% ", []),
        ("%", []),
        ("grace@navy.example.com", ["1"]),
        ("GRACE@NAVY", ["1"]),
        ("(415) 555-0100", ["1"]),
        ("+1 415 555 0100", ["1"]),
        ("+47 90 00 00 01", ["2"]),
        ("415555010", []),
        ("user_2", ["2"]),
        ("3001", ["1"]),
        ("gid://shopify/Customer/3001", ["1"]),
        ("https://admin.shopify.com/store/acme/customers/3001?x=1", ["1"]),
        ("3002", []),
    ],
)
def test_people_are_found_by_what_the_profile_says_of_them(
    state: StateStore, engine: Engine, text: str, users: list[str]
) -> None:
    state.put(mapping("1", 3001, **PEOPLE["1"]))
    state.put(mapping("1", 3002, shop=OTHER, **PEOPLE["1"]))
    state.put(mapping("2", status="held", reason="NoEmail", **PEOPLE["2"]))
    state.put(mapping("3", status="held", reason="NoEmail", **PEOPLE["3"]))
    reader = ConsoleTable(engine)
    meant = sought(text, [None, "US"])
    assert meant is not None
    found = reader.find_people(meant, shops=[SHOP], status=None, reason=None, limit=10)
    assert [row.clerk_user_id for row in found] == [user(name) for name in users]
    held = reader.find_people(meant, shops=[SHOP], status="held", reason="NoEmail", limit=10)
    assert [row.clerk_user_id for row in held] == [user(name) for name in users if name != "1"]
    searched = {row.clerk_user_id for row in reader.search(meant, shops=[SHOP, OTHER])}
    assert searched == ({user(name) for name in users} if meant.phones or meant.name_words else set())
    assert {row.shop for row in found} <= {SHOP}


def test_people_come_in_order_and_no_more_than_asked(state: StateStore, engine: Engine) -> None:
    for number in range(5):
        state.put(mapping(str(number), profile_name="Grace", profile_email=None, profile_phone=None))
    reader = ConsoleTable(engine)
    for asked in (sought("grace", []), sought("user_", []), None):
        found = reader.find_people(asked, shops=[SHOP], status=None, reason=None, limit=3)
        assert [row.clerk_user_id for row in found] == [user("0"), user("1"), user("2")]


def test_a_name_longer_than_an_index_takes_is_kept(state: StateStore, engine: Engine) -> None:
    state.put(mapping("1", profile_name="Ö" * 5000, profile_email="ö" * 300 + "@x.example", profile_phone=None))
    meant = sought("ÖÖÖ", [])
    assert len(ConsoleTable(engine).find_people(meant, shops=[SHOP], status=None, reason=None, limit=3)) == 1


# --- parity ----------------------------------------------------------------------------------------------------------


def sample(at: datetime, shop: ShopDomain = SHOP, *, in_sync: int = 3, parity: float | None = 0.75) -> ParitySample:
    return ParitySample(shop, at, profiles=4, in_sync=in_sync, pending=1, held=0, parity=parity)


def test_one_sample_of_parity_is_kept_for_five_minutes(state: StateStore) -> None:
    began = AT.replace(minute=0, second=0, microsecond=0)
    assert not state.is_sampled([SHOP, OTHER], at=began)
    state.note_parity([sample(began), sample(began, OTHER, in_sync=0, parity=None)])
    state.note_parity([sample(began + timedelta(seconds=299), in_sync=4)])
    state.note_parity([sample(began + timedelta(seconds=300), in_sync=4)])
    state.note_parity([])
    assert state.is_sampled([OTHER], at=began + timedelta(seconds=299))
    assert not state.is_sampled([OTHER], at=began + timedelta(seconds=300))
    line = state.parity_lines([SHOP], since=began)
    assert line == [sample(began), sample(began + timedelta(seconds=300), in_sync=4)]
    assert state.parity_lines([OTHER], since=began) == [sample(began, OTHER, in_sync=0, parity=None)]
    assert state.parity_lines([SHOP], since=began + timedelta(seconds=300)) == line[1:]


def test_samples_of_parity_are_thinned_out_and_their_number_is_bounded(state: StateStore) -> None:
    now = AT.replace(hour=0, minute=0, second=0, microsecond=0)
    count = 31 * 288
    state.note_parity([sample(now - timedelta(minutes=5 * n)) for n in range(1, count + 1)])
    state.note_parity([sample(now - timedelta(minutes=5), OTHER)])
    assert state.tidy(now=now)["parity"] > 8000
    kept = [found.at for found in state.parity_lines([SHOP], since=now - timedelta(days=40))]
    assert len(kept) == 288 + 6 * 24 + 23 * 4
    assert [at for at in kept if at >= now - timedelta(days=1)] == [
        now - timedelta(minutes=5 * n) for n in range(288, 0, -1)
    ]
    assert {at.minute for at in kept if at < now - timedelta(days=1)} == {0}
    assert {at.hour for at in kept if at < now - timedelta(days=7)} == {0, 6, 12, 18}
    assert min(kept) == now - timedelta(days=30)
    assert state.tidy(now=now)["parity"] == 0
    assert len(state.parity_lines([OTHER], since=now - timedelta(days=1))) == 1


# --- notifications ---------------------------------------------------------------------------------------------------


def test_one_replica_sends_a_notification_and_then_it_is_quiet_for_an_hour(state: StateStore) -> None:
    assert concurrently(6, lambda _: state.claim_notice(SHOP, now=AT)).count(True) == 1
    assert state.notified() == {SHOP: {}}
    state.end_notice(SHOP, {"suspended": "token refused"}, now=AT)
    assert state.notified() == {SHOP: {"suspended": "token refused"}}
    assert not state.claim_notice(SHOP, now=AT + timedelta(minutes=59))
    assert concurrently(6, lambda _: state.claim_notice(SHOP, now=AT + timedelta(minutes=61))).count(True) == 1
    assert state.claim_notice(OTHER, now=AT)


def test_a_notification_of_a_replica_that_died_or_failed_is_sent_again_soon(state: StateStore) -> None:
    assert state.claim_notice(SHOP, now=AT)
    assert not state.claim_notice(SHOP, now=AT + timedelta(minutes=4))
    assert state.claim_notice(SHOP, now=AT + timedelta(minutes=6))
    state.end_notice(SHOP, None, now=AT + timedelta(minutes=6))
    assert state.notified() == {SHOP: {}}
    assert not state.claim_notice(SHOP, now=AT + timedelta(minutes=10))
    assert state.claim_notice(SHOP, now=AT + timedelta(minutes=12))


# --- accepted drift ------------------------------------------------------------------------------------------------


def test_accepted_drift_is_written_by_acts_alone_and_ends_with_the_mapping(state: StateStore) -> None:
    until = AT + timedelta(days=3)
    acceptance = Acceptance(("first_name", "tags"), until, Actor("ada", "console"), AT)

    def act(kind: ActKind, name: str) -> Act:
        return Act(AT, acceptance.actor, kind, StoreName("acme"), user(name))

    assert not state.accept(SHOP, acceptance, act("accept", "a"))
    state.put_many([mapping("a", 1), mapping("b", 2), mapping("c", 3)])
    for name in "abc":
        assert state.accept(SHOP, acceptance, act("accept", name))
    state.put(mapping("a", 1, first_seen_at=AT))  # decided on a row that was read before
    assert (one(state, "a").accepted, one(state, "a").first_seen_at) == (acceptance, AT)
    assert state.count_accepted([SHOP, OTHER], now=AT) == {SHOP: 3}
    assert state.heal(SHOP, act("heal", "a"))
    assert not state.heal(SHOP, act("heal", "a"))
    assert one(state, "a").accepted is None
    state.forget(SHOP, user("b"))
    assert list(state.ended_acceptances(now=until - timedelta(seconds=1))) == []
    assert list(state.ended_acceptances(now=until)) == [(SHOP, user("c"))]
    state.clear_ended(SHOP, [user("c")], now=until)
    assert (state.count_accepted([SHOP], now=AT), list(state.ended_acceptances(now=until))) == ({}, [])
    assert [(one.kind, one.user) for one in state.acts(limit=9)][:1] == [("heal", user("a"))]
    state.accept(SHOP, acceptance, act("accept", "c"))
    state.put(mapping("c", None, status="erased"))
    assert (one(state, "c").accepted, state.accept(SHOP, acceptance, act("accept", "c"))) == (None, False)
