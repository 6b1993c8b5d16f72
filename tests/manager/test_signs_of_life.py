"""What machines see of `run`: readiness that turns red when nothing advances, metrics by their usual names, and idleness."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, text

from reconciler.manager.schedule.scheduler import JUMP_S
from tests.clock import WallClock
from tests.manager.harness import HELD_S, RunHarness, deleted_event, until, user_event


def check_not_ready(run: Any, words: str) -> None:
    until(lambda: any(words in reason for reason in run.ready()), f"readiness says {words}")


def test_a_wedged_worker_turns_readiness_red_and_its_end_turns_it_green(harness: RunHarness) -> None:
    with harness.replica(wedged_s=0.2) as run:
        run.scanned_all()
        until(lambda: run.ready() == [], "it is ready")
        harness.shop().faults.add("slow", seconds=HELD_S)
        harness.person("user_a")
        run.nudge("user_a")
        check_not_ready(run, "reconciles have taken more than")
        harness.shop().faults.clear()
        until(lambda: run.ready() == [], "it is ready again")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_dead_thread_turns_readiness_red(harness: RunHarness) -> None:
    with harness.replica() as run:
        run.scanned_all()

        @event.listens_for(run.components.connections.engine, "before_cursor_execute")
        def break_down(*_: Any) -> None:
            if threading.current_thread().name == "dispatch":
                raise RuntimeError("a defect")

        check_not_ready(run, "the thread dispatch has died")


def test_a_scheduler_that_hangs_turns_readiness_red(harness: RunHarness) -> None:
    with harness.replica(stale_beats_s=0.5) as run:
        run.scanned_all()
        run.manager.schedule.jobs.pause()
        check_not_ready(run, "the scheduler has not run")
        run.manager.schedule.jobs.resume()
        until(lambda: run.ready() == [], "it is ready again")


def test_a_state_that_is_away_turns_readiness_red_and_webhooks_are_asked_to_come_again(harness: RunHarness) -> None:
    harness.person("user_a")
    with harness.replica() as run:
        run.scanned_all()
        with run.components.connections.engine.begin() as connection:
            connection.execute(text("ALTER TABLE reconciler_request RENAME TO away"))
        check_not_ready(run, "state")
        assert run.clerk("user.deleted") == 503
        assert run.client.get("/healthz").status_code == 200
        assert run.client.get("/metrics").status_code == 200
        with run.components.connections.engine.begin() as connection:
            connection.execute(text("ALTER TABLE away RENAME TO reconciler_request"))
        until(lambda: run.ready() == [], "it is ready again")
        harness.person("user_b")
        run.nudge("user_b")
        until(lambda: run.status("user_b") == "in_sync", "work continues")


def test_stalled_work_turns_readiness_red(harness: RunHarness) -> None:
    with harness.replica(stuck_s=0.3) as run:
        run.scanned_all()
        harness.shop().faults.add("slow", seconds=HELD_S, times=None)
        for n in range(6):
            harness.person(f"user_{n}")
            run.nudge(f"user_{n}")
        check_not_ready(run, "no request was finished meanwhile")
        harness.shop().faults.clear()
        until(lambda: run.ready() == [], "it is ready again")


def test_metrics_carry_controller_runtimes_names_and_no_second_series(harness: RunHarness) -> None:
    for n in range(3):
        harness.person(f"user_{n}")
    with harness.replica() as run:
        run.scanned_all()
        run.nudge("user_0")
        run.settled()
        until(lambda: run.metric("controller_runtime_reconcile_total", result="success") >= 4, "reconciles are counted")
        until(lambda: run.metric("workqueue_queue_duration_seconds_count", name="customer") >= 4, "waits are measured")
        assert run.metric("controller_runtime_max_concurrent_reconciles") == 4
        until(lambda: run.metric("reconciler_actions_total", kind="create") == 3, "actions are counted")
        page = run.client.get("/metrics").text
        for name in ("workqueue_depth", "workqueue_adds_total", "workqueue_retries_total", "workqueue_work_duration_seconds",
                     "controller_runtime_reconcile_time_seconds", "controller_runtime_active_workers",
                     "controller_runtime_reconcile_errors_total", "parity_ratio", "reconciler_oldest_request_age_seconds",
                     "reconciler_points_available", "reconciler_sweeps_total"):  # fmt: skip
            assert f"# TYPE {name.removesuffix('_total')}" in page or f"# TYPE {name}" in page, name
        assert "_created" not in page
        openmetrics = run.client.get("/metrics", headers={"accept": "application/openmetrics-text"}).text
        assert "_created" not in openmetrics
        assert "example.com" not in page


def test_an_idle_controller_asks_little_and_burns_nothing(harness: RunHarness) -> None:
    harness.person("user_a")
    with harness.replica(
        idle_poll_s=0.5, poll_s=0.1, beat_s=2.0, files_s=2.0, acceptances_s=30.0, probe_every_s=5.0
    ) as run:
        run.scanned_all()
        asked: list[str] = []
        event.listen(
            run.components.connections.engine, "before_cursor_execute", lambda _c, _cur, sql, *_: asked.append(sql)
        )
        began, spent = time.monotonic(), time.process_time()
        until(lambda: time.monotonic() - began > 2.0, "two seconds are over")
        spent, took_s = time.process_time() - spent, time.monotonic() - began
        assert len(asked) <= 4 * took_s + 4  # two claims a second, and what a lease costs
        assert spent < 0.5 * took_s
        assert not [sql for sql in asked if sql.lstrip().upper().startswith(("INSERT", "DELETE"))]


class _Jumping:
    """The local clock, set wrong by as much as one says."""

    def __init__(self) -> None:
        self.off = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.off  # noqa: TID251  a clock for one test


@pytest.mark.parametrize("jump", [timedelta(days=-1), timedelta(days=1)])
def test_a_wall_clock_that_jumps_stops_nothing(harness: RunHarness, jump: timedelta) -> None:
    harness.settings["controller"]["resync_s"] = 0.3
    harness.person("user_a")
    clock = _Jumping()
    with harness.replica(clock, stale_beats_s=0.6) as run:
        run.scanned_all()
        for job in run.manager.schedule.jobs.get_jobs():  # what a clock set back by a day does to all turns
            job.modify(next_run_time=datetime.now(UTC) + timedelta(days=1))  # noqa: TID251  as APScheduler does
        assert abs(jump.total_seconds()) > JUMP_S
        clock.off = jump
        scans = run.metric("reconciler_sweeps_total")
        until(lambda: run.metric("reconciler_sweeps_total") > scans + 1, "scans are made again")
        until(lambda: run.ready() == [], "and it is ready")


def test_parity_is_not_whole_while_anybody_waits(harness: RunHarness) -> None:
    for n in range(3):
        harness.person(f"user_{n}")
    with harness.replica() as run:
        run.scanned_all()

        def parity() -> tuple[int, int, float]:
            (row,) = run.manager.service.status_rows()
            return row.profiles, row.in_sync, row.parity

        until(lambda: parity() == (3, 3, 1.0), "everybody is right")
        harness.shop().status = 503
        at = WallClock().now()
        harness.person("user_0", first_name="Late")
        harness.person("user_new")
        run.accepted(data=user_event("user_0", updated_at=at))
        run.accepted("user.created", user_event("user_new", updated_at=at))
        assert parity() == (4, 2, 0.5)
        harness.shop().status = None
        until(lambda: parity() == (4, 4, 1.0), "everybody is right again")
        harness.gone("user_new")
        run.accepted("user.deleted", deleted_event("user_new"))
        until(lambda: parity() == (3, 3, 1.0), "the user is not waited for any more")
