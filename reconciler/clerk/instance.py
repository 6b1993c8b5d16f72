"""Whether a secret key is of the Clerk instance in which our users sign in: the key of another one knows none of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from reconciler.clerk.users import ClerkUsers
from reconciler.core.model.ids import ClerkUserId

ASKED_MAX: Final = 5
HINT: Final = (
    "set clerk.secret_key to the key of the instance in which these users sign in (Clerk's dashboard, API keys; "
    "sk_test_ is of a development instance); until then a missing row is waited for as if no key were set"
)


@dataclass(frozen=True, slots=True)
class KeySight:
    """What Clerk's API says with one key of users whose rows are there."""

    asked: int = 0
    unknown: tuple[ClerkUserId, ...] = ()

    @property
    def is_ours(self) -> bool:
        """Whether Clerk has most of them: who left may still have a row, and a user of a test may have one, too."""
        return 2 * len(self.unknown) < self.asked

    @property
    def message(self) -> str:
        return (
            f"clerk.secret_key seems to be of another Clerk instance: it does not have {len(self.unknown)} of {self.asked} "
            f"users whose rows are there ({', '.join(self.unknown)})"
        )


def key_sight(clerk: ClerkUsers, users: Sequence[ClerkUserId]) -> KeySight:
    """Ask for the first few of these users. Errors as of `ClerkUsers.get`."""
    some = users[:ASKED_MAX]
    return KeySight(len(some), tuple(user for user in some if not clerk.exists(user)))
