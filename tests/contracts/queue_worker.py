"""A replica, as a process of its own: `python -m tests.contracts.queue_worker URL drain|hold LEASE_S`.

`drain` says that it is ready, and works from a line on until the queue is empty. `hold` claims some keys, says so on
stdout, and continues with them only when it is given a line. Each reconcile is one row in `reconciles`, written inside
the claim's fence.
"""

from __future__ import annotations

import json
import sys
import threading

from sqlalchemy import text

from reconciler.core.model.ids import StoreName
from reconciler.core.model.request import Claim
from reconciler.errors import LeaseLost
from reconciler.state.database.engine import open_engine, writing
from reconciler.state.processes.clock import DatabaseClock
from reconciler.state.requests.queue import RequestTable, fence, new_owner
from tests.clock import WallClock

STORES = {StoreName("acme"): 100, StoreName("globex"): 100}
LIMIT = 7
POLL_S = 0.02


class Replica:
    def __init__(self, url: str, lease_s: float) -> None:
        self.engine = open_engine(url)
        self.queue = RequestTable(self.engine)
        self.clock = DatabaseClock(self.engine, WallClock())
        self.owner = new_owner()
        self.lease_s = lease_s

    def claim(self) -> list[Claim]:
        return self.queue.claim(self.owner, self.clock.now(), limit=LIMIT, lease_s=self.lease_s, stores=STORES)

    def record(self, claims: list[Claim]) -> dict[str, list[str]]:
        """Record each reconcile; gives what was refused by the fence, and what the queue said in the end."""
        refused = []
        for claim in claims:
            try:
                with writing(self.engine) as connection:
                    fence(connection, claim)
                    connection.execute(
                        text("INSERT INTO reconciles (store, name, owner) VALUES (:store, :name, :owner)"),
                        {"store": claim.store, "name": claim.clerk_user_id, "owner": self.owner},
                    )
            except LeaseLost:
                refused.append(str(claim.clerk_user_id))
        return {"refused": refused, "outcomes": list(self.queue.done(claims, self.clock.now()))}

    def drain(self) -> None:
        pause = threading.Event()
        self.say("ready")
        sys.stdin.readline()
        while self.queue.depth():
            claims = self.claim()
            if claims:
                self.record(claims)
            else:
                pause.wait(POLL_S)

    def hold(self) -> None:
        until = self.clock.now().timestamp() + self.lease_s
        claims = self.claim()
        self.say({"held": [str(claim.clerk_user_id) for claim in claims], "until": until})
        sys.stdin.readline()
        self.say(self.record(claims))

    def say(self, what: object) -> None:
        sys.stdout.write(json.dumps(what) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    replica = Replica(sys.argv[1], float(sys.argv[3]))
    {"drain": replica.drain, "hold": replica.hold}[sys.argv[2]]()
