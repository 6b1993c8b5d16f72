"""Users that no webhook reported: find those with a missing or older profile row, and write the rows.

A page of users is compared with their rows, then the next: memory does not grow with their number. Nothing is deleted, and
users outside the list are left alone: a list that is read page by page proves no absence. Knows neither where users sign
in nor what a table looks like.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from reconciler.controller.profile_rows.writer import RowDone
from reconciler.core.decide.profile_rows.merge import StoredRow, clerk_values, row_changes
from reconciler.core.decide.profile_rows.write import WriteKnown
from reconciler.core.model.batches import batches
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.profile import Profile
from reconciler.errors import ConfigError, PermanentError
from reconciler.ports.profile_rows import ProfileRows, ProfileWriteRepository

Kind = Literal["missing", "older", "current", "deleted"]

EXAMPLES = 5
PROBLEMS_MAX = 100
TOGETHER = 50  # rows in one transaction: the app's own write of one of them waits for all


@frozen
class Page:
    """Users as they are where they sign in, and what could not be read of them, a line each."""

    profiles: Sequence[Profile]
    problems: Sequence[str] = ()


@dataclass(slots=True)
class Tally:
    """What was found and done so far. Of examples and problems only the first are kept, of all things the number."""

    users: int = 0
    counts: dict[Kind, int] = field(default_factory=lambda: {"missing": 0, "older": 0, "current": 0, "deleted": 0})
    examples: dict[Kind, list[ClerkUserId]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    problem_count: int = 0
    written: int = 0
    failed: list[tuple[ClerkUserId, str]] = field(default_factory=list)
    failed_count: int = 0

    @property
    def to_write(self) -> int:
        return self.counts["missing"] + self.counts["older"]

    def found(self, user: ClerkUserId, kind: Kind) -> None:
        self.users += 1
        self.counts[kind] += 1
        shown = self.examples.setdefault(kind, [])
        if len(shown) < EXAMPLES:
            shown.append(user)

    def odd(self, problems: Sequence[str]) -> None:
        self.problem_count += len(problems)
        self.problems.extend(problems[: PROBLEMS_MAX - len(self.problems)])

    def fail(self, user: ClerkUserId, why: str) -> None:
        self.failed_count += 1
        if len(self.failed) < PROBLEMS_MAX:
            self.failed.append((user, why))


def survey(
    pages: Iterable[Page], rows: ProfileRows, book: ProfileWriteRepository, tally: Tally
) -> Iterator[list[Profile]]:
    """Compare page by page; each page yields the users with a row to write."""
    for page in pages:
        tally.odd(page.problems)
        users = [profile.clerk_user_id for profile in page.profiles]
        there, known = _read(rows, users), book.known(users)
        to_write = []
        for told in page.profiles:
            user = told.clerk_user_id
            kind = kind_of(told, there.get(user), known.get(user))
            tally.found(user, kind)
            if kind in {"missing", "older"}:
                to_write.append(told)
        yield to_write


def _read(rows: ProfileRows, users: Sequence[ClerkUserId]) -> Mapping[ClerkUserId, StoredRow]:
    """A few at a time: each read locks the rows for a moment."""
    return {user: row for part in batches(users, TOGETHER) for user, row in rows.read(part).items()}


def write_rows(
    to_write: Sequence[Profile],
    write: Callable[[Sequence[Profile]], Sequence[RowDone]],
    tally: Tally,
) -> None:
    """Write these rows, a few at a time, and nudge the users that were written. A row that is refused hurts no other.

    `write` writes all it is given or raises; one that is refused by itself it gives back as such.
    """
    for at in range(0, len(to_write), TOGETHER):
        _write_some(to_write[at : at + TOGETHER], write, tally)


def _write_some(
    some: Sequence[Profile],
    write: Callable[[Sequence[Profile]], Sequence[RowDone]],
    tally: Tally,
) -> None:
    """All together; where one of them is refused, each half by itself, down to the one that it is."""
    try:
        done = write(some)
    except (PermanentError, ConfigError):
        if len(some) == 1:
            raise
        middle = len(some) // 2
        _write_some(some[:middle], write, tally)
        _write_some(some[middle:], write, tally)
        return
    tally.written += sum(row.result == "written" for row in done)
    for row in done:
        if row.message:
            tally.fail(row.user, row.message)


def kind_of(told: Profile, row: StoredRow | None, known: WriteKnown | None) -> Kind:
    """How the row compares with what Clerk says. `known`: what Clerk said before; older data changes nothing."""
    if (known is not None and known.deleted) or (row is not None and row.deleted):
        return "deleted"
    if row is None:
        return "missing"
    newest = known.newest_at if known is not None else None
    if newest is not None and (told.updated_at is None or told.updated_at < newest):
        return "current"
    changes = row_changes(clerk_values(told), row.values, known.last if known is not None else None)
    return "older" if changes.values or changes.held else "current"
