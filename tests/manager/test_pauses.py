"""A running controller follows the pauses in the state, from its start on."""

from __future__ import annotations

from reconciler.core.model.act import Actor
from reconciler.core.model.ids import StoreName
from tests.manager.harness import US, RunHarness, Running, until

ADA = Actor("ada", "console")


def pause(run: Running) -> None:
    (store,) = run.components.stores([US])
    assert run.components.acts(ADA).pause(store)


def resume(run: Running) -> None:
    (store,) = run.components.stores([US])
    assert run.components.acts(ADA).resume(store)


def follows(run: Running, *, paused: bool) -> None:
    def is_followed() -> bool:
        store = run.manager.running.store(StoreName(US))
        return store is not None and store.paused is paused

    until(is_followed, "the pause is followed")


def test_run_holds_a_store_that_is_paused_and_does_what_was_held_once_it_is_resumed(harness: RunHarness) -> None:
    harness.person("user_a", first_name="Ada")
    with harness.replica() as run:
        run.scanned_all()
        pause(run)
        follows(run, paused=True)
        before = harness.mutations()
        harness.person("user_a", first_name="Grace")
        run.nudge("user_a")
        until(lambda: run.status("user_a") == "held", "the change is held")
        row = run.mapping("user_a")
        assert row is not None
        assert (row.reason, "paused by ada since" in (row.message or "")) == ("StorePaused", True)
        run.settled()
        assert harness.mutations() == before
        page = run.client.get("/").text
        assert "paused by ada since" in page
        resume(run)
        until(lambda: harness.customers()["user_a@example.com"]["firstName"] == "Grace", "it was written")
        run.settled()
        assert run.status("user_a") == "in_sync"


def test_a_replica_that_starts_knows_the_pause_before_it_writes(harness: RunHarness) -> None:
    harness.person("user_a")
    with harness.replica() as first:
        first.scanned_all()
        pause(first)
        follows(first, paused=True)
    harness.person("user_b")
    before = harness.mutations()
    with harness.replica() as run:
        run.scanned_all()
        until(lambda: run.status("user_b") == "held", "the create is held")
        assert harness.mutations() == before
        resume(run)
        until(lambda: run.status("user_b") == "in_sync", "it was written")
