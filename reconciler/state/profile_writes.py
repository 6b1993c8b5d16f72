"""Pending writes of profile rows, tombstones of users that Clerk deleted, and rows that the table refused.

Each change from Clerk is stored before it is written. So it survives the process, any replica can write it, and only
the newest is written whatever the order of events. One process writes a user at a time: its claim ends with a lease,
and a fencing token detects a late write.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    String,
    Table,
    and_,
    case,
    func,
    literal,
    null,
    or_,
    select,
    update,
)

from reconciler.core.decide.profile_rows.merge import clerk_values
from reconciler.core.decide.profile_rows.write import ClerkChange, RefusedWrite, WriteClaim, WriteKnown, unique_keys_of
from reconciler.core.fields import normalise
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.profile import Profile
from reconciler.state.database.engine import is_sqlite, writing
from reconciler.state.database.queries import Database, parts
from reconciler.state.tables.mappings import UtcDateTime, index_key
from reconciler.state.tables.profile_writes import ProfileWriteRow

LEASE_S: Final = 30.0
TRIED_MAX: Final = 16  # values from Clerk that are kept while no write of a row was recorded
REFUSED_MAX: Final = 10_000  # only the first of these are listed

_write: Table = ProfileWriteRow.__table__
_user = _write.c.clerk_user_id
FORGOTTEN: Final[Mapping[str, Any]] = {
    "last": None, "pending": None, "email_key": None, "phone_key": None, "message": None, "refused_at": None,
}  # fmt: skip


class ProfileWriteTable(Database):
    """Thread-safe. Each call is durable when it returns."""

    def accept(self, changes: Sequence[ClerkChange], *, now: datetime) -> set[ClerkUserId]:
        """Store changes to be written; return the users with a newest change. Older ones change nothing.

        The newest one is accepted again, so that columns emptied since are filled.
        """
        if not changes:
            return set()

        def work(connection: Connection) -> set[ClerkUserId]:
            ordered = sorted(changes, key=lambda one: one.user)
            for one in ordered:
                first = {"clerk_user_id": one.user, "generation": 0, "fencing": 0, "attempts": 0, "missing": False}
                self._insert_new(connection, _write, first)
            query = select(_write).where(_user.in_([one.user for one in ordered])).order_by(_user).with_for_update()
            rows = {row.clerk_user_id: row for row in connection.execute(query)}
            accepted = [one for one in ordered if _is_newest(one, rows[one.user])]
            for one in accepted:
                connection.execute(update(_write).where(_user == one.user).values(_accepted(one, rows[one.user], now)))
            return {one.user for one in accepted}

        return self._transact(work)

    def claim(
        self, *, now: datetime, limit: int, users: Collection[ClerkUserId] | None = None, due: bool = True
    ) -> list[WriteClaim]:
        """Claim due writes of these users, or of any, that no process holds. `due` False: also those not yet due."""
        free = or_(_write.c.lease_until.is_(None), _write.c.lease_until <= now, _over_long(now))
        wanted = [_write.c.due_at <= now if due else _write.c.due_at.is_not(None), free]
        if users is not None:
            wanted.append(_user.in_(list(users)))
        query = select(_user).where(*wanted).order_by(_write.c.due_at, _user).limit(limit)
        if users is None and not self._rows(query):  # the usual case: nothing is locked
            return []
        locked = query if is_sqlite(self._engine) else query.with_for_update(skip_locked=True)
        with writing(self._engine) as connection:
            names = list(connection.execute(locked).scalars())
            if not names:
                return []
            until = now + timedelta(seconds=LEASE_S)
            taken = (
                update(_write)
                .where(_user.in_(names))
                .values(lease_until=until, fencing=_write.c.fencing + 1)
                .returning(*_write.c)
            )
            return sorted((_claim_of(row) for row in connection.execute(taken)), key=lambda claim: claim.user)

    def settle(self, written: Sequence[tuple[WriteClaim, Mapping[str, Any] | None]], *, now: datetime) -> None:
        """Record these writes with Clerk's values. Nothing is due any more unless a newer change arrived meanwhile.

        An expired claim changes nothing.
        """
        with writing(self._engine) as connection:
            for claim, last in sorted(written, key=lambda one: one[0].user):
                connection.execute(update(_write).where(_mine(claim)).values(_written_values(claim, last, now)))

    def postpone(self, claim: WriteClaim, *, due_at: datetime, failed: bool = True) -> bool:
        """Postpone the write to `due_at`. With `failed` False it does not count as a try."""
        attempts = claim.attempts + 1 if failed else claim.attempts
        newer = _write.c.generation != claim.generation
        return self._end(
            claim,
            {
                "due_at": case((newer, _write.c.due_at), else_=_at(due_at)),
                "attempts": case((newer, 0), else_=attempts),
                "lease_until": None,
            },
        )

    def refuse(
        self,
        claim: WriteClaim,
        message: str,
        *,
        missing: bool,
        last: Mapping[str, Any] | None,
        now: datetime,
        due_at: datetime,
    ) -> bool:
        """Record that the table refused the write or a part (`last`: what was written): a hold until a write succeeds."""
        newer = _write.c.generation != claim.generation
        values: dict[str, Any] = {
            "message": message,
            "missing": missing,
            "refused_at": func.coalesce(_write.c.refused_at, _at(now)),
            "due_at": case((newer, _at(now)), else_=_at(due_at)),
            "attempts": case((newer, 0), else_=claim.attempts + 1),
            "lease_until": None,
        }
        return self._end(claim, values | ({"last": dict(last)} if last is not None else {}))

    def restore(self, claim: WriteClaim, change: ClerkChange, *, now: datetime) -> bool:
        """Remove the tombstone of a user who still exists in Clerk, and store Clerk's values to be written."""
        if change.profile is None:
            return False
        pending = {"profile": _dumped(change.profile), "fill_only": False}
        values = {"deleted_at": None, "pending": pending, "due_at": now, "newest_at": change.at, "lease_until": None}
        return self._end(claim, values)

    def make_due(self, user: ClerkUserId, *, now: datetime) -> None:
        """Make a refused write of this user due: the row may exist now, or a person asks."""
        waits = and_(_user == user, _write.c.refused_at.is_not(None), _write.c.due_at > now)
        with writing(self._engine) as connection:
            connection.execute(update(_write).where(waits).values(due_at=now))

    def refusals(self, users: Collection[ClerkUserId] | None = None) -> dict[ClerkUserId, RefusedWrite]:
        """Return the refused writes of these users, or of all (the first ten thousand)."""
        query = select(_user, _write.c.message, _write.c.refused_at, _write.c.pending).order_by(_user)
        query = query.where(_write.c.refused_at.is_not(None))
        if users is None:
            rows = list(self._rows(query.limit(REFUSED_MAX)))
        else:
            rows = [row for part in parts(users) for row in self._rows(query.where(_user.in_(part)))]
        found = (RefusedWrite(ClerkUserId(row[0]), row[1] or "", row[2], _profile_of(row[3])) for row in rows)
        return {one.user: one for one in found}

    def refused_users(self) -> frozenset[ClerkUserId]:
        """Return the users with a refused write (the first ten thousand)."""
        query = select(_user).where(_write.c.refused_at.is_not(None)).order_by(_user).limit(REFUSED_MAX)
        return frozenset(ClerkUserId(row[0]) for row in self._rows(query))

    def known(self, users: Collection[ClerkUserId]) -> dict[ClerkUserId, WriteKnown]:
        """Return what is known of these users from Clerk; users without it are left out."""
        columns = (_user, _write.c.newest_at, _write.c.deleted_at, _write.c.last)
        found = [row for part in parts(users) for row in self._rows(select(*columns).where(_user.in_(part)))]
        return {ClerkUserId(row[0]): WriteKnown(row[1], row[2] is not None, row[3]) for row in found}

    def unwritten(self, keys: Collection[str], field: str = "email") -> list[Profile]:
        """Return pending profiles of users with these emails or phones (keys of `ADDRESSES`)."""
        waits = and_(_write.c.due_at.is_not(None), _write.c.deleted_at.is_(None))
        query = select(_write.c.pending).where(waits).order_by(_user)
        known = [key for each in keys if (key := index_key(each)) is not None]
        column = _write.c[f"{field}_key"]
        rows = [row for part in parts(known) for row in self._rows(query.where(column.in_(part)))]
        return [profile for row in rows if (profile := _profile_of(row[0])) is not None]

    def backlog(self, *, now: datetime) -> tuple[int, float]:
        """Return how many writes are pending, without refused ones, and how many seconds the oldest has been due."""
        waits = and_(_write.c.due_at.is_not(None), _write.c.refused_at.is_(None))
        rows = self._rows(select(_write.c.due_at).where(waits).limit(REFUSED_MAX))
        ages = [(now - row[0]).total_seconds() for row in rows]
        return len(rows), max([0.0, *ages])

    def _end(self, claim: WriteClaim, values: Mapping[str, Any]) -> bool:
        with writing(self._engine) as connection:
            return connection.execute(update(_write).where(_mine(claim)).values(dict(values))).rowcount == 1


def forget_users(connection: Connection, users: Collection[str], email_key: str | None) -> None:
    """Erase Clerk's values of these users and of all with this address. Tombstones and times stay.

    A pending write stays due without its content: it is read from Clerk again if there is a key.
    """
    theirs: list[ColumnElement[bool]] = [_user.in_(part) for part in parts(users)]
    if email_key is not None:
        theirs.append(_write.c.email_key == email_key)
    if theirs:
        values = {
            **FORGOTTEN,
            "fencing": _write.c.fencing + 1,
            "lease_until": None,
        }  # a write in progress stores nothing
        connection.execute(update(_write).where(or_(*theirs)).values(values))


def _mine(claim: WriteClaim) -> ColumnElement[bool]:
    return and_(_user == claim.user, _write.c.fencing == claim.fencing, _write.c.lease_until.is_not(None))


def _written_values(claim: WriteClaim, last: Mapping[str, Any] | None, now: datetime) -> dict[str, Any]:
    newer = _write.c.generation != claim.generation
    email = index_key(normalise.email_key(last.get("email"))) if last is not None else None
    return {
        "last": None if last is None else dict(last),
        "pending": case((newer, _write.c.pending), else_=null()),
        "email_key": case((newer, _write.c.email_key), else_=literal(email, String())),
        "phone_key": case((newer, _write.c.phone_key), else_=null()),
        "due_at": case((newer, _at(now)), else_=null()),
        "lease_until": None,
        "attempts": 0,
        "message": None,
        "refused_at": None,
        "missing": False,
    }


def _at(moment: datetime) -> ColumnElement[Any]:
    return literal(moment, UtcDateTime())


def _over_long(now: datetime) -> ColumnElement[bool]:
    """Return SQL for a lease that is longer than any holder may set: a clock was ahead."""
    return _write.c.lease_until > now + timedelta(seconds=2 * LEASE_S)


def _is_newest(change: ClerkChange, row: Any) -> bool:
    if row.deleted_at is not None:
        return change.deleted_at is not None
    if change.deleted_at is not None or row.newest_at is None:
        return True
    return change.at is not None and change.at >= row.newest_at


def _accepted(change: ClerkChange, row: Any, now: datetime) -> dict[str, Any]:
    values: dict[str, Any] = {"generation": row.generation + 1, "due_at": now, "attempts": 0}
    if change.deleted_at is not None:
        return {**values, **FORGOTTEN, "deleted_at": row.deleted_at or change.deleted_at}
    keys = unique_keys_of(clerk_values(change.profile)) if change.profile is not None else {}
    fill_only = change.at is None or (change.created and row.newest_at is None)
    if row.newest_at is not None and change.at == row.newest_at and row.pending is not None:
        fill_only = bool(row.pending.get("fill_only"))  # the event came again before the write
    pending: dict[str, Any] | None = None
    if change.profile is not None:
        pending = {"profile": _dumped(change.profile), "fill_only": fill_only, "tried": _tried(row)}
    if row.last is None and row.pending is not None and row.pending.get("fill_only") and not fill_only:
        values["last"] = clerk_values(Profile.model_validate(row.pending["profile"]))  # as if it had been written
    return values | {
        "newest_at": change.at or row.newest_at,
        "pending": pending,
        "email_key": index_key(keys.get("email")) or row.email_key,
        "phone_key": index_key(keys.get("phone")),
    }


def _tried(row: Any) -> list[Mapping[str, Any]]:
    """Return values that the user's row may hold although no write was recorded: those pending until now."""
    if row.pending is None:
        return []
    tried = [*row.pending.get("tried", ()), clerk_values(Profile.model_validate(row.pending["profile"]))]
    return tried[-TRIED_MAX:]


def _dumped(profile: Profile) -> dict[str, Any]:
    dumped: dict[str, Any] = profile.model_dump(mode="json")
    return dumped | {"mapped": sorted(profile.mapped)}


def _profile_of(pending: Mapping[str, Any] | None) -> Profile | None:
    return Profile.model_validate(pending["profile"]) if pending is not None else None


def _claim_of(row: Any) -> WriteClaim:
    return WriteClaim(
        user=ClerkUserId(row.clerk_user_id),
        profile=_profile_of(row.pending),
        deleted_at=row.deleted_at,
        last=row.last,
        fill_only=bool(row.pending and row.pending.get("fill_only")),
        generation=row.generation,
        fencing=row.fencing,
        attempts=row.attempts,
        due_at=row.due_at,
        refused=row.refused_at is not None and row.missing,
        tried=tuple(row.pending.get("tried", ())) if row.pending else (),
    )
