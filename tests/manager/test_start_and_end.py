"""How a replica begins and ends, in this process; signals and exit codes are tests/scenarios' business."""

from __future__ import annotations

import pytest

from reconciler.errors import ReconcilerError
from tests.manager.harness import RunHarness, until


def test_what_is_in_progress_at_the_end_is_finished(harness: RunHarness) -> None:
    with harness.replica() as run:
        run.scanned_all()
        held = harness.shop().faults.add("slow", on="customerSet", seconds=0.5)
        harness.person("user_a")
        run.nudge("user_a")
        until(lambda: held.hits, "the customer is being written")
        mappings = run.components.state.mappings
        queue = run.components.queue
        run.manager.close()
        assert queue.depth() == 0
        assert [m.status for rows in mappings.scan(run.manager.running.stores()[0].shop) for m in rows] == ["in_sync"]
        assert any("stopping" in reason for reason in run.manager.readiness.reasons())
    assert harness.emails() == ["user_a@example.com"]


def test_what_can_not_start_says_why_and_leaves_nothing_running(harness: RunHarness) -> None:
    harness.sql("alter table customers rename to elsewhere")
    with pytest.raises(ReconcilerError, match="customers") as caught, harness.replica():
        raise AssertionError("it has started")
    assert caught.value.hint


def test_ending_twice_does_no_harm(harness: RunHarness) -> None:
    with harness.replica() as run:
        run.manager.stop()
        run.manager.stop()
        run.manager.close()
        run.manager.close()
        assert "it is stopping" in run.manager.readiness.reasons()
