"""When quiet begins: the conditions under which nothing is left to do, each an event or a state, and none a time.

* Every webhook of Clerk's was taken.
* Every replica is ready, says that the files on disk are what it runs, and has told so since they changed last.
* A look at each whole store began after the last fault and the last change, and has ended.
* The queue is empty, and the shops, the mappings and the profiles are as they should be (`checker.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

import httpx

from tests.chaos.checker import Violation
from tests.chaos.clerk import Sender
from tests.chaos.cluster import Cluster, Replica
from tests.chaos.people import SHOPS

ANSWER_S = 30.0
CURRENT = "reconciler_config_current 1.0"
TOLD = """
SELECT count(*) FROM reconciler.reconciler_replica
WHERE config_problem IS NULL AND seen_at >= '{at}' AND owner LIKE '%.{pid}.%'
"""
LOOKED = """
SELECT count(*) FROM reconciler.reconciler_sweep
WHERE kind = 'full' AND started_at >= '{at}' AND finished_at IS NOT NULL
"""


@dataclass(slots=True)
class Calm:
    """Asks for what is left. `since`: the end of the storm, by the database's clock."""

    cluster: Cluster
    clerk: Sender
    since: datetime
    judged: Callable[[], list[Violation]]

    def left(self) -> list[Violation]:
        """What quiet still waits for; psycopg.Error and TimeoutError where it can't be asked for now."""
        return [Violation("not settled", who, what) for who, what in self._waits()] + self.judged()

    def _waits(self) -> Iterator[tuple[str, str]]:
        if waiting := self.clerk.waiting():
            yield "clerk", f"{waiting} webhooks were not taken"
        for replica in self.cluster.replicas:
            if replica.answers("/readyz", ANSWER_S) != 200:
                yield replica.name, "is not ready"
            if CURRENT not in _metrics(replica):
                yield replica.name, "does not run the files that are on disk"
            pid = replica.popen.pid if replica.popen is not None else 0
            if not self.cluster.postgres.scalar(TOLD.format(at=self.cluster.files_at.isoformat(), pid=pid)):
                yield replica.name, "has not told yet that it runs the newest files"
        scanned = self.cluster.postgres.scalar(LOOKED.format(at=self.since.isoformat()))
        if scanned < len(SHOPS):
            yield "stores", f"only {scanned} were scanned as a whole since the last change"


def _metrics(replica: Replica) -> str:
    try:
        return httpx.get(f"{replica.url}/metrics", timeout=ANSWER_S).text
    except httpx.HTTPError:
        return ""
