"""The profiles without users that Clerk reports as deleted, though their rows are still there."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime

from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.profile import Profile
from reconciler.ports import ProfileReader


class WithoutUsers:
    """A ProfileReader in which these users have no row."""

    def __init__(self, profiles: ProfileReader, gone: frozenset[ClerkUserId]) -> None:
        self._profiles = profiles
        self._gone = gone

    def check(self) -> tuple[str, ...]:
        return self._profiles.check()

    def count(self, *, at_most: int | None = None) -> int:
        return self._profiles.count(at_most=at_most)

    def scan(self, *, chunk: int = 1000, after: ClerkUserId | None = None) -> Iterator[list[Profile]]:
        for profiles in self._profiles.scan(chunk=chunk, after=after):
            yield self._left(profiles)

    def get(self, users: Collection[ClerkUserId]) -> dict[ClerkUserId, Profile]:
        return self._profiles.get([u for u in users if u not in self._gone])

    def changes_since(self, at: datetime, *, overlap_s: float, chunk: int = 1000) -> Iterator[list[Profile]]:
        for profiles in self._profiles.changes_since(at, overlap_s=overlap_s, chunk=chunk):
            yield self._left(profiles)

    def users_without_row(self, users: Collection[ClerkUserId]) -> frozenset[ClerkUserId]:
        return self._profiles.users_without_row(users) | (self._gone & frozenset(users))

    def sharing_email(self, emails: Collection[str] | None = None, *, enough: int | None = None) -> list[Profile]:
        more = None if enough is None else enough + len(self._gone)
        return self._left(self._profiles.sharing_email(emails, enough=more))

    def _left(self, profiles: list[Profile]) -> list[Profile]:
        return [p for p in profiles if p.clerk_user_id not in self._gone]
