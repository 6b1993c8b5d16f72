"""`run` records parity over time, once for all replicas."""

from __future__ import annotations

from datetime import timedelta

from reconciler.core.model.ids import ShopDomain
from reconciler.core.report.parity import ParitySample
from tests.clock import WallClock
from tests.manager.harness import US, RunHarness, Running, until


def line(run: Running) -> list[ParitySample]:
    since = WallClock().now() - timedelta(hours=1)
    return run.components.state.parity.parity_lines([ShopDomain(f"{US}.myshopify.com")], since=since)


def test_parity_is_recorded_by_the_first_replica_that_samples(harness: RunHarness) -> None:
    harness.person("user_a")
    harness.person("user_b", email=None)
    with harness.replica(parity_s=3600.0) as run:
        run.scanned_all()
        assert line(run) == []
    with harness.replica(parity_s=0.05) as run:
        found = until(lambda: line(run), "a sample is recorded")
        assert [(one.profiles, one.in_sync, one.pending, one.held, one.parity) for one in found[:1]] == [
            (2, 1, 0, 1, 0.5)
        ]
        assert len({int(one.at.timestamp()) // 300 for one in found}) == len(found)
