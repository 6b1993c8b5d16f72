"""`WebhookState`: separate connections for webhooks, which must not wait long for a locked SQLite file.

Workers may wait half a minute for it. Senders do not: Shopify closes the connection after five seconds. A write that fails
in time is answered with 503, and sent again.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from reconciler.core.model.ids import StoreName
from reconciler.outbound.databases.pool import refusal_of_waiting_calls
from reconciler.settings import Settings
from reconciler.state.console.reader import ConsoleTable
from reconciler.state.database.engine import Engine, open_engine
from reconciler.state.erasure import Erasure
from reconciler.state.profile_writes import ProfileWriteTable
from reconciler.state.repositories import Repositories
from reconciler.state.requests.queue import RequestTable
from reconciler.state.writable import check_writable
from reconciler.wiring import Connections


class WebhookState:
    """On SQLite, engines that wait `wait_s` at most. Postgres locks rows, not files: the shared engines serve."""

    def __init__(self, settings: Settings, connections: Connections, *, wait_s: float) -> None:
        self._opened: list[Engine] = []
        engine = self._prompt(settings.state.url, wait_s) or connections.engine
        self._engine = engine
        self.queue, self.state = RequestTable(engine), Repositories(engine)
        self.console_reader, self.erasure = ConsoleTable(engine), Erasure(engine)
        self.profile_writes = ProfileWriteTable(engine)

    def problems(self, stores: Collection[StoreName], *, now: datetime, idle_s: float, stuck_s: float) -> Sequence[str]:
        """Return what is wrong with the queue of these stores if no request was finished for `idle_s`.

        StateError if the state does not answer, or if a webhook or a reconcile can't be written.
        """
        check_writable(self._engine, now=now)
        oldest_s = max(self.queue.oldest_ages_s(now, stores).values(), default=0.0)
        problem = f"a request has been due for {oldest_s:.0f} s, and no request was finished meanwhile"
        return [problem] if oldest_s > stuck_s and idle_s > stuck_s else []

    def refusal(self) -> str:
        """Why calls wait for a connection to the state; empty if the server refuses none."""
        return refusal_of_waiting_calls(self._engine)

    def close(self) -> None:
        for engine in self._opened:
            engine.dispose()

    def _prompt(self, url: str, wait_s: float) -> Engine | None:
        if not url.startswith("sqlite"):
            return None
        self._opened.append(open_engine(url, wait_s=wait_s))
        return self._opened[-1]
