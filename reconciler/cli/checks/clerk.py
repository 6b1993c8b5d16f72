"""The Clerk check of `doctor`: whether the secret key is of the instance to which the users of the profiles belong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reconciler.clerk.instance import ASKED_MAX, HINT, key_sight
from reconciler.cli.checks.conclusions import Check, Level, is_secret_key
from reconciler.cli.checks.profile_sample import CLERK_ID
from reconciler.cli.render.plain import count_text
from reconciler.core.model.ids import ClerkUserId
from reconciler.errors import TemporaryError
from reconciler.wiring import Components


def clerk_instance_checks(components: Components) -> Iterator[Check]:
    """One check; none if no valid key is set. Raises the errors of the profiles and of `ClerkUsers.get`."""
    key = components.loaded.settings.clerk.secret_key
    clerk = components.connections.clerk if key is not None and is_secret_key(key.get_secret_value()) else None
    if clerk is None:
        return
    users = _some_users(components)
    try:
        sight = key_sight(clerk, users)
    except TemporaryError as error:
        yield _check("warning", f"unknown: {error.message}", error.hint)
        return
    if not sight.asked:
        yield _check("ok", "unknown: no profile row has a Clerk user id to look up")
    elif not sight.is_ours:
        yield _check("failed", sight.message, HINT)
    else:
        has = count_text(sight.asked - len(sight.unknown), "user")
        yield _check("ok", f"the key's instance has {has} of the {sight.asked} looked up")


def _some_users(components: Components) -> Sequence[ClerkUserId]:
    """Up to ASKED_MAX users, spread over the first rows."""
    rows = next(iter(components.profiles.scan()), [])
    users = [row.clerk_user_id for row in rows if row.clerk_user_id.startswith(CLERK_ID) and not row.deleted]
    return users[:: max(1, len(users) // ASKED_MAX)][:ASKED_MAX]


def _check(level: Level, message: str, hint: str = "") -> Check:
    return Check(area="clerk", what="instance", level=level, message=message, hint=hint)
