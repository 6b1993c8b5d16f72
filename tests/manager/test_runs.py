"""Each resync of `run` is one run in the state; one of a replica that is gone is interrupted."""

from __future__ import annotations

from reconciler.core.model.act import Actor
from reconciler.core.model.run import Run
from tests.clock import WallClock
from tests.manager.harness import RunHarness, Running, until


def runs(run: Running, kind: str) -> list[Run]:
    return [found for found in run.components.state.runs.runs(now=WallClock().now(), limit=100) if found.kind == kind]


def test_full_and_incremental_resyncs_are_runs_of_the_schedule(harness: RunHarness) -> None:
    for name in ("user_a", "user_b"):
        harness.person(name)
    harness.settings["controller"]["resync_s"] = 0.3
    with harness.replica() as run:
        run.scanned_all()
        full = runs(run, "full_resync")[-1]
        assert (full.actor, full.stores, full.outcome) == (Actor("run", "schedule"), ("acme-us",), "done")
        assert (full.counts.users, full.counts.actions, full.counts.queued) == (2, {"create": 2}, 2)
        found = until(lambda: [r for r in runs(run, "resync") if r.outcome == "done"], "changes were read")
        assert found[0].ended_at is not None


def test_a_resync_that_the_shop_fails_is_a_failed_run(harness: RunHarness) -> None:
    harness.person("user_a")
    harness.shop().faults.add("status", status=500, times=None)
    with harness.replica() as run:
        failed = until(lambda: [r for r in runs(run, "full_resync") if r.outcome == "failed"], "it failed")
        assert failed[-1].message
        harness.shop().faults.clear()
        until(lambda: [r for r in runs(run, "full_resync") if r.outcome == "done"], "it was repeated")
