"""The reasons of holds: what each means, who must act, what to do. docs/errors.md has a heading for every reason."""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from collections.abc import Sequence
from typing import Final, NamedTuple

from reconciler.core.model.action import Action, Hold, WhoActs
from reconciler.core.model.customer import Customer
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.mapping import Mapping


class Reason(NamedTuple):
    """Who must act, what the reason means, and what to do next; one sentence each.

    `clause` is the meaning after "because". Empty: the message of the hold, which names the values, is used instead.
    """

    who_acts: WhoActs
    meaning: str
    next_step: str
    clause: str = ""


HOLD_REASONS: Final[MappingOf[str, Reason]] = {
    "NoEmail": Reason(
        "profile",
        "The profile has no usable email.",
        "Add one to the profile, or set require_email: false for the store.",
    ),
    "EmailInvalid": Reason(
        "profile",
        "Shopify does not accept this email.",
        "Correct it in the profile.",
        "Shopify does not accept the profile's email",
    ),
    "EmailUnverified": Reason(
        "profile",
        "The email is not verified, so no customer is matched or changed by it.",
        "The user verifies it in Clerk, or set trust_email: always.",
        "the email is not verified",
    ),
    "EmailTaken": Reason(
        "operator",
        "The email belongs to the customer of another user, or two users claim it.",
        "Decide which user has it, and change the other profile.",
    ),
    "EmailConflict": Reason(
        "operator",
        "The email belongs to a customer without a user, or a circle of emails can't be resolved.",
        "Merge or change the customer in Shopify, or set on_email_conflict.",
    ),
    "PhoneTaken": Reason(
        "operator",
        "Another customer has this phone. The other fields are written; the phone follows when it becomes free.",
        "Change one of the two, or leave it.",
    ),
    "PhoneInvalid": Reason(
        "profile",
        "Shopify does not accept this phone. The other fields are written.",
        "Write it with its country code, or set country for the store.",
    ),
    "CustomerMissing": Reason(
        "operator",
        "The customer was deleted in the shop.",
        "Set on_missing: recreate, delete the profile, or exclude it by the where of the store.",
        "the customer was deleted in the shop",
    ),
    "CannotDelete": Reason(
        "operator",
        "Shopify never deletes a customer with orders; it is tagged instead.",
        "No action is needed; to delete the personal data, request an erasure in Shopify.",
    ),
    "Departed": Reason(
        "time",
        "Stale row: the user was released, and the row is older than that and differs from the one then.",
        "No action is needed: a newer row, or the row as it was before, undoes the release.",
        "the user was released, and this row is older than that and differs from the one then",
    ),
    "StaleRow": Reason(
        "time",
        "The standby shows an earlier row than the one that was read last.",
        "No action is needed: the row is read again until the standby has caught up.",
    ),
    "RowMissing": Reason(
        "time",
        "The profile row is missing, which does not prove a deletion yet.",
        "No action is needed: the user is released if the row stays missing, and kept if it returns.",
    ),
    "NoLongerWanted": Reason(
        "time",
        "The row has ceased to match the store's where, and on_leave deletes; the column may be about to be filled.",
        "No action is needed: the user is released if the row does not match for the grace, and kept if it does.",
    ),
    "CannotAssign": Reason(
        "operator",
        "The customer that was imported for this user can't be used.",
        "Correct the row in the file of `reconciler mappings import`.",
    ),
    "Erased": Reason(
        "operator",
        "The user's data was erased on request; no customer is created again.",
        "To create a customer again: remove the back-link of the erased customer, if there is one; "
        "then run reconciler mappings forget USER.",
        "the personal data was erased on request",
    ),
    "GuardExceeded": Reason(
        "operator",
        "More would change than the store's guards allow.",
        "See the plan, then approve it by its digest, or raise the guard.",
        "more would change than the store's guards allow",
    ),
    "DriftHeld": Reason(
        "operator",
        "The customer was changed in Shopify, and heal_drift is hold.",
        "See reconciler drift; then copy the change to the profile, run reconciler accept, or set heal_drift: auto.",
        "the customer was changed in Shopify, and heal_drift is hold",
    ),
    "RollOutHeld": Reason(
        "operator",
        "The change waits: the wave of the store has not begun, or roll_out is hold.",
        "See reconciler rollout status; with roll_out: hold, see reconciler plan, then set roll_out: auto.",
    ),
    "StorePaused": Reason(
        "operator",
        "The store is paused.",
        "Run reconciler resume STORE, or set paused: false in stores.yaml.",
    ),
    "StoreSuspended": Reason(
        "operator",
        "The shop can't be used now: token, scope, or a frozen shop.",
        "Run reconciler doctor to find the cause.",
    ),
    "Rejected": Reason(
        "profile",
        "Shopify refused a value.",
        "Correct the value, or its field in stores.yaml; a change of profile, policy or customer repeats the write.",
    ),
    "ProfileInvalid": Reason(
        "profile",
        "A column of the row can't be parsed; the field counts as unknown, not as empty.",
        "Correct the row, or map another column.",
    ),
    "ProfileRefused": Reason(
        "operator",
        "The profiles table refuses Clerk's values of this user.",
        "Change the table's constraint or the conflicting row; the write is repeated automatically.",
    ),
    "Unreadable": Reason(
        "operator",
        "Shopify does not show something that the decision needs.",
        "Provide what the message says is needed, such as an access for the app, or set the field's policy to ignore.",
    ),
    "Contested": Reason(
        "operator",
        "Another system reverts this field after each of our writes.",
        "Find the other app, identity provider or installation, stop one of the two, or set another policy for the field.",
    ),
    "Undone": Reason(
        "operator",
        "This value was reverted by undo, and is not written again automatically.",
        "Change the profile or the config to decide about it again.",
    ),
    "CannotUndo": Reason(
        "operator",
        "This write can't be reverted: the customer changed since, or Shopify can't revert it.",
        "Check the customer in Shopify, and correct it there.",
    ),
}
STATUS_REASONS: Final[MappingOf[str, Reason]] = {
    "Failed": Reason(
        "time", "The last attempt to write this customer failed.", "Read the message; the write is repeated."
    ),
    "Outdated": Reason(
        "time",
        "What `apply` had planned for this customer was not due any more: the profile or the customer changed meanwhile.",
        "No action is needed: the next plan, or the controller, decides again.",
    ),
    "Queued": Reason(
        "time",
        "A change may be pending: a reconcile of this user is queued.",
        "No action is needed: the controller runs it.",
    ),
}
"""Reasons of a pending mapping that come from no decision."""

BY_SWITCH: Final = "is held by `roll_out: hold`"
"""What the message of a hold says that `roll_out` causes; those that a wave causes do not."""
NAMED_MAX: Final = 5
"""So many users a message names at most."""
SWITCH_STEP: Final = "See reconciler plan; then set roll_out: auto."
WAVE_STEP: Final = "It is written with its wave: see reconciler rollout status."

WHO_ACTS: Final[MappingOf[str, WhoActs]] = {name: reason.who_acts for name, reason in HOLD_REASONS.items()}


def reason_of(name: str) -> Reason | None:
    """The reason of this name, of a hold or of a pending mapping; None for an unknown one, such as an older version's."""
    return HOLD_REASONS.get(name) or STATUS_REASONS.get(name)


def next_step_of(found: Hold) -> str | None:
    """What to do about this hold; None for an unknown reason. Of a rollout it depends on what holds the change."""
    if found.reason == "RollOutHeld":
        return SWITCH_STEP if BY_SWITCH in found.message else WAVE_STEP
    known = reason_of(found.reason)
    return known.next_step if known is not None else None


def named(users: Sequence[str]) -> str:
    """These users in a message: all of a few, the first of many.

    A fault of an import gives thousands of rows one email. If the hold of each named all of them, the plan and the state
    would grow with the square of their number.
    """
    first = ", ".join(users[:NAMED_MAX])
    return f"{first} and others" if len(users) > NAMED_MAX else first


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
