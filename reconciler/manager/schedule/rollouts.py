"""`RolloutFollower`: makes the steps of a rollout, and scans the stores that have another policy since."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

import structlog

from reconciler.controller.rollouts import Rollouts
from reconciler.core.model.ids import StoreName
from reconciler.core.model.rollout import Rollout
from reconciler.manager.config_files import FollowedFiles
from reconciler.manager.intervals import Intervals
from reconciler.manager.running_config import RunningConfig
from reconciler.manager.schedule.scans import SCHEDULE
from reconciler.settings import StoreSettings
from reconciler.state.database.engine import is_sqlite

AWAITED = (
    "it begins a minute after the last replica with other files, and one that was killed counts for five minutes; to begin "
    "it now, send SIGHUP"
)
_log = structlog.get_logger(__name__)


class FullScans(Protocol):
    """What begins full scans."""

    def scan_soon(self, name: StoreName, *, since: datetime | None = None) -> None: ...

    def has_full_resync(self, name: StoreName) -> bool: ...

    def is_full_scan_owed(self, name: StoreName) -> bool: ...


class RolloutFollower:
    """Leads the rollout of this replica's files, and follows that of any other. Thread-safe.

    A replica begins a rollout once for each load of its files: two replicas with different files never take turns. A load
    while it runs is an edit. At a start the files may be old, so it waits until no replica with other files runs.
    """

    def __init__(
        self,
        running: RunningConfig,
        scans: Callable[[], FullScans],
        files: FollowedFiles,
        owner: str,
        intervals: Intervals,
    ) -> None:
        """`files` are those of this replica, which is `owner` in the state."""
        self._running, self._scans = running, scans
        self._files, self._owner, self._settles_s = files, owner, intervals.other_files_s
        self._may_begin, self._is_edit = True, False
        self._used_at = float("-inf")
        self._lock = threading.Lock()

    def note_load(self) -> None:
        """Let the files that were loaded begin a rollout."""
        with self._lock:
            self._may_begin = self._is_edit = True

    def follow(self) -> None:
        """Make the step that is due, and scan the stores that have another policy since. StateError."""
        with self._lock:
            with self._running.components() as components:
                rollouts = components.rollouts
                if rollouts is None:
                    return
                waits = self._may_begin and self._waits_to_begin(rollouts)
                state = rollouts.advance(SCHEDULE, may_begin=self._may_begin and not waits)
                self._may_begin = waits or rollouts.is_blocked(state)
            before = self._running.rollout()
            changed = self._running.follow_rollout(state)
        rollout, scans = state.rollout, self._scans()
        if rollout is None:
            return
        if before is None or before.rollout is None or _step(before.rollout) != _step(rollout):
            is_ours = rollouts.is_ours(state)
            level = _log.info if is_ours and rollout.phase != "stopped" else _log.warning
            level(
                "rollout_advanced", rollout=rollout.id, phase=rollout.phase, wave=rollout.wave,
                why=rollout.message or None, is_current=is_ours,
            )  # fmt: skip
        owed = [n for n in rollouts.unsynced(state) if not scans.has_full_resync(n) and not scans.is_full_scan_owed(n)]
        for name in sorted({*changed, *owed}):
            scans.scan_soon(name, since=rollout.opened_at)

    def _waits_to_begin(self, rollouts: Rollouts[StoreSettings]) -> bool:
        """Whether a rollout is due to begin at this start, and replicas with other files run, or did so a moment ago."""
        if self._is_edit or not rollouts.is_due(SCHEDULE):
            return False
        now, is_first = time.monotonic(), math.isinf(self._used_at)
        if self._do_others_differ():
            self._used_at = now
            if is_first:
                _log.warning("rollout_awaited", hint=AWAITED)
        return now - self._used_at < self._settles_s

    def _do_others_differ(self) -> bool:
        """Whether other replicas run, and use other files. SQLite serves one, however the one before it ended."""
        connections, own = self._running.connections, self._owner
        others = (
            ()
            if is_sqlite(connections.engine)
            else connections.state.replicas.replicas(now=connections.state_clock.now())
        )
        return any(each.owner != own and each.config_digest != self._files.running for each in others)


def _step(rollout: Rollout) -> tuple[int, str, int]:
    return rollout.id, rollout.phase, rollout.wave
