"""`Tidy`: deletes old rows of tables that grow by themselves."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Engine, Table, and_, delete, or_, select

from reconciler.core.report.changes import EventPlace
from reconciler.state.database.engine import writing
from reconciler.state.database.queries import Database
from reconciler.state.operations.acts import ActRow
from reconciler.state.operations.parity import thin_out, was_sampled
from reconciler.state.operations.runs import RunRow
from reconciler.state.tables.mappings import EventRow, names_consent

EVENTS_KEPT = timedelta(days=180)  # events, acts, runs; not the events of consents, which are proofs
RESYNCS_KEPT = timedelta(days=7)  # incremental resyncs: about a hundred a day and store
EVENTS_AT_ONCE = 1_000  # deleted in one transaction: a shop's import of long ago is old within a minute
TIMES = 50  # so often in one call
SAMPLED_WITHIN, SAMPLED_BEFORE = timedelta(days=8), timedelta(days=1)

_event: Table = EventRow.__table__
_act: Table = ActRow.__table__
_run: Table = RunRow.__table__


class Tidy(Database):
    """Housekeeping. For one thread."""

    def __init__(self, engine: Engine, *, at_once: int = EVENTS_AT_ONCE) -> None:
        super().__init__(engine)
        self._at_once = at_once
        self._passed: EventPlace | None = None  # all events up to this place were deleted, or are proofs

    def tidy(self, *, now: datetime) -> dict[str, int]:
        """Delete expired rows; return how many of each kind. Of very many events, some wait for the next call.

        A clock may be years ahead for a while, and by its time all history has expired. So nothing is deleted before a day
        of `run` is behind us by this clock, with its samples of parity.
        """
        with writing(self._engine) as connection:
            if not was_sampled(connection, since=now - SAMPLED_WITHIN, until=now - SAMPLED_BEFORE):
                return {}
            acts = connection.execute(delete(_act).where(_act.c.at < now - EVENTS_KEPT))
            old = or_(
                _run.c.began_at < now - EVENTS_KEPT,
                and_(_run.c.began_at < now - RESYNCS_KEPT, _run.c.kind == "resync"),
            )
            runs = connection.execute(delete(_run).where(old))
            gone = {"acts": acts.rowcount, "runs": runs.rowcount, "parity": thin_out(connection, now)}
        return {"events": self._delete_events(now - EVENTS_KEPT), **gone}

    def _delete_events(self, before: datetime) -> int:
        """Delete the oldest of these events in short transactions: others write meanwhile, and none takes too long."""
        gone, at, number = 0, _event.c.at, _event.c.id
        for _ in range(TIMES):
            old = [at < before]
            if (passed := self._passed) is not None:
                old += [at >= passed.at, or_(at > passed.at, number > passed.id)]
            with writing(self._engine) as connection:
                in_order = select(at, number).where(*old).order_by(at, number)
                edge = connection.execute(in_order.offset(self._at_once - 1).limit(1)).first()
                if edge is not None:
                    old += [at <= edge.at, or_(at < edge.at, number <= edge.id)]
                deleted = connection.execute(delete(_event).where(*old, ~names_consent(_event.c.changes)))
                gone += deleted.rowcount
            self._passed = EventPlace(before, 0) if edge is None else EventPlace(edge.at, edge.id)
            if edge is None:
                break
        return gone
