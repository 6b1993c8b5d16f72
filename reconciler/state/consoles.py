"""Sessions of the console that were ended before their time, shared by all replicas."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Column, Table, delete, select
from sqlmodel import Field

from reconciler.state.database.engine import SCHEMA, writing
from reconciler.state.database.queries import Database
from reconciler.state.tables.mappings import Row, UtcDateTime


class EndedSessionRow(Row, table=True):
    """A session that was ended by a logout. Kept until the cookie would have run out by itself."""

    __tablename__ = "reconciler_ended_session"
    session: str = Field(primary_key=True)
    until: datetime = Field(sa_column=Column(UtcDateTime(), nullable=False))
    __table_args__ = ({"schema": SCHEMA},)


_ended: Table = EndedSessionRow.__table__  # type: ignore[attr-defined]  # SQLModel's own


class SessionTable(Database):
    """Which sessions were ended."""

    def end_session(self, session: str, *, until: datetime, now: datetime) -> None:
        """Remember it until `until`; forget those whose time is over."""
        with writing(self._engine) as connection:
            connection.execute(delete(_ended).where(_ended.c.until < now))
            self._inserted(connection, _ended, {"session": session, "until": until})

    def is_session_ended(self, session: str) -> bool:
        """Whether the session was ended."""
        return bool(self._rows(select(_ended.c.session).where(_ended.c.session == session)))
