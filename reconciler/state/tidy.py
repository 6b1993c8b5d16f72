"""`Tidy`: deletes old rows of tables that grow by themselves."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Table, delete

from reconciler.state.database.engine import writing
from reconciler.state.database.queries import Database
from reconciler.state.operations.acts import ActRow
from reconciler.state.tables.mappings import EventRow

EVENTS_KEPT = timedelta(days=180)  # events and acts

_event: Table = EventRow.__table__
_act: Table = ActRow.__table__


class Tidy(Database):
    """Housekeeping."""

    def tidy(self, *, now: datetime) -> dict[str, int]:
        """Delete expired rows; return how many of each kind."""
        with writing(self._engine) as connection:
            gone = connection.execute(delete(_event).where(_event.c.at < now - EVENTS_KEPT))
            acts = connection.execute(delete(_act).where(_act.c.at < now - EVENTS_KEPT))
            return {"events": gone.rowcount, "acts": acts.rowcount}
