"""`RolloutFollower`: makes the steps of a rollout, and scans the stores that have another policy since."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

import structlog

from reconciler.core.model.ids import StoreName
from reconciler.core.model.rollout import Rollout
from reconciler.manager.running_config import RunningConfig
from reconciler.manager.schedule.scans import SCHEDULE

_log = structlog.get_logger(__name__)


class FullScans(Protocol):
    """What begins full scans."""

    def scan_soon(self, name: StoreName, *, since: datetime | None = None) -> None: ...

    def has_full_resync(self, name: StoreName) -> bool: ...

    def is_full_scan_owed(self, name: StoreName) -> bool: ...


class RolloutFollower:
    """Leads the rollout of this replica's files, and follows that of any other. Thread-safe.

    A replica begins a rollout once for each load of its files: two replicas with different files never take turns.
    """

    def __init__(self, running: RunningConfig, scans: Callable[[], FullScans]) -> None:
        self._running, self._scans = running, scans
        self._may_begin = True
        self._lock = threading.Lock()

    def note_load(self) -> None:
        """Let the files that were loaded begin a rollout."""
        with self._lock:
            self._may_begin = True

    def follow(self) -> None:
        """Make the step that is due, and scan the stores that have another policy since. StateError."""
        with self._lock:
            with self._running.components() as components:
                rollouts = components.rollouts
                if rollouts is None:
                    return
                state = rollouts.advance(SCHEDULE, may_begin=self._may_begin)
            self._may_begin = False
            before = self._running.rollout()
            changed = self._running.follow_rollout(state)
        rollout, scans = state.rollout, self._scans()
        if rollout is None:
            return
        if before is None or before.rollout is None or _step(before.rollout) != _step(rollout):
            level = _log.warning if rollout.phase == "stopped" else _log.info
            level(
                "rollout_advanced", rollout=rollout.id, phase=rollout.phase, wave=rollout.wave,
                why=rollout.message or None,
            )  # fmt: skip
        owed = [n for n in rollouts.unsynced(state) if not scans.has_full_resync(n) and not scans.is_full_scan_owed(n)]
        for name in {*changed, *owed}:
            scans.scan_soon(name, since=rollout.opened_at)


def _step(rollout: Rollout) -> tuple[int, str, int]:
    return rollout.id, rollout.phase, rollout.wave
