"""The profiles: whole rows as values, and raw rows by their fingerprints."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from collections.abc import Mapping as MappingOf
from datetime import datetime
from typing import Protocol, runtime_checkable

from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.profile import Profile


class ProfileReader(Protocol):
    """The profiles. All errors are SourceError, SourceBusy among them where time heals it.

    A row that can't be understood comes as a Profile with problems.
    """

    def check(self) -> tuple[str, ...]:
        """Raise SourceError if the table can't be seen in full: missing table or column, RLS without a policy.

        The answer is what is odd without being wrong, a line each, to be told: rows that name no user.
        """

    def count(self, *, at_most: int | None = None) -> int:
        """How many rows there are that name a user, the deleted ones among them; not counted beyond `at_most`."""

    def scan(self, *, chunk: int = 1000, after: ClerkUserId | None = None) -> Iterator[list[Profile]]:
        """All rows in key order (code-point order of the key), in chunks; memory does not grow with the table.

        Each chunk shows what is there when it is read, and nothing is held on the table between two. A row that is
        there from first to last comes once; one that is added or deleted meanwhile may come or not. A user whose key
        stands on several rows comes once, with a problem in every field. What fails on the way is a SourceError, never
        a shortened scan.
        """

    def get(self, users: Collection[ClerkUserId]) -> dict[ClerkUserId, Profile]:
        """The rows of these users; who is not there is left out."""

    def changed_since(self, at: datetime, *, overlap_s: float, chunk: int = 1000) -> Iterator[list[Profile]]:
        """Rows whose `updated_at` is not before `at` less the overlap, in key order; all rows where it is not mapped.

        A row whose `updated_at` is null or can't be read always comes (in SQLite, with an index on it, not a text that
        begins with a year: it sorts by that). Rows are committed later than they are stamped,
        so the overlap must be longer than the longest write. Rows that went away are told by `vanished`.
        """

    def vanished(self, users: Collection[ClerkUserId]) -> frozenset[ClerkUserId]:
        """Those of these users who have no row (any more)."""

    def sharing_email(self, emails: Collection[str] | None = None) -> list[Profile]:
        """Rows not deleted whose e-mail (normalise.email_key) is among `emails`.

        None: all rows that share theirs with another row.
        """


class RowChunk(Protocol):
    """Raw rows of the profiles in key order, rows of one key in one chunk. Whole-shop loops compare fingerprints only."""

    def fingerprints(self) -> MappingOf[ClerkUserId, int | None]:
        """By key, in key order (core/fields/fingerprint.py), without `updated_at`; None for a key of several rows."""

    def odd(self) -> list[Profile]:
        """Rows whose key is no text at all: they are in no fingerprints, and can't be asked for by name."""

    def profiles(self, users: Collection[ClerkUserId] | None = None) -> Iterator[tuple[Profile, int | None]]:
        """The same rows (of these users, if any are named) as Profile objects, one a key, each with its fingerprint."""


@runtime_checkable
class RowReader(Protocol):
    """The profiles as raw rows: what a Profile costs is paid only for rows that have moved. Errors as ProfileReader's.

    A ProfileReader may be one too; one that hides rows is none, and is then read as Profiles.
    """

    def scan_rows(self, *, chunk: int = 4000, after: ClerkUserId | None = None) -> Iterator[RowChunk]:
        """All rows in key order, as `scan` reads them; memory does not grow with the table."""

    def rows_of(self, users: Collection[ClerkUserId]) -> RowChunk:
        """The rows of these users; who is not there is left out."""
