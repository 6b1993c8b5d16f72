"""`run` writes one by one, and says once that `apply --bulk auto` is faster where that takes long."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.manager.street import US, a_street

RATE = 1  # points a second, in a bucket that is never empty: more than 60 writes take more than ten minutes


@pytest.mark.parametrize(("people", "times"), [(300, 1), (40, 0)])
def test_many_requests_that_wait_are_told_of_once_with_the_command(tmp_path: Path, people: int, times: int) -> None:
    with a_street(tmp_path, restore_rate=RATE, bucket_size=500_000) as street:
        street.settings["controller"]["resync_s"] = 0.2  # many scans end while they wait
        street.shop().latency_s = 0.02
        for n in range(people):
            street.person(f"user_{n:03}")
        with capture_logs() as logs, street.replica() as run:
            run.looked_at_all()
        hints = [log["hint"] for log in logs if log["event"] == "requests_waiting"]
        assert hints == [f"reconciler apply --store {US} --bulk auto is faster"] * times
        assert len(street.emails()) == people
        assert "bulkOperationRunMutation" not in street.shop().counts
