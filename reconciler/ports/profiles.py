"""Reads of the profiles: as Profile objects, and as raw rows with fingerprints."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from collections.abc import Mapping as MappingOf
from datetime import datetime
from typing import Protocol, runtime_checkable

from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.profile import Profile


class ProfileReader(Protocol):
    """Reads profiles. All errors are SourceError; SourceBusy if a retry may succeed.

    A row that can't be parsed is a Profile with problems.
    """

    def check(self) -> tuple[str, ...]:
        """Raise SourceError if the table can't be read in full: missing table or column, RLS without a policy.

        Returns warnings, a line each, such as rows without a user.
        """

    def count(self, *, at_most: int | None = None) -> int:
        """The count of rows with a user, including deleted ones; not counted beyond `at_most`."""

    def scan(self, *, chunk: int = 1000, after: ClerkUserId | None = None) -> Iterator[list[Profile]]:
        """All rows in key order (code-point order of the key), in chunks; memory does not grow with the table.

        Each chunk is a separate read, and no lock is held between two. A row that exists throughout comes once; one that
        is added or deleted meanwhile may come or not. A key on several rows comes once, with a problem in every field.
        A failure raises SourceError and never shortens the scan.
        """

    def get(self, users: Collection[ClerkUserId]) -> dict[ClerkUserId, Profile]:
        """The rows of these users; missing users are left out."""

    def changes_since(self, at: datetime, *, overlap_s: float, chunk: int = 1000) -> Iterator[list[Profile]]:
        """Rows with an `updated_at` from `at` less the overlap on, in key order; all rows if the column is not mapped.

        A row always comes if its `updated_at` is null or can't be parsed (in SQLite with an index on the column, a text
        that begins with a year is compared as text). Rows are committed after their `updated_at`, so the overlap must be
        longer than the longest write. `vanished` returns deleted rows.
        """

    def users_without_row(self, users: Collection[ClerkUserId]) -> frozenset[ClerkUserId]:
        """Those of these users without a row."""

    def sharing_email(self, emails: Collection[str] | None = None, *, enough: int | None = None) -> list[Profile]:
        """Rows, not deleted, with one of these emails (normalise.email_key); None: all that share theirs with another.

        `enough`: of one email, so many users may do, always the same ones; where there are fewer, these are all.
        """


class RowChunk(Protocol):
    """Raw rows of the profiles in key order, rows of one key in one chunk. Scans compare only their fingerprints."""

    def fingerprints(self) -> MappingOf[ClerkUserId, int | None]:
        """Fingerprints by key, in key order (core/fields/fingerprint.py), without `updated_at`; None for repeated keys."""

    def odd(self) -> list[Profile]:
        """Rows with a key that is not text: they have no fingerprint, and can't be requested by key."""

    def profiles(self, users: Collection[ClerkUserId] | None = None) -> Iterator[tuple[Profile, int | None]]:
        """The rows (of these users, or all) as Profile objects, one for each key, with their fingerprints."""


@runtime_checkable
class RowReader(Protocol):
    """Reads profiles as raw rows, so that only changed rows become Profile objects. Errors as of ProfileReader.

    A ProfileReader may also be a RowReader; one that hides rows is not, and is then read as Profiles.
    """

    def scan_rows(self, *, chunk: int = 4000, after: ClerkUserId | None = None) -> Iterator[RowChunk]:
        """All rows in key order, as `scan` reads them; memory does not grow with the table."""

    def rows_of(self, users: Collection[ClerkUserId]) -> RowChunk:
        """The rows of these users; missing users are left out."""
