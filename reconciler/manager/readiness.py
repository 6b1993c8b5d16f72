"""`ReadinessCheck`: why a process of `run` is not ready."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from reconciler.manager.dispatcher import Dispatcher
from reconciler.manager.http.state_probe import StateProbe
from reconciler.manager.intervals import Intervals
from reconciler.manager.profile_writer import ProfileWriter
from reconciler.manager.running_config import RunningConfig
from reconciler.manager.schedule.scheduler import Scheduler
from reconciler.manager.webhook_state import WebhookState
from reconciler.ports import Clock


class ReadinessCheck:
    """Asks the threads of this process and its state. Thread-safe."""

    def __init__(
        self,
        running: RunningConfig,
        webhook_state: WebhookState,
        clock: Clock,
        dispatcher: Dispatcher,
        schedule: Scheduler,
        rows: ProfileWriter | None,
        intervals: Intervals,
        *,
        is_ending: Callable[[], bool],
    ) -> None:
        self._running, self._webhook_state, self._clock = running, webhook_state, clock
        self._dispatcher, self._schedule, self._rows = dispatcher, schedule, rows
        self._intervals, self._is_ending = intervals, is_ending
        self._probe = StateProbe(self._state_problems, why=webhook_state.refusal)

    def reasons(self) -> Sequence[str]:
        """Return why this process is not ready, one line each."""
        now, intervals = time.monotonic(), self._intervals
        reasons = ["it is stopping"] if self._is_ending() else []
        reasons += [f"the thread {name} has died" for name in self._dispatcher.dead_threads()]
        reasons += ["the thread that writes profile rows has died"] if self._rows and not self._rows.alive else []
        beats = {
            "nothing has been taken from the queue": (self._dispatcher.beat_at, intervals.stale_beats_s),
            "the scheduler has not run": (self._schedule.beat_at, intervals.stale_beats_s),
            "no lease has been renewed": (self._dispatcher.renewed_at, intervals.lease_s),
        }
        reasons += [f"{what} for {now - at:.0f} s" for what, (at, limit_s) in beats.items() if now - at > limit_s]
        wedged = [held for held in self._dispatcher.in_progress() if now - held.since > intervals.wedged_s]
        reasons += [f"{len(wedged)} reconciles have taken more than {intervals.wedged_s:.0f} s"] if wedged else []
        return [*reasons, *self._probe.reasons()]

    def close(self) -> None:
        self._probe.close()

    def _state_problems(self) -> Sequence[str]:
        """Return what is wrong with the state and its queue; StateError if it does not answer or can't be written."""
        idle_s = time.monotonic() - self._dispatcher.done_at
        return self._webhook_state.problems(
            self._running.caps(), now=self._clock.now(), idle_s=idle_s, stuck_s=self._intervals.stuck_s
        )
