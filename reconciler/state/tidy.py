"""`Tidy`: deletes old rows of tables that grow by themselves."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Table, and_, delete, or_

from reconciler.state.database.engine import writing
from reconciler.state.database.queries import Database
from reconciler.state.operations.acts import ActRow
from reconciler.state.operations.parity import thin_out, was_sampled
from reconciler.state.operations.runs import RunRow
from reconciler.state.tables.mappings import EventRow, names_consent

EVENTS_KEPT = timedelta(days=180)  # events, acts, runs; not the events of consents, which are proofs
RESYNCS_KEPT = timedelta(days=7)  # incremental resyncs: about a hundred a day and store
SAMPLED_WITHIN, SAMPLED_BEFORE = timedelta(days=8), timedelta(days=1)

_event: Table = EventRow.__table__
_act: Table = ActRow.__table__
_run: Table = RunRow.__table__


class Tidy(Database):
    """Housekeeping."""

    def tidy(self, *, now: datetime) -> dict[str, int]:
        """Delete expired rows; return how many of each kind.

        A clock may be years ahead for a while, and by its time all history has expired. So nothing is deleted before a day
        of `run` is behind us by this clock, with its samples of parity.
        """
        with writing(self._engine) as connection:
            if not was_sampled(connection, since=now - SAMPLED_WITHIN, until=now - SAMPLED_BEFORE):
                return {}
            is_proof = names_consent(_event.c.changes)
            gone = connection.execute(delete(_event).where(_event.c.at < now - EVENTS_KEPT, ~is_proof))
            acts = connection.execute(delete(_act).where(_act.c.at < now - EVENTS_KEPT))
            old = or_(
                _run.c.began_at < now - EVENTS_KEPT,
                and_(_run.c.began_at < now - RESYNCS_KEPT, _run.c.kind == "resync"),
            )
            runs = connection.execute(delete(_run).where(old))
            return {
                "events": gone.rowcount,
                "acts": acts.rowcount,
                "runs": runs.rowcount,
                "parity": thin_out(connection, now),
            }
