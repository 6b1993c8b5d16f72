"""`run` writes one by one, and says once that `apply --bulk auto` is faster where that takes long."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.manager.harness import US, run_harness, until

RATE = 1  # points a second, in a bucket that is never empty: more than 60 writes take more than ten minutes


def hints_of(logs: Sequence[Any]) -> list[str]:
    return [log["hint"] for log in logs if log["event"] == "requests_waiting"]


def test_many_requests_that_wait_are_reported_once_with_the_command(tmp_path: Path) -> None:
    with run_harness(tmp_path, restore_rate=RATE, bucket_size=500_000) as harness:
        harness.settings["controller"]["resync_s"] = 0.5
        harness.shop().latency_s = 0.3
        for n in range(100):
            harness.person(f"user_{n:03}")
        with capture_logs() as logs, harness.replica() as run:
            until(lambda: hints_of(logs), "it is said")
            scans = run.metric("reconciler_sweeps_total", kind="changes")
            until(lambda: run.metric("reconciler_sweeps_total", kind="changes") >= scans + 2, "more scans have ended")
        assert hints_of(logs) == [f"reconciler apply --store {US} --bulk auto is faster"]
        assert "bulkOperationRunMutation" not in harness.shop().counts


@pytest.mark.slow
def test_few_requests_that_wait_are_no_news(tmp_path: Path) -> None:
    with run_harness(tmp_path, restore_rate=RATE, bucket_size=500_000) as harness:
        for n in range(20):
            harness.person(f"user_{n:03}")
        with capture_logs() as logs, harness.replica() as run:
            run.scanned_all()
        assert hints_of(logs) == []
        assert len(harness.emails()) == 20
