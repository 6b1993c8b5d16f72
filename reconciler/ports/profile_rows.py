"""Writes of rows of the profiles table, and their records in the state."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from reconciler.core.decide.profile_rows.merge import StoredRow
from reconciler.core.decide.profile_rows.write import (
    ClerkChange,
    RefusedWrite,
    RowWrite,
    RowWritten,
    WriteClaim,
    WriteKnown,
)
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.profile import Profile


class ProfileRows(Protocol):
    """Writes mapped columns of rows. TemporaryError; PermanentError for a single row; ConfigError for all."""

    def fields(self) -> frozenset[str]: ...

    def read(self, users: Sequence[ClerkUserId]) -> Mapping[ClerkUserId, StoredRow]: ...

    def write_together(self, writes: Sequence[RowWrite], *, still_ours: Callable[[], None]) -> Sequence[RowWritten]: ...

    def exchange_addresses(
        self, writes: Sequence[RowWrite], *, still_ours: Callable[[], None]
    ) -> Sequence[RowWritten]: ...

    def delete(self, user: ClerkUserId, *, at: datetime, still_ours: Callable[[], None]) -> RowWritten: ...


class UnwrittenReader(Protocol):
    """Clerk's data of users that is not yet written to the profiles. StateError."""

    def unwritten(self, keys: Collection[str], field: str = "email") -> Sequence[Profile]:
        """The profiles of users with one of these emails or phones (keys of `ADDRESSES`)."""


class ProfileWriteRepository(UnwrittenReader, Protocol):
    """The due writes in the state. StateError."""

    def accept(self, changes: Sequence[ClerkChange], *, now: datetime) -> Collection[ClerkUserId]: ...

    def claim(
        self, *, now: datetime, limit: int, users: Collection[ClerkUserId] | None = None, due: bool = True
    ) -> Sequence[WriteClaim]: ...

    def settle(self, written: Sequence[tuple[WriteClaim, Mapping[str, Any] | None]], *, now: datetime) -> None: ...

    def postpone(self, claim: WriteClaim, *, due_at: datetime, failed: bool = True) -> bool: ...

    def refuse(
        self,
        claim: WriteClaim,
        message: str,
        *,
        missing: bool,
        last: Mapping[str, Any] | None,
        now: datetime,
        due_at: datetime,
    ) -> bool: ...

    def restore(self, claim: WriteClaim, change: ClerkChange, *, now: datetime) -> bool: ...

    def make_due(self, user: ClerkUserId, *, now: datetime) -> None: ...

    def known(self, users: Collection[ClerkUserId]) -> Mapping[ClerkUserId, WriteKnown]: ...

    def refused_users(self) -> frozenset[ClerkUserId]: ...

    def refusals(self, users: Collection[ClerkUserId] | None = None) -> Mapping[ClerkUserId, RefusedWrite]: ...
