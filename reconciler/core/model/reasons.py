"""The reasons of holds, and who must act on each. docs/errors.md has a heading for every reason."""

from __future__ import annotations

from collections.abc import Mapping as MappingOf

from reconciler.core.model.action import Action, Hold, WhoActs
from reconciler.core.model.customer import Customer
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.mapping import Mapping

WHO_ACTS: MappingOf[str, WhoActs] = {
    "NoEmail": "profile",
    "EmailInvalid": "profile",
    "EmailUnverified": "profile",
    "EmailTaken": "operator",
    "EmailConflict": "operator",
    "PhoneTaken": "operator",
    "PhoneInvalid": "profile",
    "CustomerMissing": "operator",
    "CannotDelete": "operator",
    "Departed": "time",
    "RowMissing": "time",
    "CannotAssign": "operator",
    "Erased": "operator",
    "GuardExceeded": "operator",
    "DriftHeld": "operator",
    "RollOutHeld": "operator",
    "StorePaused": "operator",
    "StoreSuspended": "operator",
    "Rejected": "profile",
    "ProfileInvalid": "profile",
    "ProfileRefused": "operator",
    "Unreadable": "operator",
    "Contested": "operator",
    "Undone": "operator",
    "CannotUndo": "operator",
}
STATUS_REASONS = ("Failed", "Queued")  # reasons of a pending mapping that come from no decision


def hold(
    user: ClerkUserId,
    at: Mapping | Customer | None,
    reason: str,
    message: str,
    field: str | None = None,
    action: Action | None = None,
) -> Hold:
    """A hold of this user. `at` gives the customer, where one is known. `field`: only this part of the patch waits.

    `action`: what would be done without the hold, where it withholds an action.
    """
    customer = at.id if isinstance(at, Customer) else at.customer_id if at else None
    return Hold(
        clerk_user_id=user,
        customer_id=customer,
        reason=reason,
        message=message,
        who_acts=WHO_ACTS[reason],
        field=field,
        action=action,
    )
