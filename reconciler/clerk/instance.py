"""Check that a secret key belongs to the Clerk instance of our users."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from reconciler.clerk.users import ClerkUsers
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId

ASKED_MAX: Final = 5
HINT: Final = (
    "set clerk.secret_key to the key of the instance in which these users sign in (Clerk's dashboard, API keys; "
    "sk_test_ is of a development instance); until then, missing rows are handled as without a key"
)


@frozen
class KeySight:
    """The result of querying Clerk with one key for users with profile rows."""

    asked: int = 0
    unknown: tuple[ClerkUserId, ...] = ()

    @property
    def is_ours(self) -> bool:
        """Whether Clerk has most of the users: a few, such as deleted or test users, may be missing there."""
        return 2 * len(self.unknown) < self.asked

    @property
    def message(self) -> str:
        return (
            f"clerk.secret_key seems to belong to another Clerk instance: it does not have {len(self.unknown)} of "
            f"{self.asked} users with profile rows ({', '.join(self.unknown)})"
        )


def key_sight(clerk: ClerkUsers, users: Sequence[ClerkUserId]) -> KeySight:
    """Query Clerk for the first ASKED_MAX of these users. Errors as of `ClerkUsers.get`."""
    some = users[:ASKED_MAX]
    return KeySight(len(some), tuple(user for user in some if not clerk.exists(user)))
