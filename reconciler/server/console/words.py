"""How the console shows times, numbers, values and reasons."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from reconciler.core.model.ids import CustomerId, ShopDomain

# reason: what it means, what to do
_REASONS: Final = {
    "NoEmail": (
        "The profile has no usable email.",
        "Add one to the profile, or set require_email: false for the store.",
    ),
    "EmailInvalid": ("Shopify does not accept this email.", "Correct it in the profile."),
    "EmailUnverified": (
        "The email is not verified, so no customer is matched or changed by it.",
        "The user must verify it in Clerk.",
    ),
    "EmailTaken": (
        "The email belongs to the customer of another user, or two users claim it.",
        "Decide which user has it, and change the other profile.",
    ),
    "EmailConflict": (
        "The email belongs to a customer without a user, or a cycle of emails can't be resolved.",
        "Merge or change the customer in Shopify, or set on_email_conflict.",
    ),
    "PhoneTaken": (
        "Another customer has this phone. All other fields are in sync; the phone follows when it becomes free.",
        "Change one of the two, or leave it.",
    ),
    "PhoneInvalid": (
        "Shopify does not accept this phone. All other fields are in sync.",
        "Write it with its country code, or set country for the store.",
    ),
    "ProfileInvalid": (
        "A column of the row can't be parsed; the field counts as unknown, not as empty.",
        "Correct the row, or map another column.",
    ),
    "ProfileRefused": (
        "The profiles table refuses Clerk's values of this user.",
        "Change the table's constraint or the conflicting row; the write is repeated automatically.",
    ),
    "CustomerMissing": ("The customer was deleted in the shop.", "Set on_missing: recreate, or on_missing: release."),
    "CannotDelete": (
        "Shopify never deletes a customer with orders; it is tagged instead.",
        "Nothing, or request an erasure in Shopify.",
    ),
    "Departed": (
        "Stale row: the user was released, and the row is older than that and differs from the one then.",
        "Nothing: a newer row, or the row as it was before, undoes the release.",
    ),
    "CannotAssign": (
        "The customer that was imported for this user can't be used.",
        "Correct the row in the file of `reconciler mappings import`.",
    ),
    "RowMissing": (
        "The profile row is missing, which does not prove a deletion yet.",
        "Nothing: the user is released if the row stays missing, and kept if it returns.",
    ),
    "Erased": (
        "The user's data was erased on request; no customer is created again.",
        "To create a customer again: reconciler mappings forget USER.",
    ),
    "GuardExceeded": (
        "More would change than the store's guards allow.",
        "See reconciler plan, then run apply --approve DIGEST, or raise the guard.",
    ),
    "DriftHeld": (
        "The customer was changed in Shopify, and heal_drift is hold.",
        "See reconciler drift; then apply, or copy the change to the profile.",
    ),
    "RollOutHeld": ("The profile changed, and roll_out is hold.", "See reconciler plan, then run reconciler apply."),
    "StorePaused": ("The store is paused.", "Run reconciler resume STORE, or set paused: false in stores.yaml."),
    "StoreSuspended": (
        "The shop can't be used now: token, scope, or a frozen shop.",
        "Run reconciler doctor to find the cause.",
    ),
    "Rejected": (
        "Shopify refused a value.",
        "Correct it; the write is repeated when profile, policy or customer change.",
    ),
    "Unreadable": (
        "Shopify hides a managed field from this app.",
        "Grant the app the named access, or set the field's policy to ignore.",
    ),
    "Contested": (
        "Another system reverts this field after each of our writes.",
        "Find the other app or installation and stop one of the two, or set another policy for the field.",
    ),
    "Undone": (
        "This value was reverted by undo, and is not written again automatically.",
        "Change the profile or the config to decide about it again.",
    ),
    "Failed": ("The last attempt to write this customer failed.", "Read the message; the write is repeated."),
    "Queued": ("A change may be pending: a reconcile of this user is queued.", "Nothing: the controller runs it."),
    "CannotUndo": (
        "This write can't be reverted: the customer changed since, or Shopify can't revert it.",
        "Check the customer in Shopify, and correct it there.",
    ),
}
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
_VALUE_MAX: Final = 120


def explain(reason: str) -> tuple[str, str]:
    """Return what a hold's reason means, and what to do; two empty texts for an unknown one."""
    return _REASONS.get(reason, ("", ""))


def span(seconds: float | None) -> str:
    """Return a duration in its largest unit; a dash for None."""
    if seconds is None:
        return "–"
    whole = max(0, int(seconds))
    size, unit = next(((size, unit) for size, unit in _UNITS if whole >= size), (1, "s"))
    return f"{whole // size} {unit}"


def ago(at: datetime | None, now: datetime) -> str:
    """Return how long ago it was; "never" for None."""
    if at is None:
        return "never"
    seconds = (now - at).total_seconds()
    return "just now" if seconds < 1 else f"{span(seconds)} ago"


def stamp(at: datetime | None) -> str:
    """Return the time in full, in UTC; empty for None."""
    return at.strftime("%Y-%m-%d %H:%M:%S UTC") if at is not None else ""


def percent(share: float) -> str:
    """Return a share as per cent, never rounded up to 100."""
    if share >= 1:
        return "100 %"
    return f"{min(share * 100, 99.99):.2f}".rstrip("0").rstrip(".") + " %"


def shown(value: Any) -> str:
    """Return a field's value on one line."""
    if value is None or value == "":
        return "∅"
    text = ", ".join(str(part) for part in value) if isinstance(value, list | tuple) else str(value)
    if not text:
        return "∅"
    return text if len(text) <= _VALUE_MAX else text[: _VALUE_MAX - 1] + "…"


def field_name(name: str) -> str:
    """Return our field name with spaces."""
    return name.replace("_", " ") if "." not in name else name


def admin_url(customer: CustomerId, shop: ShopDomain) -> str:
    """Return the customer's page in Shopify's admin."""
    return (
        f"https://admin.shopify.com/store/{shop.removesuffix('.myshopify.com')}/customers/{customer.rpartition('/')[2]}"
    )
