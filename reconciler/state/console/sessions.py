"""Console sessions that a logout ended before they expired, shared by all replicas."""

from datetime import datetime

from sqlalchemy import Column, Table, delete, select
from sqlmodel import Field

from reconciler.state.database.engine import SCHEMA, writing
from reconciler.state.database.queries import Database
from reconciler.state.tables.mappings import Row, UtcDateTime


class EndedSessionRow(Row, table=True):
    """A session that a logout ended. The row stays until the cookie would have expired."""

    __tablename__ = "reconciler_ended_session"
    session: str = Field(primary_key=True)
    until: datetime = Field(sa_column=Column(UtcDateTime(), nullable=False))
    __table_args__ = ({"schema": SCHEMA},)


_ended: Table = EndedSessionRow.__table__


class SessionTable(Database):
    """The console sessions that were ended."""

    def end_session(self, session: str, *, until: datetime, now: datetime) -> None:
        """Mark the session as ended until `until`, and delete rows that have expired."""
        with writing(self._engine) as connection:
            connection.execute(delete(_ended).where(_ended.c.until < now))
            self._insert_new(connection, _ended, {"session": session, "until": until})

    def is_session_ended(self, session: str) -> bool:
        """Return whether a logout ended the session."""
        return bool(self._rows(select(_ended.c.session).where(_ended.c.session == session)))
