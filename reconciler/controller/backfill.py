"""Users whom no webhook told of: who has no profile row or an older one, and the writing of it.

A page of users is compared with their rows, then the next: memory does not grow with their number. Nothing is deleted, and
who is not in the list is not thought about: a list read page by page proves nobody's absence. Knows neither where users sign
in nor what a table looks like.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from reconciler.core.ids import ClerkUserId
from reconciler.core.profile import Profile
from reconciler.errors import PermanentError
from reconciler.ports import ProfileReader

Kind = Literal["missing", "older", "current", "deleted"]

EXAMPLES = 5
PROBLEMS_MAX = 100
TOGETHER = 50  # rows in one transaction: the app's own write of one of them waits for all


@dataclass(frozen=True, slots=True)
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
    pages: Iterable[Page], profiles: ProfileReader, fields: frozenset[str], tally: Tally
) -> Iterator[list[Profile]]:
    """Compare page by page; each time gives the users whose row is to be written. `fields`: what the table can take."""
    for page in pages:
        tally.odd(page.problems)
        rows = profiles.get([profile.clerk_user_id for profile in page.profiles])
        to_write = []
        for told in page.profiles:
            kind = kind_of(told, rows.get(told.clerk_user_id), fields)
            tally.found(told.clerk_user_id, kind)
            if kind in {"missing", "older"}:
                to_write.append(told)
        yield to_write


def write_rows(
    to_write: Sequence[Profile],
    write: Callable[[Sequence[Profile]], int],
    ask_for_looks: Callable[[Sequence[ClerkUserId]], object],
    tally: Tally,
) -> None:
    """Write these rows, a few at a time, and ask for a look at whoever was written. A row that is refused hurts no other.

    `write` writes all it is given or raises, and gives how many rows have changed. The looks are asked for because a row
    brought in late carries the time of its last change, which may lie long before the last look at what has changed.
    """
    for at in range(0, len(to_write), TOGETHER):
        _write_some(to_write[at : at + TOGETHER], write, ask_for_looks, tally)


def _write_some(
    some: Sequence[Profile],
    write: Callable[[Sequence[Profile]], int],
    ask_for_looks: Callable[[Sequence[ClerkUserId]], object],
    tally: Tally,
) -> None:
    """All at once; where one of them is refused, each half by itself, down to the one that it is."""
    try:
        changed = write(some)
    except PermanentError as error:
        if len(some) == 1:
            tally.fail(some[0].clerk_user_id, error.message)
            return
        middle = len(some) // 2
        _write_some(some[:middle], write, ask_for_looks, tally)
        _write_some(some[middle:], write, ask_for_looks, tally)
        return
    tally.written += changed
    ask_for_looks([told.clerk_user_id for told in some])


def kind_of(told: Profile, row: Profile | None, fields: frozenset[str]) -> Kind:
    """How the row stands to what is told. It is older only if both times say so, or one of them says nothing."""
    if row is None:
        return "missing"
    if row.deleted or any(problem.field == "deleted_at" for problem in row.problems):
        return "deleted"
    timed = "updated_at" in fields and row.knows("updated_at")
    if timed and row.updated_at is not None and told.updated_at is not None and row.updated_at >= told.updated_at:
        return "current"
    return "older" if differs(told, row, fields) else "current"


def differs(told: Profile, row: Profile, fields: frozenset[str]) -> bool:
    """Whether writing would change something that people see; the time of the change alone does not count."""
    compared = fields - {"updated_at", "full_name"}
    if any(told.knows(name) and not _same(name, told, row) for name in compared):
        return True
    if "full_name" not in fields or compared & {"first_name", "last_name"}:
        return False
    return told.knows("first_name") and told.knows("last_name") and _full_name(told) != _full_name(row)


def _same(name: str, told: Profile, row: Profile) -> bool:
    if not row.knows(name):
        return False
    if name == "metadata":
        return told.metadata is None or _covers(row.metadata or {}, told.metadata)
    if name == "email_verified":
        return row.email_verified == bool(told.email and told.email_verified)
    return (getattr(told, name) or None) == (getattr(row, name) or None)  # an empty text says what null says


def _covers(row: Any, told: Any) -> bool:
    """Whether all that is told stands in the row, which may hold more; null and absent are the same here."""
    if isinstance(told, Mapping):
        return isinstance(row, Mapping) and all(_covers(row.get(key), value) for key, value in told.items())
    return bool(row == told)


def _full_name(profile: Profile) -> str:
    return " ".join(f"{profile.first_name or ''} {profile.last_name or ''}".split())
