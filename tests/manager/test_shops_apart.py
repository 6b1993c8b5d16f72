"""Many shops: one that hangs, refuses or is away never hurts another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event

from reconciler.core.model.ids import ClerkUserId, StoreName
from reconciler.core.model.request import Claim, Priority, Request
from reconciler.manager.dispatcher import InProgress, effective_caps
from reconciler.simulator.hostile import Hostile, HostileKind
from reconciler.state.database.engine import open_engine
from reconciler.state.requests.queue import RequestTable
from tests.clock import WallClock
from tests.manager.apart import Latencies, Took, simulated
from tests.manager.harness import EU, US, RunHarness, Running, run_harness, until
from tests.states import state_template

SEEDS = (20261125, 1)
WELL: Took = lambda chance: 0.2 + 0.2 * chance.random()  # noqa: E731  seconds of one reconcile
NOTICED_S = (
    31.0  # by then the first calls of a shop that hangs have timed out; until then they hold half of the workers
)
HANGING = ("hang-1", "hang-2", "hang-3")


def test_slow_stores_that_have_no_request_keep_no_other_slow_store_waiting(tmp_path: Path) -> None:
    names = [f"acme-{number}" for number in range(5)]
    with run_harness(tmp_path, *names) as harness:
        harness.person("user_a")
        # each store is slow after its first request, and no other look at the queue helps the one that comes last
        with harness.replica(slow_s=0.0, poll_s=600.0, idle_poll_s=600.0) as run:
            run.scanned_all()
            for number, name in enumerate([*names, *reversed(names)]):
                harness.person("user_a", first_name=f"Ada{number}")
                run.nudge("user_a", store=name)
                run.manager.dispatcher.wake()
                until(
                    lambda n=name, m=number: harness.customers(n)["user_a@example.com"]["firstName"] == f"Ada{m}",  # type: ignore[misc]
                    f"{name} is served",
                )


def test_shops_that_hang_take_half_of_the_workers_at_most_and_the_others_work_goes_through(tmp_path: Path) -> None:
    with run_harness(tmp_path, US, *HANGING) as harness, harness.replica(slow_s=0.1) as run:
        run.scanned_all()
        for name in HANGING:
            harness.shop(name).faults.add("slow", seconds=0.6, times=None)
        for n in range(16):
            harness.person(f"user_{n}")
        users = [f"user_{n}" for n in range(16)]
        for name in HANGING:
            run.nudge(*users, store=name)
        until(lambda: len(run.manager.dispatcher.in_progress()) >= 2, "the hanging ones are in progress")
        run.nudge(*users)
        until(lambda: len(harness.emails()) == 16, "everybody is in the shop that works")
        undone = sum(run.components.queue.depth(StoreName(name)) for name in HANGING)
        assert undone > 12  # the shop that works has not waited for them
        for name in HANGING:
            harness.shop(name).faults.clear()


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[RequestTable]:
    (file := tmp_path / "queue.db").write_bytes(state_template())
    engine = open_engine(f"sqlite:///{file}")
    event.listen(engine, "connect", lambda driver, _record: driver.execute("PRAGMA synchronous=OFF").close())
    yield RequestTable(engine)
    engine.dispose()


SICK = {
    "it hangs until each call times out": lambda _chance: 30.0,
    "it is throttled, and each reconcile waits for points": lambda chance: 6 + 4 * chance.random(),
}


def beside(queue: RequestTable, took: Took, *, seed: int, shared_out: bool = True) -> Latencies:
    """Six shops that are asked for somebody once a second each; a reconcile takes as long as `took` says in one of them."""
    shops = [StoreName(f"shop-{n}") for n in range(6)]
    durations: dict[StoreName, Took] = dict.fromkeys(shops, WELL) | {shops[0]: took}
    found = simulated(queue, durations, sick=shops[0], seconds=90, per_second=1.0, seed=seed, shared_out=shared_out)
    queue.forget(shops[0])
    return found


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("sick", SICK)
@pytest.mark.slow
def test_others_wait_no_longer_beside_a_sick_shop_than_beside_a_well_one(
    queue: RequestTable, sick: str, seed: int
) -> None:
    """In virtual time: the same moments and the same lengths of reconciles, in one run as in the other."""
    print(f"seed {seed}")  # noqa: T201  shown where it fails
    well, ill = beside(queue, WELL, seed=seed), beside(queue, SICK[sick], seed=seed)
    assert len(well.seconds) == len(ill.seconds) > 400
    for part in (50, 90, 99):
        assert ill.percentile(part, since=NOTICED_S) <= well.percentile(part, since=NOTICED_S) * 1.05, part
    assert ill.percentile(50) <= well.percentile(50) * 1.05
    assert ill.percentile(100) <= well.percentile(100) * 2


@pytest.mark.slow
def test_without_the_share_of_each_shop_the_others_would_wait_for_the_sick_one(queue: RequestTable) -> None:
    """What the figures above would be if nothing ensured them: they can tell."""
    durations = (WELL, SICK["it hangs until each call times out"])
    well, ill = (beside(queue, took, seed=SEEDS[0], shared_out=False) for took in durations)
    assert ill.percentile(99) > 20 * well.percentile(99)


def test_slow_stores_get_one_worker_each_and_half_of_all_together() -> None:
    names = [StoreName(f"s{n}") for n in range(6)]
    caps = dict.fromkeys(names, 4)

    def held(store: StoreName, since: float) -> InProgress:
        claim = Claim(
            request=Request(store, ClerkUserId("u")), owner="o", fencing=1, priority=Priority.NUDGE, generation=1,
            attempts=0, reason="x", due_at=WallClock().now(),
        )  # fmt: skip
        return InProgress(claim, since)

    never = float("-inf")
    assert effective_caps(caps, (), {}, workers=8, slow_s=5, now=0.0) == caps
    hanging = effective_caps(caps, (held(names[0], never),), {}, workers=8, slow_s=5, now=0.0)
    assert names[0] not in hanging  # it has its one already
    assert all(hanging[name] == 4 for name in names[1:])
    took = {name: (float(n), 9.0) for n, name in enumerate(names)}
    slow = effective_caps(caps, (held(names[0], never), held(names[1], never)), took, workers=8, slow_s=5, now=0.0)
    assert slow == {names[2]: 1, names[3]: 1}  # those that waited longest; never more than half of the workers
    assert effective_caps({names[0]: 8}, (held(names[0], never),), {}, workers=8, slow_s=5, now=0.0) == {names[0]: 8}


@pytest.mark.parametrize("kind", ["shape", "bomb", "deep"])
def test_a_shop_that_turns_hostile_hurts_no_other_and_is_served_once_it_is_honest(
    two_shops: RunHarness, kind: HostileKind
) -> None:
    harness = two_shops
    harness.person("user_a")
    with harness.replica() as run:
        run.scanned_all()
        harness.shop(EU).hostile = Hostile(kind, 1, megabytes=16)
        harness.person("user_a", first_name="New")
        run.nudge("user_a", store=EU)
        run.nudge("user_a")
        until(lambda: harness.customers()["user_a@example.com"]["firstName"] == "New", "the other continues")
        assert run.manager.dispatcher.dead_threads() == []
        harness.shop(EU).hostile = None
        run.nudge("user_a", store=EU)
        until(lambda: harness.customers(EU)["user_a@example.com"]["firstName"] == "New", "and so does this one")


@pytest.mark.parametrize("by", ["scan", "requests"])
@pytest.mark.slow
def test_a_shop_with_malformed_replies_is_said_to_fail_until_it_is_well(two_shops: RunHarness, by: str) -> None:
    harness = two_shops
    for name in ("user_a", "user_b", "user_c"):
        harness.person(name)

    def failing(run: Running) -> dict[str, str | None]:
        return {row.store: row.failing for row in run.manager.service.status_rows()}

    if by == "scan":
        harness.shop(EU).hostile = Hostile("deep")
    with harness.replica() as run:
        if by == "requests":
            run.scanned_all()
            run.settled()
            harness.shop(EU).hostile = Hostile("deep")
            for name in ("user_a", "user_b", "user_c"):
                harness.person(name, first_name="New")
                run.nudge(name, store=EU)
        until(lambda: failing(run)[EU], "status says so")
        assert "acme-eu.myshopify.com: " in (failing(run)[EU] or "")
        assert failing(run)[US] is None
        assert run.metric("reconciler_store_failing", store=EU) == 1
        assert not run.manager.running.suspensions()
        assert "failing since" in run.client.get("/").text
        harness.shop(EU).hostile = None
        until(lambda: failing(run)[EU] is None, "and that it is over")
        until(lambda: run.metric("reconciler_store_failing", store=EU) == 0, "so does the metric")


def test_a_store_with_a_refused_token_is_suspended_probed_ever_more_seldom_and_resumes(two_shops: RunHarness) -> None:
    harness = two_shops
    harness.person("user_a")
    with harness.replica() as run:
        run.scanned_all()
        sim = harness.shop(EU)
        sim.tokens.revoke_all()
        harness.person("user_a", first_name="New")
        run.nudge("user_a")
        run.nudge("user_a", store=EU)
        until(run.manager.running.suspensions, "the store is suspended")
        until(lambda: harness.customers()["user_a@example.com"]["firstName"] == "New", "the other continues")

        def suspended() -> list[str]:
            return [row.store for row in run.manager.service.status_rows() if row.suspended]

        until(lambda: suspended() == [EU], "and status says which")
        assert run.components.queue.depth(StoreName(EU)) == 1  # it waits

        def refused() -> list[float]:
            return [call.at for call in sim.calls if call.status == 401]

        until(lambda: len(refused()) >= 6, "it is probed")
        assert refused()[5] - refused()[0] >= 0.75  # 0.05, 0.1, 0.2 and 0.4 s, and what the machine adds
        sim.tokens.allow(f"token-{EU}")
        until(lambda: harness.customers(EU)["user_a@example.com"]["firstName"] == "New", "it resumes")
        until(lambda: not any(row.suspended for row in run.manager.service.status_rows()), "and status says so")


def test_a_refusal_that_an_earlier_process_remembered_ends_with_the_first_scan_that_succeeds(
    harness: RunHarness,
) -> None:
    harness.person("user_a")
    harness.shop().tokens.revoke_all()
    with harness.replica(probe_every_s=3600.0) as run:
        until(lambda: next(iter(run.manager.service.status_rows())).suspended, "it is suspended")
    harness.shop().tokens.allow(f"token-{US}")
    with harness.replica(probe_every_s=3600.0) as run:
        run.scanned_all()
        assert not next(iter(run.manager.service.status_rows())).suspended


def test_a_store_without_a_way_to_its_token_fails_alone(two_shops: RunHarness) -> None:
    harness = two_shops
    harness.stores[EU]["auth"] = {"client_id": "app", "client_secret": "hush", "refresh_token": "r"}  # and no key
    harness.person("user_a")
    with harness.replica() as run:
        until(lambda: run.status("user_a") == "in_sync", "the other continues")
        until(lambda: EU in {str(name) for name in run.manager.running.suspensions()}, "it is suspended")
