"""Many shops: one that hangs, refuses or is away never hurts another."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from reconciler.core.ids import ClerkUserId, StoreName
from reconciler.core.request import Claim, Priority, Request
from reconciler.manager.dispatch import InHand, room
from tests.clock import WallClock
from tests.manager.street import EU, US, Street, a_street, until

HANGING = ("hang-1", "hang-2", "hang-3")


def test_shops_that_hang_take_half_of_the_workers_at_most_and_the_others_work_goes_through(tmp_path: Path) -> None:
    with a_street(tmp_path, US, *HANGING) as street, street.replica(slow_s=0.1) as run:
        run.looked_at_all()
        for name in HANGING:
            street.shop(name).faults.add("slow", seconds=0.6, times=None)
        for n in range(16):
            street.person(f"user_{n}")
        users = [f"user_{n}" for n in range(16)]
        for name in HANGING:
            run.nudge(*users, store=name)
        until(lambda: len(run.manager._dispatcher.in_hand()) >= 2, "the hanging ones are in hand")
        run.nudge(*users)
        worst = 0

        def all_there() -> bool:
            nonlocal worst
            held = run.manager._dispatcher.in_hand()
            worst = max(worst, sum(h.claim.store in HANGING for h in held))
            return len(street.emails()) == 16

        until(all_there, "everybody is in the shop that works", within_s=60)
        undone = sum(run.house.queue.depth(StoreName(name)) for name in HANGING)
        assert undone > 24  # by far not yet: the shop that works has not waited for them
        assert run.metric("workqueue_depth") >= 0
        for name in HANGING:
            street.shop(name).faults.clear()


def test_slow_stores_get_one_worker_each_and_half_of_all_together() -> None:
    names = [StoreName(f"s{n}") for n in range(6)]
    caps = dict.fromkeys(names, 4)

    def held(store: StoreName, since: float) -> InHand:
        claim = Claim(
            request=Request(store, ClerkUserId("u")), owner="o", fencing=1, priority=Priority.NUDGE, generation=1,
            attempts=0, reason="x", due_at=WallClock().now(),
        )  # fmt: skip
        return InHand(claim, since)

    never = float("-inf")
    assert room(caps, (), {}, workers=8, slow_s=5) == caps
    hanging = room(caps, (held(names[0], never),), {}, workers=8, slow_s=5)
    assert names[0] not in hanging  # it has its one already
    assert all(hanging[name] == 4 for name in names[1:])
    took = {name: (float(n), 9.0) for n, name in enumerate(names)}
    slow = room(caps, (held(names[0], never), held(names[1], never)), took, workers=8, slow_s=5)
    assert slow == {names[2]: 1, names[3]: 1}  # those that waited longest; never more than half of the workers
    assert room({names[0]: 8}, (held(names[0], never),), {}, workers=8, slow_s=5) == {names[0]: 8}


def test_a_store_whose_token_is_refused_is_suspended_probed_ever_more_seldom_and_resumes(two_shops: Street) -> None:
    street = two_shops
    street.person("user_a")
    with street.replica() as run:
        run.looked_at_all()
        sim = street.shop(EU)
        sim.tokens.revoke_all()
        street.person("user_a", first_name="New")
        run.nudge("user_a")
        run.nudge("user_a", store=EU)
        until(run.manager._crew.suspended, "the store is suspended")
        until(lambda: street.customers()["user_a@example.com"]["firstName"] == "New", "the other goes on")
        status = {row.store: row.suspended for row in run.manager._door.status_rows()}
        assert status[StoreName(US)] is None
        assert status[StoreName(EU)]
        assert run.house.queue.depth(StoreName(EU)) == 1  # it waits

        def refused() -> list[float]:
            return [call.at for call in sim.calls if call.status == 401]

        until(lambda: len(refused()) >= 6, "it is probed")
        pauses = [later - sooner for sooner, later in pairwise(refused()[1:])]
        assert pauses[-1] > 2 * pauses[0]
        sim.tokens.allow(f"token-{EU}")
        until(lambda: street.customers(EU)["user_a@example.com"]["firstName"] == "New", "it resumes")
        until(lambda: not any(row.suspended for row in run.manager._door.status_rows()), "and status says so")


def test_a_refusal_that_an_earlier_process_remembered_ends_with_the_first_look_that_succeeds(street: Street) -> None:
    street.person("user_a")
    street.shop().tokens.revoke_all()
    with street.replica(probe_every_s=3600.0) as run:
        until(lambda: next(iter(run.manager._door.status_rows())).suspended, "it is suspended")
    street.shop().tokens.allow(f"token-{US}")
    with street.replica(probe_every_s=3600.0) as run:
        run.looked_at_all()
        assert not next(iter(run.manager._door.status_rows())).suspended


def test_a_store_without_a_way_to_its_token_fails_alone(two_shops: Street) -> None:
    street = two_shops
    street.stores[EU]["auth"] = {"client_id": "app", "client_secret": "hush", "refresh_token": "r"}  # and no key
    street.person("user_a")
    with street.replica() as run:
        until(lambda: run.status("user_a") == "in_sync", "the other goes on")
        until(lambda: EU in {str(name) for name in run.manager._crew.suspended()}, "it is suspended")
