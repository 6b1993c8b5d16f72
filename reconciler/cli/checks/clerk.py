"""What `doctor` asks Clerk's API: whether the secret key is of the instance in which the users of the profiles sign in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reconciler.clerk.instance import ASKED_MAX, HINT, key_sight
from reconciler.cli.checks.conclusions import Check, Level, is_secret_key
from reconciler.cli.checks.profile_sample import CLERK_ID
from reconciler.cli.render.plain import counted
from reconciler.core.model.ids import ClerkUserId
from reconciler.errors import TemporaryError
from reconciler.wiring import Components


def clerk_instance_checks(components: Components) -> Iterator[Check]:
    """Nothing where no key is set, or where it is none; errors as of the profiles and of `ClerkUsers.get`."""
    key = components.loaded.settings.clerk.secret_key
    clerk = components.clerk if key is not None and is_secret_key(key.get_secret_value()) else None
    if clerk is None:
        return
    users = _some_users(components)
    try:
        sight = key_sight(clerk, users)
    except TemporaryError as error:
        yield _check("warning", f"not known: {error.message}", error.hint)
        return
    if not sight.asked:
        yield _check("ok", "not known: no profile row has an id of Clerk's to ask for")
    elif not sight.is_ours:
        yield _check("failed", sight.message, HINT)
    else:
        has = counted(sight.asked - len(sight.unknown), "user")
        yield _check("ok", f"the key's instance has {has} of {sight.asked} that were asked for")


def _some_users(components: Components) -> Sequence[ClerkUserId]:
    """A few users of the first rows, spread over them."""
    rows = next(iter(components.profiles.scan()), [])
    users = [row.clerk_user_id for row in rows if row.clerk_user_id.startswith(CLERK_ID) and not row.deleted]
    return users[:: max(1, len(users) // ASKED_MAX)][:ASKED_MAX]


def _check(level: Level, message: str, hint: str = "") -> Check:
    return Check(area="clerk", what="instance", level=level, message=message, hint=hint)
