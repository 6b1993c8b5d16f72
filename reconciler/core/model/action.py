"""What a decision yields: an action (one step of a plan) or a hold (a decision not to act)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId, CustomerId, Unique
from reconciler.core.model.values import Value

Kind = Literal["create", "adopt", "update", "relink", "merge", "release"]
Why = Literal["profile changed", "drift", "config changed", "undo"]
FoundBy = Literal["", "back-link", "import", "mapping", "email"]
WhoActs = Literal["operator", "profile", "shop", "time"]
KINDS: tuple[Kind, ...] = ("create", "adopt", "update", "relink", "merge", "release")
_RANKS = {kind: rank for rank, kind in enumerate(KINDS)}


@frozen(kw_only=True)
class Change:
    """The change of one field. `before` and `after` are sorted lists for tags, else text or None."""

    field: str
    before: Value
    after: Value
    why: Why


@frozen(kw_only=True)
class Action:
    """One step of a plan: everything that `apply` needs besides the store. `how` is the on_leave of a release, else
    empty.

    `profile_digest` and `customer_digest` identify what the store uses of the row, and the customer, that it was decided
    on. A re-link or merge goes from `from_customer_id` to `customer_id`. `waits_for` are users with customers that must
    give up the new email or phone first. `park` are the fields that are cleared temporarily on this customer, to break a
    circle of such waits. `former_user` is the released user of the customer that is taken. `email` and `name` are those
    of the customer, as Shopify returns them; None for a create. `found_by` says why an adoption, re-link or merge has
    chosen this customer; empty for other kinds. `has_orders`: whether the customer has bought; None if Shopify did not
    say. The number is left out, since each order would change the digest that a person approves.
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
    found_by: FoundBy = ""
    has_orders: bool | None = None


@frozen(kw_only=True)
class Hold:
    """A decision not to act: a reason from docs/errors.md, a message for this case, and who must act.

    `action` is what would be done without this hold, where a guard, a pause or a switch withholds all or part of it.
    """

    clerk_user_id: ClerkUserId
    customer_id: CustomerId | None
    reason: str
    message: str
    who_acts: WhoActs
    field: str | None = None
    action: Action | None = None


@frozen(kw_only=True)
class AcceptedDrift:
    """A field that was edited in Shopify, and stays as it is until then: `change` would heal it.

    `by`: who accepted it, an operator or `stores.yaml`; `since`: when an operator did.
    """

    clerk_user_id: ClerkUserId
    customer_id: CustomerId | None
    change: Change
    until: datetime
    by: str
    since: datetime | None = None

    @property
    def field(self) -> str:
        """The name of the field."""
        return self.change.field


def sorted_actions(actions: Iterable[Action]) -> tuple[Action, ...]:
    """Sort actions by kind in the order of KINDS, then by user."""
    return tuple(sorted(actions, key=action_order))


def sorted_holds(holds: Iterable[Hold]) -> tuple[Hold, ...]:
    """Sort holds by user, then reason, then field."""
    return tuple(sorted(holds, key=hold_order))


def action_order(action: Action) -> tuple[int, ClerkUserId]:
    """The sort key of actions."""
    return _RANKS[action.kind], action.clerk_user_id


def hold_order(hold: Hold) -> tuple[ClerkUserId, str, str]:
    """The sort key of holds."""
    return hold.clerk_user_id, hold.reason, hold.field or ""
