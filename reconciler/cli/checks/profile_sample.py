"""A sample of the profiles for `doctor`: counts over the first rows, and the problems found in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from reconciler.core.model.profile import Profile

ROWS_MAX = 20_000
AHEAD = timedelta(hours=1)
CLERK_ID = "user_"


@dataclass
class ProfileSample:
    """Counts over the sampled rows. `problems` counts users by message; `example` names one user for each message."""

    rows: int = 0
    deleted: int = 0
    without_email: int = 0
    verified: int = 0
    ahead: int = 0
    clerk_ids: int = 0
    problems: Counter[str] = field(default_factory=Counter)
    example: dict[str, str] = field(default_factory=dict)

    def add(self, profile: Profile, now: datetime) -> None:
        """Add one row to the counts."""
        self.rows += 1
        self.deleted += profile.deleted
        self.without_email += profile.email is None
        self.verified += profile.email_verified is True
        self.ahead += profile.updated_at is not None and profile.updated_at > now + AHEAD
        self.clerk_ids += profile.clerk_user_id.startswith(CLERK_ID)
        for message in {problem.message for problem in profile.problems}:
            self.problems[message] += 1
            self.example.setdefault(message, profile.clerk_user_id)


def sample_of(chunks: Iterable[list[Profile]], now: datetime) -> ProfileSample:
    """The counts over the first chunks, until they hold ROWS_MAX rows."""
    sample = ProfileSample()
    for profiles in chunks:
        for profile in profiles:
            sample.add(profile, now)
        if sample.rows >= ROWS_MAX:
            break
    return sample
