"""`ReplicaRecord`: the record in the state that a replica runs, with which files."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime

import structlog

from reconciler.core.report.status import Replica
from reconciler.errors import StateError
from reconciler.manager.config_files import FollowedFiles
from reconciler.ports import Clock
from reconciler.wiring import Connections

_log = structlog.get_logger(__name__)


class ReplicaRecord:
    """Written from time to time. `problem`: why the files on disk do not run; None: they do."""

    def __init__(
        self, connections: Connections, clock: Clock, files: FollowedFiles, *, owner: str, every_s: float
    ) -> None:
        self._connections, self._clock, self._files = connections, clock, files
        self._owner, self._every_s = owner, every_s
        self._since = datetime.min.replace(tzinfo=UTC)  # `begin`
        self._written_at = float("-inf")
        self.problem: str | None = None

    def begin(self) -> None:
        """Record that this replica runs from now on."""
        self._since = self._clock.now()
        self.write()

    @property
    def is_due(self) -> bool:
        return time.monotonic() - self._written_at >= self._every_s

    def write_soon(self) -> None:
        """Make the record due: other replicas should see a change."""
        self._written_at = float("-inf")

    def write(self) -> None:
        """Record that this replica runs; if the state does not answer, it stays due."""
        replica = Replica(
            owner=self._owner,
            config_digest=self._files.running,
            config_problem=self.problem,
            since=self._since,
            seen_at=self._clock.now(),
        )
        try:
            self._connections.state.replicas.put_replica(replica)
        except StateError as error:
            _log.warning("state_write_failed", error=error.message)
            return
        self._written_at = time.monotonic()

    def forget(self) -> None:
        with suppress(StateError):
            self._connections.state.replicas.forget_replica(self._owner)
