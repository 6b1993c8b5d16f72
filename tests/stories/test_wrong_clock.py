"""A command runs on a machine with a wrong clock, beside a controller on the same state."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from freezegun import freeze_time

from reconciler.cli import main
from reconciler.core.model.ids import StoreName
from reconciler.state.database.engine import open_engine
from reconciler.state.requests.queue import RequestTable
from tests import servers
from tests.clock import WallClock
from tests.manager.harness import US, run_harness


@pytest.mark.parametrize("wrong_s", [3600, -3600])
@pytest.mark.slow
def test_a_nudge_from_a_machine_with_a_wrong_clock_is_due_now(
    tmp_path: Path, postgres: servers.Server, postgres_database: Callable[..., str], wrong_s: int
) -> None:
    url = postgres.url(postgres_database(migrated=True))
    with run_harness(tmp_path, state_url=url) as harness:
        harness.person("user_a")
        harness.write()
        config, stores = harness.paths
        with freeze_time(WallClock().now() + timedelta(seconds=wrong_s)):
            code = main.run(["--config", str(config), "--stores", str(stores), "nudge", "user_a", "--store", US])
    assert code == 0
    engine = open_engine(url)
    (claim,) = RequestTable(engine).claim(
        "here", WallClock().now() + timedelta(seconds=5), limit=5, lease_s=30, stores={StoreName(US): 5}
    )
    assert abs(claim.due_at - WallClock().now()) < timedelta(seconds=60)
    engine.dispose()
