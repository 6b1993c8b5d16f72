"""A change of policy in `run`: wave by wave, by several replicas, over a restart, and with an operator at the console."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from reconciler.core.model.act import Actor
from reconciler.core.model.ids import ShopDomain, StoreName
from reconciler.errors import PlanRefused
from reconciler.manager.schedule.notifications import Notifier
from tests import servers
from tests.manager.harness import EU, US, RunHarness, Running, run_harness, until

USER = "user_a"


@pytest.fixture
def shared(tmp_path: Path, postgres: servers.Server, postgres_database: Callable[..., str]) -> Iterator[RunHarness]:
    """Two shops in two waves, on one Postgres for all replicas."""
    with run_harness(tmp_path, US, EU, state_url=postgres.url(postgres_database(migrated=True))) as found:
        found.stores[US]["wave"], found.stores[EU]["wave"] = 1, 2
        found.rollout = {"soak_s": 0, "pause": "auto"}
        found.person(USER, first_name="Ada")
        yield found


@dataclass(slots=True)
class Told:
    """A receiver of notifications that keeps the last one."""

    text: str = ""

    def send(self, text: str) -> None:
        self.text = text


def edit(harness: RunHarness, tag: str) -> None:
    for store in harness.stores.values():
        store["tags"] = [tag]
    harness.write()


def one(harness: RunHarness, shop: str) -> dict[str, Any]:
    return harness.customers(shop).get(f"{USER}@example.com", {"tags": [], "firstName": None})


def phase(run: Running) -> tuple[str, int] | None:
    state = run.components.state.rollouts.rollout_state()
    return (state.rollout.phase, state.rollout.wave) if state.rollout is not None else None


def knows(run: Running, tag: str) -> bool:
    """The replica has read the file, and holds the second shop back."""
    store = run.manager.running.store(StoreName(EU))
    held = store.held_back if store is not None else None
    return held is not None and held.target is not None and held.target.tags == (tag,)


@pytest.mark.slow
def test_two_replicas_lead_one_change_through_the_waves_and_a_restart(shared: RunHarness) -> None:
    with shared.replica() as first:
        until(lambda: phase(first) == ("finished", 2), "the first syncs went wave by wave")
        assert one(shared, US)["tags"] == one(shared, EU)["tags"] == ["app-user"]
        with shared.replica() as second:
            shared.shop(US).faults.add("status", status=503, times=None)
            edit(shared, "vip")
            until(lambda: knows(first, "vip") and knows(second, "vip"), "both replicas hold the second shop back")
            shared.person(USER, first_name="Grace")
            second.accepted(data={"id": USER})
            until(lambda: one(shared, EU)["firstName"] == "Grace", "user changes flow to later waves")
            assert one(shared, EU)["tags"] == ["app-user"], "by the policy that the store had"
            assert phase(first) == ("rolling", 1)
            assert first.metric("reconciler_rollout_phase", phase="rolling") == 1
        assert "waits for" in first.client.get("/rollout").text.casefold()
    with shared.replica() as again:
        assert knows(again, "vip"), "a replica that starts knows which policy each store has"
        shared.shop(US).faults.clear()
        until(lambda: phase(again) == ("finished", 2), "the rollout went on by itself")
        until(lambda: one(shared, EU)["tags"] == ["vip"], "it reached the last wave")
        assert one(shared, US)["tags"] == ["vip"]
        again.settled()


def test_waves_that_come_with_a_change_leave_later_stores_as_they_were_until_an_operator_continues(
    two_shops: RunHarness,
) -> None:
    two_shops.person(USER, first_name="Ada")
    with two_shops.replica() as run:
        until(lambda: two_shops.emails(US) == two_shops.emails(EU) != [], "both shops are in sync")
        two_shops.stores[US]["wave"], two_shops.stores[EU]["wave"] = 1, 2
        two_shops.rollout = {"soak_s": 0}
        edit(two_shops, "vip")
        until(lambda: phase(run) == ("waiting", 1), "the first wave is done, and the next one waits")
        assert (one(two_shops, US)["tags"], one(two_shops, EU)["tags"]) == (["vip"], ["app-user"])
        assert "The rollout waits for an operator" in run.client.get("/").text
        told = Told()
        Notifier(run.manager.running, told, run.components.clock).notify()
        assert "the rollout waits after wave 1: reconciler rollout status" in told.text
        state = run.components.state.rollouts.rollout_state()
        assert state.rollout is not None
        seen, ada = state.rollout.step, Actor("ada", "console")
        assert run.manager.service.continue_rollout(ada, seen=seen)
        with pytest.raises(PlanRefused, match="has moved on"):
            run.manager.service.continue_rollout(ada, seen=seen)
        until(lambda: phase(run) == ("finished", 2), "the second wave was done")
        assert one(two_shops, EU)["tags"] == ["vip"]
        assert [act.kind for act in run.components.state.acts.acts(limit=1)] == ["continue"]
        assert not run.manager.service.abort_rollout(Actor("ada", "console"))


@pytest.mark.slow
def test_an_edit_scans_no_store_that_waits_for_its_wave(shared: RunHarness) -> None:
    with shared.replica() as run:
        until(lambda: phase(run) == ("finished", 2), "the first syncs went wave by wave")
        run.scanned_all()
        shared.rollout = {"soak_s": 0}
        before = run.components.state.scans.mark(ShopDomain(f"{EU}.myshopify.com"), "full")
        edit(shared, "vip")
        until(lambda: phase(run) == ("waiting", 1), "the first wave is done")
        run.settled()
        assert run.components.state.scans.mark(ShopDomain(f"{EU}.myshopify.com"), "full") == before
        assert one(shared, EU)["tags"] == ["app-user"]


@pytest.mark.slow
def test_a_replica_that_starts_with_older_files_begins_no_rollout_back_while_others_run(
    shared: RunHarness, tmp_path: Path
) -> None:
    (tmp_path / "older").mkdir()
    older = replace(shared, folder=tmp_path / "older", stores={name: {**s} for name, s in shared.stores.items()})
    with capture_logs() as logs:
        with shared.replica() as newer:
            until(lambda: phase(newer) == ("finished", 2), "the first syncs went wave by wave")
            edit(shared, "vip")
            until(lambda: one(shared, EU)["tags"] == ["vip"] and phase(newer) == ("finished", 2), "the edit went, too")
            with older.replica() as stale:
                until(lambda: [e for e in logs if e["event"] == "rollout_awaited"], "it has seen that its files differ")
                shared.person("user_b")
                stale.accepted(data={"id": "user_b"})
                until(lambda: "user_b@example.com" in shared.customers(EU), "it works")
                assert shared.customers(EU)["user_b@example.com"]["tags"] == ["vip"], "by the policy that the store has"
                assert phase(stale) == ("finished", 2)
                assert one(shared, US)["tags"] == one(shared, EU)["tags"] == ["vip"]
        with older.replica(other_files_s=0.1) as alone:
            until(lambda: one(shared, EU)["tags"] == ["app-user"], "without others, its files are the right ones")
            alone.settled()
