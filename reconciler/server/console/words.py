"""How the console puts times, numbers, values and reasons."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from reconciler.core.model.ids import CustomerId, ShopDomain

# reason: what it means, what to do
_REASONS: Final = {
    "NoEmail": (
        "The profile has no usable e-mail.",
        "Add one to the profile, or set require_email: false for the store.",
    ),
    "EmailInvalid": ("Shopify would not take this e-mail.", "Correct it in the profile."),
    "EmailUnverified": (
        "The e-mail is not proven to be hers, so nobody is found or changed by it.",
        "She verifies it in Clerk.",
    ),
    "EmailTaken": (
        "The address belongs to a customer of another of our users, or two users claim it.",
        "Decide whose it is, and change the other profile.",
    ),
    "EmailConflict": (
        "The address belongs to a customer that no user of ours owns, or a circle of addresses can't be resolved.",
        "Merge or change the customer in Shopify, or set on_email_conflict.",
    ),
    "PhoneTaken": (
        "Another customer has this phone. All the rest is up to date; the phone follows when it becomes free.",
        "Change one of the two, or leave it.",
    ),
    "PhoneInvalid": (
        "The phone is no number that Shopify takes. All the rest is up to date.",
        "Write it with its country code, or set country for the store.",
    ),
    "ProfileInvalid": (
        "A column of the row can't be understood; it counts as unknown, never as empty.",
        "Correct the row, or map another column.",
    ),
    "ProfileRefused": (
        "The profiles' table refuses what Clerk says of this user.",
        "Change the table's rule or the row that is in the way; the write is repeated by itself.",
    ),
    "CustomerMissing": ("The customer is gone from the shop.", "Say on_missing: recreate, or let her go."),
    "CannotDelete": (
        "Shopify never deletes a customer with orders; she is tagged instead.",
        "Leave it, or request an erasure in Shopify.",
    ),
    "Departed": (
        "The user was released; the row is older and differs from the one of then.",
        "Nothing: a newer row, or the row as it was before, undoes the release.",
    ),
    "CannotAssign": (
        "The customer that was named for this user can't be taken.",
        "Correct the row in the file of `reconciler mappings import`.",
    ),
    "RowMissing": (
        "The profile row is missing; that is no proof yet.",
        "Nothing: the user is released if the row stays away, and kept if it comes back.",
    ),
    "Erased": (
        "Her data was erased on request; she is not made again.",
        "reconciler mappings forget USER, if that is wanted.",
    ),
    "GuardExceeded": (
        "More would change than the store's guards allow.",
        "Look at reconciler plan, then apply --approve DIGEST, or raise the guard.",
    ),
    "DriftHeld": (
        "It was changed in Shopify, and heal_drift says hold.",
        "Look at reconciler drift; apply, or take the change over.",
    ),
    "RollOutHeld": ("The profile changed, and roll_out says hold.", "Look at reconciler plan, then reconciler apply."),
    "StorePaused": ("The store is paused.", "Set paused: false in stores.yaml."),
    "StoreSuspended": (
        "The shop can't be used now: token, scope, or a frozen shop.",
        "reconciler doctor says what is wrong.",
    ),
    "Rejected": ("Shopify refused a value.", "Correct it; it is tried again when profile, policy or customer change."),
    "Unreadable": (
        "Shopify does not show this app a field that is ours.",
        "Give the app the access that is named, or say ignore for that field.",
    ),
    "Contested": (
        "Another writer changes this field back after each of our writes.",
        "Find the other app or installation and end one of the two, or set another policy for the field.",
    ),
    "Undone": (
        "This value was taken back by undo, and is not written again by itself.",
        "Change the profile or the config, and it is looked at anew.",
    ),
    "Failed": ("The last attempt to write this customer failed.", "Read the message; it is tried again."),
    "Queued": ("A change may wait: a reconcile of this user is queued.", "Nothing: the controller takes it."),
    "CannotUndo": (
        "This write can't be taken back: it was changed since, or Shopify knows no way back.",
        "Look at the customer in Shopify, and put right by hand what is wrong.",
    ),
}
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
_VALUE_MAX: Final = 120


def explain(reason: str) -> tuple[str, str]:
    """What a hold's reason means, and what to do; two empty texts for one that is not known here."""
    return _REASONS.get(reason, ("", ""))


def span(seconds: float | None) -> str:
    """A stretch of time in its largest unit; a dash for none."""
    if seconds is None:
        return "–"
    whole = max(0, int(seconds))
    size, unit = next(((size, unit) for size, unit in _UNITS if whole >= size), (1, "s"))
    return f"{whole // size} {unit}"


def ago(at: datetime | None, now: datetime) -> str:
    """How long ago; "never" for None."""
    if at is None:
        return "never"
    seconds = (now - at).total_seconds()
    return "just now" if seconds < 1 else f"{span(seconds)} ago"


def stamp(at: datetime | None) -> str:
    """The time in full, in UTC."""
    return at.strftime("%Y-%m-%d %H:%M:%S UTC") if at is not None else ""


def percent(share: float) -> str:
    """A share as per cent; never rounded up to 100."""
    if share >= 1:
        return "100 %"
    return f"{min(share * 100, 99.99):.2f}".rstrip("0").rstrip(".") + " %"


def shown(value: Any) -> str:
    """A field's value, on one line."""
    if value is None or value == "":
        return "∅"
    text = ", ".join(str(part) for part in value) if isinstance(value, list | tuple) else str(value)
    if not text:
        return "∅"
    return text if len(text) <= _VALUE_MAX else text[: _VALUE_MAX - 1] + "…"


def field_name(name: str) -> str:
    """Our field name as people say it."""
    return name.replace("_", " ") if "." not in name else name


def admin_url(customer: CustomerId, shop: ShopDomain) -> str:
    """Where staff see this customer in Shopify."""
    return (
        f"https://admin.shopify.com/store/{shop.removesuffix('.myshopify.com')}/customers/{customer.rpartition('/')[2]}"
    )
