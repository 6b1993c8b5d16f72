"""What a decision yields: an action (one step of a plan) or a hold (a decision not to act, and who must act)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from reconciler.core.model.ids import ClerkUserId, CustomerId, Unique

Kind = Literal["create", "adopt", "update", "relink", "merge", "release"]
Why = Literal["profile changed", "drift", "config changed", "undo"]
WhoActs = Literal["operator", "profile", "shop", "time"]
KINDS: tuple[Kind, ...] = ("create", "adopt", "update", "relink", "merge", "release")
_RANKS = {kind: rank for rank, kind in enumerate(KINDS)}


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class Change(_Value):
    """One field, before and after. Tags are whole sorted lists; the rest is text or None."""

    field: str
    before: Any
    after: Any
    why: Why


class Action(_Value):
    """One step: everything `apply` needs to know beside the store. `how` is the on_leave of a release, else empty.

    `profile_digest` and `customer_digest` say which row and which customer it was decided on. A re-link or merge comes
    `from_customer_id` and ends on `customer_id`. `waits_for` are the users whose customers must give up the new e-mail
    or phone first; `park` are the fields whose values this customer is without for a moment, so that a circle of such waits
    ends. `former_user` is the
    user who left the customer that is taken.
    `email` and `name` are those of the customer it is about, as the shop shows them; None for a create.
    """

    kind: Kind
    clerk_user_id: ClerkUserId
    customer_id: CustomerId | None
    changes: tuple[Change, ...]
    cost_points: int
    how: str = ""
    from_customer_id: CustomerId | None = None
    waits_for: tuple[ClerkUserId, ...] = ()
    park: tuple[Unique, ...] = ()
    former_user: ClerkUserId | None = None
    profile_digest: str = ""
    customer_digest: str = ""
    email: str | None = None
    name: str | None = None


class Hold(_Value):
    """A decision not to act: a reason from docs/errors.md, what it means here, and who must act.

    `action` is what would be done without this hold: where a guard, a pause or a switch withholds it, whole or in part.
    """

    clerk_user_id: ClerkUserId
    customer_id: CustomerId | None
    reason: str
    message: str
    who_acts: WhoActs
    field: str | None = None
    action: Action | None = None


def sorted_actions(actions: Iterable[Action]) -> tuple[Action, ...]:
    """By kind in the order of KINDS, then by user."""
    return tuple(sorted(actions, key=action_order))


def sorted_holds(holds: Iterable[Hold]) -> tuple[Hold, ...]:
    """By user, then reason."""
    return tuple(sorted(holds, key=hold_order))


def action_order(action: Action) -> tuple[int, ClerkUserId]:
    """What actions are sorted by."""
    return _RANKS[action.kind], action.clerk_user_id


def hold_order(hold: Hold) -> tuple[ClerkUserId, str, str]:
    """What holds are sorted by."""
    return hold.clerk_user_id, hold.reason, hold.field or ""
