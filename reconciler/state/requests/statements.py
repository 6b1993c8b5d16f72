"""The queue's SQL statements, read from sqlite.sql or postgres.sql by their names."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files

from sqlalchemy import BigInteger, Boolean, Integer, String, TextClause, bindparam, column, text
from sqlalchemy.sql.selectable import TextualSelect

from reconciler.state.tables.mappings import UtcDateTime

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_COMMENT = re.compile(r"^--.*\n", re.MULTILINE)
_KEY_COLUMNS = column("store", String()), column("clerk_user_id", String())
_NUMBER = column("id", BigInteger())
_CLAIM_COLUMNS = (
    *_KEY_COLUMNS,
    column("fencing", BigInteger()),
    column("priority", Integer()),
    column("generation", BigInteger()),
    column("attempts", Integer()),
    column("reason", String()),
    column("due_at", UtcDateTime()),
    column("wants_updated_at", UtcDateTime()),
    column("explicit", Boolean()),
    column("turn", UtcDateTime()),
)
_TIMES = (
    "now",
    "until",
    "lease_max",
    "due_at",
    "delayed_at",
    "rank_at",
    "wants",
    "nudge_horizon",
    "retry_horizon",
    "resync_horizon",
)


class Statements:
    """The statements for one database. On Postgres `take` is a whole claim; on SQLite it takes the rows of `picked`."""

    picked: TextualSelect
    next_number: TextualSelect
    first_number: TextualSelect
    """These three on SQLite only."""

    def __init__(self, *, sqlite: bool) -> None:
        self._sqlite = sqlite
        named = read_statements("sqlite.sql" if sqlite else "postgres.sql")
        if sqlite:
            self.picked = _clause(named["picked"]).columns(*_KEY_COLUMNS)
            self.next_number = _clause(named["next_number"]).columns(_NUMBER)
            self.first_number = _clause(named["first_number"]).columns(_NUMBER)
        self.add = _clause(named["add"])
        self.take: TextualSelect = _clause(named["take"]).columns(*_CLAIM_COLUMNS)
        self.gone = _clause(named["gone"]).columns(*_KEY_COLUMNS, column("fencing", BigInteger()))
        self.again = _clause(named["again"]).columns(*_KEY_COLUMNS, column("fencing", BigInteger()))
        self.put_off = _clause(named["put_off"])
        self.hand_back = _clause(named["hand_back"])
        self.in_progress = _clause(named["in_progress"])
        self.owners = _clause(named["owners"])
        self.renew = _clause(named["renew"])
        self.mine = _clause(named["mine"]).columns(column("status", String()))
        self.hold = _clause(named["hold"]).columns(column("held", Integer()))
        self.oldest: TextualSelect = _clause(named["oldest"]).columns(
            column("store", String()), column("due_at", UtcDateTime())
        )
        self.doubts = _clause(named["doubts"])
        self.tally = _clause(named["tally"])
        self.depth = _clause(named["depth"])
        self.depth_of = _clause(named["depth_of"])
        self.forget = _clause(named["forget"])

    def stamp(self, moment: datetime) -> str:
        """Return a time for a JSON parameter, as this database compares it (SQLite: as SQLAlchemy stores it)."""
        return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f" if self._sqlite else "%Y-%m-%dT%H:%M:%S.%f+00:00")


@cache
def read_statements(file: str) -> dict[str, str]:
    """Return the statements of this file by name, without comments."""
    content = files("reconciler.state.requests").joinpath(file).read_text(encoding="utf-8")
    _, *parts = _NAME.split(content)
    return {name: _COMMENT.sub("", sql).strip() for name, sql in zip(parts[::2], parts[1::2], strict=True)}


def _clause(sql: str) -> TextClause:
    return text(sql).bindparams(*(bindparam(name, type_=UtcDateTime()) for name in _TIMES if f":{name}" in sql))


@cache
def statements(*, sqlite: bool) -> Statements:
    """Return the statements for SQLite, or for Postgres."""
    return Statements(sqlite=sqlite)
