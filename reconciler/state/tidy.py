"""What grows by itself is cut back: events that are older than anybody asks for."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Table, delete

from reconciler.state.database.engine import writing
from reconciler.state.database.queries import Database
from reconciler.state.tables.mappings import EventRow

EVENTS_KEPT = timedelta(days=180)

_event: Table = EventRow.__table__  # type: ignore[attr-defined]  # SQLModel's own


class Tidy(Database):
    """Housekeeping."""

    def tidy(self, *, now: datetime) -> dict[str, int]:
        """How many rows of each kind went."""
        with writing(self._engine) as connection:
            gone = connection.execute(delete(_event).where(_event.c.at < now - EVENTS_KEPT))
            return {"events": gone.rowcount}
