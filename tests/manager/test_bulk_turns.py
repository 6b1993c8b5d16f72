"""`run` by bulk operations: what looks find goes by files where that is faster, nudges go on beside it, nobody is lost."""

from __future__ import annotations

import signal
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.model.ids import ShopDomain, StoreName
from reconciler.simulator.control import all_customers
from tests import servers
from tests.manager.processes import replicas
from tests.manager.street import US, Running, Street, a_street, now_text, until

SHOP = ShopDomain(f"{US}.myshopify.com")
RATE = 10  # points a second, in a bucket that is never empty: more than 120 writes are worth bulk operations
PEOPLE = 400
NEVER = 1e-9  # rows a second


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    """Whoever sends one by one waits for each answer, as in real life."""
    with a_street(tmp_path, restore_rate=RATE, bucket_size=500_000) as found:
        found.shop().latency_s = 0.02
        yield found


def populate(street: Street, count: int) -> None:
    now, users = now_text(), [name_of(n) for n in range(count)]
    rows = [(user, f"{user}@example.com", 1, f"Person {user}", None, "en-US", now, None) for user in users]
    with closing(sqlite3.connect(street.folder / "profiles.db", timeout=60)) as connection, connection:
        columns = "clerk_user_id, email, email_verified, first_name, last_name, locale, updated_at, deleted_at"
        connection.executemany(f"insert into customers ({columns}) values (?, ?, ?, ?, ?, ?, ?, ?)", rows)


def name_of(number: int) -> str:
    return f"user_{number:04}"


def operations(street: Street) -> int:
    return street.shop().counts.get("bulkOperationRunMutation", 0)


def one_by_one(street: Street) -> int:
    return street.shop().counts.get("customerSet", 0)


def made(street: Street) -> int:
    sim = street.shop()
    with sim.lock:
        return len(all_customers(sim))


def everybody_is_there(street: Street, run: Running, count: int = PEOPLE) -> None:
    until(lambda: made(street) == count and run.house.queue.depth() == 0, "everybody is there")
    until(lambda: not run.house.state.bulk_files(SHOP) and not run.house.state.bulk_waiting(SHOP), "no file is left")
    mails = Counter(c["email"] for c in all_customers(street.shop()))
    assert mails == {f"{name_of(n)}@example.com": 1 for n in range(count)}
    assert {m.status for chunk in run.house.state.scan(SHOP) for m in chunk} == {"in_sync"}


def runs_at_the_shop(run: Running) -> None:
    until(lambda: any(f.operation for f in run.house.state.bulk_files(SHOP)), "an operation runs")


def test_a_first_sync_goes_by_bulk_while_nudges_are_served(street: Street) -> None:
    count = 2000
    populate(street, count)
    street.shop().shop.bulk_rows_per_s = NEVER
    with street.replica() as run:
        runs_at_the_shop(run)
        street.person(name_of(7), first_name="Nudged")
        run.nudge(name_of(7))
        until(
            lambda: street.customers().get(f"{name_of(7)}@example.com", {}).get("firstName") == "Nudged",
            "she is served",
        )
        assert run.house.state.bulk_files(SHOP)
        street.shop().shop.bulk_rows_per_s = None
        everybody_is_there(street, run, count)
        assert street.customers()[f"{name_of(7)}@example.com"]["firstName"] == "Nudged"
        assert one_by_one(street) < count / 2
        assert 1 <= operations(street) <= 10
        until(lambda: run.metric("reconciler_sweeps_total", kind="bulk", result="done") >= 1, "the turn is counted")
        assert run.metric("reconciler_actions_total", kind="create") >= count - 1
    before = street.mutations()
    with street.replica() as run:
        run.looked_at_all()
    assert street.mutations() == before


def test_few_never_go_by_bulk(street: Street) -> None:
    populate(street, 100)
    with street.replica() as run:
        everybody_is_there(street, run, 100)
        assert operations(street) == 0


def test_a_store_that_is_paused_is_left_alone(street: Street) -> None:
    populate(street, PEOPLE)
    street.stores[US]["paused"] = True
    with street.replica() as run:
        run.looked_at_all()
        assert run.manager._turns.due() == []
        assert (operations(street), made(street)) == (0, 0)
        street.stores[US]["paused"] = False
        street.write()
        everybody_is_there(street, run)
        assert operations(street) >= 1


def test_a_replica_that_stops_ends_its_turn_and_the_next_one_goes_on(street: Street) -> None:
    populate(street, PEOPLE)
    street.shop().shop.bulk_rows_per_s = NEVER
    with street.replica() as run:
        runs_at_the_shop(run)
    street.shop().shop.bulk_rows_per_s = None
    begun = operations(street)
    with street.replica() as run:
        everybody_is_there(street, run)
        assert operations(street) == begun


def test_a_store_that_is_removed_ends_its_turn(street: Street) -> None:
    populate(street, PEOPLE)
    street.shop().shop.bulk_rows_per_s = NEVER
    with street.replica() as run:
        runs_at_the_shop(run)
        store = street.stores.pop(US)
        street.stores["other"] = {**store, "shop": "other.myshopify.com"}
        street.write()
        until(lambda: not run.manager._turns._asked, "the turn has ended")
        assert made(street) < PEOPLE
        street.stores = {US: store}
        street.write()
        street.shop().shop.bulk_rows_per_s = None
        everybody_is_there(street, run)


def test_a_shop_that_closes_is_suspended_and_gone_on_with_once_it_opens(street: Street) -> None:
    populate(street, PEOPLE)
    street.shop().shop.bulk_rows_per_s = NEVER
    with street.replica() as run:
        runs_at_the_shop(run)
        street.shop().status = 402
        until(lambda: StoreName(US) in run.manager._crew.suspended(), "the store is suspended")
        until(lambda: not run.manager._turns._asked, "the turn has ended")
        street.shop().shop.bulk_rows_per_s = None
        street.shop().status = None
        everybody_is_there(street, run)


def test_of_two_replicas_one_has_the_turn_and_the_other_leaves_it_alone(
    tmp_path: Path, postgres: servers.Server, postgres_database: Callable[..., str]
) -> None:
    state_url = postgres.url(postgres_database(migrated=True))
    with a_street(tmp_path, state_url=state_url, restore_rate=RATE, bucket_size=500_000) as street:
        street.shop().latency_s = 0.02
        populate(street, PEOPLE)
        street.shop().shop.bulk_rows_per_s = NEVER
        with street.replica() as one, street.replica() as two:
            runs_at_the_shop(one)
            begun = operations(street)
            for run in (one, two):
                until(lambda run=run: run.idle(), "nobody is left to be taken")  # type: ignore[misc]
            assert operations(street) == begun
            street.shop().shop.bulk_rows_per_s = None
            everybody_is_there(street, two)
            assert operations(street) == begun
            assert one_by_one(street) < PEOPLE


@pytest.fixture
def start(street: Street) -> Iterator[Any]:
    with replicas(street) as begun:
        yield begun


def test_a_process_that_is_killed_while_an_operation_runs_is_gone_on_with_by_another(
    street: Street, start: Any
) -> None:
    def rows(query: str) -> int:
        with closing(sqlite3.connect(street.folder / "state.db", timeout=60)) as connection:
            return int(connection.execute(query).fetchone()[0])

    populate(street, PEOPLE)
    street.shop().shop.bulk_rows_per_s = NEVER
    one = start()
    one.started()
    until(lambda: rows("select count(*) from reconciler_bulk_file where operation is not null"), "an operation runs")
    one.signal(signal.SIGKILL)
    one.ended()
    begun = operations(street)
    street.shop().shop.bulk_rows_per_s = None
    two = start()
    two.started()
    until(lambda: made(street) == PEOPLE, "everybody is there")
    until(lambda: two.said("bulk_finished"), "the turn has gone on")
    until(lambda: rows("select count(*) from reconciler_bulk_line") == 0, "no line is left")
    until(lambda: rows("select count(*) from reconciler_request") == 0, "nobody waits")
    mails = Counter(c["email"] for c in all_customers(street.shop()))
    assert max(mails.values()) == 1
    assert rows("select count(*) from reconciler_mapping where status = 'in_sync'") == PEOPLE
    assert operations(street) <= begun + 1
    two.signal(signal.SIGTERM)
    assert two.ended() == 0
