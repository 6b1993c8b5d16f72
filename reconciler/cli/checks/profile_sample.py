"""A sample of the profiles for `doctor`: counts over the first rows, and the problems found in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from reconciler.core.fields.consent import said_of
from reconciler.core.fields.readings import lacks_zone
from reconciler.core.model.consent import ConsentRule, Said
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.profile import PROFILE_FIELDS, Profile
from reconciler.core.model.spec import Doubt

ROWS_MAX = 20_000
AGAIN_MAX = 50  # rows that are read twice
AHEAD = timedelta(hours=1)
CLERK_ID = "user_"


@dataclass
class ConsentSample:
    """What the sampled rows say of one consent: how many answer, without a time or its zone, and how many can't be read."""

    answers: int = 0
    undated: int = 0
    zoneless: int = 0
    unreadable: int = 0

    def add(self, said: Said, doubt: Doubt | None, time: object) -> None:
        """Add the answer of one row. `time`: its time as the row has it."""
        self.answers += said.granted is not None
        self.undated += said.granted is not None and said.at is None
        self.zoneless += said.at is not None and lacks_zone(time)
        self.unreadable += doubt is not None


@dataclass
class ProfileSample:
    """Counts over the sampled rows. `problems` counts users by message; `example` names one user for each message.

    `first` are some rows, to be compared with another read.
    """

    rows: int = 0
    first: list[Profile] = field(default_factory=list)
    deleted: int = 0
    without_email: int = 0
    verified: int = 0
    ahead: int = 0
    deleted_ahead: int = 0
    clerk_ids: int = 0
    consents: dict[ConsentRule, ConsentSample] = field(default_factory=dict)
    problems: Counter[str] = field(default_factory=Counter)
    example: dict[str, str] = field(default_factory=dict)

    def add(self, profile: Profile, now: datetime) -> None:
        """Add one row to the counts."""
        self.rows += 1
        if len(self.first) < AGAIN_MAX:
            self.first.append(profile)
        self.deleted += profile.deleted
        self.without_email += profile.email is None
        self.verified += profile.email_verified is True
        self.ahead += profile.updated_at is not None and profile.updated_at > now + AHEAD
        self.deleted_ahead += profile.deleted_at is not None and profile.deleted_at > now + AHEAD
        self.clerk_ids += profile.clerk_user_id.startswith(CLERK_ID)
        for rule, consent in self.consents.items():
            paths = [path for path in (rule.at, rule.source) if path is not None and profile.knows("metadata")]
            time = next((value for path in paths if (value := profile.value_at(path)) is not None), None)
            consent.add(*said_of(profile, rule, "email"), time)
        for message in {problem.message for problem in profile.problems}:
            self.problems[message] += 1
            self.example.setdefault(message, profile.clerk_user_id)


def unsteady_fields(first: Iterable[Profile], again: Mapping[ClerkUserId, Profile]) -> tuple[str, ...]:
    """The fields that differ between two reads in most of these rows, as a view computes them from the time."""
    both = [(one, again[one.clerk_user_id]) for one in first if one.clerk_user_id in again]
    differ = Counter(f for one, other in both for f in PROFILE_FIELDS if getattr(one, f) != getattr(other, f))
    return tuple(f for f in PROFILE_FIELDS if len(both) > 1 and 2 * differ[f] > len(both))


def sample_of(chunks: Iterable[list[Profile]], now: datetime, consents: Iterable[ConsentRule] = ()) -> ProfileSample:
    """The counts over the first chunks, until they hold ROWS_MAX rows. `consents`: those of all stores."""
    sample = ProfileSample(consents={rule: ConsentSample() for rule in consents})
    for profiles in chunks:
        for profile in profiles:
            sample.add(profile, now)
        if sample.rows >= ROWS_MAX:
            break
    return sample
