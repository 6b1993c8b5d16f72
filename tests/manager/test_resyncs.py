"""Resyncs of whole stores: what they find and repair, how they continue, and that each happens once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from reconciler.controller.scan.standing import CHANGES, FULL
from reconciler.core.model.ids import ShopDomain, StoreName
from reconciler.manager.schedule.scheduler import SCAN_THREADS
from tests import servers
from tests.clock import WallClock
from tests.manager.harness import HELD_S, US, RunHarness, run_harness, until


def test_the_resync_at_the_start_creates_links_and_releases_and_a_second_start_does_nothing(
    harness: RunHarness,
) -> None:
    for n in range(12):
        harness.person(f"user_{n:02}", first_name=f"N{n}")
    harness.shop().staff("create", email="user_03@example.com", first_name="Guest")
    with harness.replica() as run:
        run.scanned_all()
        assert harness.emails() == sorted(f"user_{n:02}@example.com" for n in range(12))
        assert harness.customers()["user_03@example.com"]["firstName"] == "N3"
        assert run.statuses(f"user_{n:02}" for n in range(12)) == {"in_sync"}
    before = harness.mutations()
    with harness.replica() as run:
        run.scanned_all()
    assert harness.mutations() == before


def test_a_full_resync_repairs_users_without_mapping_mappings_without_user_and_backlinks_without_mapping(
    harness: RunHarness,
) -> None:
    harness.stores[US]["on_leave"] = "tag"
    for n in range(4):
        harness.person(f"user_{n}")
    with harness.replica() as run:
        run.scanned_all()
        shop = run.mapping("user_0")
        assert shop is not None
        run.components.state.mappings.forget(shop.shop, shop.clerk_user_id)  # a back-link without its mapping
    harness.person("user_new")  # a user without a mapping
    harness.gone("user_2")  # a mapping without its user
    with harness.replica() as run:
        until(lambda: run.status("user_2") == "released", "who has gone is released")
        until(lambda: run.status("user_new") == "in_sync", "who is new is there")
        until(lambda: run.status("user_0") == "in_sync", "the mapping is back")
        again = run.mapping("user_0")
        assert again is not None
        assert again.customer_id == shop.customer_id
    assert len(harness.emails()) == 5
    assert "clerk-left" in harness.customers()["user_2@example.com"]["tags"]


def test_a_full_resync_that_fails_is_taken_again_without_waiting_for_tomorrow(harness: RunHarness) -> None:
    harness.person("user_a")
    harness.shop().faults.add("status", status=503, times=4)
    with harness.replica() as run:
        until(lambda: run.status("user_a") == "in_sync", "the scan was made again")


def test_a_resync_that_was_interrupted_by_a_killed_replica_is_continued_by_another(harness: RunHarness) -> None:
    harness.settings["controller"]["resync_s"] = 0.2
    for n in range(3):
        harness.person(f"user_{n}")
    with harness.replica() as run:
        run.scanned_all()
        row = run.mapping("user_0")
        assert row is not None
        state, shop = run.components.state, row.shop
        harness.gone("user_0")
        harness.gone("user_2")
        clock = run.components.clock
        lease = (f"look:{shop}", "the one that dies")
        fence = until(lambda: state.leases.acquire(*lease, ttl_s=3.0, now=clock.now()), "no other scans the shop")
        mark = state.scans.begin(shop, "full", now=clock.now())  # a scan begins, sees two of them, and its process dies
        state.scans.note(shop, "full", cursor=row.clerk_user_id.replace("0", "1"), looked_at=2, wanted=1, findings={})  # type: ignore[arg-type]
        state.leases.release_lease(*lease, fence, now=clock.now())

        def went_on() -> bool:
            now = state.scans.mark(shop, "full")
            return now is not None and now.finished_at is not None

        until(went_on, "the scan came to its end")
        ended = state.scans.mark(shop, "full")
        assert ended is not None
        assert (ended.started_at, ended.watermark, ended.looked_at) == (mark.started_at, mark.started_at, 2)


def test_an_incremental_resync_finds_what_no_webhook_told_of(harness: RunHarness) -> None:
    harness.settings["controller"]["resync_s"] = 0.1
    harness.person("user_a")
    harness.person("user_b")
    with harness.replica() as run:
        run.scanned_all()
        harness.person("user_a", first_name="Changed")
        harness.person("user_c")
        harness.gone("user_b")
        until(lambda: harness.customers()["user_a@example.com"]["firstName"] == "Changed", "the change was seen")
        until(lambda: run.status("user_c") == "in_sync", "the new one was seen")
        until(lambda: run.status("user_b") == "released", "the vanished row was seen")


def test_an_incremental_resync_that_failed_is_taken_again_long_before_its_next_turn(harness: RunHarness) -> None:
    with harness.replica() as run:
        run.scanned_all()
        job = run.manager.schedule.jobs.get_job("changes:acme-us")
        harness.person("user_a")  # no scan runs before the table is away
        harness.sql("alter table customers rename to elsewhere")

        def has_failed() -> bool:
            job.modify(next_run_time=WallClock().now())  # its turn; the next one is in an hour
            return run.metric("reconciler_sweeps_total", kind="changes", result="failed") > 0

        until(has_failed, "it has failed")
        harness.sql("alter table elsewhere rename to customers")
        until(lambda: run.status("user_a") == "in_sync", "the resync is taken again")


def test_half_a_table_releases_no_one(harness: RunHarness) -> None:
    harness.settings["controller"]["resync_s"] = 0.1
    harness.stores[US]["guards"] = {"release": {"max": 3}}
    harness.stores[US]["on_leave"] = "tag"
    for n in range(8):
        harness.person(f"user_{n}")
    with harness.replica() as run:
        run.scanned_all()
        seen = run.metric("reconciler_sweeps_total", kind="changes")
        until(
            lambda: run.metric("reconciler_sweeps_total", kind="changes") >= seen + 2, "none is left that saw them new"
        )
        run.settled()
        before = harness.mutations()
        harness.sql("delete from customers where clerk_user_id >= 'user_4'")
        done = run.metric("reconciler_sweeps_total")
        until(lambda: run.metric("reconciler_sweeps_total") >= done + 4, "some incremental scans were made")
        run.settled()
        assert harness.mutations() == before
        assert run.statuses(f"user_{n}" for n in range(8)) == {"in_sync"}
    with harness.replica() as run:  # nor does the full scan at a start
        run.scanned_all()
        assert harness.mutations() == before
        assert run.statuses(f"user_{n}" for n in range(4, 8)) == {"held"}


def test_what_a_full_resync_holds_is_not_released_one_by_one_by_incremental_resyncs(harness: RunHarness) -> None:
    harness.settings["controller"]["resync_s"] = 0.1
    harness.stores[US]["guards"] = {"create": {"max": 3}}
    for n in range(5):
        harness.person(f"user_{n}")
    with harness.replica() as run:
        run.scanned_all()
        seen = run.metric("reconciler_sweeps_total")
        until(lambda: run.metric("reconciler_sweeps_total") >= seen + 3, "incremental scans were made")
        run.settled()
        assert harness.emails() == []
        assert run.statuses(f"user_{n}" for n in range(5)) == {"held"}
        run.nudge("user_3")
        until(lambda: run.status("user_3") == "in_sync", "a single one may pass within the hour's budget")


def test_supabase_away_means_waiting_and_not_deciding(harness: RunHarness) -> None:
    harness.settings["controller"]["resync_s"] = 0.1
    harness.stores[US]["on_leave"] = "tag"
    for n in range(4):
        harness.person(f"user_{n}")
    with harness.replica() as run:
        run.scanned_all()
        before = harness.mutations()
        harness.sql("alter table customers rename to elsewhere")
        run.nudge("user_0", "user_1")
        run.accepted("user.deleted", {"id": "user_2", "object": "user", "deleted": True})
        until(lambda: run.metric("reconciler_sweeps_total", result="failed") >= 2, "scans were tried")
        assert harness.mutations() == before
        assert run.waiting() >= {"user_0", "user_1", "user_2"}
        assert run.statuses(f"user_{n}" for n in range(4)) == {"in_sync"}
        harness.sql("alter table elsewhere rename to customers")
        harness.gone("user_2")
        until(lambda: run.status("user_2") == "released", "the work continues")
        run.settled()


def test_an_empty_table_releases_no_one(harness: RunHarness) -> None:
    harness.settings["controller"]["resync_s"] = 0.1
    for n in range(4):
        harness.person(f"user_{n}")
    with harness.replica() as run:
        run.scanned_all()
        harness.sql("delete from customers")
        before = run.metric("reconciler_sweeps_total")
        until(lambda: run.metric("reconciler_sweeps_total") >= before + 3, "scans were tried")
        run.nudge("user_0", "user_3")  # nor by a reconcile of one of them
        put_off = run.metric("controller_runtime_reconcile_total", result="error")
        until(
            lambda: run.metric("controller_runtime_reconcile_total", result="error") > put_off + 3,
            "reconciles are put off",
        )
        assert run.statuses(f"user_{n}" for n in range(4)) == {"in_sync"}


@pytest.fixture
def shared(tmp_path: Path, postgres: servers.Server, postgres_database: Callable[..., str]) -> Iterator[RunHarness]:
    """The shops with their state in Postgres, which several replicas may share."""
    with run_harness(tmp_path, state_url=postgres.url(postgres_database(migrated=True))) as found:
        yield found


@pytest.mark.slow
def test_each_turn_is_taken_once_by_three_replicas(shared: RunHarness) -> None:
    harness = shared
    harness.settings["controller"]["resync_s"] = 1.0
    harness.person("user_a")
    with harness.replica() as one, harness.replica() as two, harness.replica() as three:
        runs = (one, two, three)
        for run in runs:
            run.scanned_all()
        name, turn = StoreName(US), one.components.clock.now()
        begun = set()
        for run in runs:  # the turn comes to all of them
            until(lambda r=run: r.manager.scans.scan_full(name, since=turn, whole=False) == "done", "it is taken")  # type: ignore[misc]
            mark = run.components.state.scans.mark(ShopDomain(f"{US}.myshopify.com"), FULL)
            assert mark is not None
            begun.add(mark.started_at)
        assert len(begun) == 1
        scans: list[datetime] = []

        def has_scanned() -> bool:
            mark = one.components.state.scans.mark(ShopDomain(f"{US}.myshopify.com"), CHANGES)
            if mark is not None and mark.started_at not in scans:
                scans.append(mark.started_at)
            return len(scans) >= 5

        until(has_scanned, "incremental scans were made")
        # A turn within half a second of another replica's scan is left out; their clocks may differ by a little.
        assert min(later - sooner for sooner, later in pairwise(scans)) >= timedelta(seconds=0.4)


def test_a_row_written_meanwhile_is_not_undone_by_a_resync_that_began_before(harness: RunHarness) -> None:
    harness.person("user_a")
    with harness.replica() as run:
        run.scanned_all()
        row = run.mapping("user_a")
        assert row is not None
        newer = replace(row, message="written by a worker", generation=row.generation + 1)
        run.components.state.mappings.put(newer)
        assert run.components.state.mappings.put_unchanged([(row, replace(row, status="held"))]) == ()
        assert run.mapping("user_a") == newer
        assert run.components.state.mappings.put_unchanged([(newer, row)]) == ()
        assert run.mapping("user_a") == row


@pytest.mark.slow
def test_full_resyncs_of_more_stores_than_threads_all_end_while_a_shop_hangs(tmp_path: Path) -> None:
    names = [StoreName(f"acme-{number}") for number in range(2 * SCAN_THREADS)]
    others = names[1:]
    with run_harness(tmp_path, *names) as harness:
        harness.person("user_a")
        harness.person("user_b")
        harness.shop(names[0]).faults.add("slow", seconds=HELD_S, times=None)
        with harness.replica() as run:

            def done() -> float:
                return run.metric("reconciler_sweeps_total", kind="full", result="done")

            until(lambda: done() == len(others), "the others were scanned")
            until(lambda: all(len(harness.emails(name)) == 2 for name in others), "what they found was done")
            assert harness.emails(names[0]) == []
            for name in names:  # due at the same moment
                run.manager.schedule.scan_soon(name)
            until(lambda: done() == 2 * len(others), "the others were scanned again")
            harness.shop(names[0]).faults.clear()
            run.scanned_all()
            assert harness.emails(names[0]) == ["user_a@example.com", "user_b@example.com"]
